"""`parts.parquet`: the parts that make up a finished folder of faces, in order, with their counts and checksums."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.errors import DamagedFile
from facepipe.records import FAILED, Status
from facepipe.storage import parquet, tables
from facepipe.storage.checksums import file_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.storage import Place

IMAGES = "images"
"""Among the counts by status: the pictures and frames that the rows are of."""


@dataclass(frozen=True)
class Part:
    """A finished part.

    counts: rows by status. images: pictures and frames that these are of. sha256: hex, the file's.
    """

    name: str
    counts: Counter[str]
    images: int
    sha256: str

    @property
    def failed(self) -> int:
        """How many images could not be read."""
        return sum(self.counts[status] for status in FAILED)


def read_list(folder: Place) -> list[Part]:
    """The parts of a finished folder.

    Raises:
        DamagedFile: there is no list, or it does not read: the folder is not finished.
    """
    rows = parquet.read_table(folder, parquet.PART_LIST, parquet.PARTS.names).to_pylist()
    return [
        Part(row["name"], Counter({s.value: row[s] for s in Status if row[s]}), row["images"], row["sha256"])
        for row in rows
    ]


def write_list(folder: Place, parts: Sequence[Part]) -> str:
    """Says that a folder is finished; gives the list's SHA-256 (hex)."""
    columns = {
        "name": [part.name for part in parts],
        "rows": [part.counts.total() for part in parts],
        "images": [part.images for part in parts],
        "sha256": [part.sha256 for part in parts],
    }
    columns |= {status.value: [part.counts[status] for part in parts] for status in Status}
    return parquet.write_table(folder, parquet.PART_LIST, tables.make_table(parquet.PARTS, columns))


def describe(folder: Place, name: str) -> Part:
    """What a part holds that no list tells of, read through.

    Raises:
        DamagedFile: it is missing, or not as it was written.
    """
    counts: Counter[str] = Counter()
    images = 0
    for table in parquet.iterate_rows(folder, name):
        if table.schema.names != parquet.FACES.names:
            raise DamagedFile(f"{folder}/{name} has other columns than faces have")
        counts.update(table.column("status").to_pylist())
        images += int((table.column("face_index").to_numpy() <= 0).sum())
    return Part(name, counts, images, file_sha256(folder, name))
