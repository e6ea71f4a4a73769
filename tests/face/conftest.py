"""The astronaut's head turned in three dimensions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import heads

from facepipe.face.head import rotation
from facepipe.face.orientation import make_orientation


class Portrait(NamedTuple):
    """A head and the photograph's own rotation of it."""

    head: heads.FittedHead
    rotation: np.ndarray
    landmarks: np.ndarray

    def turned(self, yaw=0.0, pitch=0.0, roll=0.0, side=240):
        """(side, side, 3) uint8 RGB: the head with these angles, degrees, before a coffee table."""
        from skimage import data

        table = cv2.resize(data.coffee(), (side, side), interpolation=cv2.INTER_AREA)
        return heads.view(self.head, rotation(yaw, pitch, roll), side, table, zoom=0.8)[0]


@pytest.fixture(scope="session")
def network():
    return make_orientation()


@pytest.fixture(scope="session")
def portrait_of(find_faces, network):
    """A function from a photograph to its first face's head."""

    def make(photograph):
        face = find_faces(photograph)[0]
        pose = network.look([photograph], [face.box])[0].pose
        turned = rotation(pose.yaw, pose.pitch, pose.roll)
        points = heads.place(face.landmarks, turned)
        return Portrait(heads.fit(photograph, points, turned), turned, face.landmarks)

    return make


@pytest.fixture(scope="session")
def portrait(portrait_of, astronaut):
    return portrait_of(astronaut)


@pytest.fixture(scope="session")
def crop_of():
    """A function from a row to its crop, (side, side, 3) int."""

    def decode(row):
        return cv2.imdecode(np.frombuffer(row.crop, np.uint8), cv2.IMREAD_COLOR).astype(int)

    return decode
