"""MTCNN on ONNX Runtime, against the `mtcnn` package, and its box arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.detection import make_detector
from facepipe.detection.mtcnn import cut, overlaps, pyramid, suppress_all, to_squares

PACKAGE_MIN_FACE, PACKAGE_MIN_SCORE = 20, 0.8


def test_the_astronaut_is_found(astronaut):
    """One sure face, landmarks in the contract's order, nothing below the floor."""
    detector = make_detector("mtcnn")
    [faces] = detector.detect([astronaut], 40)
    assert faces[0].score > 0.99
    assert [f.score for f in faces] == sorted((f.score for f in faces), reverse=True)
    points = faces[0].landmarks
    assert np.abs(points[:2] - [(203, 101), (246, 103.5)]).max() < 4
    assert points[0, 0] < points[1, 0]
    assert points[3, 0] < points[4, 0]
    assert detector.refine([astronaut], [faces]) == [faces]


def test_pictures_without_a_face_give_none():
    """Plain images of any shape end in no face and no error, those too small for P-Net as well."""
    shapes = [(1, 1), (11, 400), (30, 30), (250, 250)]
    assert make_detector("mtcnn").detect([np.full((*shape, 3), 90, np.uint8) for shape in shapes], 20) == [[]] * 4


def test_the_pyramid_ends_where_p_net_has_no_room():
    """Scales fall by 0.709 from 12/min_face on; no image is smaller than the network's field."""
    scales = pyramid(250, 200, 20)
    assert scales[:2] == pytest.approx([0.6, 0.6 * 0.709])
    assert 12 <= 200 * scales[-1] < 12 / 0.709 + 1
    assert pyramid(10, 10, 20) == []


def test_patches_outside_the_image_are_gray():
    """Beyond the border the networks see the middle of their range, as in the package."""
    image = np.full((40, 40, 3), 10, np.uint8)
    pixels = cut(image, np.array([[-20, -20, 20, 20]], np.float32), 24)
    assert pixels[0, :, 0, 0].tolist() == [127.5] * 3
    assert pixels[0, :, -1, -1].tolist() == [10.0] * 3


def test_suppression_counts_dropped_boxes_too():
    """As in the package, a box goes if it overlaps any better one, even one that went itself."""
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert suppress_all(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.3).tolist() == [0]


@pytest.mark.parametrize(
    ("a", "b", "union", "smaller"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0, 1.0),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0, 0.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150, 0.5),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04, 1.0),
        ((0, 0, 10, 10), (3, 3, 3, 3), 0.0, 0.0),
    ],
)
def test_overlaps(a, b, union, smaller):
    """The shared area over the union, or over the smaller box; a box without area overlaps nothing."""
    a, b = np.array([a], np.float32), np.array([b], np.float32)
    assert overlaps(a, b)[0, 0] == pytest.approx(union)
    assert overlaps(a, b, of_smaller=True)[0, 0] == pytest.approx(smaller)


def test_squares_keep_the_centre_and_the_longer_side():
    """A 10x20 box becomes the 20x20 one around the same centre."""
    assert to_squares(np.array([[10, 0, 20, 20]], np.float32)).tolist() == [[5, 0, 25, 20]]


def _photographs(shared_data):
    from itertools import chain

    picks = [
        sorted(shared_data.glob("lfw/*/*.jpg"))[::13][:90],
        sorted(shared_data.glob("boxes/faces/*"))[:45],
        sorted(shared_data.glob("boxes/no_face/*"))[:10],
        sorted(shared_data.glob("ytf/*/*/*.jpg"))[::13][:47],
        sorted(shared_data.glob("aflw2000/*.jpg")),
    ]
    return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in chain.from_iterable(picks)]


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_faces_are_those_of_the_mtcnn_package(shared_data):
    """Over 200 photographs: 98 % of the package's faces matched, landmarks within 3 %, no more extra faces."""
    package = pytest.importorskip("mtcnn").MTCNN()
    detector = make_detector("mtcnn")
    images = _photographs(shared_data)
    faces = matched = mine = 0
    for image in images:
        theirs = package.detect_faces(image, output_type="numpy", box_format="xyxy")
        ours = [f for f in detector.detect([image], PACKAGE_MIN_FACE)[0] if f.score > PACKAGE_MIN_SCORE]
        faces, mine = faces + len(theirs), mine + len(ours)
        if not (len(theirs) and ours):
            continue
        ratio = overlaps(theirs[:, 1:5].astype(np.float32), np.stack([f.box for f in ours]))
        for row, face in zip(ratio, theirs, strict=True):
            points = np.stack([face[6:11], face[11:16]], axis=1)
            size = max(face[3] - face[1], face[4] - face[2])
            off = np.linalg.norm(ours[int(row.argmax())].landmarks - points, axis=1).max() / size
            matched += bool(row.max() >= 0.8 and off < 0.03)
    assert len(images) == 200
    assert matched >= 0.98 * faces
    assert mine - matched <= faces - matched
