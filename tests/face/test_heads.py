"""A generic head fitted to a photograph's face, and turned."""

from __future__ import annotations

import hashlib
import re

import cv2
import heads
import numpy as np
import pytest

from facepipe.face import orientation
from facepipe.face.head import FIVE, HEAD, head, normals, rotation


def background(side):
    """A plain green, so that what is not head can be told."""
    return np.full((side, side, 3), (0, 200, 0), np.uint8)


def plain(portrait, side=240, **angles):
    turn = rotation(**{"yaw": 0, "pitch": 0, "roll": 0, **angles})
    return heads.view(portrait.head, turn, side, background(side), zoom=0.8)


def test_the_packaged_models_are_those_that_are_described():
    """Each file's SHA-256 stands beside its name, with origin and licence; head and orientation take under a megabyte."""
    folder = HEAD.parent
    told = (folder / "MODELS.md").read_text(encoding="utf-8")
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "MODELS.md"}
    own = {HEAD.name, orientation.MODEL}
    assert own <= set(files)
    for name, content in files.items():
        assert re.search(rf"`{re.escape(name)}`[^#]*{hashlib.sha256(content).hexdigest()}", told), name
    assert sum(len(files[name]) for name in own) < 2**20


def test_the_head_is_whole_and_symmetric():
    """Every triangle has three vertices, every vertex a counterpart, the face's half width is 1."""
    model = head()
    assert model.triangles.min() == 0
    assert model.triangles.max() == len(model.vertices) - 1
    flipped = model.vertices[model.mirrored] * [-1, 1, 1]
    assert np.abs(flipped - model.vertices).max() < 0.1
    points = model.points(model.vertices)
    assert points.shape == (468, 3)
    assert np.abs(points[:, 0]).max() == pytest.approx(1, abs=0.05)
    out, from_centre = normals(model.vertices, model.triangles), model.vertices - model.vertices.mean(axis=0)
    assert np.mean((out * from_centre).sum(axis=1) > 0) > 0.65  # inside the mouth and the ears' folds it is not so


def test_the_five_landmarks_of_a_placed_head_are_those_given(portrait):
    """Eyes, nose and mouth of the mesh points lie within 3 px of the photograph's."""
    points = heads.place(portrait.landmarks, portrait.rotation)
    five = np.array([points[list(which), :2].mean(axis=0) for which in FIVE])
    assert np.abs(five - portrait.landmarks).max() < 3


def test_a_head_that_is_not_turned_looks_as_in_its_photograph(portrait, astronaut):
    """The view at the photograph's own angles shows its pixels."""
    side = 240
    shown, points = heads.view(portrait.head, portrait.rotation, side, background(side), zoom=0.8)
    own = head().points(portrait.head.vertices)
    matrix, _ = cv2.estimateAffinePartial2D(own[:, :2].copy(), points[:, :2].copy())
    expected = cv2.warpAffine(astronaut, matrix, (side, side), flags=cv2.INTER_LINEAR)
    inner = points[:, :2]
    left, top = np.percentile(inner, 20, axis=0).astype(int)
    right, bottom = np.percentile(inner, 80, axis=0).astype(int)
    face = slice(top, bottom), slice(left, right)
    assert np.corrcoef(shown[face].ravel(), expected[face].ravel())[0, 1] > 0.97


@pytest.mark.parametrize("yaw", [-90, -45, 0, 30, 90])
def test_a_turned_head_is_a_head(portrait, yaw):
    """It covers the middle in colours of the photograph, with no hole, and leaves the corners to the background."""
    shown, points = plain(portrait, yaw=yaw)
    green = (shown == (0, 200, 0)).all(axis=2)
    assert not green[100:150, 105:135].any()
    assert green[:20, :20].all()
    assert 0.2 < 1 - green.mean() < 0.9
    nose = points[1, 0] - points[:, 0].mean()
    assert (nose < 0) == (yaw > 0) or yaw == 0  # a positive yaw looks to the image's left


def test_the_head_of_a_mirrored_photograph_is_the_mirrored_head(portrait, portrait_of, astronaut):
    """What one photograph shows of the left, the other shows of the right."""
    mirrored = portrait_of(np.ascontiguousarray(astronaut[:, ::-1]))
    for yaw in (-40, 0, 40):
        one, other = plain(portrait, yaw=yaw)[0], plain(mirrored, yaw=-yaw)[0][:, ::-1]
        assert np.abs(one.astype(int) - other)[60:180, 60:180].mean() < 20


def test_hair_and_light_change_a_view_and_not_its_points(portrait):
    """The same head with more hair, lit from elsewhere: other pixels, the same places."""
    turn, side = rotation(50, 0, 0), 160
    one, points = heads.view(portrait.head, turn, side, background(side), zoom=0.7)
    for look in (heads.Look(hair=0.15), heads.Look(hair=0.1, long=True), heads.Look(light=(-0.8, -0.2, -0.5))):
        other, same = heads.view(portrait.head, turn, side, background(side), zoom=0.7, look=look)
        again, _ = heads.view(portrait.head, turn, side, background(side), zoom=0.7, look=look)
        assert (one != other).any()
        np.testing.assert_array_equal(other, again)
        np.testing.assert_array_equal(points, same)
    longer, _ = heads.view(portrait.head, turn, side, background(side), zoom=0.7, look=heads.Look(depth=1.2))
    assert (longer != one).any()


def test_nobody_looks_out_of_the_back_of_a_head(portrait, find_faces, network):
    """Turned away, no face is found there that is known to stand."""
    from skimage import data

    for yaw in (150, 180, -150):
        table, turn = cv2.resize(data.coffee(), (240, 240)), rotation(yaw, 0, 0)
        image = heads.view(portrait.head, turn, 240, table, zoom=0.8, look=heads.Look(0.1))[0]
        faces = [face for face in find_faces(image) if face.score >= 0.7]
        assert not [face for face in faces if network.look([image], [face.box])[0].pose.frontal_angle < 30]
