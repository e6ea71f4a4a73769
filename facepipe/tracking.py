"""Following faces through a video: between full searches, O-Net checks where each face was a frame before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.detection import Detector
    from facepipe.detection.onet import Refiner
    from facepipe.records import Image

EVERY = 6
"""Frames between full searches: a new face is seen after a fifth of a second, and offsets keep up with the pose."""
SURE = 0.95
"""O-Net's score from which a face is taken to be still there."""
MAX_MOVE = 0.35
"""A face whose landmarks moved further between two frames, in box sides, is searched anew."""


@dataclass(frozen=True, slots=True)
class _Track:
    """A face that is followed: its box (x1, y1, x2, y2), O-Net's landmarks (x, y, x, y, ...), both px, and its score.

    offsets: what the last full search's landmarks have beyond O-Net's, in box sides.
    """

    box: Sequence[float]
    seen: Sequence[float]
    offsets: Sequence[float]
    score: float

    @property
    def side(self) -> float:
        """The mean of the box's two sides, px."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1 + y2 - y1) / 2

    def moved(self, seen: Sequence[float]) -> _Track | None:
        """The same face where O-Net sees it a frame later; None where it went too far to be the same."""
        shift_x, shift_y = _mean(seen[0::2]) - _mean(self.seen[0::2]), _mean(seen[1::2]) - _mean(self.seen[1::2])
        if max(abs(shift_x), abs(shift_y)) > MAX_MOVE * self.side:
            return None
        growth = min(max(_spread(seen) / max(_spread(self.seen), 1e-3), 0.9), 1.1)
        x1, y1, x2, y2 = self.box
        x, y = (x1 + x2) / 2 + shift_x, (y1 + y2) / 2 + shift_y
        across, down = (x2 - x1) / 2 * growth, (y2 - y1) / 2 * growth
        return _Track((x - across, y - down, x + across, y + down), seen, self.offsets, self.score)

    def face(self) -> Face:
        """The face, its landmarks as a full search would give them."""
        side = self.side
        points = [place + offset * side for place, offset in zip(self.seen, self.offsets, strict=True)]
        return Face(np.array(self.box, np.float32), np.array(points, np.float32).reshape(5, 2), self.score)


class Tracker:
    """The faces of a video's frames, in order. One a video; the same frames always give the same faces.

    O-Net's landmarks differ a little, and steadily, from those of a full search (which also has the detector's share):
    the difference seen at the last search is carried along, in box sides, so that tracks don't jump.

    Args:
        detector: searches whole frames.
        refiner: O-Net.
        min_face: px, the smallest wanted face.
        min_score: faces from this score on are followed. Doubtful ones are seen in full searches only: one that stays
            doubtful would make every frame a search.
    """

    def __init__(self, detector: Detector, refiner: Refiner, min_face: float, min_score: float) -> None:
        self._detector = detector
        self._refiner = refiner
        self._min_face = min_face
        self._min_score = min_score
        self._tracks: list[_Track] = []
        self._age = 0

    def faces(self, image: Image) -> list[Face]:
        """All faces of the next frame, (H, W, 3) uint8 RGB; a followed face keeps the score of its last search."""
        followed = self._follow(image) if self._tracks and self._age < EVERY else None
        if followed is None:
            return self._search(image)
        self._tracks = followed
        self._age += 1
        return [track.face() for track in followed]

    def _search(self, image: Image) -> list[Face]:
        """The whole frame's faces; notes which of them to follow, and how O-Net's landmarks differ from theirs."""
        found = self._detector.detect(image, self._min_face, refine=False)
        looks = [self._refiner.look(image, face.box.tolist()) for face in found]
        found = self._detector.blend(found, looks)
        good = [i for i, face in enumerate(found) if face.score >= self._min_score]
        self._tracks = [_start(found[i], looks[i].landmarks) for i in good]
        # Where O-Net doesn't see one of them the next frame is searched as well.
        self._age = 1 if all(looks[i].score >= SURE for i in good) else EVERY
        return found

    def _follow(self, image: Image) -> list[_Track] | None:
        """The tracks a frame later; None where any of them is lost."""
        followed = []
        for track in self._tracks:
            look = self._refiner.look(image, track.box)
            moved = track.moved(look.landmarks) if look.score >= SURE else None
            if moved is None:
                return None
            followed.append(moved)
        return followed


def _start(face: Face, seen: Sequence[float]) -> _Track:
    """The track of a face of a full search, in which O-Net saw these landmarks."""
    box = face.box.tolist()
    side = (box[2] - box[0] + box[3] - box[1]) / 2
    offsets = [(own - other) / side for own, other in zip(face.landmarks.reshape(-1).tolist(), seen, strict=True)]
    return _Track(box, seen, offsets, face.score)


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _spread(points: Sequence[float]) -> float:
    """Root mean square distance of landmarks x, y, x, y, ... from their centre, px."""
    xs, ys = points[0::2], points[1::2]
    x, y = _mean(xs), _mean(ys)
    return math.sqrt(_mean([(a - x) ** 2 + (b - y) ** 2 for a, b in zip(xs, ys, strict=True)]))
