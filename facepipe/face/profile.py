"""Landmarks of faces that are turned far: by a small network that has seen profiles, where O-Net saw none.

It is shown what tells where the face looks (`facepipe.face.orientation.square`) and was taught with heads turned in 3D,
of which it is known where each landmark lies, hidden ones too: `tools/train_landmarks.py`.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from facepipe.detection import runtime
from facepipe.detection.weights import read_packaged
from facepipe.face.orientation import SIDE, square

if TYPE_CHECKING:
    from facepipe.face.orientation import Orientation
    from facepipe.records import Face, Image

MODEL = "profile_landmarks.tflite"
FROM = 30.0
"""degrees between face and camera from where on its landmarks are nearer to the true ones than O-Net's."""


def turned_far(orientation: Orientation | None) -> bool:
    """Whether a face is known to be turned so far that its landmarks are this network's."""
    return orientation is not None and orientation.known and orientation.angle > FROM


def with_profile_landmarks(image: Image, face: Face, orientation: Orientation) -> Face:
    """A face with the network's landmarks where it is turned far, else as it is.

    Args:
        image: (h, w, 3) uint8 RGB.
        face: of it, with any landmarks.
        orientation: where it looks.

    Raises:
        WeightsError: the packaged weights are missing, or can't be run.
    """
    if not turned_far(orientation):
        return face
    pixels = square(image, face.box).reshape(1, SIDE, SIDE, 1) * np.float32(1 / 255) - np.float32(0.5)
    x1, y1, x2, y2 = face.box.tolist()
    # It tells shares of the box's longer side, from the box's middle.
    middle = np.array([(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2])
    told = _network(os.getpid(), threading.get_ident()).run(pixels)[0].reshape(5, 2)
    return face._replace(landmarks=np.asarray(middle + told * max(x2 - x1, y2 - y1, 1.0), np.float32))


@lru_cache(maxsize=1)
def _network(_pid: int, _thread: int) -> runtime.Network:
    """It is not thread-safe, and a forked child can't use its parent's."""
    return runtime.Network(read_packaged(MODEL), MODEL)
