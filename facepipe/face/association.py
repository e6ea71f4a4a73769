"""Which of the faces in a picture is the identity's: the labelled box, the track, then a mix of centre and size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.records import Box, Face

MIN_OVERLAP = 0.3
"""Intersection over union from which a box and a face are taken for the same face."""
MAX_GROWTH = 1.6
"""From one frame of a video to the next a face's side changes by less than this factor either way: so it is in nearly
all steps of the YouTube Faces videos. Where it changes by more, another face has taken the place."""


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2, 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def size_of(face: Face) -> float:
    """The larger side of a face's box, px."""
    x1, y1, x2, y2 = face.box.tolist()
    return float(max(x2 - x1, y2 - y1))


def best_overlap(faces: Sequence[Face], box: Box) -> int | None:
    """Index of the face that overlaps `box` most; None where none does by `MIN_OVERLAP`."""
    if not faces:
        return None
    overlaps = [overlap(face.box.tolist(), box) for face in faces]
    best = max(range(len(faces)), key=overlaps.__getitem__)
    return best if overlaps[best] >= MIN_OVERLAP else None


def followed(faces: Sequence[Face], previous: Box) -> int | None:
    """Index of the face where it was in the frame before, about as large; None where there is none."""
    index = best_overlap(faces, previous)
    if index is None:
        return None
    growth = size_of(faces[index]) / max(previous[2] - previous[0], previous[3] - previous[1])
    return index if 1 / MAX_GROWTH <= growth <= MAX_GROWTH else None


def most_central(faces: Sequence[Face], width: int, height: int) -> int:
    """Index of the face a photographer meant: large, and near the middle.

    A face's side is weighed by a Gaussian of its distance from the picture's centre (sigma: 0.35 of the shorter side),
    so that in a group of equals the middle one wins and a bystander at the border must be far larger to win.
    """
    if len(faces) == 1:
        return 0

    def weight(face: Face) -> float:
        x1, y1, x2, y2 = face.box.tolist()
        distance = math.hypot((x1 + x2 - width) / 2, (y1 + y2 - height) / 2) / (0.35 * min(width, height))
        return math.sqrt((x2 - x1) * (y2 - y1)) * math.exp(-(distance**2) / 2)

    return max(range(len(faces)), key=lambda i: weight(faces[i]))


def choose_face(
    faces: Sequence[Face], width: int, height: int, *, box: Box | None = None, previous: Box | None = None
) -> int | None:
    """The identity's face.

    Args:
        faces: All faces found in the picture.
        width: Of the picture, px.
        height: Of the picture, px.
        box: Where a label says the identity's face is: then a face there, or none.
        previous: Where the face was in the frame before: preferred where a face of about that size still is there.

    Returns:
        Its index, or None where there is no face, or none at the labelled box.
    """
    if not faces:
        return None
    if box is not None:
        return best_overlap(faces, box)
    index = followed(faces, previous) if previous is not None else None
    return index if index is not None else most_central(faces, width, height)
