"""What a command prints at its end."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from facepipe.execution.progress import format_duration, say
from facepipe.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.records import StageReport
    from facepipe.stages.bench import Bench


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [f"  {name:<{width}}  {value}" for name, value in rows]


def print_report(report: StageReport) -> None:
    """Counts, speed, what to know, and where the results are."""
    rows = [(name, f"{n:,}") for name, n in report.counts.items()]
    rows += [(name, where) for name, where in report.outputs.items()]
    there = "was" if report.done_before == 1 else "were"
    before = f", {report.done_before:,} of its files {there} there already" if report.done_before else ""
    head = f"{report.stage}: {format_duration(report.wall_s)}{before}"
    say(head, *_table(rows), *(f"  {note}" for note in report.notes), event="report", **asdict(report))


def print_problems(root: str, problems: Sequence[Any]) -> None:
    """The list that `verify` gives, a line each."""
    for problem in problems:
        say(str(problem), event="problem", **asdict(problem))
    many = counted(len(problems), "problem")
    say(f"{root}: {many}" if problems else f"{root}: everything is as it should be")


def print_bench(bench: Bench, count: int) -> None:
    """Rate, time by step, and what a set of `count` images will take."""
    warning = f"; {bench.seconds:.2g} s of work give a rough rate" if bench.is_rough else ""
    rows = [
        ("images", f"{bench.images:,} at {bench.workers} workers{warning}"),
        ("rate", f"{bench.rate:,.1f} images a second, {bench.rate / bench.workers:,.1f} a worker"),
        ("start", f"{bench.start_s:.1f} s, once"),
    ]
    if bench.failed:
        rows.insert(1, ("failed", ", ".join(f"{n:,} {name}" for name, n in bench.failed.items())))
    total = sum(bench.steps_s.values()) or 1.0
    done = sum(bench.counts.values()) or 1
    for step, seconds in sorted(bench.steps_s.items(), key=lambda item: -item[1]):
        rows.append((f"  {step}", f"{1000 * seconds / done:6.2f} ms an image, {100 * seconds / total:3.0f} %"))
    rows.append((f"{count:,} images", f"{format_duration(count / bench.rate)} on this machine (extrapolated)"))
    facts: dict[str, Any] = {"rate": bench.rate, "count": count, "seconds_for_count": count / bench.rate}
    say(*_table(rows), event="bench", **asdict(bench), **facts)


def print_versions() -> None:
    """What decides results, for a report of something wrong: facepipe's version first, alone on its line."""
    from facepipe import __version__
    from facepipe.stages.runfile import machine, versions

    print(__version__)
    print(*_table([*versions().items(), ("machine", machine())]), sep="\n")


def print_demo(folder: str) -> None:
    """How closely the demo's estimated pose follows the turns, and what to look at."""
    from facepipe.config import join
    from facepipe.report.contact_sheet import write_contact_sheet
    from facepipe.stages.demo import compare_with_truth

    figures = compare_with_truth(join(folder, "faces"), join(folder, "truth.csv"))
    first, *others = figures.sentences()
    say(f"demo: {first}", *(f"      {sentence}" for sentence in others))
    sheet = join(folder, "contact_sheet.png")
    rows = write_contact_sheet(folder, sheet)
    people = f"{rows} {'person' if rows == 1 else 'people'}"
    places = [
        ("look at", f"{sheet}: the chosen frame of {people}, and the others by the way they look"),
        ("photographs", join(folder, "images")),
        ("faces found, with pose", join(folder, "faces")),
        ("training shards", join(folder, "shards")),
        ("a page about it all", f"facepipe report --data {folder}"),
        ("training", f"python -m train autoencoder --data {folder} --preset frontal-1 --epochs 2"),
    ]
    say(*_table(places))
