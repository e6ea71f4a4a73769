"""How many images failed, and whether that is too many: one verdict as parts are made, at the end, and on a rerun."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from facepipe.errors import TooManyFailed
from facepipe.records import FAILED
from facepipe.storage import parquet, place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from facepipe.config import ExtractConfig
    from facepipe.inputs.plan import Plan
    from facepipe.storage.partlist import Part


class Tally:
    """The images of this run's share: how many there are, how many failed, which parts are still to come."""

    def __init__(self, config: ExtractConfig, plan: Plan, kept: Mapping[int, Part], missing: Collection[int]) -> None:
        self._config = config
        self._sizes, self._videos = plan.groups, plan.videos()
        self._kept = dict(kept)
        self._parts = dict(kept)
        self._waiting = set(missing)
        self._images = sum(part.images for part in kept.values()) + sum(self._sizes[number] for number in missing)
        self._failed = sum(part.failed for part in kept.values())

    def add(self, number: int, part: Part) -> None:
        """A part that was made just now."""
        self._waiting.discard(number)
        self._images += part.images - self._sizes[number]
        self._failed += part.failed
        self._parts[number] = part

    def refuse_failures(self) -> None:
        """Ends the run where more failed than allowed, whatever becomes of the images that are still to come.

        A video may have any number of frames: while one is to come, nobody knows.

        Raises:
            TooManyFailed: names the first file and why.
        """
        allowed = self._config.max_failed * self._images
        if self._failed <= allowed or any(self._videos[number] for number in self._waiting):
            return
        counts: Counter[str] = sum((part.counts for part in self._parts.values()), Counter())
        worst = ", ".join(f"{counts[status]:,} {status.value}" for status in sorted(FAILED) if counts[status])
        before = sum(part.failed for part in self._kept.values())
        again = f"{before:,} of them failed in an earlier run: --retry-failed reads them again; " if before else ""
        raise TooManyFailed(
            f"{self._failed:,} of {self._images:,} images failed ({worst}), more than --max-failed "
            f"{self._config.max_failed:g}; the first: {self._first_failed()}; {again}`facepipe report` shows them; "
            "what is finished is kept"
        )

    def _first_failed(self) -> str:
        name = self._parts[min(number for number, part in self._parts.items() if part.failed)].name
        table = parquet.read_table(place(self._config.output), name, ["path", "status", "error"])
        row = next(row for row in table.to_pylist() if row["status"] in FAILED)
        return f"{row['path']}: {row['error']}"
