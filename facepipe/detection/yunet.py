"""YuNet (Wu et al. 2023, "YuNet: A Tiny Millisecond-level Face Detector") on a reduced image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.detection import onet, weights, yunet_graph
from facepipe.detection.reduction import reduce_image, wanted_scale
from facepipe.detection.yunet_network import Network
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.detection.onet import Look, Refiner, Square
    from facepipe.detection.reduction import Reduced
    from facepipe.records import Image

    Array = NDArray[np.float32]

FLOOR = 0.3
"""Faces of a lower score are not worth a row."""
DOUBTFUL = 2.0
"""Faces up to this many times `min_face` lose score by being shown small, and get a second opinion."""
OVERLAP = 0.3
"""Of two boxes overlapping by more (intersection over union), the one with the better score stays."""
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
        model: path of own weights of YuNet's shape; empty: the packaged ones.
        min_score: faces down to min(min_score, 0.3) are returned, so that the caller can tell what it left out.

    Raises:
        WeightsError: the weights are missing, or not of YuNet's shape.
    """

    def __init__(self, refiner: Refiner, model: str = "", min_score: float = 0.7) -> None:
        file = weights.read_model(model) if model else weights.read_weights(weights.YUNET)
        self._network = Network(yunet_graph.rebuild(file, min(min_score, FLOOR), OVERLAP))
        self._refiner = refiner
        self._min_score = min_score

    def detect(
        self, image: Image, min_face: float, *, refine: bool = True, reduced: Reduced | None = None
    ) -> list[Face]:
        """All faces of at least about `min_face` px.

        A small face that leaves YuNet unsure is shown to O-Net at full size: where the mean of their scores is higher,
        it counts.

        Args:
            image: (h, w, 3) uint8 RGB.
            min_face: px of `image`; smaller faces may be among the result.
            refine: whether every face's landmarks are refined; else `refine` does it for those that matter.
            reduced: what `reduce` gave for the same image and `min_face`, where that is done already.

        Returns:
            Best score first; coordinates in px of `image`, boxes may reach beyond its border.
        """
        found = self.propose(image, min_face, reduced)
        if len(found) and found[-1, SCORE] < self._min_score:
            found = self._ask_again(image, min_face, found)
        faces = [Face(row[:4], row[4:14].reshape(5, 2), float(row[SCORE])) for row in found]
        return self.refine(image, faces) if refine else faces

    def _ask_again(self, image: Image, min_face: float, found: Array) -> Array:
        """O-Net's opinion of the small faces that YuNet is not sure of, in their scores; best first again."""
        found = found.copy()
        asked = False
        for row, (x1, y1, x2, y2, *_, score) in zip(found, found.tolist(), strict=True):
            # O-Net can say 1 at most: where the mean stays under `min_score` whatever it says, it is not asked.
            open_to_doubt = score < self._min_score <= (score + 1) / 2
            if open_to_doubt and max(x2 - x1, y2 - y1) < DOUBTFUL * min_face:
                row[SCORE] = max(score, (score + self._refiner.look(image, (x1, y1, x2, y2)).score) / 2)
                asked = True
        return found[np.argsort(-found[:, SCORE], kind="stable")] if asked else found

    def show(self, image: Image, faces: Sequence[Face]) -> list[Square]:
        """What O-Net is shown of faces that `detect` gave unrefined, for `refine`."""
        return [self._refiner.show(image, face.box.tolist()) for face in faces]

    def refine(self, image: Image, faces: Sequence[Face], shown: Sequence[Square] = ()) -> list[Face]:
        """Faces that `detect` gave unrefined for the same image, with O-Net's share in their landmarks."""
        return self.blend(faces, [self._refiner.see(one) for one in shown or self.show(image, faces)])

    def blend(self, faces: Sequence[Face], looks: Sequence[Look]) -> list[Face]:
        """The same where what O-Net sees in the faces' boxes is known already."""
        return [onet.blend(face, look) for face, look in zip(faces, looks, strict=True)]

    def reduce(self, image: Image, min_face: float) -> Reduced | None:
        """What `detect` shows the network of an image (h, w, 3) uint8 RGB; None where it needs several looks."""
        height, width = image.shape[:2]
        scale = wanted_scale(width, height, min_face)
        if width * height * scale * scale > MOST_PIXELS:
            return None
        reduced = reduce_image(image, scale)
        self._network.announce(reduced)
        return reduced

    def propose(self, image: Image, min_face: float, reduced: Reduced | None = None) -> Array:
        """What YuNet alone says: faces (n, 15), best score first; box, five landmarks, score, px of `image`."""
        reduced = reduced or self.reduce(image, min_face)
        if reduced is not None:
            return self._network.run(reduced)
        height, width = image.shape[:2]
        scale = wanted_scale(width, height, min_face)
        return self._run_in_tiles(image, scale, math.sqrt(width * height * scale * scale / MOST_PIXELS))

    def _run_in_tiles(self, image: Image, scale: float, excess: float) -> Array:
        """The network on a large image, in bounded memory: small faces from overlapping tiles, large from the whole."""
        large = TILE_OVERLAP / scale / 2
        whole = self._network.run(reduce_image(image, scale / excess))
        found = [whole[_sides(whole) >= large]]
        for left, top, right, bottom in tiles(image.shape[1], image.shape[0], TILE / scale, TILE_OVERLAP / scale):
            faces = self._network.run(reduce_image(image[top:bottom, left:right], scale))
            # A face cut by a tile's edge lies whole in the next one.
            faces = faces[_sides(faces) < large] + np.array([left, top] * 7 + [0], dtype=np.float32)
            found.append(faces)
        faces = np.concatenate(found)
        placed = faces[:, :4].copy()
        placed[:, 2:] -= placed[:, :2]
        return faces[list(cv2.dnn.NMSBoxes(placed.tolist(), faces[:, SCORE].tolist(), 0.0, OVERLAP))]


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
