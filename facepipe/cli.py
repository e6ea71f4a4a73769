"""The command line: options -> config -> stage -> report and exit code. Stages are imported inside the commands."""

from __future__ import annotations

import gc
import inspect
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facepipe.arguments import Command, Commands, takes
from facepipe.config import CONFIGS, SELECT, Common, Execution, join, make_config, paths_of
from facepipe.errors import FacepipeError, Interrupted
from facepipe.options import EVERYDAY, options_of
from facepipe.startup import leave_out_pandas

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="facepipe",
    cls=Commands,
    help="Photographs and videos of people in, training sets of faces out: offline, in one pass, on all cores.\n\n"
    "In a directory that holds data/images, `facepipe run` does everything. Each step is a command of its own as well: "
    "extract, select, split, shard. Every command can be interrupted and run again: it goes on where it stopped.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
CommandLineError: Any = typer.BadParameter.__mro__[2]
"""The base of the errors of the library that reads the command line."""


def _option(*names: str, text: str, metavar: str | None = None, group: str = EVERYDAY, **facts: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False, rich_help_panel=group, **facts)


def _path(*names: str, text: str, metavar: str = "DIR", group: str = EVERYDAY) -> Any:
    return _option(*names, text=text, metavar=metavar, group=group)


def _begin(given: dict[str, Any], *kinds: type) -> tuple[Common, Any]:
    """Takes what is common to all commands out of `given`; gives it, and the progress to report to."""
    from facepipe.execution.progress import make_progress

    common = Common(**{name: given.pop(name, None) for name in options_of(Common)})
    progress = make_progress(quiet=common.quiet)
    for one in options_of(*kinds).values():
        if one.retired and given.get(one.field) is not None:
            progress.note(f"--{one.name} has no effect any more: {one.retired}")
    return common, progress


def _run_stage(stage: str, given: dict[str, Any]) -> None:
    from facepipe.execution import interruptible
    from facepipe.stages import pipeline
    from facepipe.summary import print_report

    kind = CONFIGS[stage]
    common, progress = _begin(given, kind)
    options = {name: value for name, value in given.items() if value is not None}
    corrections = pipeline.corrections_of(common.data) if stage == SELECT and "input" not in options else {}
    config = make_config(kind, paths_of(kind, common.data) | corrections | options)
    with interruptible():
        report = pipeline.run_stage(config, progress)
    print_report(report)


def _stage_command(stage: str) -> Callable[..., None]:
    @takes(CONFIGS[stage], Common)
    def command(**given: Any) -> None:
        _run_stage(stage, given)

    return command


for _stage, _kind in CONFIGS.items():
    app.command(_stage, cls=Command, help=inspect.cleandoc(_kind.__doc__ or ""))(_stage_command(_stage))


@app.command(cls=Command)
@takes(*CONFIGS.values(), Common, among_others=True)
def run(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a recipe that is shipped.")
    ] = None,
    source: Annotated[
        str | None, _path("--input", "-i", text="Directory or URI of images and videos. [DATA/images]")
    ] = None,
    workspace: Annotated[str | None, _path("--output", "-o", text="Where everything goes. [DATA]")] = None,
    save_recipe: Annotated[
        str | None, _path(text="Write the settings of this run as a recipe.", metavar="FILE", group="Machine")
    ] = None,
    **given: Any,
) -> None:
    """Do it all, from images to verified shards.

    The same as extract, select, split, shard (pairs and single faces) and verify, one after the other. RECIPE sets the
    options of every stage, and options on the command line win over it. Shipped recipes: youtube_faces, celeba, lfw,
    vggface2, demo.
    """
    from facepipe.execution import interruptible
    from facepipe.execution.progress import say
    from facepipe.recipes import read_recipe
    from facepipe.stages import pipeline
    from facepipe.stages.outcome import tell_outcome
    from facepipe.summary import print_report

    common, progress = _begin(given, *CONFIGS.values())
    data, images, reports = workspace or common.data, source or join(common.data, "images"), []
    tables = read_recipe(recipe) if recipe else {}
    with interruptible():
        for report in pipeline.run_all(images, data, tables, given, progress, save_recipe or ""):
            print_report(report)
            reports.append(report)
    if given["dry_run"]:
        say(f"{data}: a dry run; nothing was written")
    else:
        say(f"{data}: {tell_outcome(reports, data)}; `facepipe report --data {data}` shows it")


@app.command(cls=Command)
@takes(Common)
def verify(
    folder: Annotated[str | None, _path("--input", "-i", text="A workspace or one stage's directory. [DATA]")] = None,
    **given: Any,
) -> None:
    """Check every file that facepipe wrote.

    Checksums, every input accounted for, no identity in two subsets, clean targets, lengths as declared. Lists what is
    wrong and exits with 1; exits with 0 where everything is right.
    """
    from facepipe.execution import interruptible
    from facepipe.stages import verify as stage
    from facepipe.summary import print_problems

    common, progress = _begin(given)
    with interruptible():
        problems = stage.run(folder or common.data, progress)
    print_problems(folder or common.data, problems)
    if problems:
        raise typer.Exit(1)


