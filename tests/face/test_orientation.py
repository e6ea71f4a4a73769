"""Where a face looks: right from frontal to profile, whichever way up; and unknown where there is no face."""

from __future__ import annotations

import csv
import itertools
import math
from collections import defaultdict

import cv2
import numpy as np
import pytest

from facepipe.detection import make_detector
from facepipe.face.head import rotation
from facepipe.face.orientation import MAX_ERROR, NOD, Orientation
from facepipe.records import SURE_DEG

TURNS = (1, 2, 3)
"""Quarters of a circle, counter-clockwise, by which pictures are turned here."""


def facing(yaw, pitch, roll, error=3.0):
    """The orientation of a face that looks where a head with these angles points."""
    axes = rotation(yaw, pitch, roll)
    return Orientation(tuple((-axes[:, 2]).tolist()), tuple(axes[:, 0].tolist()), error)


def told(yaw, pitch, roll, error=3.0):
    """The orientation of a head with these angles: it looks `NOD` degrees above the axis that they are counted from."""
    axes, nod = rotation(yaw, pitch, roll), math.radians(NOD)
    forward = -math.cos(nod) * axes[:, 2] - math.sin(nod) * axes[:, 1]
    return Orientation(tuple(forward.tolist()), tuple(axes[:, 0].tolist()), error)


def apart(a, b):
    """Degrees between two angles around the circle."""
    return abs((a - b + 180) % 360 - 180)


ANGLES = list(itertools.product((-80, -45, 0, 20, 80), (-40, 0, 15, 40), (-170, -90, -20, 0, 35, 170)))


def test_the_axes_tell_the_angles_that_they_were_made_from():
    """Yaw, pitch and roll by the convention of AFLW2000 come back, over profiles and faces upside down as well."""
    for angles in ANGLES:
        assert told(*angles).pose[:3] == pytest.approx(angles, abs=1e-6)


@pytest.mark.parametrize(
    ("angles", "forward"),
    [
        ((90, 0, 0), (-1, 0, 0)),
        ((0, 90, 0), (0, -1, 0)),
        ((0, 0, 77), (0, 0, -1)),
        ((30, 0, 0), (-0.5, 0, -0.8660254)),
        ((60, 60, 0), (-0.8660254, -0.4330127, -0.25)),
    ],
)
def test_signs(angles, forward):
    """A positive yaw looks to the image's left, a positive pitch up; a roll alone leaves the direction.

    The frontal angle lies between that direction and the camera's axis: it leaves roll out.
    """
    assert facing(*angles).forward == pytest.approx(forward, abs=1e-6)
    expected = math.degrees(math.acos(-forward[2]))
    for roll in (-120, 0, 33):
        assert facing(*angles[:2], roll).pose.frontal_angle == pytest.approx(expected, abs=0.01)


def test_a_turned_picture_s_faces_are_turned_with_it():
    """Quarters clockwise add 90 degrees each to the tilt, and to the roll of a face that looks straight ahead."""
    for quarters, roll in itertools.product(range(-3, 5), (-170, -20, 0, 35, 100)):
        turned = facing(0, 0, roll).turned(quarters)
        assert apart(turned.pose.roll, roll + 90 * quarters) < 0.2
        assert apart(turned.tilt, roll + 90 * quarters) < 1e-6
    for angles in ANGLES:
        assert told(*angles).turned(1).turned(3).pose == pytest.approx(told(*angles).pose, abs=1e-6)
        assert apart(told(*angles).turned(1).tilt, told(*angles).tilt + 90) < 1e-6
        assert told(*angles).turned(2).pose.frontal_angle == pytest.approx(told(*angles).pose.frontal_angle, abs=1e-6)


@pytest.mark.parametrize(
    ("roll", "error", "stands"),
    [
        (0, 3, "up"),
        (45, 3, "up"),
        (-60, 3, ""),
        (90, 3, "aside"),
        (180, 3, "aside"),
        (0, SURE_DEG + 1, ""),
        (0, math.inf, ""),
    ],
)
def test_a_face_stands_or_lies_only_where_that_is_sure(roll, error, stands):
    """In between, and where the error is large, neither is said; where it is larger still, all numbers are NaN, never 0."""
    orientation = facing(0, 0, roll, error)
    assert (orientation.upright, orientation.aside) == (stands == "up", stands == "aside")
    assert all(math.isnan(value) for value in orientation.pose) == (error > MAX_ERROR)


