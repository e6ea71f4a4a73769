"""Landmarks by O-Net, MTCNN's last network (Zhang et al. 2016), which also judges whether a box holds a face.

It looks at 48x48 px cut from the image at full size, whatever detector proposed the box. Its weights have 8 bits: that
takes less than half the time of float32, and landmarks move by 0.1 % of the box.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from facepipe.detection import runtime
from facepipe.detection.weights import read_packaged
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.records import Image

    Array = NDArray[np.float32]

MODEL = "landmarks.tflite"
"""`tools/build_landmarks.py` makes it from the weights in the package `mtcnn`."""
SIDE = 48
"""px, O-Net's input."""
SHARE = 0.85
"""O-Net's weight in the landmarks of a face that is not turned far."""
NOSE = 2.25
"""The sum of eyes' and mouth's width over how far the nose stands out, for a generic head."""
TURNED_FROM, PROFILE_FROM = 38.0, 58.0
"""degrees of yaw, as the detector's landmarks have it: O-Net's share falls from all to nothing."""
BATCH = 4
"""Squares that are looked at in one go; more gain nothing."""
SURE = 0.5
"""O-Net's score below which it does not see a face, and its landmarks are not used."""


class Look(NamedTuple):
    """What O-Net sees in one square: five landmarks as x, y, x, y, ..., px of the image; the face score, 0..1."""

    landmarks: list[float]
    score: float


class Refiner:
    """O-Net on given boxes. Not thread-safe; one a thread.

    Raises:
        WeightsError: the packaged weights are missing, or can't be run.
    """

    def __init__(self) -> None:
        self._network = runtime.Network(read_packaged(MODEL), MODEL)

    def look(self, images: Sequence[Image], boxes: Sequence[Sequence[float]]) -> list[Look]:
        """What O-Net sees in the squares around boxes. It does not depend on their company, to the last bit.

        Args:
            images: of each box, (h, w, 3) uint8 RGB.
            boxes: x1, y1, x2, y2, px of its image.
        """
        squares = [square(box) for box in boxes]
        patches = [cut(image, *place) for image, place in zip(images, squares, strict=True)]
        outs: list[list[float]] = []
        for start in range(0, len(patches), BATCH):
            outs += self._network.run(np.array(patches[start : start + BATCH]))[0].tolist()
        return [read(out, *place) for out, place in zip(outs, squares, strict=True)]

    def look_at(self, images: Sequence[Image], faces: Sequence[Sequence[Face]]) -> list[list[Look]]:
        """What O-Net sees in the boxes of several images' faces."""
        owners = [image for image, each in zip(images, faces, strict=True) for _ in each]
        looks = iter(self.look(owners, [face.box.tolist() for each in faces for face in each]))
        return [[next(looks) for _ in each] for each in faces]


def blend(face: Face, look: Look) -> Face:
    """A face with its detector's landmarks bettered by O-Net's: a weighted mean, the detector's alone for profiles.

    O-Net's landmarks err 2.8 % of the face where YuNet's err 5.5, but it saw no profiles: it draws the far eye where it
    would be if the face turned less, with a high score all the same.

    Args:
        face: the detector's.
        look: what O-Net sees in its box.
    """
    own = face.landmarks.reshape(-1).tolist()
    share = _trust(own, look.score)
    mixed = [mine + share * (other - mine) for mine, other in zip(own, look.landmarks, strict=True)]
    return Face(face.box, np.array(mixed, dtype=np.float32).reshape(5, 2), face.score)


def _trust(points: Sequence[float], score: float) -> float:
    """O-Net's share of the landmarks, from where the detector's x, y, x, y, ... see the face looking and O-Net's score.

    The yaw is taken from how far the nose lies aside between eyes and mouth, along the lines through both: a rough form
    of what `pose` does, for a tenth of its time.
    """
    ax, ay, bx, by, nx, ny, cx, cy, dx, dy = points
    across_x, across_y = bx - ax + dx - cx, by - ay + dy - cy
    aside_x, aside_y = nx - (ax + bx + cx + dx) / 4, ny - (ay + by + cy + dy) / 4
    aside = abs(aside_x * across_x + aside_y * across_y)
    yaw = math.degrees(math.atan2(NOSE * aside, across_x * across_x + across_y * across_y))
    if score < SURE or math.isnan(yaw):
        return 0.0
    return SHARE * min(max((PROFILE_FROM - yaw) / (PROFILE_FROM - TURNED_FROM), 0.0), 1.0)


def square(box: Sequence[float]) -> tuple[float, float, float]:
    """Left, top and side of the square with a box's centre and its longer side."""
    x1, y1, x2, y2 = box
    side = max(x2 - x1, y2 - y1, 1.0)
    return (x1 + x2 - side) / 2, (y1 + y2 - side) / 2, side


def cut(image: Image, left: float, top: float, side: float) -> Image:
    """The pixels of one square as O-Net takes them, (48, 48, 3) uint8; what lies outside the image is black."""
    step = side / SIDE
    blocks = int(step)
    if blocks > 1:
        # Whole blocks are averaged first: sampling every second pixel or fewer would alias.
        x, y, reach = max(int(left) - blocks, 0), max(int(top) - blocks, 0), int(side) + 3 * blocks
        part = image[y : max(int(top) + reach, 0), x : max(int(left) + reach, 0)]
        rows, columns = part.shape[0] // blocks, part.shape[1] // blocks
        if rows and columns:
            part = part[: rows * blocks, : columns * blocks]
            image = np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)
            left, top, step = (left - x) / blocks, (top - y) / blocks, step / blocks
    # From edges to pixel centres: output pixel i shows the image at left + (i + 0.5) * step - 0.5.
    matrix = np.array([[1 / step, 0, (0.5 - left) / step - 0.5], [0, 1 / step, (0.5 - top) / step - 0.5]])
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def read(out: Sequence[float], left: float, top: float, side: float) -> Look:
    """O-Net's 16 outputs for a square as what is seen there; its first four, a better box, are not needed."""
    landmarks: list[float] = []
    for x, y in zip(out[4:9], out[9:14], strict=True):
        landmarks += (left + x * side, top + y * side)
    return Look(landmarks, 1 / (1 + math.exp(min(out[14] - out[15], 700.0))))