@app.command(cls=Command)
@takes(Execution, Common, only=("workers", "quiet", "log_format"))
def demo(
    output: Annotated[str, _path("--output", "-o", text="Where the demo goes. [demo-data]")] = "demo-data",
    seed: Annotated[int, _option(text="Seed of the faces that are made. [0]", metavar="N")] = 0,
    identities: Annotated[int, _option(text="Number of people. [101]", metavar="N")] = 101,
    **given: Any,
) -> None:
    """See it work, on faces that come with it.

    Makes a small data set, runs every stage over it, and checks the result. The faces are turned by known angles, so
    the demo also tells how closely the estimated pose follows the truth.
    """
    from facepipe.execution import interruptible
    from facepipe.stages import pipeline
    from facepipe.summary import print_demo, print_report

    _, progress = _begin(given)
    with interruptible():
        for report in pipeline.run_demo(output, seed, identities, given["workers"] or 0, progress):
            print_report(report)
    print_demo(output)


@app.command(cls=Command)
@takes(Execution, Common, only=("workers", "log_format"))
def bench(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A directory of your own images.")],
    images: Annotated[
        int | None, _option(min=1, text="Number of images to time. [five seconds' worth]", metavar="N")
    ] = None,
    count: Annotated[
        int,
        _option(
            "--for", min=1, metavar="N", text="Tell how long N images will take. [621,126, the frames of YouTube Faces]"
        ),
    ] = 621_126,
    **given: Any,
) -> None:
    """Time extract on your files and your machine: images a second, time by step, and what a large set will take."""
    from facepipe.execution import interruptible
    from facepipe.stages import bench as stage
    from facepipe.summary import print_bench

    with interruptible():
        print_bench(stage.run(folder, images, given["workers"]), count)


@app.command(cls=Command)
@takes(Common, only=("data", "log_format"))
def report(
    output: Annotated[str | None, _path("--output", "-o", text="The page. [DATA/report.html]", metavar="FILE")] = None,
    embeddings: Annotated[
        str | None,
        _path(
            "--embeddings",
            "--fingerprints",
            metavar="FILE",
            text="Embeddings of the faces: lists outliers, people who are likely somebody else.",
        ),
    ] = None,
    embedder: Annotated[
        str | None, _path(metavar="MODEL.onnx", text="The same, by a face embedding network of yours.")
    ] = None,
    **given: Any,
) -> None:
    """Write one HTML page that shows what was done: how many, which, how well, and what to look at."""
    from facepipe.execution import interruptible
    from facepipe.execution.progress import say
    from facepipe.report import page

    common, _ = _begin(given)
    target = output or join(common.data, "report.html")
    with interruptible():
        page.build(common.data, target, fingerprints=embeddings or "", embedder=embedder or "")
    say(f"report: {target}")


@app.command(cls=Command)
@takes(Common, only=("data", "log_format"))
def review(
    corrections: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV with the columns key and action (drop or target).")
    ],
    output: Annotated[
        str | None, _path("--output", "-o", metavar="FILE", text="Where they go. [DATA/overrides.csv]")
    ] = None,
    **given: Any,
) -> None:
    """Turn your corrections into overrides for select.

    Checks a list of corrections against the faces. `facepipe run` and `facepipe select` go by what this writes.
    """
    from facepipe.execution.progress import say
    from facepipe.stages import review as stage

    common, _ = _begin(given)
    say(stage.run(corrections, common.data, output or ""))


@app.command(cls=Command)
def version() -> None:
    """Print the versions of facepipe, Python and the packages that decide results, and the machine."""
    from facepipe.summary import print_versions

    print_versions()


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the versions.")
    ] = False,
) -> None:
    """What is given before a command."""


def main() -> None:
    """Runs the command line; a known error becomes one line and its exit code."""
    from facepipe.execution import interruptible

    leave_out_pandas()
    try:
        with interruptible():
            code = app(standalone_mode=False)
    except Interrupted as error:
        _complain(str(error) or "stopped", error.exit_code)
        sys.stdout.flush()
        # Everything of ours is put away. Exit handlers have nothing to save, and a store's waits for what is under way.
        os._exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = Interrupted.exit_code
        _complain("stopped; what is finished is kept, and the same command goes on from there", code)
    except FacepipeError as error:
        code = error.exit_code
        _complain(str(error), code)
    except CommandLineError as error:
        code = _refuse(error)
    except BrokenPipeError:
        # Whoever read the output has left (`| head`): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    finally:
        gc.freeze()  # the process ends here: looking for garbage before would take a tenth of a second
    sys.exit(code)


def _complain(message: str, code: int) -> None:
    from facepipe.execution.progress import say

    say(f"error: {message}", "error", sys.stderr, message=message, exit_code=code)


def _refuse(error: Any) -> int:
    """A line on what is wrong with the command line, or the help where it is empty; gives the exit code."""
    if not sys.argv[1:]:
        error.show()
    else:
        called = error.ctx.command_path if error.ctx else "facepipe"
        _complain(f"{error.format_message().rstrip('.')}; `{called} --help` lists what there is", error.exit_code)
    return int(error.exit_code)


__all__ = ["app", "main"]
