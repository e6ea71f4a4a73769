"""The command line: options -> config -> stage -> report and exit code. Stages are imported inside the commands."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Any

import typer

from facepipe.arguments import (
    PATHS,
    CheckedOption,
    DataOption,
    EmbedderOption,
    FingerprintsOption,
    ImagesOption,
    OverridesOption,
    PageOption,
    QuietOption,
    RecipeArgument,
    WorkersOption,
    WorkspaceOption,
    path_parameters,
    stage_parameters,
    with_options,
)
from facepipe.errors import FacepipeError, Interrupted, UsageError
from facepipe.options import EXTRACT, SELECT, SHARD, SPLIT, STAGES, options_of
from facepipe.startup import leave_out_pandas

app = typer.Typer(
    name="facepipe",
    help="Photographs and videos of people in, training sets of faces out: offline, in one pass, on all cores.\n\n"
    "In a folder that holds data/images, `facepipe run` does everything; each step is a command of its own as well: "
    "extract, select, split, shard. Every one can be stopped and started again at any time.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _given(stages: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    return {o.name: given.get(o.name.replace("-", "_")) for o in options_of(*stages)}


def _run_stage(stage: str, given: dict[str, Any]) -> None:
    from facepipe.config import join
    from facepipe.progress import make_progress
    from facepipe.stages import pipeline
    from facepipe.summary import print_report
    from facepipe.workers import interruptible

    paths = {field: given[field] or join(given["data"], folder) for field, (folder, _) in PATHS[stage].items()}
    options = _given((stage,), given)
    if stage == SELECT and not options["overrides"] and not given["input"]:
        options |= pipeline.corrections_of(given["data"])
    config = pipeline.make_config(stage, paths, options)
    with interruptible():
        report = pipeline.run_stage(config, make_progress(quiet=given["quiet"]))
    print_report(report)


@app.command(EXTRACT, short_help="Find the face in every image, where it looks, and cut a crop.")
@with_options([*path_parameters(EXTRACT), *stage_parameters(EXTRACT)])
def extract(**given: Any) -> None:
    """Find the face in every image: where it is, where it looks, and a square crop of it.

    Reads photographs and videos, writes DATA/faces/part-*.parquet: one row a face, and one for each image that gave
    none, with the reason. Stop it at any time; the same command goes on from the last finished part.
    """
    _run_stage(EXTRACT, given)


@app.command(SELECT)
@with_options([*path_parameters(SELECT), *stage_parameters(SELECT)])
def select(**given: Any) -> None:
    """Choose the most frontal frame of every identity.

    Corrections that `facepipe review` wrote to DATA/overrides.csv are honoured. Writes DATA/targets/targets.parquet:
    the choice, the runners-up with their angles, and the reason.
    """
    _run_stage(SELECT, given)


@app.command(SPLIT, short_help="Pair every other frame with its target; split by identity.")
@with_options([*path_parameters(SPLIT), *stage_parameters(SPLIT)])
def split(**given: Any) -> None:
    """Pair every other frame with its identity's target, and keep some identities for validation.

    Writes DATA/pairs/part-*.parquet. No identity is in two subsets, and adding people moves nobody.
    """
    _run_stage(SPLIT, given)


@app.command(SHARD)
@with_options([*path_parameters(SHARD), *stage_parameters(SHARD)])
def shard(**given: Any) -> None:
    """Add noise, shuffle, and write TFRecord shards.

    Writes DATA/shards/pairs/1.0.0 (or faces/1.0.0), which tf.data, tfds and PyTorch read.
    """
    _run_stage(SHARD, given)


@app.command("run", short_help="Do it all, from images to verified shards.")
@with_options(stage_parameters(*STAGES))
def run(
    recipe: RecipeArgument = None, source: ImagesOption = None, workspace: WorkspaceOption = None, **given: Any
) -> None:
    """Do it all: extract, select, split, shard (pairs and single faces), verify.

    RECIPE sets the options of every stage; options on the command line win over it. Shipped recipes: youtube_faces,
    celeba, lfw, vggface2, demo.
    """
    from facepipe.config import join
    from facepipe.progress import make_progress
    from facepipe.recipes import read_recipe
    from facepipe.stages import pipeline
    from facepipe.stages.outcome import tell_outcome
    from facepipe.summary import print_report
    from facepipe.workers import interruptible

    tables = read_recipe(recipe) if recipe else {}
    data, progress = workspace or given["data"], make_progress(quiet=given["quiet"])
    reports = []
    with interruptible():
        for report in pipeline.run_all(
            source or join(given["data"], "images"), data, tables, _given(STAGES, given), progress
        ):
            print_report(report)
            reports.append(report)
    if given["dry_run"]:
        typer.echo(f"{data}: a dry run; nothing was written")
    else:
        typer.echo(f"{data}: {tell_outcome(reports, data)}; `facepipe report --data {data}` shows it")


@app.command("verify", short_help="Check every file that facepipe wrote.")
def verify(folder: CheckedOption = None, data: DataOption = "data", quiet: QuietOption = False) -> None:
    """Open every file that facepipe wrote and check it; exit 1 with the list of what is wrong.

    Checksums, every input accounted for, no identity in two subsets, clean targets, lengths as declared.
    """
    from facepipe.progress import make_progress
    from facepipe.stages import verify as stage
    from facepipe.summary import print_problems
    from facepipe.workers import interruptible

    with interruptible():
        problems = stage.run(folder or data, make_progress(quiet=quiet))
    print_problems(folder or data, problems)
    if problems:
        raise typer.Exit(1)


@app.command("demo", short_help="See it work, on faces that come with it.")
def demo(
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Where the demo goes.")] = "demo-data",
    seed: Annotated[int, typer.Option(help="Seed of the faces that are made.")] = 0,
    identities: Annotated[int, typer.Option(help="How many people.")] = 101,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
) -> None:
    """See it work: make a small data set from embedded faces, run every stage over it, and check the result.

    The faces are turned by known angles, so the demo also says how closely the estimated pose follows the truth.
    """
    from facepipe.progress import make_progress
    from facepipe.stages import pipeline
    from facepipe.summary import print_demo, print_report
    from facepipe.workers import interruptible

    with interruptible():
        for report in pipeline.run_demo(output, seed, identities, workers or 0, make_progress(quiet=quiet)):
            print_report(report)
    print_demo(output)


@app.command("bench", short_help="Time extract on your files and your machine.")
def bench(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder of your own images.")],
    images: Annotated[
        int | None, typer.Option(min=1, help="How many images to time; without it, five seconds' worth.")
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            "--for",
            min=1,
            metavar="N",
            help="Say what this many images will take; unless given, as many as YouTube Faces has frames.",
        ),
    ] = 621_126,
    workers: WorkersOption = None,
) -> None:
    """Time extract on your files and your machine: images a second, time by step, and what a large set will take."""
    from facepipe.stages import bench as stage
    from facepipe.summary import print_bench
    from facepipe.workers import interruptible

    with interruptible():
        print_bench(stage.run(folder, images, workers), count)


@app.command("report", short_help="Write one HTML page that shows what was done.")
def report(
    output: PageOption = None,
    data: DataOption = "data",
    fingerprints: FingerprintsOption = None,
    embedder: EmbedderOption = None,
) -> None:
    """Write one HTML page that shows what the pipeline did: how many, which, how well, and what to look at."""
    from facepipe.config import join
    from facepipe.report import page
    from facepipe.workers import interruptible

    target = output or join(data, "report.html")
    with interruptible():
        page.build(data, target, fingerprints=fingerprints or "", embedder=embedder or "")
    typer.echo(f"report: {target}")


@app.command("review", short_help="Turn your corrections into overrides for select.")
def review(
    corrections: Annotated[str, typer.Argument(metavar="FILE", help="CSV: key, action (drop or target).")],
    output: OverridesOption = None,
    data: DataOption = "data",
) -> None:
    """Check a person's list of corrections against the faces, and write it as overrides for `select --overrides`."""
    from facepipe.stages import review as stage

    typer.echo(stage.run(corrections, data, output or ""))


@app.command("version", short_help="Print the versions.")
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
    """Runs the command line; known errors become one line and their exit code."""
    from facepipe.workers import interruptible

    leave_out_pandas()
    try:
        with interruptible():
            app(standalone_mode=True)
    except Interrupted as error:
        print(f"facepipe: {error or 'stopped'}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # Everything of ours is put away. Exit handlers have nothing to save, and a store's waits for what is under way.
        os._exit(error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped; what is finished is kept, and the same command goes on from there", Interrupted.exit_code)
    except UsageError as error:
        _fail(str(error), error.exit_code)
    except FacepipeError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read the output has left (`| head`): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    finally:
        gc.freeze()  # the process ends here: looking for garbage before would take a tenth of a second


def _fail(message: str, code: int) -> None:
    print(f"facepipe: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


__all__ = ["app", "main"]
