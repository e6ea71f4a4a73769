"""What is to be read, cut into parts: written beside the output, so that every process reads its part from there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from facepipe.errors import DamagedFile
from facepipe.storage import parquet
from facepipe.storage.schemas import UNKNOWN_SIZE
from facepipe.storage.settings import digest_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from facepipe.records import Source
    from facepipe.storage import Place

PLAN_FILE = "plan.pq"
"""Parquet, but not by its name: it is no part of the rows."""

INPUT_KEYS = ("layout", "parts", "images", "plan")
"""What `settings.json` says of the input: for its readers; images that were added are no change of settings."""


@dataclass(frozen=True)
class Plan:
    """Sources in their one order, cut into parts.

    `names[i]` is the file of part i, named after the settings and all that the part reads: being there is being done.
    """

    table: parquet.Table
    groups: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def hash(self) -> str:
        """One hash over everything."""
        return hashlib.sha256("".join(self.names).encode()).hexdigest()

    def __len__(self) -> int:
        """The number of parts."""
        return len(self.groups)

    @property
    def sources(self) -> int:
        """The number of files to read."""
        return int(self.table.num_rows)

    def videos(self) -> list[int]:
        """How many of each part's files are videos."""
        flags = self.table.column("is_video").to_numpy()
        return [int(part.sum()) for part in np.split(flags, np.cumsum(self.groups)[:-1])]


def make_plan(table: parquet.Table, groups: Sequence[int], decided: str) -> Plan:
    """Cuts a table of the schema PLAN into parts of `groups[i]` rows."""
    starts = accumulate(groups[:-1], initial=0)
    names = [_name_of(table.slice(start, rows), decided) for start, rows in zip(starts, groups, strict=True)]
    return Plan(table, tuple(groups), tuple(names))


def _name_of(table: parquet.Table, decided: str) -> str:
    """The file of a part: a hash of the settings, with the format's version, and of all that the part reads."""
    # Plain Python values: pyarrow's scalars would import pandas, where that is installed, and cost half a second.
    columns = {name: table.column(name).to_pylist() for name in sorted(table.column_names)}
    made_from = f"{decided}\n{columns!r}"
    return f"part-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}.parquet"


def write_plan(place: Place, plan: Plan) -> str:
    """Writes `plan.pq`, a row group a part; gives its SHA-256 (hex)."""
    return parquet.write_table(place, PLAN_FILE, plan.table, plan.groups)


class Changes(NamedTuple):
    """How many files the plan that lies there names; how many a new one leaves out, finds resized, and adds."""

    before: int
    removed: int = 0
    resized: int = 0
    added: int = 0


def changes_since(place: Place, plan: Plan) -> Changes:
    """What a plan changes of the one that lies there."""
    try:
        before = parquet.read_table(place, PLAN_FILE, ["path", "size"])
    except DamagedFile:
        return Changes(plan.sources)
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


def settings_hash(settings: Mapping[str, Any]) -> str:
    """A hash of what decides the rows of a given file."""
    deciding = {name: value for name, value in settings.items() if name not in INPUT_KEYS}
    return digest_settings(deciding)


def planned_names(place: Place, settings: Mapping[str, Any]) -> list[str]:
    """The parts that the plan in a folder comes to with the folder's settings.

    Raises:
        DamagedFile: there is no plan, or it does not read.
    """
    decided = settings_hash(settings)
    with parquet.opened(place, PLAN_FILE) as file:
        return [_name_of(file.read_row_group(group), decided) for group in range(file.num_row_groups)]


def read_part(place: Place, number: int, decided: str) -> tuple[list[Source], str]:
    """The sources of one part, and its file's name."""
    table = parquet.read_table(place, PLAN_FILE, group=number)
    return parquet.table_to_sources(table), _name_of(table, decided)
