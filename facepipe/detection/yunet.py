"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector") on a reduced image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.detection import boxes as box_math
from facepipe.detection import sessions, weights, yunet_graph
from facepipe.records import Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.detection.onet import Refiner
    from facepipe.records import Image

SHOWN_PX = ((20.0, 24.0), (40.0, 20.0))
"""How large a face of `min_face` px is shown to the network: 24 px where it has 20 itself, 20 px from 40 on.

Faces of 16 px are still found in sharp photographs (99 % of the labelled YouTube Faces frames, all of them at 20). Faces
that are small themselves are blurred by the camera and worth some enlargement.
"""
FLOOR = 0.3
"""Faces of a lower score are not worth a row."""
OVERLAP = 0.3
"""Of two boxes overlapping by more (intersection over union), the one with the better score stays."""
MAX_SCALE = 2.0
"""More enlargement costs more than it finds."""
GRID = 32
"""px: sides are rounded up to multiples of this, the network's largest stride."""


class YuNet:
    """The detector. Not thread-safe; one a process.

    Args:
        refiner: gives the landmarks, from the full-size pixels.
        model: path of own weights of YuNet's shape; empty: the packaged ones.
        min_score: faces down to min(min_score, 0.3) are returned, so that the caller can tell what it left out.

    Raises:
        WeightsError: the weights are missing, or not of YuNet's shape.
    """

    def __init__(self, refiner: Refiner, model: str = "", min_score: float = 0.7) -> None:
        file = weights.read_model(model) if model else weights.read_weights(weights.YUNET)
        self._session = sessions.open_session(yunet_graph.rebuild(file))
        self._refiner = refiner
        self._floor = min(min_score, FLOOR)

    def detect(self, image: Image, min_face: float) -> list[Face]:
        """All faces of at least about `min_face` px.

        Args:
            image: (h, w, 3) uint8 RGB.
            min_face: px of `image`; smaller faces may be among the result.

        Returns:
            Best score first; coordinates in px of `image`, boxes may reach beyond its border.
        """
        boxes, points, scores = self.propose(image, min_face)
        if not len(boxes):
            return []
        points = self._refiner.blend(image, boxes, points)
        return [Face(box, own, float(score)) for box, own, score in zip(boxes, points, scores, strict=True)]

    def propose(
        self, image: Image, min_face: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """What YuNet alone says: boxes (n, 4), landmarks (n, 5, 2), scores (n,), px of `image`, best score first."""
        pixels, scale = reduce_image(image, min_face)
        outputs = self._session.run(None, {"pixels": pixels})
        boxes, points, scores = decode(outputs, self._floor)
        keep = box_math.suppress(boxes, scores, OVERLAP)
        # Pixel centres lie at whole numbers: the middle of pixel 0 is 0 before and after the reduction.
        return (
            (boxes[keep] / np.tile(scale, 2)).astype(np.float32),
            ((points[keep] + 0.5) / scale - 0.5).astype(np.float32),
            scores[keep],
        )


def reduced_size(width: int, height: int, min_face: float) -> tuple[int, int, float]:
    """The network's input size for an image: (columns, rows, scale), columns and rows multiples of 32.

    The scale that brings `min_face` to `SHOWN_PX` is raised until a side of the input is full: the rounding up is used
    for pixels of the image, not for padding.
    """
    (small, large_px), (large, small_px) = SHOWN_PX
    share = min(max((min_face - small) / (large - small), 0.0), 1.0)
    wanted = min((large_px + share * (small_px - large_px)) / min_face, MAX_SCALE)
    columns = -(-math.ceil(width * wanted) // GRID) * GRID
    rows = -(-math.ceil(height * wanted) // GRID) * GRID
    scale = min(columns / width, rows / height)
    # Never enlarged for the padding's sake alone.
    return columns, rows, min(scale, max(wanted, 1.0))


def reduce_image(image: Image, min_face: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The network's input (1, 3, rows, columns) float32, padded with black right and below, and its x and y scales."""
    height, width = image.shape[:2]
    columns, rows, scale = reduced_size(width, height, min_face)
    blocks = int(1 / scale)
    if blocks > 1:
        # Whole blocks are averaged first: fine texture would alias, and INTER_AREA at any ratio is ten times slower.
        width, height = width // blocks * blocks, height // blocks * blocks
        reduced = (width // blocks, height // blocks)
        image = cv2.resize(image[:height, :width], reduced, interpolation=cv2.INTER_AREA)
    size = (min(max(round(width * scale), 1), columns), min(max(round(height * scale), 1), rows))
    if size != image.shape[1::-1]:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    pixels = np.zeros((1, 3, rows, columns), dtype=np.float32)
    pixels[0, :, : size[1], : size[0]] = image.transpose(2, 0, 1)
    return pixels, np.array([size[0] / width, size[1] / height], dtype=np.float32)


def decode(
    outputs: list[NDArray[np.float32]], floor: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The network's outputs as boxes (n, 4), landmarks (n, 5, 2) and scores (n,), px of its input.

    Only cells that can reach `floor` are decoded: a score is the geometric mean of two probabilities, so neither may
    lie below floor².
    """
    limit = floor * floor
    logit = np.log(limit / (1 - limit)) if 0 < limit < 1 else -np.inf
    boxes, points, scores = [], [], []
    for output, stride in zip(outputs, yunet_graph.STRIDES, strict=True):
        maps = output[0]
        rows, columns = np.nonzero(np.minimum(maps[0], maps[1]) >= logit)
        values = maps[:, rows, columns]
        probability = 1 / (1 + np.exp(-values[:2]))
        cells = np.stack([columns, rows]).astype(np.float32)
        centres = (cells + values[2:4]) * stride
        half = np.exp(values[4:6]) * (stride / 2)
        boxes.append(np.concatenate([centres - half, centres + half]).T)
        marks = (values[6:].reshape(5, 2, -1) + cells) * stride
        points.append(marks.transpose(2, 0, 1))
        scores.append(np.sqrt(probability[0] * probability[1]))
    score = np.concatenate(scores)
    keep = score >= floor
    return np.concatenate(boxes)[keep], np.concatenate(points)[keep], score[keep]
