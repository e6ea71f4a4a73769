"""Where the identity of a video was, and whether a picture goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import Box, Image
    from facepipe.stages.extraction.photo import View

CELLS = 8
"""A picture is remembered by the gray of 8x8 cells."""
MAX_CHANGE = 23.0
"""Mean difference of the cells, gray levels, up to which a picture goes on from the one before: so it is in nearly all
steps of the YouTube Faces videos, and with hardly any pair of unrelated portraits (`tests/stages/test_seen.py`)."""
_SAMPLED_PX = 64
MOST_BYTES = 8 * 2**20
"""Of the picture before, kept until the next one."""


@dataclass(slots=True)
class Seen:
    """Where the identity of a video was last, in px of the full-size picture, and what that picture looked like.

    A folder of stills may be a video or an album. In an album the same place is no evidence, so a picture counts as the
    next one only where it has the size of the one before and looks like it.
    """

    box: Box | None = None
    _size: tuple[int, int] = (0, 0)
    _image: Image | None = None

    def note(self, view: View, box: NDArray[np.float32]) -> None:
        """The identity's face is here, px of the view."""
        x1, y1, x2, y2 = view.to_full(box)
        self.box = (x1, y1, x2, y2)
        # Compared only where the next picture leaves a choice: so it is kept as it is, unless it is large.
        self._size, self._image = (view.width, view.height), view.image
        if view.image.nbytes > MOST_BYTES:
            self._image = _sampled(view.image)

    def box_in(self, view: View) -> Box | None:
        """Where the identity was, px of this view; None where that says nothing about this picture."""
        if self.box is None or self._image is None or self._size != (view.width, view.height):
            return None
        change = float(np.abs(_cells_of(view.image) - _cells_of(self._image)).mean())
        return view.to_view(self.box) if change <= MAX_CHANGE else None


def _cells_of(image: Image) -> NDArray[np.float32]:
    """(8, 8) float32, mean gray 0..255."""
    cells = np.asarray(cv2.resize(_sampled(image), (CELLS, CELLS), interpolation=cv2.INTER_AREA))
    return np.asarray(cells.mean(axis=2), np.float32)


def _sampled(image: Image) -> Image:
    """Of a large picture every few pixels do; of what this gave, all."""
    step = max(min(image.shape[:2]) // _SAMPLED_PX, 1)
    return np.ascontiguousarray(image[::step, ::step])
