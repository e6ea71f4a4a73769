"""MTCNN on ONNX Runtime, against the `mtcnn` package, and its box arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.detection import make_detector
from facepipe.detection.mtcnn import overlaps

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


def test_faces_of_all_sizes_are_found_once_at_the_border_too(astronaut):
    """Faces of 28 to 195 px in one picture, one of them partly outside: each once, at its place."""
    canvas = np.full((900, 1300, 3), 120, np.uint8)
    places = [(0, 0, 900), (950, 0, 310), (1000, 400, 130), (1200, 600, 200)]
    for x, y, size in places:
        shown = cv2.resize(astronaut, (size, size), interpolation=cv2.INTER_AREA)
        canvas[y : y + size, x : x + size] = shown[: 900 - y, : 1300 - x]
    expected = np.array([np.array([180, 63, 269, 174]) * size / 512 + [x, y, x, y] for x, y, size in places])
    faces = [face for face in make_detector("mtcnn").detect([canvas], 20)[0] if face.score > 0.9]
    assert len(faces) == len(places)
    assert overlaps(expected.astype(np.float32), np.stack([f.box for f in faces])).max(axis=1).min() > 0.5


def test_pictures_without_a_face_give_none():
    """Plain images of any shape end in no face and no error, those too small for P-Net as well."""
    shapes = [(1, 1), (11, 400), (30, 30), (250, 250)]
    assert make_detector("mtcnn").detect([np.full((*shape, 3), 90, np.uint8) for shape in shapes], 20) == [[]] * 4


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
