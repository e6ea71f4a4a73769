"""The real extract job, with photographs that do to their process what a broken decoder might."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parts_of_text import meet

from facepipe.stages.extraction import rows
from facepipe.stages.extraction.part import ExtractJob

if TYPE_CHECKING:
    from facepipe.execution import Guard, PartReport

MARK = b"MEET:"
"""At the end of a JPEG file, followed by what shall happen: decoders don't read there."""


class MarkedPhoto(rows.Photo):
    """Decodes a photograph as ever, unless it is marked."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        before, mark, what = data.rpartition(MARK)
        if mark:
            meet(what.decode())
        super().__init__(before if mark else data, max_pixels)


@dataclass(frozen=True)
class FatalExtractJob(ExtractJob):
    """Makes parts as `ExtractJob` does."""

    def __call__(self, number: int, guard: Guard) -> PartReport:
        rows.Photo = MarkedPhoto
        return ExtractJob.__call__(self, number, guard)
