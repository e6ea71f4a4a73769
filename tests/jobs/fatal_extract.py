"""The real extract job, with photographs that do to their process what a broken decoder might."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parts_of_text import meet

from facepipe.stages.extract_part import ExtractJob
from facepipe.stages.frame import FrameExtractor

if TYPE_CHECKING:
    from facepipe.execution import Guard, PartReport

MARK = b"MEET:"
"""At the end of a JPEG file, followed by what shall happen: decoders don't read there."""

real_still = FrameExtractor.still


def still(self: FrameExtractor, source: object, data: bytes, *rest: object, **named: object) -> object:
    """Decodes a photograph as ever, unless it is marked."""
    before, mark, what = data.rpartition(MARK)
    if mark:
        meet(what.decode())
    return real_still(self, source, before if mark else data, *rest, **named)


@dataclass(frozen=True)
class FatalExtractJob(ExtractJob):
    """Makes parts as `ExtractJob` does."""

    def __call__(self, number: int, guard: Guard) -> PartReport:
        FrameExtractor.still = still
        return ExtractJob.__call__(self, number, guard)
