"""The command line: a class a command. Its fields are its options, its docstring is its help, `go` is what it does."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import typer

from facepipe.cli.arguments import add_command, make_app, run_app
from facepipe.config import (
    CONFIGS,
    EMBED,
    GROUP,
    INPUT,
    OUTPUT,
    SELECT,
    Common,
    EmbedConfig,
    Execution,
    ExtractConfig,
    GroupConfig,
    join,
    make_config,
    paths_of,
)
from facepipe.execution.progress import make_progress, say
from facepipe.execution.startup import leave_out_pandas
from facepipe.options import EVERYDAY, Checked, option, options_of

app = make_app(
    "facepipe",
    "Photographs and videos of people in, training sets of faces out: offline, in one pass, on all cores.\n\n"
    "In a directory that holds data/images, `facepipe run` does everything. Each step is a command of its own as well: "
    "extract, select, split, shard; embed tells whose face each is, group who is on pictures without names. Every command can be interrupted and run again: it goes on where it stopped.",
    print_versions=lambda: Version().go(Common()),
)


def _own(default: Any, text: str, group: str = EVERYDAY, **facts: Any) -> Any:
    """An option of one command alone."""
    return option(default, text, group, **facts)


def _path(shown: str, text: str, names: tuple[str, ...], metavar: str = "DIR") -> Any:
    return _own("", text, names=names, shown=shown, metavar=metavar)


def _workers() -> Any:
    return field(default=Execution(), metadata={"only": ("workers",)})


def _tell_retired(given: dict[str, Any], *kinds: type) -> None:
    for one in options_of(*kinds).values():
        if one.retired and given.get(one.field) is not None:
            say(f"--{one.name} has no effect any more: {one.retired}", event="note", stream=sys.stderr)


def _add_stage(stage: str, kind: Any) -> None:
    def go(common: Common, given: dict[str, Any]) -> None:
        from facepipe.stages import pipeline
        from facepipe.stages.summary import print_report

        _tell_retired(given, kind)
        corrections = pipeline.corrections_of(common.data) if stage == SELECT and not given["input"] else {}
        options = {name: value for name, value in given.items() if value is not None}
        config = make_config(kind, paths_of(kind, common.data) | corrections | options)
        print_report(pipeline.run_stage(config, make_progress(quiet=common.quiet)))

    add_command(app, stage, kind.__doc__, (kind, Common), go)


for _stage, _kind in {**CONFIGS, EMBED: EmbedConfig}.items():
    _add_stage(_stage, _kind)


NOT_OF_GROUP = ("layout", "manifest", "label", "face", "identity", "crop_size", "margin", "align", "part_of")
"""Options of `extract` that say who is on a picture, or what is cut out of it for training."""


def _group(common: Common, given: dict[str, Any]) -> None:
    from facepipe.stages import group
    from facepipe.stages.summary import print_report

    asked = {name: given.pop(name) for name in options_of(GroupConfig)}
    config = make_config(
        GroupConfig, paths_of(GroupConfig, common.data) | {n: v for n, v in asked.items() if v is not None}
    )
    extraction = make_config(ExtractConfig, {**given, "output": join(common.data, "group/faces")})
    for report in group.run(config, extraction, make_progress(quiet=common.quiet)):
        print_report(report)


add_command(app, GROUP, GroupConfig.__doc__, (GroupConfig, ExtractConfig, Common), _group, without=NOT_OF_GROUP)


def _add(*more: type, without: tuple[str, ...] = ()) -> Any:
    """Makes a class a command that also takes the options of `Common` and of `more` classes, less those named."""

    def decorate(kind: Any) -> Any:
        def go(common: Common, given: dict[str, Any]) -> None:
            asked = make_config(kind, {name: given.pop(name) for name in options_of(kind)})
            asked.go(common, *([given] if more else []))

        add_command(app, kind.__name__.lower(), kind.__doc__, (kind, *more, Common), go, without=without)
        return kind

    return decorate


# fmt: off
@_add(*CONFIGS.values(), GroupConfig)
@dataclass(frozen=True)
class Run(Checked):
    """Do it all, from images to verified shards.

    The same as extract, select, split, shard (pairs and single faces) and verify, one after the other. RECIPE sets the
    options of every stage, and options on the command line win over it. Shipped recipes: youtube_faces, celeba, lfw,
    vggface2, demo.
    """

    recipe: str = _own("", "A TOML file, or the name of a shipped recipe.", metavar="RECIPE", argument=True)
    input: str = _path("DATA/images", "Directory or URI of images and videos.", INPUT)
    output: str = _path("DATA", "Where everything goes.", OUTPUT)
    group: bool = _own(False, "The images have no names: find out who is on which first, as `facepipe group` does.")
    save_recipe: str = _own("", "Write the settings of this run as a recipe.", "Machine", metavar="FILE")

    def go(self, common: Common, given: dict[str, Any]) -> None:
        """Runs every stage with the options given."""
        from facepipe.stages import pipeline
        from facepipe.stages.outcome import tell_outcome
        from facepipe.stages.recipes import read_recipe
        from facepipe.stages.summary import print_report

        _tell_retired(given, *CONFIGS.values())
        data, images, reports = self.output or common.data, self.input or join(common.data, "images"), []
        recipe, progress = read_recipe(self.recipe) if self.recipe else {}, make_progress(quiet=common.quiet)
        for report in pipeline.run_all(images, data, recipe, given, progress, self.save_recipe, group=self.group):
            print_report(report)
            reports.append(report)
        if given["dry_run"]:
            say(f"{data}: a dry run; nothing was written")
        else:
            say(f"{data}: {tell_outcome(reports, data)}; `facepipe report --data {data}` shows it")


@_add()
@dataclass(frozen=True)
class Verify(Checked):
    """Check every file that facepipe wrote.

    Checksums, every input accounted for, no identity in two subsets, clean targets, lengths as declared. Lists what is
    wrong and exits with 1; exits with 0 where everything is right.
    """

    input: str = _path("DATA", "A workspace or one stage's directory.", INPUT)

    def go(self, common: Common) -> None:
        """Checks a workspace."""
        from facepipe.stages import verify
        from facepipe.stages.summary import print_problems

        where = self.input or common.data
        problems = verify.run(where, make_progress(quiet=common.quiet))
        print_problems(where, problems)
        if problems:
            raise typer.Exit(1)


@_add(without=("data",))
@dataclass(frozen=True)
class Demo(Checked):
    """See it work, on faces that come with it.

    Unpacks a small data set, runs every stage over it, and checks the result. The faces are turned by known angles, so
    the demo also tells how closely the estimated pose follows the truth.
    """

    output: str = _path("demo-data", "Where the demo goes.", OUTPUT)
    seed: int = _own(0, "Seed of the split and of the noise.", metavar="N")
    identities: int = _own(32, "Number of people, at most 32.", metavar="N")
    execution: Execution = _workers()

    def go(self, common: Common) -> None:
        """Makes the demo's data set."""
        from facepipe.stages import pipeline
        from facepipe.stages.summary import print_demo, print_report

        output, progress = self.output or "demo-data", make_progress(quiet=common.quiet)
        for report in pipeline.run_demo(output, self.seed, self.identities, self.execution.workers, progress):
            print_report(report)
        print_demo(output)


