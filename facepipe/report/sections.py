"""What the page tells, in the order it tells it: plain values for the template."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import SUBSETS
from facepipe.execution.progress import format_duration
from facepipe.records import Status
from facepipe.stages.leftout import Why
from facepipe.text import counted

if TYPE_CHECKING:
    from facepipe.report.people import People
    from facepipe.report.readings import Readings
    from facepipe.stages.faces import Missing

# Meaning, and what to do about it.
_STATUSES = {
    Status.OK: ("the identity's face was found", "These go on."),
    Status.OTHER_FACE: (
        "another face in a picture that has the identity's",
        "Nothing to do; `--face all` keeps every face.",
    ),
    Status.NO_FACE: ("no face was found", "Look whether there is one; if it is small, try `--min-face 20`."),
    Status.SMALL_FACE: ("the face is smaller than `--min-face`", "Lower `--min-face`, at the price of blurred crops."),
    Status.LOW_SCORE: ("the detector was not sure enough", "Lower `--min-score` if these are faces."),
    Status.READ_ERROR: ("the file could not be opened", "Look at the sentence beside each; mend the files, run again."),
    Status.DECODE_ERROR: (
        "the file is no whole picture",
        "Look at the sentence beside each; fetch damaged files anew.",
    ),
    Status.TOO_LARGE: ("more pixels than `--max-pixels`", "Raise `--max-pixels` if they are meant."),
    Status.TIMEOUT: ("took longer than `--timeout`", "Raise `--timeout`, or look what is wrong with the file."),
    Status.WORKER_CRASH: ("a decoder or network crashed on it", "Fetch the file anew; if it stays, please report it."),
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A line of a bar chart. share: 0..1 of the longest; 0: a number without a bar."""

    label: str
    value: str
    share: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One status. share: of the inputs, 0..1; None for faces beside the identity's. command: prints every row of it."""

    status: str
    count: int
    share: float | None
    meaning: str
    advice: str
    command: str


@dataclass(frozen=True, slots=True)
class StageTimes:
    """How long a stage took. told: in a line. steps: the longest first."""

    stage: str
    told: str
    steps: list[Bar]


def tell_verdict(readings: Readings, people: People) -> str:
    """`1,009 of 1,012 usable; 6 people to look at`."""
    counts = readings.counts("extract")
    inputs = sum(counts.values()) - counts.get(Status.OTHER_FACE, 0)
    looked = int((people.doubt > 0).sum())
    to_look = f"{counted(looked, 'person', 'people')} to look at" if looked else "nobody to look at"
    return f"{counts.get(Status.OK, 0):,} of {inputs:,} usable; {to_look}"


def make_funnel(readings: Readings, people: People) -> list[Bar]:
    """From files to training examples."""
    run, counts = readings.runs["extract"], readings.counts("extract")
    pairs = sum(n for name, n in readings.counts("split").items() if name.endswith(" pairs"))
    targets = sum(bool(row["target_key"]) for row in people.targets)
    of_files = f"of {counted(run['images'], 'file')}" if run.get("images") else ""
    duplicates = readings.counts("split").get("duplicates left out", 0)
    steps = [
        ("pictures and frames seen", sum(counts.values()) - counts.get(Status.OTHER_FACE, 0), of_files),
        ("with the identity's face", counts.get(Status.OK, 0), _faces_note(readings, people)),
        ("pairs of feature and target", pairs, _pairs_note(readings, targets, len(people.targets), duplicates)),
    ]
    longest = max(count for _, count, _ in steps) or 1
    funnel = [Bar(label, f"{count:,}", count / longest, note) for label, count, note in steps if count]
    # Copies with noise are many times as many: beside the others' bars theirs would say nothing.
    shards = [
        ("pairs in the shards", "shard pairs", "copies with noise counted"),
        ("single faces in the shards", "shard faces", ""),
    ]
    written = [(label, sum(readings.counts(stage).values()), note) for label, stage, note in shards]
    return funnel + [Bar(label, f"{count:,}", 0, note) for label, count, note in written if count]


def _faces_note(readings: Readings, people: People) -> str:
    """How many usable faces can't be targets, for their pose is not known, and how many go nowhere."""
    unknown = int(np.isnan(people.numbers["angle"]).sum())
    told = [f"{unknown:,} of unknown pose, which can't be targets"] if unknown else []
    return "; ".join(told + _left_out_note(readings, "select"))


