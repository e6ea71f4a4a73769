"""The finished faces as the later stages read them; faces that are not finished are refused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import AS_BEFORE, DamagedFile, Incomplete, InputError
from facepipe.inputs.plan import planned_names
from facepipe.storage import parquet, place, tables
from facepipe.storage.partlist import Part, read_list
from facepipe.storage.settings import NAME, settings_or_empty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from facepipe.storage import Place

_NAMED = 5
NO_CORRECTIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Faces:
    """A finished folder of faces: its parts, in order."""

    place: Place
    listed: tuple[Part, ...] = field(repr=False)

    @property
    def digest(self) -> str:
        """One hash over all parts."""
        return hashlib.sha256("".join(f"{part.name} {part.sha256}\n" for part in self.listed).encode()).hexdigest()

    @property
    def parts(self) -> range:
        """The parts' places in the order."""
        return range(len(self.listed))

    @property
    def names(self) -> list[str]:
        """The parts' files."""
        return [part.name for part in self.listed]

    def count_rows(self, number: int) -> int:
        """The number of rows of a part."""
        return self.listed[number].counts.total()


def open_faces(uri: str) -> Faces:
    """The faces in a folder.

    Raises:
        InputError: there are none.
        Incomplete: `extract` has not ended, or parts are missing.
    """
    folder = place(uri)
    there = {entry.path for entry in folder.list()} if folder.exists() else set()
    if NAME not in there and not any(map(parquet.is_part, there)):
        raise InputError(f"{folder} holds no faces; run `facepipe extract` first, or give the folder that it wrote")
    again = (
        f"run `facepipe extract` {AS_BEFORE} until all are there (where machines share the work, each its --part-of)"
    )
    if parquet.PART_LIST not in there:
        state = find_missing(folder)
        if not state.missing:
            raise Incomplete(
                f"{folder} has all its parts, but `facepipe extract` failed or was stopped after the last: `facepipe "
                f"list` shows what failed; run it again {AS_BEFORE}, with a larger --max-failed if need be"
            )
        raise Incomplete(f"{folder} has {state.count - state.missing:,} of its {state.count:,} parts; {again}")
    listed = tuple(read_list(folder))
    missing = [part.name for part in listed if part.name not in there]
    if missing:
        named = ", ".join([*missing[:_NAMED], *["..."] * (len(missing) > _NAMED)])
        raise Incomplete(f"{folder} lacks {len(missing):,} of its {len(listed):,} parts ({named}); {again}")
    return Faces(folder, listed)


@dataclass(frozen=True)
class Missing:
    """How many of the parts that there are to be are not there."""

    missing: int
    count: int


def find_missing(folder: Place) -> Missing:
    """What a folder of faces lacks."""
    try:
        names = planned_names(folder, settings_or_empty(folder))
    except DamagedFile:
        names = parquet.part_names(folder)
    there = {entry.path for entry in folder.list()}
    return Missing(len(set(names) - there), len(names))


@dataclass(frozen=True, eq=False)
class FaceColumns:
    """Some columns of all parts. part, row: (n,) int32, where each row lies."""

    table: parquet.Table
    part: NDArray[np.int32]
    row: NDArray[np.int32]

    def take(self, rows: NDArray[Any]) -> FaceColumns:
        """Some of the rows."""
        return FaceColumns(tables.take(self.table, rows), self.part[rows], self.row[rows])


def read_rows(faces: Faces, rows: FaceColumns, columns: Sequence[str]) -> parquet.Table:
    """Other columns of some rows, in their order; only parts that have some of them are read."""
    parts = np.unique(rows.part)
    found = [parquet.read_table(faces.place, faces.names[part], columns) for part in parts.tolist()]
    starts = np.cumsum([0, *(table.num_rows for table in found)])[np.searchsorted(parts, rows.part)]
    return tables.take(tables.concatenate(found), starts + rows.row)


def read_columns(faces: Faces, columns: Sequence[str], people: Mapping[str, str] = NO_CORRECTIONS) -> FaceColumns:
    """Columns of every part, one after the other; the faces with the keys `people` are of the identities it says."""
    read = [table for _, table in parquet.iterate_parts(faces.place, columns, faces.names)]
    if not read:
        raise InputError(f"{faces.place} holds no faces; run `facepipe extract` first")
    counts = [table.num_rows for table in read]
    part = np.repeat(np.arange(len(faces.parts), dtype=np.int32), counts)
    row = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    return FaceColumns(rename(tables.concatenate(read), people), part, row)


def rename(table: parquet.Table, people: Mapping[str, str]) -> parquet.Table:
    """A table of faces in which those with the keys `people` are of the identities it says."""
    if not people:
        return table
    rows = tables.find(table, "key", list(people))
    names = [name for name, row in zip(people.values(), rows.tolist(), strict=True) if row >= 0]
    return tables.replace(table, "identity", rows[rows >= 0], names)
