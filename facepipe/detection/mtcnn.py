"""MTCNN (Zhang et al. 2016, "Joint Face Detection and Alignment Using Multi-task Cascaded Convolutional Networks").

Three networks: P-Net over a pyramid of reduced images proposes, R-Net sorts out, O-Net decides and gives landmarks.
Every step is done as the `mtcnn` package 1.0 does it, so that the faces are the same; only the runtime is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.detection import networks, runtime, weights
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from facepipe.detection.landmarks import Look
    from facepipe.records import Image

    Array = NDArray[np.float32]
    Boxes = NDArray[np.float32]
    """(n, 4): x1, y1, x2, y2, px."""

CELL = 12
"""px, the field of one of P-Net's outputs; they lie 2 px apart."""
SCALE_FACTOR = 0.709
P_THRESHOLD, R_THRESHOLD = 0.6, 0.7
OUTSIDE = 127.5
"""What the networks see beyond the image's border: the middle of the range they were trained on."""
GROUP = 256
"""Boxes compared or looked at together: large photographs give tens of thousands."""
FLOOR = 0.3
"""O-Net's lowest score worth a row."""


class Mtcnn:
    """The detector. Not thread-safe; one a process.

    Args:
        min_score: faces down to min(min_score, 0.3) are returned; the package itself takes them from 0.8 on.

    Raises:
        WeightsError: the weights are missing or not the expected ones.
    """

    def __init__(self, min_score: float = 0.7) -> None:
        self._p_net = runtime.open_session(networks.p_net(weights.read_arrays(weights.P_NET)))
        self._r_net = runtime.open_session(networks.r_net(weights.read_arrays(weights.R_NET)))
        self._o_net = runtime.open_session(networks.o_net(weights.read_arrays(weights.O_NET)))
        self._floor = min(min_score, FLOOR)

    def detect(self, images: Sequence[Image], min_face: float | Sequence[float]) -> list[list[Face]]:
        """As `Detector.detect`."""
        sizes = np.broadcast_to(min_face, len(images)).tolist()
        return [
            self._decide(image, self._sort_out(image, self._propose(image, size)))
            for image, size in zip(images, sizes, strict=True)
        ]

    def refine(
        self,
        images: Sequence[Image],  # noqa: ARG002
        faces: Sequence[Sequence[Face]],
        looks: Sequence[Sequence[Look]] | None = None,  # noqa: ARG002
    ) -> list[list[Face]]:
        """The faces as they are: their landmarks are O-Net's already."""
        return [list(each) for each in faces]

    def _propose(self, image: Image, min_face: float) -> Boxes:
        """P-Net over the pyramid: squares (n, 4)."""
        boxes, scores = [], []
        exact = image.astype(np.float32)
        for scale in pyramid(image.shape[1], image.shape[0], min_face):
            size = (int(image.shape[1] * scale), int(image.shape[0] * scale))
            level = reduce_area(exact, size)
            out = self._p_net.run(None, {"pixels": level})[0][0]
            found, score = read_proposals(out, scale)
            keep = suppress_all(found, score, 0.5)
            boxes.append(found[keep])
            scores.append(score[keep])
        if not boxes:
            return np.zeros((0, 4), np.float32)
        together, score = np.concatenate(boxes), np.concatenate(scores)
        return to_squares(together[suppress_all(together, score, 0.7)])

    def _sort_out(self, image: Image, squares: Boxes) -> Boxes:
        """R-Net: the squares (n, 4) that it takes for faces, moved."""
        if not len(squares):
            return squares
        out = run_in_groups(self._r_net, image, squares, 24)
        scores = face_probability(out)
        boxes = move(squares, out[:, :4])[scores > R_THRESHOLD]
        return to_squares(boxes[suppress_all(boxes, scores[scores > R_THRESHOLD], 0.7)])

    def _decide(self, image: Image, squares: Boxes) -> list[Face]:
        """O-Net: faces with landmarks."""
        if not len(squares):
            return []
        out = run_in_groups(self._o_net, image, squares, 48)
        scores = face_probability(out)
        sides = squares[:, None, 2:] - squares[:, None, :2] + 1
        points = np.stack([out[:, 4:9], out[:, 9:14]], axis=2) * sides + squares[:, None, :2] - 1
        sure = np.flatnonzero(scores > self._floor)
        boxes, points, scores = move(squares, out[:, :4])[sure], points[sure], scores[sure]
        keep = suppress_all(boxes, scores, 0.7, of_smaller=True)
        limit = np.array([image.shape[1] - 1, image.shape[0] - 1] * 2, dtype=np.float32)
        return [
            Face(np.clip(boxes[i], 0, limit).astype(np.float32), points[i].astype(np.float32), float(scores[i]))
            for i in keep
        ]


