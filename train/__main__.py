"""`python -m train`, also called `facepipe-train`: a class a command, as in `facepipe.cli.commands`; `go` is what it does.

Keras reads its backend when it is imported: everything heavy is imported inside `go`, after `backend.choose`.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import facepipe
from facepipe.cli.arguments import add_command, make_app, run_app
from facepipe.config import Common, make_config
from facepipe.errors import InputError, UsageError
from facepipe.execution.progress import say
from facepipe.options import Checked, option
from facepipe.storage import place
from train import presets, start
from train.config import FOUND, AutoencoderConfig, TrainConfig
from train.gan.config import GanConfig
from train.interruption import end_when_interrupted

MESH = "mesh"
"""What stands for a run where nothing was learned."""
COMMANDS: dict[str, tuple[type[TrainConfig], str]] = {
    "autoencoder": (AutoencoderConfig, "frontal-1"),
    "gan": (GanConfig, "dcgan"),
    "dcgan": (GanConfig, "dcgan"),
}
"""Those that train, each with the preset that is trained unless another is given; dcgan is gan's earlier name."""
app = make_app(
    "python -m train",
    "Autoencoders that turn a side face to the front, and GANs that make faces up, taught on facepipe's shards.",
    print_versions=lambda: say(f"facepipe {facepipe.__version__}"),
)


# fmt: off
def _path(shown: str, text: str, *names: str, **facts: Any) -> Any:
    return option("", text, "Input", names=names, **({"shown": shown, "metavar": "DIR"} | facts))


def _output(text: str = "Where it goes.", parse: Any = None, shown: str = "in RUN") -> Any:
    return _path(shown, text, "--output", "-o", metavar="PATH", parse=parse)


def _local(path: str) -> str:
    if "://" in path:
        raise UsageError(f"--output is {path}; this is written to a local disk: give a folder there")
    return path


def _run(text: str = "The folder that training wrote.") -> Any:
    return option(None, text, "Input", argument=True, metavar="RUN")


def _checkpoint(default: str) -> Any:
    return option(default, "Whose weights.", "Input", choices=("best", "last"))


def _number(default: float, text: str, **facts: Any) -> Any:
    return option(default, text, "Samples", **({"low": 0, "metavar": "N"} | facts))


@dataclass(frozen=True)
class Assignments(Common):
    """What a command takes that trains."""

    settings: tuple[str, ...] = option((), "Any option, by KEY=VALUE; repeatable.", "Machine", names=("--set",), metavar="KEY=VALUE")


def _add_training(name: str) -> None:
    kind, preset = COMMANDS[name]
    section = "gan" if kind is GanConfig else name

    def go(common: Common, given: dict[str, Any]) -> None:
        start.train(kind, section, preset, common.data, given)

    text = (
        "Teach a GAN on single faces: pictures of people who do not exist.\n\nThe command's earlier name is `dcgan`."
        if section == "gan" else "Teach an autoencoder on pairs: a side face in, the same person's frontal face out."
    ) + f"\n\nDefaults are those of the preset {preset}; another one has its own."
    shown = vars(presets.resolve(kind, section, preset, {}))
    without = (*FOUND, "quiet")
    add_command(app, name, text, (kind, Assignments), go, without=without, shown=shown, hidden=name == "dcgan")


for _name in COMMANDS:
    _add_training(_name)


def _add(kind: Any) -> Any:
    """Makes a class a command."""
    def go(_common: Common, given: dict[str, Any]) -> None:
        make_config(kind, given).go()

    add_command(app, kind.__name__.lower(), kind.__doc__, (kind,), go)
    return kind


@_add
@dataclass(frozen=True)
class Presets(Checked):
    """List the presets, a line each: name, input, output, latent, loss, parameters."""

    def go(self) -> None:
        """Prints them."""
        say(*presets.lines())


