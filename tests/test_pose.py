"""Head pose from five landmarks."""

from __future__ import annotations

import csv
import math

import cv2
import numpy as np
import pytest

from facepipe.detection.mtcnn import overlaps
from facepipe.pose import estimate_pose, frontal_angle

# A generic head: eyes, nose tip, mouth corners; x right, y down, z away from the camera, in eye distances.
HEAD = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0, 0.05, -0.55], [-0.4, 0.5, 0.05], [0.4, 0.5, 0.05]])
FLIP = [1, 0, 2, 4, 3]


def _project(yaw, pitch=0.0, roll=0.0, size=60.0):
    """The head turned by degrees (yaw > 0 to the image's left, pitch > 0 up, roll > 0 clockwise), as (5, 2) px."""
    y, p, r = np.radians([-yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    turned = HEAD @ (about_z @ about_x @ about_y).T
    return (turned[:, :2] * size + 200).astype(np.float32)


@pytest.mark.parametrize("yaw", [-80, -60, -30, -10, 0, 10, 30, 60, 80])
def test_yaw_has_the_sign_and_about_the_size_of_the_turn(yaw):
    """A face turned to the image's left has a positive yaw; the estimate is within a quarter and 8 degrees."""
    pose = estimate_pose(_project(yaw))
    assert pose.yaw == pytest.approx(yaw, abs=8 + 0.25 * abs(yaw))
    assert math.copysign(1, pose.yaw or 1) == math.copysign(1, yaw or pose.yaw or 1)


def test_pitch_rises_as_the_face_looks_up():
    """Looking further up always gives a larger pitch."""
    pitches = [estimate_pose(_project(0, pitch)).pitch for pitch in range(-40, 41, 10)]
    assert pitches == sorted(pitches)
    assert pitches[-1] - pitches[0] > 40


@pytest.mark.parametrize("roll", [-170, -90, -20, 0, 35, 90, 179])
def test_roll_is_the_turn_in_the_image_and_changes_nothing_else(roll):
    """Clockwise is positive, for a face upside down too; yaw and pitch stay."""
    pose, upright = estimate_pose(_project(15, 5, roll)), estimate_pose(_project(15, 5))
    assert pose.roll - upright.roll == pytest.approx(roll, abs=0.01)
    assert (pose.yaw, pose.pitch) == (pytest.approx(upright.yaw, abs=0.01), pytest.approx(upright.pitch, abs=0.01))


def test_a_mirrored_face_looks_the_other_way():
    """Mirroring turns yaw and roll around and leaves pitch and the angle to the camera."""
    points = _project(25, -8, 12)
    mirrored = points[FLIP] * [-1, 1]
    box, mirrored_box = (150, 150, 260, 270), (-260, 150, -150, 270)
    pose, other = estimate_pose(points, box), estimate_pose(mirrored, mirrored_box)
    assert (other.yaw, other.pitch, other.roll) == pytest.approx((-pose.yaw, pose.pitch, -pose.roll), abs=1e-3)
    assert other.frontal_angle == pytest.approx(pose.frontal_angle, abs=1e-3)


@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_size_and_place_do_not_matter(scale):
    """The same face nearer or elsewhere has the same pose."""
    points, box = _project(20, 5), np.array([140, 140, 260, 270])
    moved = estimate_pose(points * scale + 1000, box * scale + 1000)
    assert moved.frontal_angle == pytest.approx(estimate_pose(points, box).frontal_angle, abs=0.1)


NOWHERE = [
    ("one spot", np.full((5, 2), 50.0)),
    ("not a number", np.array([[0, 0], [1, 0], [np.nan, 1], [0, 2], [1, 2]])),
    ("infinite", np.array([[0, 0], [np.inf, 0], [5, 5], [0, 9], [9, 9]])),
    ("nose far aside", np.array([[0, 0], [60, 0], [900, 30], [10, 60], [50, 60]])),
    ("nose above the eyes", np.array([[0, 0], [60, 0], [30, -90], [10, 60], [50, 60]])),
    ("mouth turned around", np.array([[60, 80], [100, 80], [80, 105], [102, 130], [58, 130]])),
    ("mouth between the eyes", np.array([[0, 0], [60, 0], [30, 1], [20, 1], [40, 1]])),
]


@pytest.mark.parametrize(("what", "points"), NOWHERE, ids=[n[0] for n in NOWHERE])
def test_what_is_no_face_has_no_pose(what, points):
    """Where the pose can't be told all four numbers are NaN, never 0."""
    pose = estimate_pose(points.astype(np.float32))
    assert all(math.isnan(v) for v in (pose.yaw, pose.pitch, pose.roll, pose.frontal_angle))


def test_a_box_that_is_not_finite_gives_no_pose():
    """A damaged box is not taken for a centred one."""
    assert math.isnan(estimate_pose(_project(0), (0, 0, math.nan, 10)).yaw)


@pytest.mark.parametrize("jitter", [0.0, 0.05])
@pytest.mark.parametrize("yaw", [-90, -75, 75, 90])
def test_a_profile_never_looks_frontal(yaw, jitter):
    """Full profiles, with landmarks off by 5 % of the eye distance as well, lie beyond 40 degrees or are NaN."""
    rng = np.random.default_rng(abs(yaw))
    for _ in range(200):
        points = _project(yaw, rng.uniform(-15, 15), rng.uniform(-20, 20)) + rng.normal(0, jitter * 60, (5, 2))
        assert not estimate_pose(points.astype(np.float32)).frontal_angle < 40


NEARLY_FRONTAL = [[60, 80], [105, 82], [78, 108], [64, 130], [102, 131]]
PROFILE = [[60, 80], [72, 82], [44, 112], [58, 131], [68, 132]]


@pytest.mark.parametrize(
    ("points", "box", "expected"),
    [
        (NEARLY_FRONTAL, None, (8.808, -1.337, 1.081)),
        (NEARLY_FRONTAL, (40, 50, 125, 150), (6.394, -1.062, 1.081)),
        (NEARLY_FRONTAL, (45, 60, 125, 150), (7.342, -0.171, 1.081)),
        (PROFILE, None, (81.221, -20.369, 4.731)),
        (PROFILE, (20, 45, 115, 150), (73.604, -18.634, 4.731)),
    ],
)
def test_known_poses(points, box, expected):
    """Two faces, with and without their boxes, which move both angles: a fitted constant must not change unnoticed."""
    pose = estimate_pose(np.array(points, np.float32), box)
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    ("yaw", "pitch", "angle"), [(0, 0, 0), (30, 0, 30), (0, -20, 20), (90, 0, 90), (60, 60, 75.52)]
)
def test_frontal_angle(yaw, pitch, angle):
    """The angle between the face's forward direction and the camera's axis."""
    assert frontal_angle(yaw, pitch) == pytest.approx(angle, abs=0.01)


def _read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_large_turns_in_real_photographs(shared_data, find_faces):
    """AFLW2000: every face found, mean yaw error under 8 degrees, none beyond 50 given as nearly frontal."""
    errors = []
    with (shared_data / "aflw2000_labels.csv").open() as file:
        for row in csv.DictReader(file):
            face = find_faces(_read(shared_data / "aflw2000" / row["path"]))[0]
            pose = estimate_pose(face.landmarks, face.box)
            errors.append(abs(pose.yaw - float(row["yaw"])))
            assert not (abs(float(row["yaw"])) > 50 and pose.frontal_angle < 25)
    assert len(errors) == 8
    assert np.mean(errors) < 8


def test_the_most_frontal_frame_of_real_videos(shared_data, find_faces):
    """YouTube Faces labels: landmarks within 3.4 % of the face, yaw 2.2 and pitch 3.5 degrees, regret 1.7 degrees."""
    landmark_errors, offsets, frames = [], [], {}
    with (shared_data / "ytf_labels.csv").open() as file:
        for row in csv.DictReader(file):
            truth = np.array([[float(row[c]) for c in ("x1", "y1", "x2", "y2")]], np.float32)
            points = np.array([float(v) for k, v in row.items() if k.endswith(("_x", "_y"))]).reshape(5, 2)
            faces = find_faces(_read(shared_data / "ytf" / row["path"]))
            face = faces[int(overlaps(np.stack([f.box for f in faces]), truth).argmax())]
            pose = estimate_pose(face.landmarks, face.box)
            size = max(truth[0, 2] - truth[0, 0], truth[0, 3] - truth[0, 1])
            landmark_errors.append(np.linalg.norm(face.landmarks - points, axis=1).mean() / size)
            offsets.append((pose.yaw - float(row["yaw"]), pose.pitch - float(row["pitch"])))
            frames.setdefault(row["identity"], []).append((pose.frontal_angle, float(row["frontal_angle"])))
    yaw, pitch = np.array(offsets).T
    regret = [min(group)[1] - min(angle for _, angle in group) for group in frames.values()]
    assert np.mean(landmark_errors) <= 0.034
    assert np.abs(yaw - np.median(yaw)).mean() <= 2.2
    assert np.abs(pitch - np.median(pitch)).mean() <= 3.5
    assert np.mean(regret) <= 1.7