def pyramid(width: int, height: int, min_face: float) -> list[float]:
    """The scales of P-Net's images: from `min_face` px shown at 12 px on, as long as 12 px are left."""
    count = round(-(np.log(min(width, height) / CELL) / np.log(SCALE_FACTOR) + 1))
    scales = [CELL / min_face * SCALE_FACTOR**i for i in range(max(count, 0))]
    return [scale for scale in scales if min(int(width * scale), int(height * scale)) >= CELL]


def run_in_groups(session: InferenceSession, image: Image, squares: Boxes, side: int) -> Array:
    """A network's outputs (n, k) for squares (n, 4) of an image, a group at a time: a crowd has thousands of them."""
    groups = [cut(image, squares[i : i + GROUP], side) for i in range(0, len(squares), GROUP)]
    return np.concatenate([session.run(None, {"pixels": pixels})[0] for pixels in groups])


def reduce_area(image: Array, size: tuple[int, int]) -> Array:
    """The image (h, w, 3) float32 at another size (width, height), averaged over areas, as (1, 3, h', w')."""
    level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(level.transpose(2, 0, 1)[None])


def read_proposals(out: Array, scale: float) -> tuple[Boxes, Array]:
    """P-Net's output (6, h, w) at one scale as boxes (n, 4) in px of the image and scores (n,)."""
    probability = 1 / (1 + np.exp(out[4] - out[5]))
    rows, columns = np.nonzero(probability > P_THRESHOLD)
    corner = np.stack([columns, rows], axis=1) * 2
    cells = np.concatenate([corner + 1, corner + CELL], axis=1)
    boxes = (cells + out[:4, rows, columns].T * (CELL - 1)) / scale
    return boxes, probability[rows, columns]


def suppress_all(boxes: Boxes, scores: Array, threshold: float, *, of_smaller: bool = False) -> NDArray[np.intp]:
    """The indices of boxes that overlap no better one, best first.

    Stricter than greedy suppression: also a box that is dropped itself drops those it overlaps, as in the package.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, places = boxes[order], np.arange(len(order))
    stays = np.ones(len(order), dtype=bool)
    for start in range(0, len(order), GROUP):
        group = places[start : start + GROUP]
        better = ranked[: group[-1] + 1]
        clash = overlaps(better, ranked[group], of_smaller=of_smaller) > threshold
        stays[group] = ~(clash & (places[: len(better), None] < group)).any(axis=0)
    return order[stays]


def face_probability(out: Array) -> Array:
    """(n,) softmax of the last two outputs (n, k)."""
    probability: Array = 1 / (1 + np.exp(out[:, -2] - out[:, -1]))
    return probability


def move(boxes: Boxes, offsets: Array) -> Boxes:
    """Boxes shifted by offsets given as shares of their sides, whose last pixel counts."""
    sides = (boxes[:, 2:] - boxes[:, :2] + 1)[:, [0, 1, 0, 1]]
    moved: Boxes = boxes + offsets * sides
    return moved


def cut(image: Image, squares: Boxes, side: int) -> Array:
    """Squares (n, 4) of the image as (n, 3, side, side) float32, bilinear; what lies outside the image is gray.

    The first and last pixel fall on the square's edges, in an image whose last pixel lies one short of its width:
    TensorFlow's `crop_and_resize` with coordinates divided by the image's size. OpenCV would round the positions to
    1/32 px, which moves some faces over a threshold.
    """
    height, width = image.shape[:2]
    x, x_inside = _positions(squares[:, 0], squares[:, 2], width, side)
    y, y_inside = _positions(squares[:, 1], squares[:, 3], height, side)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[:, None, :, None], (y - top)[:, :, None, None]

    def pick(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
        return image[rows[:, :, None], columns[:, None, :]].astype(np.float32)

    upper = pick(top, left) * (1 - across) + pick(top, right) * across
    lower = pick(bottom, left) * (1 - across) + pick(bottom, right) * across
    pixels = upper * (1 - down) + lower * down
    pixels[~(y_inside[:, :, None] & x_inside[:, None, :])] = OUTSIDE
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)


def _positions(first: Array, last: Array, size: int, side: int) -> tuple[Array, NDArray[np.bool_]]:
    """Where along one axis of `size` px the samples lie (n, side), held inside it, and which of them lie inside."""
    share = np.arange(side) / (side - 1)
    where = (first[:, None] + (last - first)[:, None] * share) * ((size - 1) / size)
    return np.clip(where, 0, size - 1).astype(np.float32), (where >= 0) & (where <= size - 1)


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


def to_squares(boxes: Boxes) -> Boxes:
    """Boxes of equal width and height with the same centres, as long as the longer side was."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centres - half, centres + half], axis=1)