@_add(without=("data", "quiet"))
@dataclass(frozen=True)
class Bench(Checked):
    """Time extract on your files and your machine.

    Tells images a second, the time of every step, and how long a large data set will take.
    """

    folder: str = _own(None, "A directory of your own images.", metavar="DIR", argument=True)
    images: int = _own(0, "Number of images to time.", low=1, shown="five seconds' worth", metavar="N")
    count: int = _own(621_126, "Tell how long N images will take.", low=1, shown="621,126, the frames of YouTube Faces",
                      names=("--for",), metavar="N")
    execution: Execution = _workers()

    def go(self, _common: Common) -> None:
        """Times extract."""
        from facepipe.stages import bench
        from facepipe.stages.summary import print_bench

        print_bench(bench.run(self.folder, self.images or None, self.execution.workers or None), self.count)


@_add(without=("quiet",))
@dataclass(frozen=True)
class Report(Checked):
    """Write one HTML page that shows what was done.

    How many images became how many pairs, why the others did not, the target of every person, and what to look at.
    """

    output: str = _path("DATA/report.html", "The page.", OUTPUT, "FILE")
    embeddings: str = _own("", "Embeddings of the faces: adds outliers, faces that are likely somebody else's.",
                           names=("--embeddings", "--fingerprints"), metavar="FILE")
    embedder: str = _own("", "The same, by a face embedding network of yours.", metavar="MODEL.onnx")

    def go(self, common: Common) -> None:
        """Writes the page."""
        from facepipe.report import page

        target = self.output or join(common.data, "report.html")
        page.build(common.data, target, fingerprints=self.embeddings, embedder=self.embedder)
        say(f"report: {target}")


