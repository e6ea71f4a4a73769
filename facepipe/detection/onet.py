"""O-Net, MTCNN's last network, as a judge of single boxes: landmarks, a better box and a face score for each.

It looks at 48x48 px cut from the image at full size, whatever detector proposed the box.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.detection import boxes as box_math
from facepipe.detection import networks, sessions, weights
from facepipe.pose import estimate_pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.detection.boxes import Boxes
    from facepipe.records import Image

    Array = NDArray[np.float32]

SIDE = 48
"""px, O-Net's input."""
SHARE = 0.8
"""O-Net's weight in the landmarks of a face that is not turned far."""
TURNED_FROM, PROFILE_FROM = 50.0, 70.0
"""degrees of yaw, as the detector's landmarks have it: O-Net's share falls from all to nothing."""
SURE = 0.5
"""O-Net's score below which it does not see a face, and its landmarks are not used."""


class Refiner:
    """O-Net on given boxes. Not thread-safe; one a process.

    Raises:
        WeightsError: the weights are missing or not the expected ones.
    """

    def __init__(self) -> None:
        self._session = sessions.open_session(networks.o_net(weights.read_arrays(weights.O_NET)))

    def check(self, image: Image, boxes: Boxes) -> tuple[Boxes, Array, Array]:
        """Judges boxes, such as those of the frame before.

        Args:
            image: (h, w, 3) uint8 RGB.
            boxes: (n, 4) px of `image`.

        Returns:
            Boxes moved to where O-Net sees the face (n, 4), landmarks (n, 5, 2), face scores (n,) in 0..1.
        """
        if not len(boxes):
            return np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32)
        squares = box_math.squares(np.asarray(boxes, dtype=np.float32))
        pixels = np.stack([cut(image, square) for square in squares])
        out = self._session.run(None, {"pixels": pixels})[0]
        return read(out, squares)

    def refine(self, image: Image, boxes: Boxes) -> tuple[Array, Array]:
        """Landmarks (n, 5, 2) px and face scores (n,) for boxes (n, 4) of `image`."""
        _, points, scores = self.check(image, boxes)
        return points, scores

    def blend(self, image: Image, boxes: Boxes, points: Array) -> Array:
        """A detector's landmarks bettered by O-Net's: a weighted mean, the detector's alone for profiles.

        O-Net's landmarks err 2.8 % of the face where YuNet's err 5.5, but it saw no profiles: it draws the far eye
        where it would be if the face turned less, with a high score all the same.

        Args:
            image: (h, w, 3) uint8 RGB.
            boxes: (n, 4), the detector's.
            points: (n, 5, 2), the detector's.

        Returns:
            (n, 5, 2) px.
        """
        refined, scores = self.refine(image, boxes)
        share = np.array([_trust(*seen) for seen in zip(points, boxes, scores, strict=True)], dtype=np.float32)
        blended: Array = points + share[:, None, None] * (refined - points)
        return blended


def _trust(points: Array, box: Boxes, score: np.float32) -> float:
    """O-Net's share of the landmarks, from where the detector sees the face looking and O-Net's score."""
    yaw = abs(estimate_pose(points, box).yaw)
    if score < SURE or math.isnan(yaw):
        return 0.0
    return SHARE * min(max((PROFILE_FROM - yaw) / (PROFILE_FROM - TURNED_FROM), 0.0), 1.0)


def cut(image: Image, square: Array) -> Array:
    """The pixels of one square as O-Net takes them: (3, 48, 48) float32, 0..255; what lies outside is black."""
    x1, y1, x2, y2 = (float(v) for v in square)
    step = max(x2 - x1, 1.0) / SIDE
    blocks = int(step)
    if blocks > 1:
        # Whole blocks are averaged first: sampling every second pixel or fewer would alias.
        left, top = max(int(x1) - blocks, 0), max(int(y1) - blocks, 0)
        part = image[top : int(y2) + 2 * blocks, left : int(x2) + 2 * blocks]
        rows, columns = part.shape[0] // blocks, part.shape[1] // blocks
        if rows and columns:
            part = part[: rows * blocks, : columns * blocks]
            image = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
            x1, y1, step = (x1 - left) / blocks, (y1 - top) / blocks, step / blocks
    # Box edges to pixel centres: output pixel i shows the image at x1 + (i + 0.5) * step - 0.5.
    shift = 0.5 * step - 0.5
    matrix = np.array([[step, 0, x1 + shift], [0, step, y1 + shift]])
    patch = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(patch.transpose(2, 0, 1), dtype=np.float32)


def read(out: Array, squares: Boxes) -> tuple[Boxes, Array, Array]:
    """O-Net's output (n, 16) for squares (n, 4) as boxes (n, 4), landmarks (n, 5, 2) and scores (n,)."""
    sides = (squares[:, 2:] - squares[:, :2])[:, [0, 1, 0, 1]]
    boxes = squares + out[:, :4] * sides
    shares = np.stack([out[:, 4:9], out[:, 9:14]], axis=2)
    points = squares[:, None, :2] + shares * sides[:, None, :2]
    scores = 1 / (1 + np.exp(out[:, 14] - out[:, 15]))
    return boxes.astype(np.float32), points.astype(np.float32), scores.astype(np.float32)
