"""How many images failed, and whether that is too many: one verdict as parts are made, at the end, and on a rerun."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe import parquet
from facepipe.errors import TooManyFailed
from facepipe.records import FAILED, Status
from facepipe.storage import place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facepipe.config import ExtractConfig
    from facepipe.sources.plan import Plan
    from facepipe.storage import Place


@dataclass(frozen=True)
class PartRows:
    """A part's rows by status, and how many images they are of: a picture has a row for each face in it."""

    counts: Counter[str]
    images: int

    @property
    def failed(self) -> int:
        """How many images could not be read."""
        return sum(self.counts[status] for status in FAILED)


class Tally:
    """What became of the images so far, and of this run's share how many are still to come."""

    def __init__(self, config: ExtractConfig, plan: Plan, missing: Sequence[int]) -> None:
        self._config = config
        self._sizes = plan.groups
        self._films = plan.films()
        self._parts: dict[int, PartRows] = {}
        self._made: set[int] = set()
        self._to_make = set(missing)
        self._waiting = set(missing)
        self._failed = 0
        self._images = sum(self._sizes[number] for number in missing)

    def count(self) -> Counter[str]:
        """Rows by status over all parts."""
        return sum((rows.counts for rows in self._parts.values()), Counter())

    def read(self, out: Place, numbers: Sequence[int]) -> None:
        """Counts the rows of parts that are there; those that were read already are left out."""
        new = [number for number in numbers if number not in self._parts or number in self._made]
        for number, table in parquet.iterate_parts(out, ["status", "face_index"], new):
            faces = table.column("face_index").to_numpy()  # of each picture or frame one row has -1 or 0
            self._add(number, PartRows(Counter(table.column("status").to_pylist()), int((faces <= 0).sum())))
            self._made.discard(number)

    def add_made(self, number: int, counts: Mapping[str, int]) -> None:
        """A part that was made just now, of which only the rows by status are known: its images are at most those."""
        most = sum(n for status, n in counts.items() if status != Status.OTHER_FACE)
        self._add(number, PartRows(Counter(counts), most if self._films[number] else self._sizes[number]))
        self._made.add(number)

    def failed_in(self, numbers: Sequence[int]) -> dict[int, int]:
        """Which of these parts hold images that failed, and how many."""
        return {number: self._parts[number].failed for number in numbers if self._parts[number].failed}

    def reopen(self, number: int) -> None:
        """A part of this share that is to be made again."""
        rows = self._parts.pop(number)
        self._failed -= rows.failed
        self._images += self._sizes[number] - rows.images
        self._waiting.add(number)
        self._to_make.add(number)

    def _add(self, number: int, rows: PartRows) -> None:
        before = self._parts.get(number)
        self._parts[number] = rows
        if not self._config.part_of.owns(number):
            return
        waited = self._sizes[number] if number in self._waiting else 0
        self._waiting.discard(number)
        self._images += rows.images - (before.images if before else waited)
        self._failed += rows.failed - (before.failed if before else 0)

    def refuse_failures(self) -> None:
        """Ends the run where more failed than allowed, whatever becomes of the images that are still to come.

        A film may have any number of frames: while one is to come, nobody knows.

        Raises:
            TooManyFailed: names the first file and why.
        """
        allowed = self._config.max_failed * self._images
        if self._failed > allowed and not any(self._films[number] for number in self._waiting):
            parts = {number: rows for number, rows in self._parts.items() if self._config.part_of.owns(number)}
            counts: Counter[str] = sum((rows.counts for rows in parts.values()), Counter())
            worst = ", ".join(f"{counts[status]:,} {status.value}" for status in sorted(FAILED) if counts[status])
            first = min(number for number, rows in parts.items() if rows.failed)
            raise TooManyFailed(
                f"{self._failed:,} of {self._images:,} images failed ({worst}), more than --max-failed "
                f"{self._config.max_failed:g}; the first: {_first_failed(place(self._config.output), first)}; "
                f"{self._of_before(parts)}`facepipe report` shows them; what is finished is kept"
            )

    def _of_before(self, parts: Mapping[int, PartRows]) -> str:
        """How many images failed in parts that this run found finished."""
        failed = sum(rows.failed for number, rows in parts.items() if number not in self._to_make)
        return f"{failed:,} of them failed in an earlier run: --retry-failed reads them again; " if failed else ""


def _first_failed(out: Place, number: int) -> str:
    table = parquet.read_table(out, parquet.part_name(number), ["path", "status", "error"])
    row = next(row for row in table.to_pylist() if row["status"] in FAILED)
    return f"{row['path']}: {row['error']}"
