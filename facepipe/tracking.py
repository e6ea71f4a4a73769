"""Following faces through a video: between full searches, O-Net looks in a few frames where each face has gone."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facepipe.choosing import MIN_OVERLAP, overlap
from facepipe.lockstep import in_lockstep
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.detection import Detector
    from facepipe.detection.onet import Look, Refiner
    from facepipe.lockstep import Steps
    from facepipe.records import Image

    State = NDArray[np.float64]
    """(n, 25), n faces: box, landmarks as x, y, x, y, ..., score, O-Net's own landmarks. Coordinates in px."""

SPAN = 12
"""Frames from one full search to the next, 0.4 s. A face that comes and goes in between is not seen."""
MOST_EVERY = 3
"""Frames further apart in the video than this show a face elsewhere: each is searched on its own."""
STRIDE = 3
"""Frames between two of O-Net's looks, at most."""
SURE = 0.95
"""O-Net's score from which a face is taken to be still there."""
DOUBT = 0.1
"""Faces further under the wanted score are not shown to O-Net, nor followed: what a search says of them has to do."""
MAX_MOVE = 0.35
"""A face that is further from where it was expected, in box sides, is searched anew."""
BENT = 0.03
"""Where landmarks lie further off the line from the look before to the one after, in box sides, no frame is left out.

On a path of even curvature the frames between two looks lie off the line by a quarter of that.
"""
_LANDMARKS, _SCORE, _SEEN = slice(4, 14), 14, slice(15, 25)


class _Searched(NamedTuple):
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


