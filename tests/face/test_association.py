"""Whose face it is, when there are several."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.face.association import choose_face
from facepipe.records import Face


def face(x, y, side, score=0.9):
    return Face(np.array([x, y, x + side, y + side], np.float32), np.zeros((5, 2), np.float32), score)


CENTRE, BORDER = face(100, 100, 50), face(0, 0, 60)


@pytest.mark.parametrize(
    ("faces", "hints", "expected"),
    [
        ([BORDER, CENTRE], {}, 1),
        ([BORDER, CENTRE], {"box": (2, 2, 58, 60)}, 0),
        ([BORDER, CENTRE], {"previous": (5, 5, 60, 60)}, 0),
        ([BORDER, CENTRE], {"box": (180, 180, 240, 240)}, None),
        ([BORDER, CENTRE], {"previous": (180, 180, 240, 240)}, 1),
        ([BORDER, CENTRE], {"previous": (0, 0, 90, 90)}, 0),
        ([BORDER, CENTRE], {"previous": (0, 0, 100, 100)}, 1),
        ([BORDER, CENTRE], {"previous": (0, 0, 36, 36)}, 1),
        ([face(60, 60, 180), CENTRE], {}, 0),
        ([face(120, 120, 12), face(60, 100, 60)], {}, 1),
        ([], {}, None),
    ],
)
def test_box_then_track_then_centre_and_size(faces, hints, expected):
    """The labelled box decides; else the track, where the face is about as large; else a large face near the middle."""
    assert expected == choose_face(faces, 250, 250, **hints)