def _left_out_note(readings: Readings, stage: str) -> list[str]:
    left_out = readings.runs.get(stage, {}).get("left_out", {})
    reasons = ", ".join(f"{count:,} {Why(why).told}" for why, count in left_out.items())
    return [f"{sum(left_out.values()):,} left out: {reasons}"] if left_out else []


def _pairs_note(readings: Readings, targets: int, everyone: int, duplicates: int) -> str:
    """Why there are fewer pairs than faces."""
    told = (
        [f"{targets:,} of {everyone:,} identities have a target (targets are not counted as features)"]
        if everyone
        else []
    )
    told += [f"{duplicates:,} duplicates left out"] if duplicates else []
    return "; ".join(told + _left_out_note(readings, "split"))


def tell_missing(missing: Missing) -> str:
    """That parts of the faces are not there; empty where all are."""
    if not missing.missing:
        return ""
    return (
        f"{missing.missing:,} of the {missing.count:,} parts of the faces are not there yet. Everything here is of the "
        "others: let extract finish and write the report again."
    )


def list_statuses(readings: Readings) -> list[StatusLine]:
    """Every status that came up, the most frequent first; last the faces beside the identity's, which are no inputs."""
    counts = {name: n for name, n in readings.counts("extract").items() if n and name in set(Status)}
    inputs = sum(counts.values()) - counts.get(Status.OTHER_FACE, 0)
    ordered = sorted(counts.items(), key=lambda item: (item[0] == Status.OTHER_FACE, -item[1], item[0]))
    return [
        StatusLine(
            status=name,
            count=n,
            share=None if name == Status.OTHER_FACE else n / inputs,
            meaning=_STATUSES[Status(name)][0],
            advice=_STATUSES[Status(name)][1],
            command=shlex.join(["facepipe", "list", "--data", readings.data, "--status", name]),
        )
        for name, n in ordered
    ]


def list_subsets(readings: Readings) -> list[dict[str, Any]]:
    """People, pairs and examples of every subset."""
    identities = readings.runs.get("split", {}).get("identities", {})
    rows = []
    for subset in SUBSETS:
        row = {
            "subset": subset,
            "people": int(identities.get(subset, 0)),
            "pairs": readings.counts("split").get(f"{subset} pairs", 0),
            "pair_examples": readings.counts("shard pairs").get(subset, 0),
            "face_examples": readings.counts("shard faces").get(subset, 0),
        }
        if any(row[name] for name in row if name != "subset"):
            rows.append(row)
    return rows


def list_times(readings: Readings) -> list[StageTimes]:
    """Every stage that has run."""
    found = []
    for stage, run in readings.runs.items():
        steps = {name: float(seconds) for name, seconds in run.get("steps_s", {}).items() if seconds}
        total = sum(steps.values())
        bars = [
            Bar(name, f"{100 * seconds / total:.0f} %", seconds / max(steps.values()))
            for name, seconds in sorted(steps.items(), key=lambda item: -item[1])[:8]
        ]
        if bars:
            found.append(StageTimes(stage, _tell_times(run), bars))
    return found


def _tell_times(run: dict[str, Any]) -> str:
    told = [format_duration(run["wall_s"])] if run.get("wall_s") else []
    told += [f"{run['images_per_second']:,.1f} images a second"] if run.get("images_per_second") else []
    told += [f"{run['examples_per_second']:,.1f} examples a second"] if run.get("examples_per_second") else []
    if run.get("shares"):
        told.append(f"{run['shares']} shares, as if one after the other")
    elif run.get("machine"):
        told.append(f"{run['workers']} worker{'s' * (run['workers'] != 1)} on {run['machine']}")
    return "; ".join(told)


def list_settings(readings: Readings) -> list[tuple[str, list[tuple[str, str]]]]:
    """The settings of every stage that has run."""
    return [
        (stage, [(name, _show(value)) for name, value in run["settings"].items()])
        for stage, run in readings.runs.items()
        if run.get("settings")
    ]


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return "none" if value in ("", None) else str(value)


def list_versions(extract: dict[str, Any]) -> str:
    """Versions in a line."""
    return ", ".join(f"{name} {version}" for name, version in extract.get("versions", {}).items())
