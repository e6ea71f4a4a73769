"""YuNet on reduced images."""

from __future__ import annotations

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest

from facepipe.detection import make_detector, networks, reduction, runtime, weights
from facepipe.detection.mtcnn import overlaps
from facepipe.errors import UsageError, WeightsError

ASTRONAUT_EYES = [(203, 101), (246, 103.5)]
"""px, read off the picture."""


@pytest.fixture(scope="module")
def detector():
    return make_detector("yunet")


def test_the_astronaut_is_found_with_her_eyes_in_place(find_faces, astronaut):
    """One sure face, its landmarks in the contract's order: left and right are the image's."""
    face, *others = find_faces(astronaut)
    assert [f for f in others if f.score >= 0.7] == []
    assert face.score > 0.85
    assert np.abs(face.landmarks[:2] - ASTRONAUT_EYES).max() < 4
    assert face.landmarks[0, 0] < face.landmarks[1, 0]
    assert face.landmarks[:2, 1].max() < face.landmarks[2, 1] < face.landmarks[3:, 1].min()
    assert (face.box.dtype, face.landmarks.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.9, 4.0])
def test_coordinates_follow_the_size_of_the_image(find_faces, astronaut, scale):
    """The same picture larger or smaller gives the same face at the scaled place, within 3 % of its size."""
    size = (round(512 * scale), round(512 * scale))
    resized = cv2.resize(astronaut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    reference, face = find_faces(astronaut)[0], find_faces(resized, 40 * min(scale, 1))[0]
    side = float(np.ptp(reference.box[::2]))
    assert np.abs(face.landmarks / scale - reference.landmarks).max() < 0.04 * side
    assert overlaps(face.box[None] / scale, reference.box[None])[0, 0] > 0.85


def test_a_mirrored_picture_gives_mirrored_faces(find_faces, astronaut):
    """Landmarks keep the image's left and right when the picture is turned over."""
    face, mirrored = (find_faces(np.ascontiguousarray(image))[0] for image in (astronaut, astronaut[:, ::-1]))
    back = np.array([[512, 0]]) + mirrored.landmarks[[1, 0, 2, 4, 3]] * [[-1, 1]]
    assert np.abs(back - face.landmarks).max() < 4


def bits(faces):
    """Faces as what can be compared."""
    return [(face.box.tobytes(), face.landmarks.tobytes(), face.score) for face in faces]


def test_what_is_found_does_not_depend_on_the_company(detector, astronaut):
    """Images of all shapes and smallest faces in one go: to the last bit what each gives alone, refined or not."""
    images = [np.ascontiguousarray(np.roll(astronaut, 40 * i, axis=1)[: 500 - 4 * i]) for i in range(11)]
    images[5:5] = [cv2.resize(astronaut, (300, 200)), np.full((64, 640, 3), 127, np.uint8)]
    sizes = [100, 20] * 6 + [100]
    found = detector.detect(images, sizes)
    refined = detector.refine(images, found)
    for image, size, faces, better in zip(images, sizes, found, refined, strict=True):
        [alone] = detector.detect([image], size)
        assert bits(alone) == bits(faces)
        assert bits(detector.refine([image], [alone])[0]) == bits(better)
        assert [(f.score, f.box.tolist()) for f in better] == [(f.score, f.box.tolist()) for f in faces]
    assert bits(found[0]) != bits(refined[0])
    assert sum(map(len, found)) > 8
    assert detector.detect([], 40) == detector.refine([], []) == []


def test_pictures_without_a_face_give_none(detector):
    """Plain images of any shape, a single pixel too, end in no face and no error."""
    shapes = [(1, 1), (2, 700), (700, 2), (16, 16), (250, 250)]
    assert detector.detect([np.full((*shape, 3), 127, np.uint8) for shape in shapes], 40) == [[]] * 5


def test_a_large_picture_is_searched_in_tiles_for_small_and_large_faces(detector, astronaut):
    """Faces of 45 to 1,400 px in one picture of 14 megapixels are each found once, at their place."""
    canvas = np.full((3500, 4000, 3), 120, np.uint8)
    places = [(0, 0, 1800), (1900, 100, 1000), (3100, 900, 640), (2000, 1300, 480), (900, 2000, 310), (3700, 3200, 260)]
    places += [(2400, 2000, 512), (60, 3000, 280)]
    for x, y, size in places:
        shown = cv2.resize(astronaut, (size, size), interpolation=cv2.INTER_AREA)
        canvas[y : y + size, x : x + size] = shown[: 3500 - y, : 4000 - x]
    expected = np.array([np.array([180, 63, 269, 174]) * size / 512 + [x, y, x, y] for x, y, size in places])
    faces = [f for f in detector.detect([canvas], 40)[0] if f.score >= 0.7]
    assert len(faces) == len(places)
    assert overlaps(expected.astype(np.float32), np.stack([f.box for f in faces])).max(axis=1).min() > 0.7


def test_no_face_is_lost_between_tiles(detector, astronaut):
    """Of 404 faces in 14 megapixels, each row of them a little further to the right, every one is found once, whole."""
    row = np.tile(astronaut[20:200, 140:320], (1, 23, 1))
    canvas = np.vstack([np.roll(row, 17 * number, axis=1)[:, :4000] for number in range(19)])
    corners = [((180 * c + 17 * r) % row.shape[1], 180 * r) for r in range(19) for c in range(23)]
    expected = np.array([(x + 40, y + 43, x + 129, y + 154) for x, y in corners if x + 180 <= 4000], np.float32)
    faces = [f for f in detector.detect([canvas], 40)[0] if f.score >= 0.7]
    assert len(expected) == 404
    assert ((overlaps(expected, np.stack([f.box for f in faces])) > 0.7).sum(axis=1) == 1).all()


def test_the_rebuilt_graph_gives_what_the_file_gives(detector, astronaut):
    """Boxes, points and scores are those of the file as it is, run at its own 640x640 and decoded by the book."""
    file = weights.read_weights(weights.YUNET)
    image = cv2.resize(astronaut, (640, 640))
    bgr = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    original = runtime.open_session(file)
    maps = dict(zip([o.name for o in original.get_outputs()], original.run(None, {"input": bgr}), strict=True))
    best = None
    for stride in (8, 16, 32):
        scores = np.sqrt(maps[f"cls_{stride}"][0, :, 0] * maps[f"obj_{stride}"][0, :, 0])
        cell = int(scores.argmax())
        if best is None or scores[cell] > best[0]:
            place = np.array([cell % (640 // stride), cell // (640 // stride)])
            centre = (maps[f"bbox_{stride}"][0, cell, :2] + place) * stride
            half = np.exp(maps[f"bbox_{stride}"][0, cell, 2:]) * stride / 2
            points = (maps[f"kps_{stride}"][0, cell].reshape(5, 2) + place) * stride
            best = (scores[cell], np.concatenate([centre - half, centre + half]), points)
    [(face, *_)] = detector.run([reduction.Reduced(image, 1.0, 1.0)])
    assert face[14] == pytest.approx(best[0], abs=1e-5)
    assert face[:4] == pytest.approx(best[1], abs=1e-2)
    assert face[4:14].reshape(5, 2) == pytest.approx(best[2], abs=1e-2)


def test_own_weights_of_the_same_shape_are_used(tmp_path, detector, astronaut):
    """`--model` with a copy of the packaged file gives the same faces."""
    path = tmp_path / "own.onnx"
    path.write_bytes(weights.read_weights(weights.YUNET))
    own = make_detector("yunet", str(path))
    assert bits(own.detect([astronaut], 40)[0]) == bits(detector.detect([astronaut], 40)[0])


@pytest.mark.parametrize("content", ["empty", "text", "truncated", "another network"])
def test_own_weights_of_another_shape_are_refused(tmp_path, content):
    """What is no YuNet ends in one sentence, whatever it is."""
    packaged = weights.read_weights(weights.YUNET)
    data = {
        "empty": b"",
        "text": b"hello, I am no network\n" * 100,
        "truncated": packaged[: len(packaged) // 2],
        "another network": networks.p_net(weights.read_arrays(weights.P_NET)),
    }[content]
    path = tmp_path / "own.onnx"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="no YuNet"):
        make_detector("yunet", str(path))


@pytest.mark.parametrize(("name", "model", "message"), [("haar", "", "yunet or mtcnn"), ("mtcnn", "x.onnx", "--model")])
def test_what_can_not_be_meant_is_a_usage_error(name, model, message):
    """An unknown detector, and own weights for MTCNN."""
    with pytest.raises(UsageError, match=message):
        make_detector(name, model)


def _labels(path, columns=("x1", "y1", "x2", "y2")):
    with path.open() as file:
        for row in csv.DictReader(file):
            yield row["path"], np.array([[float(row[c]) for c in columns]], np.float32)


def _faces(detector, path, min_face):
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    [faces] = detector.detect([image], min_face)
    return [f for f in faces if f.score >= 0.7 and np.ptp(f.box.reshape(2, 2), axis=0).max() >= 0.9 * min_face]


def test_labelled_video_frames_are_found(detector, shared_data):
    """Of 484 labelled YouTube Faces frames, 99.8 % or more have a face at the labelled box (IoU 0.3)."""
    labels = list(_labels(shared_data / "ytf_labels.csv"))
    found = 0
    for path, truth in labels:
        faces = _faces(detector, shared_data / "ytf" / path, 40)
        found += bool(faces) and overlaps(np.stack([f.box for f in faces]), truth).max() >= 0.3
    assert found / len(labels) >= 0.998


def test_small_faces_in_web_photographs_are_found(detector, shared_data):
    """At 20 px: 98 % of the labelled boxes, at most 8 other faces, at most 3 in pictures without one."""
    truth: dict[str, list] = {}
    for path, box in _labels(shared_data / "boxes_labels.csv"):
        truth.setdefault(path, []).append(box)
    matched = others = 0
    for path, boxes in truth.items():
        faces = _faces(detector, shared_data / "boxes" / path, 20)
        found = np.stack([f.box for f in faces]) if faces else np.zeros((1, 4), np.float32)
        ratio = overlaps(found, np.concatenate(boxes))
        matched += int((ratio.max(axis=0) >= 0.4).sum())
        others += int((ratio.max(axis=1) < 0.4).sum()) - (not faces)
    false = sum(len(_faces(detector, path, 20)) for path in sorted((shared_data / "boxes" / "no_face").iterdir()))
    assert matched >= 0.98 * sum(map(len, truth.values()))
    assert others <= 8
    assert false <= 3


@pytest.mark.slow
def test_memory_stays_flat_over_two_thousand_image_sizes():
    """Peak memory after 2,000 images of different sizes is that after 200, within 10 %."""
    code = """
import resource, cv2, numpy as np
from skimage import data
from facepipe.detection import make_detector
image, detector, rng = data.astronaut(), make_detector("yunet"), np.random.default_rng(0)
peaks = []
for i in range(2000):
    width, height = (int(v) for v in rng.integers(40, 900, 2))
    resized = cv2.resize(image, (width, height))
    detector.refine([resized], detector.detect([resized], 40))
    if i in (199, 1999):
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = (int(v) for v in done.stdout.split())
    assert late <= 1.1 * early
