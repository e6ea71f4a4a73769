"""A photograph's face turned before its own background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.face.crop import crop_similarity, cut_crop
from facepipe.face.turning import Turnable, turn_to_front


@pytest.fixture(scope="module")
def face(find_faces, network, astronaut):
    """The astronaut's crop, 192 px, that can be turned."""
    found = find_faces(astronaut)[0]
    pose = network.look([astronaut], [found.box])[0].pose
    crop = cut_crop(astronaut, found.box, pose.roll, 192, 0.3).image
    matrix = crop_similarity(found.box, pose.roll, 192, 0.3).matrix
    points = found.landmarks @ matrix[:, :2].T + matrix[:, 2]
    return Turnable(crop, points.astype(np.float32), pose.yaw, pose.pitch)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (-30, 0), (45, 0), (60, 0), (-75, 0), (0, 20)])
def test_it_looks_where_it_is_turned_to(face, find_faces, network, yaw, pitch):
    """The orientation network tells the angles, and the detector finds the face where a crop of its own would have it."""
    view = face.turn(yaw, pitch, 192).image
    box = np.array([36, 36, 156, 156], np.float32)
    pose = network.look([view], [box])[0].pose
    assert pose.yaw == pytest.approx(yaw, abs=20)
    if abs(yaw) <= 60:
        assert pose.pitch == pytest.approx(pitch, abs=20)
        x1, y1, x2, y2 = find_faces(view)[0].box
        assert [(x1 + x2) / 2, (y1 + y2) / 2, y2 - y1] == pytest.approx([95.5, 95.5, 120], abs=16)


def test_hardly_turned_it_is_the_photograph(face):
    """As it looks already, nothing but a little blur changes: no seam, no other background."""
    view = face.turn(face.yaw, face.pitch, 192).image.astype(int)
    assert np.abs(view - face.photograph).mean() < 4


@pytest.mark.parametrize(("yaw", "seen"), [(20, 0.75), (50, 0.5), (80, 0.3)])
def test_the_flow_turns_it_back(face, yaw, seen):
    """What the flow says is seen is the photograph's own face, less of it the further the head is turned."""
    view = face.turn(yaw, 0, 192, (0.05, -0.03), 1.05)
    flow = face.flow(view, 192).astype(np.float32)
    places = np.ascontiguousarray(flow[..., :2] * 192 / 256 - 0.5)
    back = cv2.remap(view.image, places, None, cv2.INTER_LINEAR).astype(int)
    middle = np.zeros((192, 192), bool)
    middle[60:145, 60:135] = True
    shown = (flow[..., 2] > 250) & middle
    assert shown.sum() > seen * middle.sum() * 0.9
    assert np.abs(back - face.photograph)[shown].mean() < 12
    assert np.abs(view.image.astype(int) - face.photograph)[shown].mean() > 20


@pytest.mark.parametrize("yaw", [30, -55])
def test_a_side_view_turns_to_the_front(face, network, yaw):
    """Turned back it looks ahead, lies where a frontal crop has it, and is nearer to the photograph than it was."""
    side = face.turn(yaw, 0, 192)
    front = turn_to_front(side.image, side.landmarks, yaw, 0)
    pose = network.look([front.image], [np.array([36, 36, 156, 156], np.float32)])[0].pose
    assert pose.yaw == pytest.approx(0, abs=12)
    still = face.turn(0, 0, 192)
    assert np.abs(front.landmarks - still.landmarks).max() < 12
    middle = np.s_[60:145, 60:135]
    off, before = (np.abs(view.image[middle].astype(int) - still.image[middle]).mean() for view in (front, side))
    assert off < 0.75 * before