@_add(without=("quiet",))
@dataclass(frozen=True)
class Review(Checked):
    """Look at everybody in a browser, and correct what is wrong.

    Prints an address of this machine's own that shows every person's faces: take one as the target, drop or keep it, or give it
    to another person, by click or key. Each correction is saved at once; `facepipe select` and `facepipe run` follow them.
    With a FILE, checks corrections written by hand instead.
    """

    corrections: str = _own("", "CSV file with the columns key, action (drop, keep, target or person) and, of a person, identity.", metavar="FILE", argument=True)
    output: str = _path("DATA/overrides.csv", "Where the corrections go.", OUTPUT, "FILE")
    port: int = _own(0, "Port of the address.", low=0, high=65_535, shown="any that is free", metavar="N")
    browser: bool = _own(True, "Open the address in a browser.", negative="--no-browser")
    read_only: bool = _own(False, "Show everybody; correct nothing.")

    def go(self, common: Common) -> None:
        """Serves the pages, or checks a file."""
        if self.corrections:
            from facepipe.stages import review

            say(review.run(self.corrections, common.data, self.output))
            return
        from facepipe.report.server import serve

        output = self.output or join(common.data, "overrides.csv")
        serve(common.data, output, self.port, read_only=self.read_only, open_browser=self.browser)


@_add()
@dataclass(frozen=True)
class List(Checked):
    """List the faces, and the images without one.

    A line each: status, identity, key, and the reason or the pose. Without --status and --identity it lists all.
    """

    input: str = _path("DATA/faces", "What `facepipe extract` wrote.", INPUT)
    status: tuple[str, ...] = _own((), "Only rows of this status, such as no_face, or left out by select or split for this reason, such as guard; may be repeated.", shown="all", metavar="STATUS")
    identity: tuple[str, ...] = _own((), "Only rows of this identity; may be repeated.", shown="all", metavar="NAME")
    format: str = _own("text", "text to read, or csv with every column that holds one value.", choices=("text", "csv"))

    def go(self, common: Common) -> None:
        """Lists rows."""
        from facepipe.stages import listing

        faces, chosen = self.input or join(common.data, "faces"), [join(common.data, at) for at in ("targets", "pairs")]
        listing.run(faces, self.status, self.identity, chosen=chosen, as_csv=self.format == "csv", quiet=common.quiet)


@_add(without=("data", "quiet"))
@dataclass(frozen=True)
class Version(Checked):
    """Print the versions of facepipe and of what its results depend on."""

    def go(self, _common: Common) -> None:
        """Prints them."""
        from facepipe.stages.summary import print_versions

        print_versions()


# fmt: on
def main() -> None:
    """Runs the command line."""
    leave_out_pandas()
    run_app(app)