class Tracker:
    """The faces of a video's frames, in order. One a video.

    Every twelfth frame is searched. A face that two searches found in about the same place is then looked for by O-Net
    in the middle between them, and in the middles of the halves, each time where a straight line would have it. In the
    frames between, it lies on the line between two looks, unless it moves too unevenly: then O-Net looks at those as
    well. Where one search alone found a face, the frame in the middle is searched; where O-Net does not see it, that
    one. So a cut, or a face that comes or goes, is found to the frame.

    O-Net's landmarks differ a little, and steadily, from those of a full search (which also has the detector's share):
    the differences seen at both searches are carried along.

    Args:
        detector: searches whole frames.
        refiner: O-Net.
        min_face: px, the smallest wanted face.
        min_score: faces from this score on are followed. Doubtful ones are given for searched frames only: one that
            comes and goes would make every frame a search.
        span: frames from one search to the next.
    """

    def __init__(
        self, detector: Detector, refiner: Refiner, min_face: float, min_score: float, span: int = SPAN
    ) -> None:
        self._detector = detector
        self._refiner = refiner
        self._min_face = min_face
        self._min_score = min_score
        self.span = span
        self._last: _Searched | None = None

    def faces(self, images: Sequence[Image]) -> list[list[Face]]:
        """All faces of each of the next frames, (h, w, 3) uint8 RGB, best score first.

        The last of them is searched in any case. Where the first call has one frame and the others have whole spans, it
        does not matter how many spans each has: they are gone through side by side, so that the networks look at
        several frames in one go.
        """
        if not images:
            return []
        start = -1 if self._last is not None else 0
        searched = [*range(start + self.span, len(images) - 1, self.span), len(images) - 1]
        if self._last is None and searched[0] > 0:
            searched.insert(0, 0)
        found: list[list[Face]] = [[] for _ in images]
        works = [(index, self._search(images[index])) for index in searched]
        known = dict(zip(searched, in_lockstep(works, _nobody), strict=True))
        for index, each in known.items():
            found[index] = each.faces
        if self._last is not None:
            known = {-1: self._last, **known}
        spans = [
            (a, self._between(found, images, (a, b), (before, after)))
            for (a, before), (b, after) in pairwise(known.items())
        ]
        deque(in_lockstep(spans, _nobody), maxlen=0)
        self._last = known[searched[-1]]
        return found

    def _search(self, image: Image) -> Steps[_Searched]:
        reduced = self._detector.reduce(image, self._min_face)
        yield image.nbytes
        faces = self._detector.detect(image, self._min_face, refine=False, reduced=reduced)
        worth = sum(face.score >= self._min_score - DOUBT for face in faces)  # they are the first
        shown = [self._refiner.show(image, face.box.tolist()) for face in faces[:worth]]
        yield 0
        looks = [self._refiner.see(one) for one in shown]
        return _Searched([*self._detector.blend(faces[:worth], looks), *faces[worth:]], looks)

    def _between(
        self,
        found: list[list[Face]],
        images: Sequence[Image],
        ends: tuple[int, int],
        searched: tuple[_Searched, _Searched],
    ) -> Steps[None]:
        """Finds the faces of the frames between two that were searched."""
        start, end = ends
        if end - start < 2:
            return
        doubtful: int | None = (start + end) // 2
        if (paths := self._pairs(*searched)) is not None:
            known = dict(zip(ends, paths, strict=True))
            doubtful = yield from self._follow(images, known)
            if doubtful is None:
                _fill(found, known)
        if doubtful is not None:
            middle = yield from self._search(images[doubtful])
            found[doubtful] = middle.faces
            yield from self._between(found, images, (start, doubtful), (searched[0], middle))
            yield from self._between(found, images, (doubtful, end), (middle, searched[1]))

    def _pairs(self, before: _Searched, after: _Searched) -> tuple[State, State] | None:
        """The faces to follow, in both frames; None where not all that are good in either can be."""
        good = before.good(self._min_score), after.good(self._min_score)
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

    def _follow(self, images: Sequence[Image], known: dict[int, State]) -> Steps[int | None]:
        """Adds frames to the two that are known, enough for the others to lie on lines; or gives one that is lost."""
        while wide := [gap for gap in _gaps(known) if gap[1] - gap[0] > STRIDE or len(known) == 2]:
            lost = yield from self._look(images, known, [((a + b) // 2, a, b) for a, b in wide])
            if lost is not None:
                return lost
        frames = sorted(known)
        bent = {b for a, b, c in zip(frames, frames[1:], frames[2:], strict=False) if _bend(known, a, b, c) > BENT}
        uneven = [(i, a, b) for a, b in _gaps(known) if {a, b} & bent for i in range(a + 1, b)]
        return (yield from self._look(images, known, uneven))

    def _look(
        self, images: Sequence[Image], known: dict[int, State], places: Sequence[tuple[int, int, int]]
    ) -> Steps[int | None]:
        """Adds frames to those that are known, each between two of them; or gives the first where a face is lost."""
        expected = [_on_line(known, *place) for place in places]
        shown = [
            [self._refiner.show(images[place[0]], row[:4].tolist()) for row in rows]
            for place, rows in zip(places, expected, strict=True)
        ]
        yield 0
        for (index, *_), rows, squares in zip(places, expected, shown, strict=True):
            looks = [self._refiner.see(one) for one in squares]
            moved = _moved(rows, np.array([look.landmarks for look in looks]))
            if moved is None or any(look.score < SURE for look in looks):
                return index
            known[index] = moved
        return None


def _nobody(_index: int) -> None:
    """Is told of every step."""


def _gaps(known: dict[int, State]) -> list[tuple[int, int]]:
    """Neighbours among the known frames with others between them."""
    return [(a, b) for a, b in pairwise(sorted(known)) if b - a > 1]


def _fill(found: list[list[Face]], known: dict[int, State]) -> None:
    """The faces of all frames between the first and the last that are known."""
    for index in sorted(known)[1:-1]:
        found[index] = _faces(known[index].astype(np.float32))
    for a, b in _gaps(known):
        shares = np.arange(1, b - a) / (b - a)
        states = (known[a] + shares[:, None, None] * (known[b] - known[a])).astype(np.float32)
        found[a + 1 : b] = [_faces(state) for state in states]


def _on_line(known: dict[int, State], index: int, a: int, b: int) -> State:
    """The faces of a frame on the straight line between two known ones."""
    return known[a] + (index - a) / (b - a) * (known[b] - known[a])


def _sides(faces: State) -> State:
    """(n,) the means of the boxes' two sides, px."""
    sides: State = (faces[:, 2] - faces[:, 0] + faces[:, 3] - faces[:, 1]) / 2
    return sides


def _bend(known: dict[int, State], a: int, b: int, c: int) -> float:
    """How far a frame's landmarks lie off the line between two others, on average, in box sides; the worst face's."""
    off = (known[b] - _on_line(known, b, a, c))[:, _LANDMARKS].reshape(-1, 5, 2)
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
