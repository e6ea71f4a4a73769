"""O-Net on single boxes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.detection import litert, make_detector, make_refiner, networks, onet_graph, sessions, weights
from facepipe.detection.onet import cut, read


@pytest.fixture(scope="module")
def refiner():
    return make_refiner()


@pytest.fixture(scope="module")
def face(astronaut_image):
    return make_detector("yunet").detect(astronaut_image, 40)[0]


@pytest.fixture(scope="module")
def astronaut_image():
    from skimage import data

    return data.astronaut()


def landmarks(refiner, image, box):
    """(5, 2) px."""
    return np.reshape(refiner.look(image, box.tolist()).landmarks, (5, 2))


@pytest.mark.parametrize("shift", [(-0.2, 0), (0.2, 0.1), (0, -0.2), (0.1, 0.2)])
def test_in_a_box_a_little_off_the_face_is_found(refiner, face, astronaut_image, shift):
    """From a box a fifth of its side off, the landmarks are where they are, by a twelfth of the face at most."""
    side = np.ptp(face.box[::2])
    off = face.box + np.array([*shift, *shift], np.float32) * side
    assert refiner.look(astronaut_image, off.tolist()).score > 0.9
    points = landmarks(refiner, astronaut_image, off)
    assert np.linalg.norm(points - face.landmarks, axis=1).mean() < 0.08 * side


@pytest.mark.parametrize("box", [(60, 60, 130, 130), (330, 60, 440, 200), (-300, -300, 10, 10)])
def test_what_is_no_face_scores_low(refiner, astronaut_image, box):
    """The flag, the shuttle and a box mostly outside the picture score far below a face."""
    assert refiner.look(astronaut_image, box).score < 0.3


def test_what_was_seen_before_changes_nothing(refiner, face, astronaut_image):
    """A box gives the same bits first and after others."""
    before = refiner.look(astronaut_image, face.box.tolist())
    refiner.look(astronaut_image, (60, 60, 130, 130))
    assert refiner.look(astronaut_image, face.box.tolist()) == before


def test_what_is_seen_does_not_depend_on_the_company(refiner, face, astronaut_image):
    """Squares that wait are looked at together: each gives the bits that it gives alone."""
    boxes = [[v + 3 * i for v in face.box.tolist()] for i in range(10)]
    alone = [refiner.look(astronaut_image, box) for box in boxes]
    shown = [refiner.show(astronaut_image, box) for box in boxes]
    order = [4, 0, 1, 2, 3, *range(5, 10)]
    refiner.see(shown[4])
    assert [i for i, one in enumerate(shown) if one.found] == [0, 1, 2, 4]
    assert [refiner.see(shown[i]) for i in order] == [alone[i] for i in order]
    assert len({look.score for look in alone}) == 10


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_landmarks_do_not_depend_on_resolution(refiner, face, astronaut_image, scale):
    """An enlarged picture is averaged down, not sampled: landmarks stay within 1.5 % of the face."""
    large = cv2.resize(astronaut_image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    points = landmarks(refiner, astronaut_image, face.box)
    fine = landmarks(refiner, large, face.box * scale)
    assert np.linalg.norm(fine / scale - points, axis=1).mean() < 0.015 * np.ptp(face.box[::2])


def _reference(pixels, arrays):
    """O-Net in plain numpy, from the Keras layers' description."""

    def convolve(x, kernel, bias):
        h, w = kernel.shape[:2]
        windows = np.lib.stride_tricks.sliding_window_view(x, (h, w), axis=(0, 1))
        return np.einsum("ijchw,hwco->ijo", windows, kernel) + bias

    def prelu(x, slope):
        return np.maximum(x, 0) + slope.reshape(-1) * np.minimum(x, 0)

    def pool(x, size, pad):
        x = np.pad(x, ((0, pad), (0, pad), (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
        return windows[::2, ::2].max(axis=(3, 4))

    x = (pixels - 127.5) / 128
    x = pool(prelu(convolve(x, *arrays[0:2]), arrays[2]), 3, 1)
    x = pool(prelu(convolve(x, *arrays[3:5]), arrays[5]), 3, 0)
    x = pool(prelu(convolve(x, *arrays[6:8]), arrays[8]), 2, 0)
    x = prelu(convolve(x, *arrays[9:11]), arrays[11])
    x = prelu(x.transpose(1, 0, 2).reshape(-1) @ arrays[12] + arrays[13], arrays[14])
    return np.concatenate([x @ arrays[i] + arrays[i + 1] for i in (15, 17, 19)])


def test_the_graphs_are_the_network_of_the_weights(face, astronaut_image):
    """ONNX Runtime gives what a plain numpy O-Net gives; LiteRT with weights of 8 bits nearly so."""
    arrays = weights.read_arrays(weights.O_NET)
    side = float(np.ptp(face.box[1::2]))
    patch = cut(astronaut_image, float(face.box[0]), float(face.box[1]), side)
    expected = _reference(patch.astype(np.float64), arrays)
    exact = sessions.open_session(networks.o_net(arrays)).run(None, {"pixels": cv2.dnn.blobFromImage(patch)})[0]
    [lean] = litert.Network(onet_graph.build(arrays), "O-Net").run(patch[None].astype(np.float32))
    assert exact[0] == pytest.approx(expected, abs=1e-4)
    assert lean.shape == (1, 16)
    points, near = (np.reshape(read(out[0].tolist(), 0, 0, 1).landmarks, (5, 2)) for out in (exact, lean))
    assert 0 < np.linalg.norm(near - points, axis=1).max() < 0.003
    assert lean[0, 14:] == pytest.approx(expected[14:], abs=0.5)
