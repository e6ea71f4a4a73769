"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector") on a reduced image."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.detection import onet, sessions, weights, yunet_graph
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.detection.onet import Look, Refiner
    from facepipe.records import Image

    Array = NDArray[np.float32]

SHOWN_PX = ((20.0, 24.0), (40.0, 17.5))
"""How large a face of `min_face` px is shown to the network: 24 px where it has 20 itself, 17.5 px from 40 on.

Of the labelled YouTube Faces, shown at 16, 18, 20 and 24 px, it finds 80, 90, 95 and 99 % together with O-Net's second
opinion. So of the faces just `min_face` large nine in ten are found, of those a quarter larger 99 in 100. Faces that
are small themselves are blurred by the camera and worth some enlargement.
"""
FLOOR = 0.3
"""Faces of a lower score are not worth a row."""
DOUBTFUL = 2.0
"""Faces up to this many times `min_face` lose score by being shown small, and get a second opinion."""
OVERLAP = 0.3
"""Of two boxes overlapping by more (intersection over union), the one with the better score stays."""
MAX_SCALE = 2.0
"""More enlargement costs more than it finds."""
MOST_PIXELS = 1_500_000
"""Of one input; larger ones are searched in tiles, so that memory stays bounded (about 100 MB)."""
TILE, TILE_OVERLAP = 1024, 256
"""px of the input. Faces of up to half the overlap are looked for in tiles, larger ones in the whole image."""
SAMPLES_REACH = 2.5
"""Image px per input px up to which bilinear samples do."""
LEAST_SIDE = 112
"""px: a smaller input saves next to nothing, so small pictures are not reduced below it."""
GRID = 16
"""px: sides are rounded up to multiples of this."""


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
        self._session = sessions.open_session(yunet_graph.rebuild(file, min(min_score, FLOOR), OVERLAP))
        self._refiner = refiner
        self._min_score = min_score

    def detect(self, image: Image, min_face: float, *, refine: bool = True) -> list[Face]:
        """All faces of at least about `min_face` px.

        A small face that leaves YuNet unsure is shown to O-Net at full size: where the mean of their scores is higher,
        it counts.

        Args:
            image: (h, w, 3) uint8 RGB.
            min_face: px of `image`; smaller faces may be among the result.
            refine: whether every face's landmarks are refined; else `refine` does it for those that matter.

        Returns:
            Best score first; coordinates in px of `image`, boxes may reach beyond its border.
        """
        boxes, points, scores = self.propose(image, min_face)
        if len(scores) and scores[-1] < self._min_score:
            boxes, points, scores = self._ask_again(image, min_face, boxes, points, scores)
        faces = [Face(*parts) for parts in zip(boxes, points, scores.tolist(), strict=True)]
        return self.refine(image, faces) if refine else faces

    def _ask_again(
        self, image: Image, min_face: float, boxes: Array, points: Array, scores: Array
    ) -> tuple[Array, Array, Array]:
        """O-Net's opinion of the small faces that YuNet is not sure of, in their scores; best first again."""
        small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) < DOUBTFUL * min_face
        # O-Net can say 1 at most: below that, the mean stays under `min_score` whatever it says.
        open_to_doubt = (scores < self._min_score) & (scores + 1 >= 2 * self._min_score)
        unsure = np.flatnonzero(small & open_to_doubt)
        if not len(unsure):
            return boxes, points, scores
        seen = np.array([self._refiner.look(image, box).score for box in boxes[unsure].tolist()], np.float32)
        scores = scores.copy()
        scores[unsure] = np.maximum(scores[unsure], (scores[unsure] + seen) / 2)
        order = np.argsort(-scores, kind="stable")
        return boxes[order], points[order], scores[order]

    def refine(self, image: Image, faces: Sequence[Face]) -> list[Face]:
        """Faces that `detect` gave unrefined for the same image, with O-Net's share in their landmarks."""
        return self.blend(faces, [self._refiner.look(image, face.box.tolist()) for face in faces])

    def blend(self, faces: Sequence[Face], looks: Sequence[Look]) -> list[Face]:
        """The same where what O-Net sees in the faces' boxes is known already."""
        return [onet.blend(face, look) for face, look in zip(faces, looks, strict=True)]

    def propose(self, image: Image, min_face: float) -> tuple[Array, Array, Array]:
        """What YuNet alone says: boxes (n, 4), landmarks (n, 5, 2), scores (n,), px of `image`, best score first."""
        height, width = image.shape[:2]
        scale = wanted_scale(width, height, min_face)
        excess = width * height * scale * scale / MOST_PIXELS
        faces = self._run(image, scale) if excess <= 1 else self._run_in_tiles(image, scale, math.sqrt(excess))
        return faces[:, :4], faces[:, 4:14].reshape(-1, 5, 2), faces[:, 14]

    def _run(self, image: Image, scale: float) -> Array:
        """The network on a whole image: faces (n, 15), best score first."""
        pixels, scale_x, scale_y = reduce_image(image, scale)
        faces: Array = self._session.run(None, {"pixels": pixels, **cells(*pixels.shape[2:], scale_x, scale_y)})[0].T
        return faces

    def _run_in_tiles(self, image: Image, scale: float, excess: float) -> Array:
        """The network on a large image, in bounded memory: small faces from overlapping tiles, large from the whole."""
        large = TILE_OVERLAP / scale / 2
        whole = self._run(image, scale / excess)
        found = [whole[_sides(whole) >= large]]
        for left, top, right, bottom in tiles(image.shape[1], image.shape[0], TILE / scale, TILE_OVERLAP / scale):
            faces = self._run(image[top:bottom, left:right], scale)
            # A face cut by a tile's edge lies whole in the next one.
            faces = faces[_sides(faces) < large] + np.array([left, top] * 7 + [0], dtype=np.float32)
            found.append(faces)
        faces = np.concatenate(found)
        placed = faces[:, :4].copy()
        placed[:, 2:] -= placed[:, :2]
        return faces[list(cv2.dnn.NMSBoxes(placed.tolist(), faces[:, 14].tolist(), 0.0, OVERLAP))]


