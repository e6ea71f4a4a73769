"""`python -m train`, also called `facepipe-train`: options -> configuration -> training or a look at what was trained.

Keras reads its backend when it is imported: everything heavy is imported inside the commands, after `backend.choose`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from facepipe.errors import FacepipeError, UsageError
from facepipe.storage import place
from facepipe.text import printable
from train.arguments import (
    NOT_FIELDS,
    CheckpointOption,
    CountOption,
    DataOption,
    EncoderOption,
    FacesOption,
    FileOption,
    FormatOption,
    GridOption,
    ImagesArgument,
    InceptionOption,
    LabelOption,
    OutputOption,
    PairsOption,
    RunArgument,
    SeedOption,
    ShardsOption,
    StepsOption,
    SubsetOption,
    TruncationOption,
    extra_fields,
    tell_fields,
    training_options,
)
from train.config import AutoencoderConfig
from train.gan.config import GanConfig
from train.interruption import end_when_interrupted

if TYPE_CHECKING:
    from train.config import TrainConfig

app = typer.Typer(
    name="python -m train",
    help="Autoencoders that turn a side face to the front, and GANs that make faces up, taught on facepipe's shards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}


def _resolved(kind: type[TrainConfig], section: str, preset: str, context: typer.Context, given: dict[str, Any]) -> Any:
    from train.presets import resolve

    fields = {name: value for name, value in given.items() if name not in NOT_FIELDS}
    name, data = given["preset"] or preset, place(given["data"])
    fields["shards"] = given["shards"] or data.join("shards").uri
    fields["output"] = given["output"] or data.join("runs", name).uri
    return resolve(kind, section, name, fields, [*extra_fields(context.args), *(given["settings"] or [])])


@app.command(context_settings=EXTRA, epilog=tell_fields(AutoencoderConfig, "autoencoder", "v4"))
@training_options("v4; of few people frontal-1 learns more")
def autoencoder(context: typer.Context, **given: Any) -> None:
    """Teach an autoencoder on pairs: a side face in, the same person's frontal face out.

    Any field of a preset is an option as well, such as `--latent 128` or `--set encoder=[64,32]`; they are
    listed at the end.
    """
    from train import backend

    config = _resolved(AutoencoderConfig, "autoencoder", "v4", context, given)
    backend.prepare(config)
    from train.autoencoder import train

    train(config, typer.echo)


@app.command(context_settings=EXTRA, epilog=tell_fields(GanConfig, "gan", "dcgan"))
@training_options("dcgan", without=("legacy-output",))
def dcgan(context: typer.Context, **given: Any) -> None:
    """Teach a GAN on single faces: pictures of people who do not exist.

    Any field of a preset is an option as well, such as `--label-smoothing 0.1` or `--r1 5`; they are listed
    at the end.
    """
    from train import backend

    config = _resolved(GanConfig, "gan", "dcgan", context, given)
    backend.prepare(config)
    from train.gan.trainer import train

    train(config, typer.echo)


@app.command()
def presets() -> None:
    """List the presets, a line each: name, input, output, latent, loss, parameters."""
    from train.listing import lines

    for line in lines():
        print(line)


@app.command()
def evaluate(
    run: RunArgument,
    shards: ShardsOption = "",
    subset: SubsetOption = "validation",
    checkpoint: CheckpointOption = "best",
    encoder: EncoderOption = "",
    inception: InceptionOption = "",
) -> None:
    """Measure a run on people it was not taught on, beside simple baselines; writes evaluation.json in RUN.

    Of other shards, subsets or checkpoints, evaluation-<what>.json.
    """
    opened = _opened(run)
    source = shards or opened.settings["shards"]
    if opened.kind == "gan":
        from train.gan.evaluation import evaluate as measure_gan

        measure_gan(opened, source, subset, checkpoint, typer.echo, encoder=encoder, inception=inception)
        return
    if encoder or inception:
        raise UsageError("--encoder and --inception measure the faces of a GAN; RUN is an autoencoder's")
    from train.evaluation import evaluate as measure

    measure(opened, source, subset, checkpoint, typer.echo)


@app.command()
def sample(
    run: RunArgument,
    count: CountOption = 64,
    seed: SeedOption = 0,
    truncation: TruncationOption = 0.0,
    grid: GridOption = False,
    label: LabelOption = None,
    output: OutputOption = "",
    checkpoint: CheckpointOption = "last",
) -> None:
    """Write faces that a GAN makes up, as PNG files or as one grid."""
    _opened(run, "gan")
    from train.gan.sampling import sample as draw

    wanted = {"count": count, "seed": seed, "truncation": truncation, "grid": grid, "label": label}
    _tell_files(draw(run, output=output, checkpoint=checkpoint, **wanted))


@app.command()
def interpolate(
    run: RunArgument,
    steps: StepsOption = 8,
    count: CountOption = 4,
    seed: SeedOption = 0,
    truncation: TruncationOption = 0.0,
    output: OutputOption = "",
    checkpoint: CheckpointOption = "last",
) -> None:
    """Write rows of faces that turn from one made-up person into another."""
    _opened(run, "gan")
    from train.gan.sampling import interpolate as draw

    wanted = {"steps": steps, "count": count, "seed": seed, "truncation": truncation}
    _tell_files(draw(run, output=output, checkpoint=checkpoint, **wanted))


def _tell_files(paths: list[Any]) -> None:
    typer.echo(str(paths[0]) if len(paths) == 1 else f"{len(paths):,} files in {paths[0].parent}")


@app.command()
def reconstruct(
    run: RunArgument, images: ImagesArgument, output: OutputOption = "", checkpoint: CheckpointOption = "best"
) -> None:
    """Find the faces in photographs and write each as the autoencoder sees it from the front."""
    opened = _opened(run, "autoencoder")
    from train.reconstruction import reconstruct as rebuild

    rebuild(opened, images, output or f"{run}/reconstructions", checkpoint, typer.echo)


@app.command()
def fingerprint(
    run: RunArgument,
    faces: FacesOption = "",
    shards: PairsOption = "",
    output: FileOption = "",
    checkpoint: CheckpointOption = "best",
    data: DataOption = "data",
) -> None:
    """Encode every usable face to its latent vector: a Parquet file with key, identity, yaw and fingerprint."""
    if faces and shards:
        raise UsageError("--faces and --shards are two sources; give one of them")
    opened = _opened(run, "autoencoder")
    from train.fingerprints import write_fingerprints

    source = faces or place(data).join("faces").uri
    write_fingerprints(opened, source, shards, output or f"{run}/fingerprints.parquet", checkpoint, typer.echo)


@app.command()
def export(
    run: RunArgument, to: FormatOption = "keras", output: OutputOption = "", checkpoint: CheckpointOption = "best"
) -> None:
    """Write the model for use elsewhere, and check the file by running it on one batch."""
    opened = _opened(run, backend="" if to == "keras" else "tensorflow")
    from train.export import export as write

    write(opened, to, output, checkpoint, typer.echo)


def _opened(folder: str, kind: str = "", backend: str = "") -> Any:
    """A run, with Keras on the backend that trained it unless another one is named."""
    from train import backend as backends
    from train.runs import Run

    run = Run.open(folder)
    if kind and run.kind != kind:
        raise UsageError(f"{folder} is a run of kind {run.kind}; this command takes one of kind {kind}")
    backends.choose(backend or run.settings["backend"])
    return run


RESUMABLE = ("autoencoder", "dcgan")


def main() -> None:
    """Runs a command; a known error becomes one line and its exit code, an interruption 130."""
    kept = "; every finished epoch is kept: the same command with --resume goes on"
    end_when_interrupted("interrupted" + kept * (any(name in sys.argv[1:2] for name in RESUMABLE)))
    try:
        app(standalone_mode=True)
    except FacepipeError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
