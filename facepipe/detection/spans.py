"""The faces in the frames between two that were searched: on straight lines between the few that O-Net looks at."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facepipe.face.association import MIN_OVERLAP, overlap
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.detection.landmarks import Look

    State = NDArray[np.float64]
    """(n, 25), n faces: box, landmarks as x, y, x, y, ..., score, O-Net's own landmarks. Coordinates in px."""

STRIDE = 3
"""Frames between two of O-Net's looks, at most."""
SURE = 0.95
"""O-Net's score from which a face is taken to be still there."""
MAX_MOVE = 0.35
"""A face that is further from where it was expected, in box sides, is searched anew."""
BENT = 0.03
"""Where landmarks lie further off the line from the look before to the one after, in box sides, no frame is left out.

On a path of even curvature the frames between two looks lie off the line by a quarter of that.
"""
_LANDMARKS, _SCORE, _SEEN = slice(4, 14), 14, slice(15, 25)


class Searched(NamedTuple):
    """What a full search found: faces, best score first, and what O-Net sees in the boxes of the first of them."""

    faces: list[Face]
    looks: list[Look]

    def state(self, indices: Sequence[int]) -> State:
        """Some of the faces."""
        rows = []
        for index in indices:
            face = self.faces[index]
            numbers = (*face.box.tolist(), *face.landmarks.ravel().tolist(), face.score)
            rows.append((*numbers, *self.looks[index].landmarks))
        return np.array(rows)

    def good(self, min_score: float) -> set[int]:
        """The faces of at least that score."""
        return {index for index, face in enumerate(self.faces) if face.score >= min_score}


class Span:
    """The frames between two that were searched.

    Attributes:
        known: frame -> the followed faces there.
        lost: a frame that has to be searched, if any.
    """

    def __init__(self, start: int, end: int, before: Searched, after: Searched) -> None:
        self.start, self.end, self.before, self.after = start, end, before, after
        self.known: dict[int, State] = {}
        self.lost: int | None = None
        self._evened = False

    def begin(self, min_score: float) -> None:
        """Decides which faces are followed; the frame in the middle is lost where not all good ones can be."""
        pairs = _pairs(self.before, self.after, min_score)
        if pairs is None:
            self.lost = (self.start + self.end) // 2
        else:
            self.known = dict(zip((self.start, self.end), pairs, strict=True))

    def next_places(self) -> list[tuple[int, int, int]]:
        """Frames to look at now, each between two known ones; none where the others lie on lines, or one is lost."""
        if self.lost is not None or self._evened:
            return []
        gaps = _gaps(self.known)
        if wide := [(a, b) for a, b in gaps if b - a > STRIDE or len(self.known) == 2]:
            return [((a + b) // 2, a, b) for a, b in wide]
        self._evened = True
        frames = sorted(self.known)
        bent = {b for a, b, c in zip(frames, frames[1:], frames[2:], strict=False) if _bend(self.known, a, b, c) > BENT}
        return [(i, a, b) for a, b in gaps if {a, b} & bent for i in range(a + 1, b)]

    def note(self, index: int, expected: State, looks: Sequence[Look]) -> None:
        """Makes a frame known by what O-Net sees of the faces expected there, or the first such frame lost."""
        if self.lost is not None:
            return
        moved = _moved(expected, np.array([look.landmarks for look in looks]))
        if moved is None or any(look.score < SURE for look in looks):
            self.lost = index
        else:
            self.known[index] = moved

    def fill(self, found: list[list[Face]]) -> None:
        """Sets the faces of all frames between the first and the last; none may be lost."""
        for index in sorted(self.known)[1:-1]:
            found[index] = _faces(self.known[index].astype(np.float32))
        for a, b in _gaps(self.known):
            shares = np.arange(1, b - a) / (b - a)
            states = self.known[a] + shares[:, None, None] * (self.known[b] - self.known[a])
            found[a + 1 : b] = [_faces(state) for state in states.astype(np.float32)]


def _pairs(before: Searched, after: Searched, min_score: float) -> tuple[State, State] | None:
    """The faces to follow, in both frames; None where not all that are good in either can be."""
    good = before.good(min_score), after.good(min_score)
    overlaps = sorted(
        (
            (overlap(before.faces[i].box.tolist(), after.faces[j].box.tolist()), i, j)
            for i in range(len(before.looks))
            for j in range(len(after.looks))
            if i in good[0] or j in good[1]
        ),
        reverse=True,
    )
    pairs: dict[int, int] = {}
    for share, i, j in overlaps:
        if share >= MIN_OVERLAP and i not in pairs and j not in pairs.values():
            pairs[i] = j
    if not pairs or good[0] - pairs.keys() or good[1] - set(pairs.values()):
        return None
    if any(min(before.looks[i].score, after.looks[j].score) < SURE for i, j in pairs.items()):
        return None
    return before.state(list(pairs)), after.state(list(pairs.values()))


def _gaps(known: dict[int, State]) -> list[tuple[int, int]]:
    """Neighbours among the known frames with others between them."""
    return [(a, b) for a, b in pairwise(sorted(known)) if b - a > 1]


def on_line(known: dict[int, State], index: int, a: int, b: int) -> State:
    """The faces of a frame on the straight line between two known ones."""
    return known[a] + (index - a) / (b - a) * (known[b] - known[a])


def _sides(faces: State) -> State:
    """(n,) the means of the boxes' two sides, px."""
    sides: State = (faces[:, 2] - faces[:, 0] + faces[:, 3] - faces[:, 1]) / 2
    return sides


def _bend(known: dict[int, State], a: int, b: int, c: int) -> float:
    """How far a frame's landmarks lie off the line between two others, on average, in box sides; the worst face's."""
    off = (known[b] - on_line(known, b, a, c))[:, _LANDMARKS].reshape(-1, 5, 2)
    return float((np.hypot(off[..., 0], off[..., 1]).mean(axis=1) / _sides(known[b])).max())


def _moved(expected: State, seen: State) -> State | None:
    """Faces where O-Net sees them (n, 10) instead of where they were expected; None where one is too far off."""
    centres, spread = _middles(seen)
    centres_before, spread_before = _middles(expected[:, _SEEN])
    shift = centres - centres_before
    if (np.abs(shift) > MAX_MOVE * _sides(expected)[:, None]).any():
        return None
    growth = np.minimum(np.maximum(spread / np.maximum(spread_before, 1e-3), 0.9), 1.1)[:, None]
    centre = (expected[:, :2] + expected[:, 2:4]) / 2 + shift
    half = (expected[:, 2:4] - expected[:, :2]) / 2 * growth
    moved = expected.copy()
    moved[:, :2], moved[:, 2:4] = centre - half, centre + half
    moved[:, _LANDMARKS] += seen - expected[:, _SEEN]
    moved[:, _SEEN] = seen
    return moved


def _middles(landmarks: State) -> tuple[State, State]:
    """(n, 2) centres of landmarks (n, 10), and their root mean square distances from them, (n,), px."""
    points = landmarks.reshape(-1, 5, 2)
    centres = points.sum(axis=1) / 5  # `mean` takes three times as long
    off = points - centres[:, None]
    return centres, np.sqrt((off * off).sum(axis=(1, 2)) / 5)


def _faces(state: NDArray[np.float32]) -> list[Face]:
    """Faces (n, 25), best score first."""
    rows = state[np.argsort(-state[:, _SCORE], kind="stable")] if len(state) > 1 else state
    return [Face(row[:4], row[_LANDMARKS].reshape(5, 2), float(row[_SCORE])) for row in rows]
