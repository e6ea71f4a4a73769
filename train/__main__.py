"""`python -m train`, also called `facepipe-train`: options -> configuration -> training or a look at what was trained.

Keras reads its backend when it is imported: everything heavy is imported inside the commands, after `backend.choose`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

import facepipe
from facepipe.errors import FacepipeError, InputError, UsageError
from facepipe.storage import place
from facepipe.text import printable
from train import start
from train.arguments import (
    CheckpointOption,
    CountOption,
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
    WorkspaceOption,
    tell_fields,
    training_options,
)
from train.config import AutoencoderConfig
from train.gan.config import GanConfig
from train.interruption import end_when_interrupted

AUTOENCODER, GAN = "frontal-1", "dcgan"
"""The presets that are trained unless another is given."""
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


@app.command(context_settings=EXTRA, epilog=tell_fields(AutoencoderConfig, "autoencoder", AUTOENCODER))
@training_options(AutoencoderConfig, AUTOENCODER)
def autoencoder(context: typer.Context, **given: Any) -> None:
    """Teach an autoencoder on pairs: a side face in, the same person's frontal face out.

    Any field of a preset is an option as well, such as `--latent 128` or `--set encoder=[64,32]`; they are
    listed at the end.
    """
    start.train(AutoencoderConfig, "autoencoder", AUTOENCODER, context, given)


@app.command("gan", context_settings=EXTRA, epilog=tell_fields(GanConfig, "gan", GAN))
@app.command("dcgan", context_settings=EXTRA, epilog=tell_fields(GanConfig, "gan", GAN), hidden=True)
@training_options(GanConfig, GAN)
def gan(context: typer.Context, **given: Any) -> None:
    """Teach a GAN on single faces: pictures of people who do not exist.

    Any field of a preset is an option as well, such as `--label-smoothing 0.1` or `--r1 5`; they are listed
    at the end. `dcgan` is the command's earlier name.
    """
    start.train(GanConfig, "gan", GAN, context, given)


@app.command()
def presets() -> None:
    """List the presets, a line each: name, input, output, latent, loss, parameters."""
    from train.presets import lines

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
    from train.shards import need_subset, shards_to_measure

    opened = start.opened(run, checkpoint=checkpoint)
    source = shards or opened.settings["shards"]
    found = shards_to_measure(opened, source, "faces" if opened.kind == "gan" else "pairs")
    # Of a GAN's few people nobody may be held back: it is measured on the faces it has learned from, and says so.
    if opened.kind == "autoencoder" or subset != "validation" or subset in found.files:
        need_subset(found, subset)
    if opened.kind == "gan":
        from train.metrics.inception import check_file

        if encoder and (other := start.opened(encoder)).kind != "autoencoder":
            raise UsageError(f"--encoder {encoder} is the run of a {other.kind}; give an autoencoder's")
        check_file(inception)
        start.choose(opened)
        from train.gan.evaluation import evaluate as measure_gan

        measure_gan(opened, source, subset, checkpoint, typer.echo, encoder=encoder, inception=inception)
        return
    if encoder or inception:
        raise UsageError("--encoder and --inception measure the faces of a GAN; RUN is an autoencoder's")
    start.choose(opened)
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
    start.opened(run, "gan", checkpoint)
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
    start.opened(run, "gan", checkpoint)
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
    opened = start.opened(run, "autoencoder", checkpoint)
    for path in images:
        if not os.path.isfile(path):
            raise InputError(f"{path} is no file; give photographs")
    start.choose(opened)
    from train.apply import reconstruct as rebuild

    rebuild(opened, images, output or f"{run}/reconstructions", checkpoint, typer.echo)


@app.command()
def fingerprint(
    run: RunArgument,
    faces: FacesOption = "",
    shards: PairsOption = "",
    output: FileOption = "",
    checkpoint: CheckpointOption = "best",
    data: WorkspaceOption = "",
) -> None:
    """Encode every usable face to its latent vector: a Parquet file with key, identity, yaw and fingerprint."""
    if faces and shards:
        raise UsageError("--faces and --shards are two sources; give one of them")
    opened = start.opened(run, "autoencoder", checkpoint)
    source = faces or place(data or start.workspace(opened)).join("faces").uri
    if shards:
        from train.shards import find_shards

        find_shards(shards, "pairs")
    else:
        facepipe.open_faces(source)
    start.choose(opened)
    from train.apply import write_fingerprints

    write_fingerprints(opened, source, shards, output or f"{run}/fingerprints.parquet", checkpoint, typer.echo)


@app.command()
def export(
    run: RunArgument, to: FormatOption = "keras", output: OutputOption = "", checkpoint: CheckpointOption = "best"
) -> None:
    """Write the model for use elsewhere, and check the file by running it on one batch."""
    from train.files import target_of

    opened = start.opened(run, checkpoint=checkpoint)
    target_of(opened.folder, to, output)
    start.choose(opened, "" if to == "keras" else "tensorflow")
    from train.export import export as write

    write(opened, to, output, checkpoint, typer.echo)


RESUMABLE = ("autoencoder", "gan", "dcgan")


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
