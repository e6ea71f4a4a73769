"""How fast `extract` is on this machine and these files."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.config import Execution, ExtractConfig
from facepipe.execution.cores import default_workers
from facepipe.execution.progress import QuietProgress
from facepipe.records import FAILED, Status
from facepipe.stages import extract

if TYPE_CHECKING:
    from facepipe.records import StageReport

START_IMAGES = 16
"""A first run over so few images tells what starting costs; it is taken out of the second one's time."""
LONG_ENOUGH_S = 5.0
"""The second run is to take so long: a start takes a second, a tenth more or less."""
ROUGH_S = 1.0
"""Shorter work gives a rough rate."""
MOST_A_PART = 512
"""As `extract` does by default."""


@dataclass(frozen=True)
class Bench:
    """What was measured: images in how many seconds (start taken out), at how many workers, and time by step."""

    images: int
    seconds: float
    workers: int
    start_s: float
    steps_s: dict[str, float]
    counts: dict[str, int]
    """Images by status."""

    @property
    def failed(self) -> dict[str, int]:
        """The images that could not be read, by status: they take other times than photographs do."""
        return {status: n for status, n in self.counts.items() if status in FAILED}

    @property
    def rate(self) -> float:
        """Images a second, all workers together."""
        return self.images / max(self.seconds, 1e-9)

    @property
    def is_rough(self) -> bool:
        """Whether the start, which no two runs take equally long for, is more than a detail."""
        return self.seconds < ROUGH_S


def run(images: str, limit: int | None, workers: int | None) -> Bench:
    """Extracts up to `limit` images of a folder, twice, into a folder that is thrown away.

    Args:
        images: The folder.
        limit: None: as many as take about `LONG_ENOUGH_S`.
        workers: None: one a core.

    Raises:
        FacepipeError: as `extract`.
    """
    used = workers or default_workers()
    few = START_IMAGES * used
    first = _extract(images, few, used)
    many = limit or int(few * LONG_ENOUGH_S / max(_work_s(first, used), 1e-6))
    second = first if few >= many and not limit else _extract(images, many, used)
    return measured(first, second, used)


def measured(first: StageReport, second: StageReport, workers: int) -> Bench:
    """What two runs tell, the first one over few images, the second one over many."""
    counts = _images(second)
    small, large = sum(_images(first).values()), sum(counts.values())
    busy_s = _work_s(second, workers)
    if large <= 2 * small:  # too few to tell the two runs apart: the workers' own clocks must do
        return Bench(large, busy_s, workers, max(second.wall_s - busy_s, 0.0), second.steps_s, counts)
    # No run is faster than its workers' clocks say: where the work is short, the start's ups and downs could say so.
    least_s = busy_s - _work_s(first, workers)
    seconds = max(second.wall_s - first.wall_s, least_s, 1e-3)
    start_s = max(first.wall_s - seconds * small / (large - small), 0.0)
    return Bench(large - small, seconds, workers, start_s, second.steps_s, counts)


def _images(report: StageReport) -> dict[str, int]:
    """By status, without the further faces of a picture."""
    return {status: n for status, n in report.counts.items() if status != Status.OTHER_FACE}


def _work_s(report: StageReport, workers: int) -> float:
    """How long the workers were at it, by their own clocks, were it shared out evenly."""
    return sum(report.steps_s.values()) / workers


def _extract(images: str, limit: int, workers: int) -> StageReport:
    with tempfile.TemporaryDirectory(prefix="facepipe-bench-") as folder:
        config = ExtractConfig(
            input=images,
            output=folder,
            limit=limit,
            part_size=max(min(limit // (4 * workers), MOST_A_PART), 8),
            max_failed=1.0,
            execution=Execution(workers=workers),
        )
        return extract.run(config, QuietProgress())
