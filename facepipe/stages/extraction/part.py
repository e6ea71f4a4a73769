"""Makes one part of `faces`: a pure function of its sources and the settings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.execution import PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.inputs.plan import read_part
from facepipe.stages.extraction.rows import PartExtractor
from facepipe.storage import parquet, place
from facepipe.storage.partlist import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from facepipe.config import ExtractConfig
    from facepipe.execution import Guard
    from facepipe.records import FaceRow


@dataclass(frozen=True)
class ExtractJob:
    """Part number -> the part's file. Small and picklable: what a worker reads stands in the plan."""

    config: ExtractConfig
    settings_hash: str

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Makes part `number` and writes it whole; `guard` is told of every file before it is touched."""
        watch = Stopwatch()
        out = place(self.config.output)
        watch.turn_to("plan")
        sources, name = read_part(out, number, self.settings_hash)
        watch.turn_to("")  # loading the networks, once a process, is no step of an image's
        extractor = PartExtractor(self.config, guard, watch)
        counts: Counter[str] = Counter()

        def counted() -> Iterator[FaceRow]:
            for row in extractor.rows(sources):
                counts[row.status] += 1
                counts[IMAGES] += row.face_index <= 0  # one row of each picture or frame is
                yield row

        def during(step: str) -> AbstractContextManager[None]:
            guard.off()
            return watch.step(step)

        digest = parquet.write_faces(out, name, counted(), during)
        return PartReport(counts=dict(counts), steps_s=dict(watch.seconds), items=len(sources), files={name: digest})
