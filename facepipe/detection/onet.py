"""O-Net, MTCNN's last network, as a judge of single boxes: landmarks and a face score for each.

It looks at 48x48 px cut from the image at full size, whatever detector proposed the box.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, cast

import cv2
import numpy as np

from facepipe.detection import litert, onet_graph, weights
from facepipe.detection.onet_graph import SIDE
from facepipe.detection.together import Waiting
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.records import Image

    Array = NDArray[np.float32]

SHARE = 0.85
"""O-Net's weight in the landmarks of a face that is not turned far."""
NOSE = 2.25
"""The sum of eyes' and mouth's width over how far the nose stands out, for a generic head."""
TURNED_FROM, PROFILE_FROM = 38.0, 58.0
"""degrees of yaw, as the detector's landmarks have it: O-Net's share falls from all to nothing."""
TOGETHER = 4
"""Squares that are looked at in one go; more gain nothing."""
SURE = 0.5
"""O-Net's score below which it does not see a face, and its landmarks are not used."""


class Look(NamedTuple):
    """What O-Net sees in one square: five landmarks as x, y, x, y, ..., px of the image; the face score, 0..1."""

    landmarks: list[float]
    score: float


class Square:
    """A part of an image as O-Net is shown it.

    Args:
        image: (h, w, 3) uint8 RGB.
        box: x1, y1, x2, y2, px of `image`: the square around it.

    Attributes:
        pixels: (48, 48, 3) uint8 RGB.
        found: what O-Net sees there; None until it has looked.
    """

    __slots__ = ("found", "left", "pixels", "side", "top")

    def __init__(self, image: Image, box: Sequence[float]) -> None:
        self.left, self.top, self.side = square(box)
        self.pixels = cut(image, self.left, self.top, self.side)
        self.found: Look | None = None


class Refiner:
    """O-Net on given boxes. Not thread-safe; one a process.

    Raises:
        WeightsError: the weights are missing or not the expected ones.
    """

    def __init__(self) -> None:
        self._arrays = weights.read_arrays(weights.O_NET)
        self._network = litert.Network(onet_graph.build(self._arrays), "O-Net")
        self._for_several: litert.Network | None = None
        self._waiting: Waiting[Square] = Waiting()

    def show(self, image: Image, box: Sequence[float]) -> Square:
        """The square around a box of an image (h, w, 3) uint8 RGB, for `see`: several that wait are looked at together.

        What is seen in a square does not depend on its company, to the last bit.
        """
        shown = Square(image, box)
        self._waiting.announce(shown)
        return shown

    def see(self, shown: Square) -> Look:
        """What O-Net sees in a square."""
        if (found := shown.found) is None:
            group = self._waiting.group(shown, TOGETHER)
            if len(group) < TOGETHER:
                outs = [self._network.run(one.pixels[None].astype(np.float32))[0][0].tolist() for one in group]
            else:
                outs = self._several().run(np.array([one.pixels for one in group], dtype=np.float32))[0].tolist()
            for one, out in zip(group, outs, strict=True):
                one.found = read(out, one.left, one.top, one.side)
            found = cast("Look", shown.found)
        return found

    def look(self, image: Image, box: Sequence[float]) -> Look:
        """What O-Net sees in the square around a box, x1, y1, x2, y2, of an image (h, w, 3) uint8 RGB."""
        return self.see(self.show(image, box))

    def _several(self) -> litert.Network:
        """The network for several squares in one go; a video's single face needs none."""
        if self._for_several is None:
            self._for_several = litert.Network(onet_graph.build(self._arrays, TOGETHER), "O-Net")
        return self._for_several


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
