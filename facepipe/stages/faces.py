"""The finished faces as the later stages read them; faces that are not finished are refused."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe import parquet, tables
from facepipe.checksums import file_sha256, read_checksums
from facepipe.errors import DamagedFile, Incomplete, InputError
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
    names = [entry.path for entry in folder.list()]
    there = sorted(number for name in names if (number := parquet.part_number(name)) is not None)
    _refuse_missing(folder, names, there)
    known = read_checksums(folder)
    hashes = {number: known.get(parquet.part_name(number)) for number in there}
    return Faces(folder, {n: found or file_sha256(folder, parquet.part_name(n)) for n, found in hashes.items()})


def _refuse_missing(folder: Place, names: Sequence[str], there: Sequence[int]) -> None:
    count = read_settings(folder).get("parts")
    if not isinstance(count, int):
        raise DamagedFile(f"{folder}/{NAME} does not say how many parts there are; run `facepipe extract` again")
    missing = sorted(set(range(count)) - set(there))
    if not missing:
        return
    shares = max((int(match[1]) for name in names if (match := _SHARE_FILE.fullmatch(name))), default=1)
    owners = sorted({number % shares + 1 for number in missing})
    named = ", ".join(parquet.part_name(number) for number in missing[:_NAMED]) + (", ..." * (len(missing) > _NAMED))
    command = " and ".join(f"`facepipe extract --part-of {k}/{shares}`" for k in owners[:_NAMED])
    raise Incomplete(
        f"{folder} lacks {len(missing):,} of its {count:,} parts ({named}); run "
        f"{command if shares > 1 else '`facepipe extract`'} until they are there"
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
