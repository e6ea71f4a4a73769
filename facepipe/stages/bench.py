"""How fast `extract` is on this machine and these files."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.config import Execution, ExtractConfig
from facepipe.cores import default_workers
from facepipe.progress import QuietProgress
from facepipe.stages import extract

if TYPE_CHECKING:
    from facepipe.records import StageReport

START_IMAGES = 16
"""A first run over so few images tells what starting costs; it is taken out of the second one's time."""


@dataclass(frozen=True)
class Bench:
    """What was measured: images in how many seconds (start taken out), at how many workers, and time by step."""

    images: int
    seconds: float
    workers: int
    start_s: float
    steps_s: dict[str, float]
    counts: dict[str, int]

    @property
    def rate(self) -> float:
        """Images a second, all workers together."""
        return self.images / max(self.seconds, 1e-9)


def run(images: str, limit: int, workers: int | None) -> Bench:
    """Extracts up to `limit` images of a folder, twice, into a folder that is thrown away.

    Raises:
        FacepipeError: as `extract`.
    """
    used = workers or default_workers()
    first = _extract(images, START_IMAGES * used, used)
    second = _extract(images, limit, used)
    small, large = sum(first.counts.values()), sum(second.counts.values())
    if large <= 2 * small:  # too few to tell the two runs apart: the workers' own clocks must do
        busy_s = sum(second.steps_s.values()) / used
        return Bench(large, busy_s, used, max(second.wall_s - busy_s, 0.0), second.steps_s, second.counts)
    seconds = max(second.wall_s - first.wall_s, 1e-3)
    start_s = max(first.wall_s - seconds * small / (large - small), 0.0)
    return Bench(large - small, seconds, used, start_s, second.steps_s, second.counts)


def _extract(images: str, limit: int, workers: int) -> StageReport:
    with tempfile.TemporaryDirectory(prefix="facepipe-bench-") as folder:
        config = ExtractConfig(
            input=images,
            output=folder,
            limit=limit,
            part_size=max(limit // (4 * workers), 8),
            max_failed=1.0,
            execution=Execution(workers=workers),
        )
        return extract.run(config, QuietProgress())