def alike(one, other):
    """Whether two crops show the same face the same way up, a few pixels apart perhaps."""
    crops = [crop.astype(np.float32) for crop in (one, other)]
    small = [cv2.resize(crop, (16, 16), interpolation=cv2.INTER_AREA).ravel() for crop in crops]
    return np.corrcoef(*small)[0, 1] > 0.85


def pose_of(image, find_faces, network):
    """The pose of a picture's best face; None where none is found."""
    faces = [face for face in find_faces(image, 40.0) if face.score >= 0.6]
    return network.look([image], [faces[0].box])[0].pose if faces else None


@pytest.mark.parametrize(("yaw", "mirrored"), [(-90, False), (-75, True), (75, True), (80, False), (90, False)])
def test_a_profile_never_looks_frontal(portrait, find_faces, network, yaw, mirrored):
    """The astronaut's head turned to the side: beyond 45 degrees to the right side, or unknown, or no face."""
    image = portrait.turned(yaw, side=300)
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    pose = pose_of(image, find_faces, network)
    if pose is not None and not math.isnan(pose.yaw):
        assert pose.frontal_angle > 45
        assert math.copysign(1, pose.yaw) == math.copysign(1, -yaw if mirrored else yaw)


def test_yaw_and_pitch_grow_with_the_turn(portrait, find_faces, network):
    """In steps of 15 degrees each estimate of yaw is above the one before; a nod goes up with the head, a roll with it."""
    yaws = [pose_of(portrait.turned(yaw), find_faces, network).yaw for yaw in range(-75, 76, 15)]
    assert all(b > a for a, b in itertools.pairwise(yaws))
    assert yaws[-1] - yaws[0] > 100
    pitches = [pose_of(portrait.turned(0, pitch), find_faces, network).pitch for pitch in (-30, -15, 0, 15, 30)]
    assert pitches == sorted(pitches)
    assert pitches[-1] - pitches[0] > 15
    for roll in (-25, 25):
        assert pose_of(portrait.turned(0, 0, roll), find_faces, network).roll == pytest.approx(roll, abs=10)


def test_a_mirrored_picture_looks_the_other_way(portrait, network):
    """Within a few degrees: the network is one, and no mirror image is asked for."""
    for yaw in (-60, -30, 0, 30, 60):
        image, box = portrait.turned(yaw, 5), np.array([60, 60, 180, 190], np.float32)
        flipped = np.array([240 - 180, 60, 240 - 60, 190], np.float32)
        one, other = network.look([image, np.ascontiguousarray(image[:, ::-1])], [box, flipped])
        assert other.pose.yaw == pytest.approx(-one.pose.yaw, abs=15)
        assert other.pose.pitch == pytest.approx(one.pose.pitch, abs=12)


def test_what_is_said_of_a_face_does_not_depend_on_the_others(portrait, network):
    """Together or alone, and in any order: the same to the last bit."""
    images = [portrait.turned(yaw) for yaw in (-50, 0, 50)]
    boxes = [np.array([60 + i, 60, 180, 190], np.float32) for i in range(3)]
    together = network.look(images, boxes)
    assert together == [network.look([image], [box])[0] for image, box in zip(images, boxes, strict=True)]
    assert together == network.look(images[::-1], boxes[::-1])[::-1]


def test_a_plain_square_is_nothing_to_be_sure_of(network):
    """It neither stands nor lies."""
    images = [np.full((100, 100, 3), value, np.uint8) for value in (0, 128, 255)]
    for orientation in network.look(images, [np.array([10, 10, 90, 90], np.float32)] * 3):
        assert not orientation.upright
        assert not orientation.aside