def _sides(faces: Array) -> Array:
    """(n,) the longer sides of the boxes of faces (n, 15)."""
    sides: Array = (faces[:, 2:4] - faces[:, :2]).max(axis=1)
    return sides


def tiles(width: int, height: int, side: float, overlap: float) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of tiles of at most about `side` px that cover an image, neighbours overlapping."""

    def cuts(length: int) -> list[tuple[int, int]]:
        count = max(math.ceil((length - overlap) / (side - overlap)), 1)
        step = (length - overlap) / count
        return [(round(i * step), min(round(i * step + step + overlap), length)) for i in range(count)]

    return [(left, top, right, bottom) for top, bottom in cuts(height) for left, right in cuts(width)]


def wanted_scale(width: int, height: int, min_face: float) -> float:
    """The scale that shows a face of `min_face` px as large as `SHOWN_PX` says."""
    (small, large_px), (large, small_px) = SHOWN_PX
    share = min(max((min_face - small) / (large - small), 0.0), 1.0)
    wanted = min((large_px + share * (small_px - large_px)) / min_face, MAX_SCALE)
    return max(wanted, min(LEAST_SIDE / max(width, height), 1.0))


def input_size(width: int, height: int, wanted: float) -> tuple[int, int, float]:
    """The network's input size for an image: (columns, rows, scale), columns and rows multiples of 16.

    The scale is the wanted one or larger, up to what the rounding up leaves room for: where a whole number of pixels
    can then be averaged, that is the cheapest reduction; else the input is filled.
    """
    columns = -(-math.ceil(width * wanted) // GRID) * GRID
    rows = -(-math.ceil(height * wanted) // GRID) * GRID
    # Never enlarged for the padding's sake alone.
    largest = min(columns / width, rows / height, max(wanted, 1.0))
    blocks = math.ceil(1 / largest)
    return columns, rows, 1 / blocks if 1 / blocks >= wanted else largest


def reduce_image(image: Image, wanted: float) -> tuple[Array, float, float]:
    """The network's input (1, 3, rows, columns) float32, padded with black right and below, and its x and y scales."""
    height, width = image.shape[:2]
    columns, rows, scale = input_size(width, height, wanted)
    # Beyond this ratio bilinear samples leave pixels out.
    blocks = int(1 / scale) if 1 / scale >= SAMPLES_REACH or (1 / scale).is_integer() else 1
    if blocks > 1:
        # Whole blocks are averaged first: fine texture would alias, and INTER_AREA at any ratio is ten times slower.
        width, height = max(width // blocks, 1) * blocks, max(height // blocks, 1) * blocks
        reduced = (width // blocks, height // blocks)
        image = np.asarray(cv2.resize(image[:height, :width], reduced, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    size = (min(max(round(width * scale), 1), columns), min(max(round(height * scale), 1), rows))
    if size != image.shape[1::-1]:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    right, below = columns - size[0], rows - size[1]
    if right or below:
        image = np.asarray(cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT), dtype=np.uint8)
    return sessions.to_planes(image), size[0] / width, size[1] / height


@lru_cache(maxsize=16)
def cells(rows: int, columns: int, scale_x: float, scale_y: float) -> dict[str, Array]:
    """What the graph needs to know of the cells of its three levels, level after level, row after row.

    Args:
        rows: of the input's pixels.
        columns: likewise.
        scale_x: input px per px of the image, across.
        scale_y: likewise, down.

    Returns:
        In px of the image: `steps` (1, 1, 2, n), the cells' sizes; `starts` (1, 1, 2, n), their first corners;
        `reaches` (1, 2, n), half their sizes.
    """
    starts, steps = [], []
    for stride in yunet_graph.STRIDES:
        places = np.indices((-(-rows // stride), -(-columns // stride)))[::-1].reshape(2, -1)
        starts.append(places * stride)
        steps.append(np.full(places.shape, stride))
    scale = np.array([[scale_x], [scale_y]])
    step = (np.concatenate(steps, axis=1) / scale).astype(np.float32)
    start = (np.concatenate(starts, axis=1) / scale).astype(np.float32)
    return {"steps": step[None, None], "starts": start[None, None], "reaches": step[None] / 2}
