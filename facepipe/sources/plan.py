"""What is to be read, cut into parts: written beside the output, so that every process reads its part from there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from facepipe import parquet
from facepipe.checksums import file_sha256
from facepipe.errors import DamagedFile
from facepipe.schemas import UNKNOWN_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.records import Source
    from facepipe.storage import Place

PLAN_FILE = "plan.pq"
"""Parquet, but not by its name: `faces/*.parquet` are rows of one kind, which `datasets` and DuckDB read at once."""
_HASH = "facepipe.plan"


@dataclass(frozen=True)
class Plan:
    """Sources in their one order, cut into parts.

    `fingerprints[i]` is a hash of the settings and of all that part i reads: a part file that carries it is up to date.
    """

    table: parquet.Table
    groups: tuple[int, ...]
    fingerprints: tuple[str, ...]

    @property
    def hash(self) -> str:
        """One hash over everything."""
        return hashlib.sha256("".join(self.fingerprints).encode()).hexdigest()

    def __len__(self) -> int:
        """The number of parts."""
        return len(self.groups)

    @property
    def sources(self) -> int:
        """The number of files to read."""
        return int(self.table.num_rows)

    def films(self) -> list[int]:
        """How many of each part's files are videos."""
        flags = self.table.column("is_video").to_numpy()
        return [int(part.sum()) for part in np.split(flags, np.cumsum(self.groups)[:-1])]


def make_plan(table: parquet.Table, groups: Sequence[int], settings_hash: str) -> Plan:
    """Cuts a table of the schema PLAN into parts of `groups[i]` rows."""
    fingerprints, start = [], 0
    for rows in groups:
        fingerprints.append(fingerprint_of(table.slice(start, rows), settings_hash))
        start += rows
    return Plan(table, tuple(groups), tuple(fingerprints))


def fingerprint_of(table: parquet.Table, settings_hash: str) -> str:
    """A hash of the settings and of all that a part reads."""
    # Plain Python values: pyarrow's scalars would import pandas, where that is installed, and cost half a second.
    columns = {name: table.column(name).to_pylist() for name in sorted(table.column_names)}
    return hashlib.sha256(f"{settings_hash}\n{columns!r}".encode()).hexdigest()[:32]


def write_plan(place: Place, plan: Plan, sha256: str | None, *, same: bool) -> str:
    """Writes `plan.pq`, a row group a part, unless the same one is there; gives what it hashes to.

    Args:
        place: Where.
        plan: What to write.
        sha256: What the one that is there must hash to, where that is known.
        same: Whether that one says the same (`Changes.same`).
    """
    if same and sha256 is not None and file_sha256(place, PLAN_FILE) == sha256:
        return sha256
    return parquet.write_table(place, PLAN_FILE, plan.table, {_HASH: plan.hash}, plan.groups)


def is_plan(place: Place) -> bool:
    """Whether a plan lies there that reads back."""
    return _read_plan(place) is not None


class Changes(NamedTuple):
    """How many files the plan that lies there names; how many a new one leaves out, finds resized, and adds.

    same: both say the same.
    """

    before: int
    removed: int = 0
    resized: int = 0
    added: int = 0
    same: bool = False


def changes_since(place: Place, plan: Plan) -> Changes:
    """What a plan changes of the one that lies there."""
    before = _read_plan(place)
    if before is None:
        return Changes(plan.sources)
    if before.schema.metadata[_HASH.encode()] == plan.hash.encode():
        return Changes(plan.sources, same=True)
    rows = pc.index_in(before.column("path"), value_set=plan.table.column("path"))
    old, new = before.column("size"), plan.table.column("size").take(rows)
    known = pc.and_(pc.not_equal(old, UNKNOWN_SIZE), pc.not_equal(new, UNKNOWN_SIZE))
    resized = pc.sum(pc.and_(known, pc.not_equal(old, new))).as_py() or 0
    gone = before.column("path").filter(pc.is_null(rows)).to_pylist()
    is_new = pc.is_null(pc.index_in(plan.table.column("path"), value_set=before.column("path")))
    added = plan.table.column("path").filter(is_new).to_pylist()
    return Changes(before.num_rows, len(gone) - _folders_among(gone, added), int(resized), len(added))


def _folders_among(gone: list[str], added: list[str]) -> int:
    """How many of the paths are folders of the others: a folder that could not be read was listed by its own name."""
    waiting = set(gone)
    if not waiting:
        return 0
    above = {parent for path in added for parent in accumulate(path.split("/")[:-1], "{}/{}".format)}
    return len(waiting & above)


def _read_plan(place: Place) -> parquet.Table | None:
    """Paths and sizes of the plan that lies there; None where there is none, or a damaged one."""
    try:
        table = parquet.read_table(place, PLAN_FILE, ["path", "size"])
    except DamagedFile:
        return None
    return table if _HASH.encode() in (table.schema.metadata or {}) else None


def read_part(place: Place, number: int, settings_hash: str) -> tuple[list[Source], str]:
    """The sources of one part, and its fingerprint."""
    table = parquet.read_table(place, PLAN_FILE, group=number, held=True)
    return parquet.table_to_sources(table), fingerprint_of(table, settings_hash)