@_add
@dataclass(frozen=True)
class Evaluate(Checked):
    """Measure a run on people it was not taught on, beside simple baselines.

    Writes evaluation.json in RUN; of other shards, subsets or checkpoints, evaluation-<what>.json.
    """

    run: str = _run()
    shards: str = _path("the run's", "Other shards than those of the run.")
    subset: str = option("validation", "train, validation or test.", "Input", metavar="NAME")
    checkpoint: str = _checkpoint("best")
    encoder: str = _path("none", "GANs: also measure on features of this autoencoder's encoder.", metavar="RUN")
    inception: str = _path("none", "GANs: also FID, by Inception-v3 as .onnx, .keras or .h5.", metavar="FILE")

    def go(self) -> None:
        """Measures, by the kind of the run."""
        from train.shards import examples_of, need_subset, shards_to_measure

        opened = start.opened(self.run, checkpoint=self.checkpoint)
        source = self.shards or opened.settings["shards"]
        found = shards_to_measure(opened, source, examples_of(opened))
        # Of a GAN's few people nobody may be held back: it is measured on the faces it has learned from, and says so.
        if opened.kind == "autoencoder" or self.subset != "validation" or self.subset in found.files:
            need_subset(found, self.subset)
        if opened.kind == "gan":
            from train.metrics.inception import check_file

            if self.encoder and (other := start.opened(self.encoder)).kind != "autoencoder":
                raise UsageError(f"--encoder {self.encoder} is the run of a {other.kind}; give an autoencoder's")
            check_file(self.inception)
            start.choose(opened)
            from train.gan.evaluation import evaluate as measure_gan

            features = {"encoder": self.encoder, "inception": self.inception}
            measure_gan(opened, source, self.subset, self.checkpoint, say, **features)
            return
        if self.encoder or self.inception:
            raise UsageError("--encoder and --inception measure the faces of a GAN; RUN is an autoencoder's")
        start.choose(opened)
        from train.evaluation import evaluate as measure

        measure(opened, source, self.subset, self.checkpoint, say)


@_add
@dataclass(frozen=True)
class Compare(Checked):
    """Set runs of one kind side by side: a table, and a plot of how near each came against what it had cost."""

    runs: tuple[str, ...] = option(None, "Folders that training wrote.", "Input", argument=True, metavar="RUN...")
    output: str = _path("beside the first RUN", "Where the plot goes.", "--output", "-o", metavar="PATH", parse=_local)

    def go(self) -> None:
        """Says the one and writes the other."""
        from train.compare import compare

        compare(self.runs, self.output, say)


@_add
@dataclass(frozen=True)
class Sample(Checked):
    """Write faces that a GAN makes up, as PNG files or as one grid."""

    run: str = _run()
    count: int = _number(64, "How many.", low=1)
    seed: int = _number(0, "The same seed gives the same faces.")
    truncation: float = _number(0.0, "Latents no farther out than this: nearer 0, better and more alike.", shown="0: none", high=1e6, metavar="F")
    grid: bool = option(False, "All in one picture.", "Samples")
    label: int = _number(-1, "Faces of this label alone (class-conditional runs).", shown="all")
    output: str = _output(parse=_local)
    checkpoint: str = _checkpoint("last")

    def go(self) -> None:
        """Writes them."""
        start.opened(self.run, "gan", self.checkpoint)
        from train.gan.sampling import sample

        wanted = {"count": self.count, "seed": self.seed, "truncation": self.truncation, "grid": self.grid}
        label = None if self.label < 0 else self.label
        _tell_files(sample(self.run, label=label, output=self.output, checkpoint=self.checkpoint, **wanted))


@_add
@dataclass(frozen=True)
class Interpolate(Checked):
    """Write rows of faces that turn from one made-up person into another."""

    run: str = _run()
    steps: int = _number(8, "Pictures from one face to the next.", low=2)
    count: int = _number(4, "Rows.", low=1)
    seed: int = _number(0, "The same seed gives the same faces.")
    truncation: float = _number(0.0, "Latents no farther out than this.", shown="0: none", high=1e6, metavar="F")
    output: str = _output(parse=_local)
    checkpoint: str = _checkpoint("last")

    def go(self) -> None:
        """Writes them."""
        start.opened(self.run, "gan", self.checkpoint)
        from train.gan.sampling import interpolate

        wanted = {"steps": self.steps, "count": self.count, "seed": self.seed, "truncation": self.truncation}
        _tell_files(interpolate(self.run, output=self.output, checkpoint=self.checkpoint, **wanted))


