"""The real extract job, with photographs that do to their process what a broken decoder might."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parts_of_text import meet

from facepipe.stages.extraction import part

if TYPE_CHECKING:
    from facepipe.execution import Guard, PartReport

MARK = b"MEET:"
"""At the end of a JPEG file, followed by what shall happen: decoders don't read there."""


class MarkedPhoto(part.Photo):
    """Decodes a photograph as ever, unless it is marked."""

    def __init__(self, data: bytes, max_pixels: int) -> None:
        before, mark, what = data.rpartition(MARK)
        if mark:
            meet(what.decode())
        super().__init__(before if mark else data, max_pixels)


@dataclass(frozen=True)
class FatalExtractJob(part.ExtractJob):
    """Makes parts as `ExtractJob` does."""

    def __call__(self, number: int, guard: Guard) -> PartReport:
        part.Photo = MarkedPhoto
        return part.ExtractJob.__call__(self, number, guard)
