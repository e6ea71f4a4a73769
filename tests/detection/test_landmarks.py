"""O-Net on single boxes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from facepipe.detection import make_refiner, networks, runtime, weights
from facepipe.detection.landmarks import MODEL, cut, read
from facepipe.errors import WeightsError


@pytest.fixture(scope="module")
def refiner():
    return make_refiner()


@pytest.fixture(scope="module")
def face(astronaut, find_faces):
    return find_faces(astronaut)[0]


def look(refiner, image, box):
    """What is seen in one box: (5, 2) px and the score."""
    [seen] = refiner.look([image], [box])
    return np.reshape(seen.landmarks, (5, 2)), seen.score


@pytest.mark.parametrize("shift", [(-0.2, 0), (0.2, 0.1), (0, -0.2), (0.1, 0.2)])
def test_in_a_box_a_little_off_the_face_is_found(refiner, face, astronaut, shift):
    """From a box a fifth of its side off, the landmarks are where they are, by a twelfth of the face at most."""
    side = np.ptp(face.box[::2])
    points, score = look(refiner, astronaut, face.box + np.array([*shift, *shift], np.float32) * side)
    assert score > 0.9
    assert np.linalg.norm(points - face.landmarks, axis=1).mean() < 0.08 * side


def test_what_is_no_face_scores_low(refiner, astronaut):
    """The flag, the shuttle and a box mostly outside the picture score far below a face."""
    boxes = [(60, 60, 130, 130), (330, 60, 440, 200), (-300, -300, 10, 10)]
    assert max(seen.score for seen in refiner.look([astronaut] * 3, boxes)) < 0.3


def test_what_is_seen_does_not_depend_on_the_company(refiner, face, astronaut):
    """Squares of several pictures are looked at in one go: each gives the bits that it gives alone."""
    images = [astronaut, cv2.resize(astronaut, (700, 600))] * 5
    boxes = [[v + 3 * i for v in face.box.tolist()] for i in range(10)]
    alone = [refiner.look([image], [box])[0] for image, box in zip(images, boxes, strict=True)]
    assert refiner.look(images, boxes) == alone
    assert refiner.look(images[3:9], boxes[3:9]) == alone[3:9]
    assert len({seen.score for seen in alone}) == 10
    assert refiner.look([], []) == []


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_landmarks_do_not_depend_on_resolution(refiner, face, astronaut, scale):
    """An enlarged picture is averaged down, not sampled: landmarks stay within 1.5 % of the face."""
    large = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    points, _ = look(refiner, astronaut, face.box)
    fine, _ = look(refiner, large, face.box * scale)
    assert np.linalg.norm(fine / scale - points, axis=1).mean() < 0.015 * np.ptp(face.box[::2])


def test_two_graphs_of_the_same_weights_agree(face, astronaut):
    """ONNX Runtime with the weights as they are, and LiteRT with weights of 8 bits: the landmarks within 0.3 % of the square."""
    arrays = weights.read_arrays(weights.O_NET)
    patch = cut(astronaut, float(face.box[0]), float(face.box[1]), float(np.ptp(face.box[1::2])))
    exact = runtime.open_session(networks.o_net(arrays)).run(None, {"pixels": cv2.dnn.blobFromImage(patch)})[0]
    [lean] = runtime.Network(weights.read_packaged(MODEL), MODEL).run(patch[None])
    points, near = (np.reshape(read(out[0].tolist(), 0, 0, 1).landmarks, (5, 2)) for out in (exact, lean))
    assert 0 < np.linalg.norm(near - points, axis=1).max() < 0.003


def test_the_packaged_network_is_what_the_script_makes():
    """From the weights of the package `mtcnn`, to the last bit."""
    made = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "build_landmarks.py"))
    assert made["build"](weights.read_arrays(weights.O_NET)) == weights.read_packaged(MODEL)


def test_what_is_no_network_is_refused():
    """LiteRT's own complaint, in a sentence with the name; a file that is gone as well."""
    with pytest.raises(WeightsError, match="a text is no TFLite model"):
        runtime.Network(b"not a network", "a text")
    with pytest.raises(WeightsError, match=r"none\.tflite is missing from the package: install facepipe again"):
        weights.read_packaged("none.tflite")


def test_without_litert_the_error_names_the_command(monkeypatch):
    """What an import finds where it is broken or gone."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(WeightsError, match="pip install --force-reinstall ai-edge-litert"):
        runtime.Network(b"", "a text")
