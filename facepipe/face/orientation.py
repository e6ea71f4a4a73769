"""Where a face looks, and how sure that is: one small network, right from frontal to profile, whichever way up.

It is shown a gray square of 64 px, 1.3 times the longer side of the face's box. It tells in which direction the face
looks and where its right-hand side points, as vectors, for angles have no value at a profile; and how far off it may
be. How it was taught: `tools/train_orientation.py`; how good it is: `docs/how/pose.md`.

Axes as in images: x to the right, y down, z away from the camera. A face that looks into the camera looks along -z.
"""

from __future__ import annotations

import math
import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from facepipe.detection import runtime
from facepipe.detection.weights import read_packaged
from facepipe.face.crop import crop_similarity, window
from facepipe.records import SURE_DEG, Pose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.records import Image

Vector = tuple[float, float, float]

MODEL = "orientation.tflite"
SIDE = 64
"""px, the network's input."""
MARGIN = 0.15
"""What it is shown around a face's box on each side, as a share of the box's longer side."""
MAX_ERROR = 15.0
"""degrees: where the network says that it may be further off, the pose is unknown. So it is of nearly all squares
without a face."""
NOD = 3.0
"""degrees between the axis that AFLW2000 / 300W-LP give a head, from which pitch is counted, and where people look who
look into a camera, by the labels of YouTube Faces, from which the frontal angle is."""
UPRIGHT, ASIDE = 50.0, 70.0
"""degrees of tilt up to which a face stands upright, and from where on it does not: in between it may be found as it
is, or better where the picture is turned."""
UNKNOWN = Pose(math.nan, math.nan, math.nan, math.nan, math.nan)
"""What is said of a face whose pose can't be told."""


class Orientation(NamedTuple):
    """Where a face looks.

    forward: the direction in which it looks, a unit vector. right: where that side of the face
    points which lies on the image's right in an upright frontal face, a unit vector. error: degrees, the network's own
    estimate of how far off `forward` is.
    """

    forward: Vector
    right: Vector
    error: float

    @property
    def known(self) -> bool:
        """Whether this says anything."""
        return self.error <= MAX_ERROR

    @property
    def angle(self) -> float:
        """Degrees between where it looks and the camera's axis."""
        return math.degrees(math.acos(min(max(-self.forward[2], -1.0), 1.0)))

    @property
    def tilt(self) -> float:
        """Degrees, -180..180, that the face is turned clockwise in the image: what its crop is turned back by."""
        down = _cross(self.right, self.forward)
        return math.degrees(math.atan2(-down[0], down[1]))

    @property
    def upright(self) -> bool:
        """Whether this is surely a face that stands upright, more or less."""
        return self.error <= SURE_DEG and abs(self.tilt) <= UPRIGHT

    @property
    def aside(self) -> bool:
        """Whether this is surely a face that does not."""
        return self.error <= SURE_DEG and abs(self.tilt) >= ASIDE

    def turned(self, quarters: int) -> Orientation:
        """The same face where the image is turned clockwise by so many quarters of a circle."""
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]

        def turn(vector: Vector) -> Vector:
            x, y, z = vector
            return cosine * x - sine * y, sine * x + cosine * y, z

        return Orientation(turn(self.forward), turn(self.right), self.error)

    @property
    def pose(self) -> Pose:
        """The angles, by the convention of AFLW2000 / 300W-LP; all NaN where they are not known."""
        if not self.known:
            return UNKNOWN
        cosine, sine = math.cos(math.radians(NOD)), math.sin(math.radians(NOD))
        down = _cross(self.right, self.forward)
        axis = _unit([cosine * a + sine * b for a, b in zip(self.forward, down, strict=True)])
        x, y, z = axis
        yaw, pitch = math.asin(min(max(-x, -1.0), 1.0)), math.atan2(-y, -z)
        # Where a head of this yaw and pitch has its right-hand side, and its lower end, without any roll.
        right = math.cos(yaw), -math.sin(pitch) * math.sin(yaw), -math.cos(pitch) * math.sin(yaw)
        roll = math.atan2(_dot(self.right, _cross(right, axis)), _dot(self.right, right))
        return Pose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll), self.angle, self.error)


class OrientationNetwork:
    """The network. Not thread-safe; one a thread.

    Raises:
        WeightsError: the packaged weights are missing, or can't be run.
    """

    def __init__(self) -> None:
        self._network = runtime.Network(read_packaged(MODEL), MODEL)

    def look(self, images: Sequence[Image], boxes: Sequence[NDArray[np.float32]]) -> list[Orientation]:
        """Where faces look.

        Args:
            images: of each face, (h, w, 3) uint8 RGB.
            boxes: of each face, (4,) float32 x1, y1, x2, y2, px of its image.
        """
        return [self._told(pixels_of(image, box)) for image, box in zip(images, boxes, strict=True)]

    def _told(self, pixels: NDArray[np.float32]) -> Orientation:
        """What the network says: forward, right, log of the error in radians."""
        out = self._network.run(pixels)[0][0].tolist()
        forward = _unit(out[:3])
        across = sum(a * b for a, b in zip(out[3:6], forward, strict=True))
        right = _unit([a - across * b for a, b in zip(out[3:6], forward, strict=True)])
        return Orientation(forward, right, math.degrees(math.exp(min(out[6], 2.0))))


def pixels_of(image: Image, box: NDArray[np.float32]) -> NDArray[np.float32]:
    """A face's square as networks take it, (1, 64, 64, 1) float32 in -0.5..0.5."""
    return square(image, box).reshape(1, SIDE, SIDE, 1) * np.float32(1 / 255) - np.float32(0.5)


def square(image: Image, box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What the network is shown of a face, (64, 64) uint8 gray; beyond the border the outermost pixels are repeated."""
    similarity = crop_similarity(box, 0.0, SIDE, MARGIN)
    blocks = max(int(1 / similarity.scale), 1)
    left, top, right, bottom = window(image, similarity, SIDE, 2 * blocks)
    part = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    rows, columns = part.shape[0] // blocks, part.shape[1] // blocks
    if blocks > 1 and rows and columns:
        # Whole blocks are averaged first: sampling every second pixel or fewer would alias.
        part = cv2.resize(part[: rows * blocks, : columns * blocks], (columns, rows), interpolation=cv2.INTER_AREA)
        similarity = similarity.of_part(left + (blocks - 1) / 2, top + (blocks - 1) / 2, blocks)
    else:
        similarity = similarity.of_part(left, top)
    method, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(part, similarity.matrix, (SIDE, SIDE), flags=method, borderMode=border), np.uint8)


def _unit(vector: Sequence[float]) -> Vector:
    x, y, z = vector
    length = max(math.sqrt(x * x + y * y + z * z), 1e-9)
    return x / length, y / length, z / length


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def make_orientation() -> OrientationNetwork:
    """The network of this thread, loaded once."""
    return _network(os.getpid(), threading.get_ident())


@lru_cache(maxsize=1)
def _network(_pid: int, _thread: int) -> OrientationNetwork:
    """It is not thread-safe, and a forked child can't use its parent's."""
    return OrientationNetwork()
