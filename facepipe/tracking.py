"""Following faces through a video: between full searches, O-Net checks where each face was a frame before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.records import Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.detection import Detector
    from facepipe.detection.onet import Refiner
    from facepipe.records import Image

EVERY = 6
"""Frames between full searches: a new face is seen after a fifth of a second, and offsets keep up with the pose."""
SURE = 0.95
"""O-Net's score from which a face is taken to be still there."""
MAX_MOVE = 0.35
"""A face whose landmarks moved further between two frames, in box sides, is searched anew."""


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
        self._faces: list[Face] = []
        self._raw: NDArray[np.float32] = np.zeros((0, 5, 2), np.float32)
        self._offsets: NDArray[np.float32] = np.zeros((0, 5, 2), np.float32)
        self._age = 0

    def faces(self, image: Image) -> list[Face]:
        """All faces of the next frame, (H, W, 3) uint8 RGB; a followed face keeps the score of its last search."""
        followed = self._follow(image) if self._faces and self._age < EVERY else None
        if followed is None:
            return self._search(image)
        self._faces = followed
        self._age += 1
        return followed

    def _search(self, image: Image) -> list[Face]:
        """The whole frame's faces; notes which of them to follow, and how O-Net's landmarks differ from theirs."""
        found = self._detector.detect(image, self._min_face, refine=False)
        if not found:
            self._faces = []
            return []
        boxes = np.stack([face.box for face in found])
        _, seen, scores = self._refiner.check(image, boxes)
        found = self._detector.blend(found, seen, scores)
        good = [i for i, face in enumerate(found) if face.score >= self._min_score]
        self._faces, self._raw = [found[i] for i in good], seen[good]
        sides = (boxes[good, 2:] - boxes[good, :2]).mean(axis=1)[:, None, None]
        own = np.array([face.landmarks for face in self._faces]).reshape(-1, 5, 2)
        self._offsets = (own - self._raw) / sides
        # Where O-Net doesn't see one of them the next frame is searched as well.
        self._age = EVERY if (scores[good] < SURE).any() else 1
        return found

    def _follow(self, image: Image) -> list[Face] | None:
        boxes = np.stack([face.box for face in self._faces])
        _, raw, scores = self._refiner.check(image, boxes)
        sides = (boxes[:, 2:] - boxes[:, :2]).mean(axis=1)
        move = (raw - self._raw).mean(axis=1)
        if scores.min() < SURE or (np.abs(move).max(axis=1) > MAX_MOVE * sides).any():
            return None
        growth = np.clip(_spread(raw) / np.maximum(_spread(self._raw), 1e-3), 0.9, 1.1)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + move
        halves = (boxes[:, 2:] - boxes[:, :2]) / 2 * growth[:, None]
        moved = np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)
        points = raw + self._offsets * (sides * growth)[:, None, None]
        self._raw = raw
        return [
            Face(box, own.astype(np.float32), face.score)
            for box, own, face in zip(moved, points, self._faces, strict=True)
        ]


def _spread(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square distance of landmarks (n, 5, 2) from their centre, (n,) px."""
    spread: NDArray[np.float32] = np.sqrt(((points - points.mean(axis=1, keepdims=True)) ** 2).sum(axis=2).mean(axis=1))
    return spread
