"""How a picture is shown to a detector's network: reduced, or in tiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from facepipe.records import Image

SHOWN_PX = ((20.0, 24.0), (40.0, 17.5))
"""How large a face of `min_face` px is shown to the network: 24 px where it has 20 itself, 17.5 px from 40 on.

Of the labelled YouTube Faces, shown at 16, 18, 20 and 24 px, it finds 80, 90, 95 and 99 % together with O-Net's second
opinion. So of the faces just `min_face` large nine in ten are found, of those a quarter larger 99 in 100. Faces that
are small themselves are blurred by the camera and worth some enlargement.
"""
MAX_SCALE = 2.0
"""More enlargement costs more than it finds."""
SAMPLES_REACH = 2.5
"""Image px per input px up to which bilinear samples do."""
LEAST_SIDE = 112
"""px: a smaller input saves next to nothing, so small pictures are not reduced below it."""
GRID = 16
"""px: sides are rounded up to multiples of this."""


class Reduced(NamedTuple):
    """A picture as a network is shown it.

    image: (rows, columns, 3) uint8 RGB. scale_x, scale_y: its px per px of the picture, across and down.
    """

    image: Image
    scale_x: float
    scale_y: float


def wanted_scale(width: int, height: int, min_face: float) -> float:
    """The scale that shows a face of `min_face` px as large as `SHOWN_PX` says."""
    (small, large_px), (large, small_px) = SHOWN_PX
    share = min(max((min_face - small) / (large - small), 0.0), 1.0)
    wanted = min((large_px + share * (small_px - large_px)) / min_face, MAX_SCALE)
    return max(wanted, min(LEAST_SIDE / max(width, height), 1.0))


def input_size(width: int, height: int, wanted: float) -> tuple[int, int, float]:
    """The network's input size for an image: (columns, rows, scale), columns and rows multiples of 16.

    The scale is the wanted one or larger, up to what the rounding up leaves room for: where a whole number of pixels
    can then be averaged, that is the cheapest reduction; else the input is filled.
    """
    columns = -(-math.ceil(width * wanted) // GRID) * GRID
    rows = -(-math.ceil(height * wanted) // GRID) * GRID
    # Never enlarged for the padding's sake alone.
    largest = min(columns / width, rows / height, max(wanted, 1.0))
    blocks = math.ceil(1 / largest)
    return columns, rows, 1 / blocks if 1 / blocks >= wanted else largest


def reduce_image(image: Image, wanted: float) -> Reduced:
    """The network's input for an image, padded with black right and below."""
    height, width = image.shape[:2]
    columns, rows, scale = input_size(width, height, wanted)
    # Beyond this ratio bilinear samples leave pixels out.
    blocks = int(1 / scale) if 1 / scale >= SAMPLES_REACH or (1 / scale).is_integer() else 1
    if blocks > 1:
        # Whole blocks are averaged first: fine texture would alias, and INTER_AREA at any ratio is ten times slower.
        width, height = max(width // blocks, 1) * blocks, max(height // blocks, 1) * blocks
        reduced = (width // blocks, height // blocks)
        image = np.asarray(cv2.resize(image[:height, :width], reduced, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    size = (min(max(round(width * scale), 1), columns), min(max(round(height * scale), 1), rows))
    if size != image.shape[1::-1]:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    right, below = columns - size[0], rows - size[1]
    if right or below:
        image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), dtype=np.uint8)
    return Reduced(image, size[0] / width, size[1] / height)


def tiles(width: int, height: int, side: float, overlap: float) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of tiles of at most about `side` px that cover an image, neighbours overlapping."""

    def cuts(length: int) -> list[tuple[int, int]]:
        count = max(math.ceil((length - overlap) / (side - overlap)), 1)
        step = (length - overlap) / count
        return [(round(i * step), min(round(i * step + step + overlap), length)) for i in range(count)]

    return [(left, top, right, bottom) for top, bottom in cuts(height) for left, right in cuts(width)]
