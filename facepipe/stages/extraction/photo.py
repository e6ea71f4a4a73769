"""A still picture read at the size its faces need, and the arithmetic between that view and the full size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facepipe.media.image import decode, read_header
from facepipe.media.samples import FIRST_TRANSPOSED
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.records import Box, Image

SEEN_PX = 40
"""A detector finds faces of this size however sharp they are; smaller ones are enlarged for it, at more cost than a
stronger reduction saves."""
WHOLE_PX = 4 * SEEN_PX
"""A picture that is a face crop already is searched for faces from a quarter of its side."""
LARGE_PIXELS = 1_500_000
"""Smaller pictures are decoded whole at once: a second decoding would cost more than the first saves."""
REDUCTIONS = (8, 4, 2)
"""What a JPEG decoder gives for less than the whole price."""
ENLARGED = 1.1
"""How far a crop may be enlarged rather than decoding the picture once more, at four times the price."""
PROMINENT = 1 / 20
"""Of a large picture's longer side: a face of this size may well be whom the picture shows."""


class View(NamedTuple):
    """A picture, perhaps reduced and turned: (h, w, 3) uint8 RGB, with the full size (px) that it stands for.

    quarters: how often the picture was turned counter-clockwise by 90 degrees, so that its faces stand upright; width
    and height are those of the turned picture.
    """

    image: Image
    width: int
    height: int
    reduction: int = 1
    quarters: int = 0

    @property
    def scale(self) -> float:
        """Full-size px per px of the view."""
        return float(self.width / self.image.shape[1])

    @property
    def size_in_file(self) -> tuple[int, int]:
        """Width and height, px, of the full-size picture as its file shows it."""
        return (self.height, self.width) if self.quarters % 2 else (self.width, self.height)

    def _ratios(self) -> tuple[float, float]:
        return self.width / self.image.shape[1], self.height / self.image.shape[0]

    def to_full(self, numbers: np.ndarray) -> list[float]:
        """x, y, x, y, ... of the view -> of the full-size picture, still turned as the view is."""
        if self.reduction == 1:
            whole: list[float] = numbers.tolist()
            return whole
        x, y = self._ratios()
        return [value * (y if i % 2 else x) for i, value in enumerate(numbers.tolist())]

    def points_in_file(self, points: np.ndarray) -> list[float]:
        """x, y, x, y, ... of pixels of the view -> of the full-size picture as its file shows it."""
        numbers = self.to_full(points.reshape(-1))
        if not self.quarters:
            return numbers
        return [v for x, y in zip(numbers[::2], numbers[1::2], strict=True) for v in self._turned_back(x, y, 1)]

    def box_in_file(self, box: np.ndarray) -> list[float]:
        """x1, y1, x2, y2 of the view -> of the full-size picture as its file shows it."""
        numbers = self.to_full(box)
        if not self.quarters:
            return numbers
        x1, y1, x2, y2 = numbers
        (a, b), (c, d) = self._turned_back(x1, y1, 0), self._turned_back(x2, y2, 0)
        return [min(a, c), min(b, d), max(a, c), max(b, d)]

    def _turned_back(self, x: float, y: float, last: int) -> tuple[float, float]:
        """Where a place of the turned picture lies in its file; `last` is 1 for pixels, 0 for edges between them."""
        width, height = self.width - last, self.height - last
        return ((x, y), (height - y, x), (width - x, height - y), (y, width - x))[self.quarters]

    @property
    def from_file(self) -> NDArray[np.float64]:
        """The matrix (3, 3) from px of the full-size picture as its file shows it to px of the view."""
        x, y = self._ratios()
        right, below = self.width - 1, self.height - 1
        turn = (
            ((1, 0, 0), (0, 1, 0)),
            ((0, 1, 0), (-1, 0, below)),
            ((-1, 0, right), (0, -1, below)),
            ((0, -1, right), (1, 0, 0)),
        )[self.quarters]
        return np.diag([1 / x, 1 / y, 1.0]) @ np.array([*turn, (0, 0, 1)], dtype=np.float64)

    def box_here(self, box: Sequence[float]) -> Box:
        """x1, y1, x2, y2 of the full-size picture as its file shows it -> of the view."""
        x1, y1, x2, y2 = box
        width, height = self.width, self.height
        turned = (
            (x1, y1, x2, y2),
            (y1, height - x2, y2, height - x1),
            (width - x2, height - y2, width - x1, height - y1),
            (width - y2, x1, width - y1, x2),
        )[self.quarters]
        return self.to_view(turned)

    def turned(self, quarters: int) -> View:
        """The view turned counter-clockwise by so many more quarters of a circle."""
        if not quarters % 4:
            return self
        size = (self.height, self.width) if quarters % 2 else (self.width, self.height)
        image = np.ascontiguousarray(np.rot90(self.image, quarters))
        return View(image, *size, self.reduction, (self.quarters + quarters) % 4)

    def to_view(self, numbers: Sequence[float]) -> Box:
        """x, y, x, y of the full-size picture -> of the view."""
        x, y = self._ratios()
        a, b, c, d = numbers
        return a / x, b / y, c / x, d / y

    def moved(self, face: Face, other: View) -> Face:
        """A face of this view in the coordinates of another view of the same picture."""
        x1, y1 = self._ratios()
        x2, y2 = other._ratios()
        ratio = np.array([x1 / x2, y1 / y2], np.float32)
        return Face((face.box.reshape(2, 2) * ratio).reshape(4), face.landmarks * ratio, face.score)

    def reduction_needed(self, side: float, crop_size: int) -> int:
        """The strongest reduction at which a crop of so many px of the view is hardly enlarged, if at all."""
        if self.reduction == 1:
            return 1
        full = side * self.scale
        return next((r for r in REDUCTIONS if r <= self.reduction and ENLARGED * full / r >= crop_size), 1)


def whole_view(image: Image) -> View:
    """A picture at its full size."""
    return View(image, image.shape[1], image.shape[0])


class Photo:
    """The bytes of a still picture, decoded as small as is enough.

    Args:
        data: The file.
        max_pixels: Larger pictures are refused from their header.

    Raises:
        ImageError: no picture, a broken one, or too large.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._data = data
        self._max_pixels = max_pixels
        self.header = header = read_header(data)
        self.is_large = header.width * header.height >= LARGE_PIXELS
        """Whether reading it reduced, and searching it for prominent faces first, saves anything."""
        self.prominent_px = max(header.width, header.height) * PROMINENT
        """The size from which a face is prominent."""
        self._reductions = REDUCTIONS if header.format == "JPEG" and self.is_large else ()

    def reduction_for(self, min_face: float) -> int:
        """The strongest reduction that keeps the smallest wanted face (px) visible to a detector."""
        return next((r for r in self._reductions if min_face / r >= SEEN_PX), 1)

    def reduction_for_whole(self, crop_size: int) -> int:
        """The strongest reduction of a picture that is itself the crop: never one that has to be enlarged again."""
        longer, least = max(self.header.width, self.header.height), max(crop_size, WHOLE_PX)
        return next((r for r in self._reductions if longer / r >= least), 1)

    def view(self, reduction: int) -> View:
        """The upright picture at `1 / reduction` of its size."""
        image = decode(self._data, max_pixels=self._max_pixels, reduction=reduction, header=self.header)
        if reduction == 1:
            return whole_view(image)
        width, height = self.header.width, self.header.height
        if self.header.orientation >= FIRST_TRANSPOSED:
            width, height = height, width
        return View(image, width, height, reduction)
