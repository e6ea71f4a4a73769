"""Boxes: overlap and squares. All are (n, 4) float arrays of x1, y1, x2, y2 in px."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Boxes = NDArray[np.float32]
    """(n, 4) float32: x1, y1, x2, y2, px."""


def areas(boxes: Boxes) -> Boxes:
    """(n,) areas, px²."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    product: Boxes = sides[:, 0] * sides[:, 1]
    return product


def overlaps(a: Boxes, b: Boxes, *, of_smaller: bool = False) -> Boxes:
    """(n, m) intersection over union of every box of `a` with every box of `b`.

    Args:
        a: (n, 4).
        b: (m, 4).
        of_smaller: the intersection as a share of the smaller box instead of the union.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(bottom_right - top_left, 0), axis=2)
    area_a, area_b = areas(a)[:, None], areas(b)[None, :]
    whole = np.minimum(area_a, area_b) if of_smaller else area_a + area_b - shared
    ratio: Boxes = shared / np.maximum(whole, 1e-9)
    return ratio


def squares(boxes: Boxes) -> Boxes:
    """Boxes of equal width and height with the same centres, as long as the longer side was."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centres - half, centres + half], axis=1)
