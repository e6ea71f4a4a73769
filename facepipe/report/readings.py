"""What the stages noted: their `run.json`, every status with some examples, and who is in which subset."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import SUBSETS
from facepipe.dataset.outliers import judge_faces
from facepipe.errors import InputError
from facepipe.stages.faces import Missing, find_missing
from facepipe.stages.leftout import LEFT_OUT, Why
from facepipe.stages.pairs import SUMMARY, read_summary
from facepipe.stages.runfile import read_run_file
from facepipe.storage import parquet, place, tables
from facepipe.storage.settings import settings_or_empty

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.storage import Place

_EXAMPLES = 6
_TARGET_COLUMNS = ("identity", "video", "target_key", "reason")
_RUN_FILES = {
    "extract": ("faces",),
    "select": ("targets",),
    "split": ("pairs",),
    "shard pairs": ("shards", "pairs", "1.0.0"),
    "shard faces": ("shards", "faces", "1.0.0"),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a status. at: part and row of it in `faces`. box: x1, y1, x2, y2 of the face, px, or empty."""

    key: str
    path: str
    error: str
    at: tuple[int, int]
    box: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Readings:
    """What is known of a workspace.

    runs: each stage's `run.json` by `extract`, `select`, `split`, `shard pairs`, `shard faces`; stages that have not
    run are missing. examples: some rows of each status. subsets: identity -> subset. missing: the parts of the faces
    that are not there.
    """

    data: str
    runs: dict[str, dict[str, Any]]
    examples: dict[str, list[Example]] = field(default_factory=dict)
    subsets: dict[str, str] = field(default_factory=dict)
    missing: Missing = field(default_factory=lambda: Missing(0, 0))

    def counts(self, stage: str) -> dict[str, int]:
        """A stage's counts; empty where it has not run."""
        return dict(self.runs.get(stage, {}).get("counts", {}))


def read_workspace(data: str) -> Readings:
    """What the stages noted.

    Raises:
        InputError: there are no faces.
        DamagedFile: a file does not read back.
    """
    workspace = place(data)
    faces = workspace.join("faces")
    if not faces.exists() or not parquet.parts_there(faces):
        raise InputError(f"{faces} holds no faces; run `facepipe extract` first, or give another --data")
    runs = {stage: run for stage, folders in _RUN_FILES.items() if (run := read_run_file(workspace.join(*folders)))}
    settings, missing = settings_or_empty(faces), find_missing(faces)
    counts, examples = _read_statuses(faces)
    if "extract" not in runs or missing.missing or runs["extract"].get("plan") != settings.get("plan"):
        # There is none, or it was written when there was less to do.
        runs["extract"] = {"images": settings.get("images", 0), "counts": counts}
    return Readings(data, runs, examples, read_subsets(workspace), missing)


def _read_statuses(faces: Place) -> tuple[dict[str, int], dict[str, list[Example]]]:
    """Rows by status, and some of each."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[Example]] = {}
    columns = ("key", "path", "error", "bbox", "status")
    for part, table in parquet.iterate_parts(faces, columns, parquet.parts_there(faces)):
        status, known = tables.codes(table, "status")
        for number, name in enumerate(known):
            rows, some = np.flatnonzero(status == number), examples.setdefault(name, [])
            counts[name] += len(rows)
            for row in rows[: _EXAMPLES - len(some)].tolist():
                key, path, error, box = (table.column(column)[row].as_py() for column in columns[:4])
                some.append(Example(key, path, error or "", (part, row), tuple(box or ())))
    return dict(counts), examples


def read_subsets(workspace: Place) -> dict[str, str]:
    """Identity -> subset, of those in pairs; {} where there are none."""
    pairs = workspace.join("pairs")
    if not pairs.exists(SUMMARY):
        return {}
    identities = read_summary(pairs)["identities"]
    return {name: subset for subset in SUBSETS for name in identities.get(subset, [])}


def read_targets(targets: Place) -> list[dict[str, Any]]:
    """Some columns of `targets.parquet`, nothing where there is none."""
    if not targets.exists("targets.parquet"):
        return []
    rows: list[dict[str, Any]] = parquet.read_table(targets, "targets.parquet", _TARGET_COLUMNS).to_pylist()
    return rows


def read_left_out(targets: Place, keys: parquet.Table) -> dict[int, str]:
    """Row -> the filter that left it out, of the last `select`."""
    if not targets.exists(LEFT_OUT):
        return {}
    table = parquet.read_table(targets, LEFT_OUT, ["key", "reason"])
    rows = tables.find(keys, "key", table.column("key").to_pylist()).tolist()
    reasons = zip(rows, map(Why, table.column("reason").to_pylist()), strict=True)
    return {row: why.told for row, why in reasons if why is not Why.DROPPED}


def read_embeddings(embeddings: Place) -> parquet.Table | None:
    """Key and embedding of every face that `facepipe embed` saw; None where it did not run."""
    names = parquet.parts_there(embeddings) if embeddings.exists() else []
    read = [table for _, table in parquet.iterate_parts(embeddings, ("key", "embedding"), names)]
    return tables.concatenate(read) if read else None


def read_similarity(embeddings: Place, keys: parquet.Table, of: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """How like its person each face is, as `judge_faces` has it; None without embeddings."""
    table = read_embeddings(embeddings)
    if table is None:
        return None
    at = tables.find(table, "key", keys.column("key").to_pylist())
    known = np.flatnonzero(at >= 0)
    found = np.full(len(at), np.nan, np.float32)
    vectors = tables.lists(table, "embedding", 128)[at[known]]
    found[known] = judge_faces(vectors, of[known], int(of.max(initial=-1)) + 1).similarity
    return found