def test_most_squares_without_a_face_have_no_pose(network):
    """Of places in photographs of things, nine in ten."""
    from skimage import data

    rng, unknown, rounds = np.random.default_rng(0), 0, 200
    images = [data.coffee(), data.chelsea()[:, :100], data.rocket(), cv2.cvtColor(data.brick(), cv2.COLOR_GRAY2RGB)]
    for number in range(rounds):
        image = np.ascontiguousarray(images[number % 4])
        side = rng.uniform(30, 0.6 * min(image.shape[:2]))
        x, y = rng.uniform(0, image.shape[1] - side), rng.uniform(0, image.shape[0] - side)
        box = np.array([x, y, x + side, y + side], np.float32)
        unknown += not network.look([image], [box])[0].known
    assert unknown >= 0.9 * rounds


# What `extract` makes of pictures, whichever way up.


def turned(image, quarters):
    return np.ascontiguousarray(np.rot90(image, quarters))


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def whichever_way(extract_rows, shared_data, astronaut):
    """Rows of the astronaut and of 30 people of LFW, by name and quarters turned."""
    people = sorted((shared_data / "lfw_single").glob("*/*"))[::100][:30]
    pictures = {path.stem: read(path) for path in people} | {"astronaut": astronaut}
    assert len(pictures) == 31
    names = {f"{name}/{quarters}": (name, quarters) for name in pictures for quarters in (0, *TURNS)}
    rows = extract_rows({path: turned(pictures[name], quarters) for path, (name, quarters) in names.items()})
    return {names[path]: found for path, found in rows.items()}


def test_upright_photographs_stay_as_they_are(whichever_way):
    """All of them are `ok`, of a known pose and upright."""
    for (_, quarters), rows in whichever_way.items():
        if quarters == 0:
            assert rows[0].status == "ok"
            assert abs(rows[0].roll) < 45


def test_a_face_upside_down_is_never_upright(whichever_way):
    """None of 93 turned photographs gives an `ok` face that is said to stand; nine in ten the right roll."""
    right = 0
    for (name, quarters), rows in whichever_way.items():
        first, upright = rows[0], whichever_way[name, 0][0]
        if quarters == 0 or first.status != "ok":
            continue
        assert not abs(first.roll) < 45, (name, quarters)
        right += apart(first.roll, upright.roll - 90 * quarters) <= 40
    assert right >= 0.9 * len(TURNS) * 31


def test_a_turned_picture_s_row_speaks_of_the_picture_as_it_is(whichever_way):
    """Size, box and landmarks are those in the file; turned back, nine in ten landmarks lie where the upright one's do."""
    moved = []
    for (name, quarters), (first, *_) in whichever_way.items():
        upright = whichever_way[name, 0][0]
        sizes = (upright.width, upright.height), (upright.height, upright.width)
        assert (first.width, first.height) == sizes[quarters % 2]
        if quarters and first.status == "ok":
            x, y = np.reshape(first.landmarks, (5, 2)).T
            right, bottom = upright.width - 1, upright.height - 1
            back = {1: (right - y, x), 2: (right - x, bottom - y), 3: (y, bottom - x)}[quarters]
            off = np.linalg.norm(np.transpose(back) - np.reshape(upright.landmarks, (5, 2)), axis=1)
            moved.append(off.max() / (upright.bbox[2] - upright.bbox[0]))
            x1, y1, x2, y2 = first.bbox
            assert x1 < x.mean() < x2
            assert y1 < y.mean() < y2
    assert np.percentile(moved, 90) < 0.05


def test_the_transform_carries_the_landmarks_into_the_crop(whichever_way):
    """Eyes above nose above mouth, the image's left ones on the left, whichever way the picture is; its scale is the crop's."""
    upright = 0
    ok = [rows[0] for rows in whichever_way.values() if rows[0].status == "ok"]
    for row in ok:
        matrix = np.reshape(row.transform, (2, 3))
        left, right, nose, *mouth = np.reshape(row.landmarks, (5, 2)) @ matrix[:, :2].T + matrix[:, 2]
        inside = all(16 < value < 112 for point in (left, right, nose, *mouth) for value in point)
        in_order = (left[1] + right[1]) / 2 < nose[1] < (mouth[0][1] + mouth[1][1]) / 2
        upright += inside and in_order and left[0] < right[0]
        assert np.hypot(*matrix[:, 0]) == pytest.approx(row.crop_scale, rel=1e-3)
    assert upright >= 0.95 * len(ok)


