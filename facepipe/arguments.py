"""The command line's options as typer takes them, built from the table in `options.py`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from facepipe.options import EXTRACT, SELECT, SHARD, SPLIT, Option, options_of

if TYPE_CHECKING:
    from collections.abc import Callable

DataOption = Annotated[
    str,
    typer.Option(
        "--data", envvar="FACEPIPE_DATA", metavar="DIR", help="The workspace: every path's default lies in it."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and the summary.")]
PATHS: dict[str, dict[str, tuple[str, str]]] = {
    EXTRACT: {"input": ("images", "Folder or URI of images and videos."), "output": ("faces", "Where the faces go.")},
    SELECT: {"input": ("faces", "What extract wrote."), "output": ("targets", "Where the choice goes.")},
    SPLIT: {
        "faces": ("faces", "What extract wrote."),
        "targets": ("targets", "What select wrote."),
        "output": ("pairs", "Where the pairs go."),
    },
    SHARD: {
        "input": ("pairs", "What split wrote."),
        "faces": ("faces", "What extract wrote."),
        "output": ("shards", "Where the shards go."),
    },
}
"""Stage -> config field -> (its folder in the workspace, help)."""
SHORT = {"input": "-i", "output": "-o"}


def _parameter(name: str, kind: Any, option: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _option_parameter(option: Option, *, hidden: bool) -> inspect.Parameter:
    flag = f"--{option.name}" + (f"/--{option.negative}" if option.negative else "")
    kind = list[str] | None if option.repeatable else option.kind | None
    shown = {"metavar": option.metavar} if option.metavar else {}
    declared = typer.Option(flag, help=option.shown_help, show_default=False, hidden=hidden, **shown)  # type: ignore[arg-type]
    return _parameter(option.name.replace("-", "_"), kind, declared)


def path_parameters(stage: str) -> list[inspect.Parameter]:
    """A stage's inputs and outputs."""
    found = []
    for field, (folder, text) in PATHS[stage].items():
        names = [f"--{field}", *([SHORT[field]] if field in SHORT else [])]
        if field == "faces" and stage == SPLIT:
            names = ["--input", "-i", "--faces"]
        help_text = f"{text} [DATA/{folder}]"
        found.append(
            _parameter(field, str | None, typer.Option(*names, metavar="DIR", help=help_text, show_default=False))
        )
    return found


def with_options(
    parameters: list[inspect.Parameter],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command that takes `**given` the named parameters that typer reads."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        common = [
            _parameter("data", *_unpack(DataOption), "data"),
            _parameter("quiet", *_unpack(QuietOption), default=False),
        ]
        hints = get_type_hints(command, include_extras=True)
        own = [
            p.replace(annotation=hints[p.name])
            for p in inspect.signature(command).parameters.values()
            if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        every = [*own, *parameters, *common]
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in every} | {"return": None}
        return command

    return decorate


def _unpack(annotated: Any) -> tuple[Any, Any]:
    return annotated.__origin__, annotated.__metadata__[0]


def stage_parameters(*stages: str) -> list[inspect.Parameter]:
    """The options of one or more stages; those for a stage alone are understood among several and not shown."""
    return [_option_parameter(option, hidden=option.alone and len(stages) > 1) for option in options_of(*stages)]


def _path(*names: str, help: str, metavar: str = "DIR") -> Any:  # noqa: A002 - typer's own word
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)


RecipeArgument = Annotated[
    str | None, typer.Argument(metavar="RECIPE", help="A TOML file, or a shipped recipe's name.")
]
ImagesOption = Annotated[str | None, _path("--input", "-i", help="Folder or URI of images. [DATA/images]")]
WorkspaceOption = Annotated[str | None, _path("--output", "-o", help="Where everything goes. [DATA]")]
CheckedOption = Annotated[str | None, _path("--input", "-i", help="A workspace or one stage's folder. [DATA]")]
WorkersOption = Annotated[int | None, _path("--workers", metavar="N", help="Processes to use. [the usable cores]")]
PageOption = Annotated[str | None, _path("--output", "-o", metavar="FILE", help="The page. [DATA/report.html]")]
OverridesOption = Annotated[
    str | None, _path("--output", "-o", metavar="FILE", help="The overrides. [DATA/overrides.csv]")
]
FingerprintsOption = Annotated[
    str | None, _path(metavar="FILE", help="Fingerprints by `python -m train fingerprint`: lists likely wrong people.")
]
EmbedderOption = Annotated[str | None, _path(metavar="MODEL.onnx", help="The same by a face embedding model of yours.")]
