"""The command line's options as typer takes them: what both training commands share, and how extra fields are given."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from facepipe.errors import UsageError
from train.config import word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from train.config import TrainConfig

Texts = list[str]
NOT_FIELDS = ("data", "preset", "settings")
"""Options that set no field by their own name."""
SHORT = {"output": "-o", "epochs": "-e"}
DATA = typer.Option(
    "--data", envvar="FACEPIPE_DATA", metavar="DIR", help="The workspace: every default path lies in it."
)
SET = typer.Option("--set", metavar="KEY=VALUE", help="Any other field of the preset; repeatable.", show_default=False)


def _local(path: str) -> str:
    """Refuses a URI, which would become the name of a folder here."""
    if "://" in path:
        raise UsageError(f"--output is {path}; this is written to a local disk: give a folder there")
    return path


def _option(kind: Any, flags: str, metavar: str, text: str, **more: Any) -> Any:
    """The annotation of a parameter; its default is in the text where a user needs to know it."""
    return Annotated[kind, typer.Option(*flags.split(), metavar=metavar, help=text, show_default=False, **more)]


RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The folder that training wrote.", show_default=False)]
ImagesArgument = Annotated[Texts, typer.Argument(metavar="IMAGE...", help="Photographs of people.", show_default=False)]
ShardsOption = _option(str, "--shards", "DIR", "Other shards than those of the run.")
WorkspaceOption = _option(str, "--data", "DIR", "The workspace. [the run's]", envvar="FACEPIPE_DATA")
FacesOption = _option(str, "--faces", "DIR", "What `facepipe extract` wrote. [faces in the workspace]")
PairsOption = _option(str, "--shards", "DIR", "Pairs to encode instead, all subsets.")
SubsetOption = _option(str, "--subset", "NAME", "train, validation or test. [validation]")
CheckpointOption = Annotated[str, typer.Option("--checkpoint", help="best or last.")]
OutputOption = _option(str, "--output -o", "PATH", "Where it goes. [in RUN]", callback=_local)
FileOption = _option(str, "--output -o", "PATH", "Where it goes; also to an object store. [in RUN]")
CountOption = Annotated[int, typer.Option("--count", metavar="N", help="How many.")]
SeedOption = _option(int, "--seed", "N", "The same seed gives the same faces. [0]")
TruncationOption = _option(
    float, "--truncation", "F", "Latents no farther out than this: nearer 0, better and more alike. [0: none]"
)
GridOption = Annotated[bool, typer.Option("--grid", help="All in one picture.")]
StepsOption = _option(int, "--steps", "N", "Pictures from one face to the next. [8]")
LabelOption = _option(int | None, "--label", "N", "Faces of this label alone (class-conditional runs).")
EncoderOption = _option(str, "--encoder", "RUN", "GANs: also measure on features of this autoencoder's encoder.")
InceptionOption = _option(str, "--inception", "PATH", "GANs: also FID, by Inception-v3 as .onnx, .keras or .h5.")
FormatOption = Annotated[str, typer.Option("--format", help="keras, saved-model, tflite or onnx.")]


def told(kind: type[TrainConfig]) -> list[Field[Any]]:
    """The fields that have a line of their own in --help."""
    return [each for each in fields(kind) if each.metadata.get("told")]


def training_options(kind: type[TrainConfig], preset: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command that takes `context` and `**given` an option for each field of `kind` that --help tells of."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(kind)
        every = [
            _parameter("context", typer.Context, None, inspect.Parameter.empty),
            *(
                _training_parameter(each, hints[each.name], preset)
                for each in fields(kind)
                if each.metadata.get("told")
            ),
            _parameter("settings", Texts | None, SET),
            _parameter("data", str, DATA, "data"),
        ]
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in every} | {"return": None}
        return command

    return decorate


def _training_parameter(each: Field[Any], kind: Any, preset: str) -> inspect.Parameter:
    name, text = each.name.replace("_", "-"), each.metadata["told"] + f" [{preset}]" * (each.name == "preset")
    flag = f"--{name}" + f"/--no-{name}" * (kind is bool and not each.metadata["how"])
    metavar = {int: "N", float: "F", bool: None}.get(kind, "DIR" if each.name in {"shards", "output"} else "NAME")
    short = [SHORT[name]] if name in SHORT else []
    declared = typer.Option(flag, *short, help=text, show_default=False, metavar=metavar)
    return _parameter(each.name, kind | None, declared)


def _parameter(name: str, kind: Any, option: Any, default: Any = None) -> inspect.Parameter:
    annotation = kind if option is None else Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def tell_fields(kind: type[TrainConfig], section: str, preset: str) -> str:
    """For the end of a command's help: what a preset says, with the fields that have no row of their own there."""
    from train.presets import preset as table_of

    # Presets differ in these although they have a row; the labels of a GAN's classes are found in the shards.
    of_the_preset = {"epochs", "batch_size", "learning_rate", "loss"}
    shared = {each.name for each in told(kind)} - of_the_preset | {"class_labels"}
    table = table_of(section, preset)
    listed = [
        f"--{field.name.replace('_', '-')}\xa0{word(table.get(field.name, field.default))}"
        for field in fields(kind)
        if field.name not in shared
    ]
    text = f"Values in {preset}, each an option: {', '.join(listed)}."
    # An option and its value stay on one line, and click leaves the lines after \b as they are.
    lines = textwrap.wrap(text, 76, break_on_hyphens=False, break_long_words=False)
    return "\n".join(["\b", *lines]).replace("\xa0", " ")


def extra_fields(words: Sequence[str]) -> list[str]:
    """`--label-smoothing 0.1 --mirror --no-ema=...` -> key=value texts, as `--set` takes them.

    A field that is true or false may stand alone; `--no-` before it makes it false.
    """
    found, waiting = [], list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--"):
            raise typer.BadParameter(f"{word!r} is no option")
        key, equals, value = word[2:].partition("=")
        if not equals and waiting and not waiting[0].startswith("--"):
            value = waiting.pop(0)
        elif not equals:
            value = "false" if key.startswith("no-") else "true"
            key = key.removeprefix("no-")
        found.append(f"{key}={value}")
    return found
