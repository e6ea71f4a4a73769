"""Box arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.detection.boxes import overlaps, squares


@pytest.mark.parametrize(
    ("a", "b", "union", "smaller"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0, 1.0),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0, 0.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150, 0.5),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04, 1.0),
        ((0, 0, 10, 10), (3, 3, 3, 3), 0.0, 0.0),
    ],
)
def test_overlaps(a, b, union, smaller):
    """The shared area over the union, or over the smaller box; a box without area overlaps nothing."""
    a, b = np.array([a], np.float32), np.array([b], np.float32)
    assert overlaps(a, b)[0, 0] == pytest.approx(union)
    assert overlaps(a, b, of_smaller=True)[0, 0] == pytest.approx(smaller)


def test_squares_keep_the_centre_and_the_longer_side():
    """A 10x20 box becomes the 20x20 one around the same centre."""
    assert squares(np.array([[10, 0, 20, 20]], np.float32)).tolist() == [[5, 0, 25, 20]]