def _tell_files(paths: list[Any]) -> None:
    say(str(paths[0]) if len(paths) == 1 else f"{len(paths):,} files in {paths[0].parent}")


@_add
@dataclass(frozen=True)
class Reconstruct(Checked):
    """Find the faces in photographs and draw each from the front: as an autoencoder sees it, or turned in 3D.

    RUN is the folder that training wrote, or `mesh`: without any learning a generic head is laid onto each face and
    turned to the front, the side that the photograph hides being the other one's mirror image.
    """

    run: str = _run("The folder that training wrote, or `mesh`.")
    images: tuple[str, ...] = option(None, "Photographs of people.", "Input", argument=True, metavar="IMAGE...")
    output: str = _output("Where they go.", _local, "in RUN, or ./mesh")
    checkpoint: str = _checkpoint("best")

    def go(self) -> None:
        """Writes them."""
        run = None if self.run == MESH else start.opened(self.run, "autoencoder", self.checkpoint)
        if not run and self.checkpoint != "best":
            raise UsageError("--checkpoint: mesh has learned nothing; leave it out")
        for path in self.images:
            if not os.path.isfile(path):
                raise InputError(f"{path} is no file; give photographs")
        if run:
            start.choose(run)
        from train.reconstruction import reconstruct

        output = self.output or (f"{self.run}/reconstructions" if run else MESH)
        reconstruct(run, list(self.images), output, self.checkpoint, say)


@_add
@dataclass(frozen=True)
class Fingerprint(Checked):
    """Encode every usable face to its latent vector: a Parquet file with key, identity, yaw and fingerprint."""

    run: str = _run()
    faces: str = _path("faces in the workspace", "What `facepipe extract` wrote.")
    shards: str = _path("none", "Pairs to encode instead, all subsets.")
    output: str = _output("Where it goes; also to an object store.")
    checkpoint: str = _checkpoint("best")
    data: str = _path("the run's", "The workspace.", envvar="FACEPIPE_DATA")

    def go(self) -> None:
        """Writes them."""
        if self.faces and self.shards:
            raise UsageError("--faces and --shards are two sources; give one of them")
        opened = start.opened(self.run, "autoencoder", self.checkpoint)
        source = self.faces or place(self.data or start.workspace(opened)).join("faces").uri
        if self.shards:
            from train.shards import find_shards

            find_shards(self.shards, "pairs")
        else:
            facepipe.open_faces(source)
        start.choose(opened)
        from train.apply import write_fingerprints

        output = self.output or f"{self.run}/fingerprints.parquet"
        write_fingerprints(opened, source, self.shards, output, self.checkpoint, say)


@_add
@dataclass(frozen=True)
class Export(Checked):
    """Write the model for use elsewhere, and check the file by running it on one batch."""

    run: str = _run()
    format: str = option("keras", "keras, saved-model, tflite or onnx.", "Input", metavar="NAME")
    output: str = _output(parse=_local)
    checkpoint: str = _checkpoint("best")

    def go(self) -> None:
        """Writes it."""
        from train.files import target_of

        opened = start.opened(self.run, checkpoint=self.checkpoint)
        target_of(opened.folder, self.format, self.output)
        start.choose(opened, "" if self.format == "keras" else "tensorflow")
        from train.export import export

        export(opened, self.format, self.output, self.checkpoint, say)
# fmt: on


def main() -> None:
    """Runs a command; a known error becomes one line and its exit code, an interruption 130."""
    kept = "; every finished epoch is kept: the same command with --resume goes on"
    end_when_interrupted("interrupted" + kept * (any(name in sys.argv[1:2] for name in COMMANDS)))
    run_app(app, nullcontext)


if __name__ == "__main__":
    main()