class CountingDetector:
    """A detector, and how many pictures it was shown."""

    def __init__(self):
        self.detector, self.shown = make_detector("yunet"), 0

    def detect(self, images, min_face):
        self.shown += len(images)
        return self.detector.detect(images, min_face)

    def refine(self, images, faces, looks=None):
        return self.detector.refine(images, faces, looks)


def test_only_a_picture_without_an_upright_face_is_searched_turned(extract_rows, astronaut, portrait, monkeypatch):
    """An upright one is searched once, a profile and a tilted head as well; one on its head, or without a face, four times."""
    for image, searches in (
        (astronaut, 1),
        (portrait.turned(70), 1),
        (portrait.turned(0, 0, 25), 1),
        (turned(astronaut, 2), 4),
        (astronaut[400:, :100], 4),
    ):
        detector = CountingDetector()
        monkeypatch.setattr("facepipe.stages.extraction.part._detector", lambda *_, one=detector: one)
        extract_rows({"one.png": image})
        assert detector.shown == searches


def test_the_transform_cuts_the_crop(extract_rows, astronaut, crop_of):
    """Warped by it, the file's pixels are the crop, but for sampling and JPEG: of an upright picture and a turned one."""
    for quarters in (0, *TURNS):
        image = turned(astronaut, quarters)
        (row,) = extract_rows({"one": image})["one"]
        warped = cv2.warpAffine(image, np.reshape(row.transform, (2, 3)), (128, 128), flags=cv2.INTER_LINEAR)
        assert np.abs(warped[..., ::-1] - crop_of(row)).mean() < 4


def film_of(images, path):
    """The bytes of a video with these frames, (320, 320, 3) uint8 RGB."""
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("mjpeg", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuvj420p"
        for image in images:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize("track", [True, False])
def test_a_film_that_lies_on_its_side_comes_out_upright(tmp_path, extract_rows, astronaut, crop_of, track):
    """The whole film is turned where no face of its first frames stands: its crops are those of the upright film."""
    frames = [astronaut[:320, 60 + number : 380 + number] for number in range(30)]
    films = {
        f"{quarters}.avi": film_of([turned(frame, quarters) for frame in frames], tmp_path / "film.avi")
        for quarters in range(4)
    }
    rows = extract_rows(films, track=track)
    assert all(len(found) == 30 and {row.status for row in found} == {"ok"} for found in rows.values())
    for quarters in TURNS:
        for row, upright in zip(rows[f"{quarters}.avi"], rows["0.avi"], strict=True):
            assert apart(row.roll, upright.roll - 90 * quarters) < 5
            assert alike(crop_of(row), crop_of(upright))


# Real profiles: nobody of UMIST was ever trained on.


@pytest.fixture(scope="module")
def umist(extract_rows, shared_data):
    """(series, reference yaw, row) of 190 pictures of 10 people who turn from a profile towards frontal."""
    with (shared_data / "orientation_reference.csv").open() as file:
        reference = {row["path"]: row for row in csv.DictReader(file) if row["path"].startswith("umist/")}
    boxes = {path: tuple(float(row[name]) for name in ("x1", "y1", "x2", "y2")) for path, row in reference.items()}
    rows = extract_rows({path: read(shared_data / path) for path in reference}, boxes)
    return [(path.split("/")[1], float(row["yaw"]), rows[path][0]) for path, row in reference.items()]


def test_a_real_profile_is_never_frontal(umist):
    """None beyond 70 degrees is given as under 30, unless it is said to be unsure."""
    profiles = [row for _, yaw, row in umist if abs(yaw) > 70 and row.status == "ok"]
    assert len(profiles) > 20
    assert [row.path for row in profiles if row.frontal_angle < 30 and row.pose_error <= SURE_DEG] == []


def test_the_most_frontal_picture_of_a_series_is_one(umist):
    """Of at least nine in ten people, what is chosen is no more than ten degrees further turned than their best."""
    series = defaultdict(list)
    for name, yaw, row in umist:
        if row.status == "ok" and not math.isnan(row.frontal_angle):
            series[name].append((row.pose_error > SURE_DEG, row.frontal_angle, abs(yaw)))
    assert len(series) == 10
    lost = {name: min(frames)[2] - min(yaw for *_, yaw in frames) for name, frames in series.items()}
    assert sum(gap > 10 for gap in lost.values()) <= 1, lost
