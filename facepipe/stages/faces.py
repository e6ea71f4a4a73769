"""The finished faces as the later stages read them; faces that are not finished are refused."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe import parquet, tables
from facepipe.checksums import file_sha256, read_checksums
from facepipe.errors import AS_BEFORE, DamagedFile, Incomplete, InputError
from facepipe.settings import NAME, read_settings
from facepipe.storage import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.storage import Place

_SHARE_FILE = re.compile(r"(?:run\.|checksums-)\d+-of-(\d+)\.\w+")
_NAMED = 5


@dataclass(frozen=True)
class Faces:
    """A finished folder of faces. `hashes[number]` is the SHA-256 (hex) of part `number`."""

    place: Place
    hashes: dict[int, str] = field(repr=False)

    @property
    def digest(self) -> str:
        """One hash over all parts."""
        lines = "".join(f"{number} {self.hashes[number]}\n" for number in sorted(self.hashes))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def parts(self) -> list[int]:
        """The parts' numbers, ascending."""
        return sorted(self.hashes)


def open_faces(uri: str) -> Faces:
    """The faces in a folder.

    Raises:
        InputError: there are none.
        Incomplete: parts are missing; names the machines' shares that make them.
        DamagedFile: `settings.json` says nothing any more.
    """
    folder = place(uri)
    if not folder.exists() or not (folder.exists(NAME) or parquet.list_parts(folder)):
        raise InputError(f"{folder} holds no faces; run `facepipe extract` first, or give the folder that it wrote")
    count = read_settings(folder).get("parts")
    if not isinstance(count, int):
        raise DamagedFile(
            f"{folder}/{NAME} does not say how many parts there are; run `facepipe extract` again {AS_BEFORE}"
        )
    names = [entry.path for entry in folder.list()]
    _refuse_missing(folder, find_missing(names, count))
    known = read_checksums(folder)
    hashes = {number: known.get(name) for name in names if (number := parquet.part_number(name)) is not None}
    return Faces(folder, {n: found or file_sha256(folder, parquet.part_name(n)) for n, found in hashes.items()})


@dataclass(frozen=True)
class Missing:
    """What is not there yet: the parts' `numbers`, of `count`, and the `shares` that make them, such as 3/3.

    shares: empty where the work was not cut into any.
    """

    numbers: list[int]
    count: int
    shares: list[str]


def find_missing(names: Sequence[str], count: int) -> Missing:
    """What a folder of faces lacks.

    Args:
        names: All files there.
        count: How many parts there are to be.
    """
    there = {parquet.part_number(name) for name in names}
    missing = [number for number in range(count) if number not in there]
    shares = max((int(match[1]) for name in names if (match := _SHARE_FILE.fullmatch(name))), default=1)
    owners = sorted({number % shares + 1 for number in missing}) if shares > 1 else []
    return Missing(missing, count, [f"{k}/{shares}" for k in owners])


def _refuse_missing(folder: Place, missing: Missing) -> None:
    if not missing.numbers:
        return
    named = [parquet.part_name(number) for number in missing.numbers[:_NAMED]]
    named += ["..."] * (len(missing.numbers) > _NAMED)
    commands = [f"`facepipe extract --part-of {share}`" for share in missing.shares[:_NAMED]]
    how = f"{' and '.join(commands)} with the options of the other shares"
    raise Incomplete(
        f"{folder} lacks {len(missing.numbers):,} of its {missing.count:,} parts ({', '.join(named)}); run "
        f"{how if commands else f'`facepipe extract` {AS_BEFORE}'} until they are there"
    )


@dataclass(frozen=True, eq=False)
class FaceColumns:
    """Some columns of all parts. part, row: (n,) int32, where each row lies."""

    table: parquet.Table
    part: NDArray[np.int32]
    row: NDArray[np.int32]

    def take(self, rows: NDArray[Any]) -> FaceColumns:
        """Some of the rows."""
        return FaceColumns(tables.take(self.table, rows), self.part[rows], self.row[rows])


def read_columns(faces: Faces, columns: Sequence[str]) -> FaceColumns:
    """Columns of every part, one after the other."""
    read = [table for _, table in parquet.iterate_parts(faces.place, columns, faces.parts)]
    if not read:
        raise InputError(f"{faces.place} holds no faces; run `facepipe extract` first")
    counts = [table.num_rows for table in read]
    part = np.repeat(np.array(faces.parts, dtype=np.int32), counts)
    row = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    return FaceColumns(tables.concatenate(read), part, row)
