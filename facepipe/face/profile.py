"""Landmarks of faces that are turned far: by a small network that has seen profiles, where O-Net saw none.

It is shown what the orientation network is shown, and was taught with heads turned in 3D, of which it is known where
each landmark lies, hidden ones too: `tools/train_landmarks.py`.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from facepipe.detection import runtime
from facepipe.detection.weights import read_packaged
from facepipe.face.orientation import UPRIGHT, pixels_of

if TYPE_CHECKING:
    from facepipe.face.orientation import Orientation
    from facepipe.records import Face, Image

MODEL = "profile_landmarks.tflite"
FROM = 30.0
"""degrees between face and camera from where on its landmarks are nearer to the true ones than O-Net's."""


def turned_far(orientation: Orientation | None) -> bool:
    """Whether a face is known to stand upright, more or less, and to be turned so far that this network is asked."""
    if orientation is None or not orientation.known:
        return False
    return orientation.angle > FROM and abs(orientation.tilt) <= UPRIGHT


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
    x1, y1, x2, y2 = face.box.tolist()
    # It tells shares of the box's longer side, from the box's middle.
    middle = np.array([(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2])
    told = _network(os.getpid(), threading.get_ident()).run(pixels_of(image, face.box))[0].reshape(5, 2)
    return face._replace(landmarks=np.asarray(middle + told * max(x2 - x1, y2 - y1, 1.0), np.float32))


@lru_cache(maxsize=1)
def _network(_pid: int, _thread: int) -> runtime.Network:
    """It is not thread-safe, and a forked child can't use its parent's."""
    return runtime.Network(read_packaged(MODEL), MODEL)
