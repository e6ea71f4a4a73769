"""The numbers behind the page: counts from the stages' `run.json`, distributions from a sample of the faces."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import InputError
from facepipe.records import Status
from facepipe.report.people import read_targets
from facepipe.stages.faces import Missing, find_missing
from facepipe.stages.runfile import read_run_file
from facepipe.storage import parquet, place, tables
from facepipe.storage.settings import settings_or_none

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facepipe.storage import Place

SAMPLE_ROWS = 100_000
"""Distributions of larger sets come from about so many rows, in whole parts at even distances."""
_EXAMPLES = 8
_NUMBERS = ("score", "yaw", "pitch", "frontal_angle", "pose_error", "sharpness")
_COLUMNS = ("key", "path", "status", "error", "bbox", *_NUMBERS)


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a status. part, row: the file in `faces`, and where in it."""

    key: str
    path: str
    error: str
    part: str
    row: int


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of some parts, for the distributions.

    rows, parts: how many were read. all_parts: how many there are. numbers: by column, plus `face_size` (the box's
    longer side, px), each (n,) float32 over the `ok` rows, NaN where unknown. counts: rows by status. examples: some
    rows of each status.
    """

    rows: int
    parts: int
    all_parts: int
    numbers: dict[str, NDArray[np.float32]]
    counts: dict[str, int]
    examples: dict[str, list[Example]]

    @property
    def is_whole(self) -> bool:
        """Whether every part was read."""
        return self.parts == self.all_parts


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What is known of a workspace.

    runs: each stage's `run.json` by `extract`, `select`, `split`, `shard pairs`, `shard faces`; stages that have not
    run are missing. finished_s: (n,) when each part was finished, s after the first, where the disk tells. targets: the
    rows of `targets.parquet`. missing: the parts of the faces that are not there.
    """

    data: str
    runs: dict[str, dict[str, Any]]
    sample: Sample
    finished_s: NDArray[np.float64]
    targets: list[dict[str, Any]] = field(default_factory=list)
    missing: Missing = field(default_factory=lambda: Missing(0, 0))

    def counts(self, stage: str) -> dict[str, int]:
        """A stage's counts; empty where it has not run."""
        return dict(self.runs.get(stage, {}).get("counts", {}))


_RUN_FILES = {
    "extract": ("faces",),
    "select": ("targets",),
    "split": ("pairs",),
    "shard pairs": ("shards", "pairs", "1.0.0"),
    "shard faces": ("shards", "faces", "1.0.0"),
}


def read_workspace(data: str) -> Readings:
    """Everything the page tells in numbers.

    Raises:
        InputError: there are no faces.
        DamagedFile: a file does not read back.
    """
    workspace = place(data)
    faces = workspace.join("faces")
    if not faces.exists() or not parquet.parts_there(faces):
        raise InputError(f"{faces} holds no faces; run `facepipe extract` first, or give another --data")
    runs = {stage: run for stage, folders in _RUN_FILES.items() if (run := read_run_file(workspace.join(*folders)))}
    sample = _read_sample(faces)
    settings = settings_or_none(faces) or {}
    missing = find_missing(faces)
    if missing.missing or runs.get("extract", {}).get("plan") != settings.get("plan"):
        runs.pop("extract", None)  # it was written when there was less to do
    if "extract" not in runs:
        runs["extract"] = {
            "images": settings.get("images", 0),
            "counts": _count(faces, sample),
        }
    return Readings(data, runs, sample, _finish_times(faces), read_targets(workspace), missing)


def _count(faces: Place, sample: Sample) -> dict[str, int]:
    """Rows of all parts by status."""
    if sample.is_whole:
        return sample.counts
    counts: Counter[str] = Counter()
    for _, table in parquet.iterate_parts(faces, ["status"], parquet.parts_there(faces)):
        counts.update(table.column("status").to_pylist())
    return dict(counts)


def _finish_times(faces: Place) -> NDArray[np.float64]:
    """From the files' times, which are those of the run unless they were copied since; none on an object store."""
    if not faces.is_local:
        return np.empty(0)
    names = parquet.parts_there(faces)
    times = np.sort(np.array([os.stat(faces.local_path(name)).st_mtime for name in names], dtype=np.float64))
    return np.asarray(times - times[0])


def _sampled(faces: Place) -> tuple[list[str], int]:
    """The parts to read, and how many there are."""
    parts = parquet.parts_there(faces)
    typical = max(sum(parquet.count_rows(faces, parts[len(parts) // 2])), 1)
    wanted = max(SAMPLE_ROWS // typical, 1)
    if wanted >= len(parts):
        return parts, len(parts)
    return [parts[int(at)] for at in np.linspace(0, len(parts) - 1, wanted)], len(parts)


def _read_sample(faces: Place) -> Sample:
    chosen, all_parts = _sampled(faces)
    numbers: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*_NUMBERS, "face_size")}
    examples: dict[str, list[Example]] = {}
    rows, counts = 0, Counter[str]()
    for part in chosen:
        table = parquet.read_table(faces, part, _COLUMNS)
        rows += table.num_rows
        status, known = tables.codes(table, "status")
        for name, values in _measure(table, status, known):
            numbers[name].append(values)
        for number, name in enumerate(known):
            counts[name] += int((status == number).sum())
            _note_examples(examples.setdefault(name, []), table, np.flatnonzero(status == number), part)
    joined = {name: np.concatenate(parts) for name, parts in numbers.items()}
    return Sample(rows, len(chosen), all_parts, joined, dict(counts), examples)


def _measure(
    table: parquet.Table, status: NDArray[np.int64], known: list[str]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    ok = np.flatnonzero(status == known.index(Status.OK)) if Status.OK in known else np.empty(0, np.int64)
    usable = tables.take(table, ok)
    for name in _NUMBERS:
        yield name, tables.numbers(usable, name).astype(np.float32)
    box = tables.lists(usable, "bbox", 4)
    yield "face_size", np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])


def _note_examples(kept: list[Example], table: parquet.Table, rows: NDArray[np.int64], part: str) -> None:
    for row in rows[: _EXAMPLES - len(kept)].tolist():
        key, path, error = (table.column(name)[row].as_py() for name in ("key", "path", "error"))
        kept.append(Example(key, path, error or "", part, row))
