"""Crops as other people's networks expect them, against the published formulas, on photographs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.transform import SimilarityTransform

from facepipe.config import ExtractConfig, settings_of
from facepipe.errors import UsageError
from facepipe.face.alignment import align_face, cut_aligned
from facepipe.face.identity import make_identity
from facepipe.records import Face

TEMPLATE = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]


def arcface_corners(landmarks, size):
    """Where InsightFace's `norm_crop` takes a crop's corners from: its similarity the other way round."""
    norm = SimilarityTransform.from_estimate(landmarks, np.array(TEMPLATE) * size / 112)
    return norm.inverse(corners_of(size))


def ffhq_corners(landmarks, _size):
    """The quadrangle of FFHQ's script: upper left, lower left, lower right, upper right."""
    eye_left, eye_right, _, mouth_left, mouth_right = landmarks
    eye_avg, eye_to_eye = (eye_left + eye_right) * 0.5, eye_right - eye_left
    eye_to_mouth = (mouth_left + mouth_right) * 0.5 - eye_avg
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = eye_avg + eye_to_mouth * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def ffhq_crop(image, quad, size):
    """The rest of FFHQ's script, for crops that need no shrinking first."""
    quad, side = quad.copy(), np.hypot(*(quad[3] - quad[0]))
    border = max(round(side * 0.1), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    low, high = np.maximum(low - border, 0), np.minimum(high + border, image.shape[1::-1])
    image = image[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    quad -= low
    before = np.maximum(border - np.floor(quad.min(0)).astype(int), 0)
    after = np.maximum(np.ceil(quad.max(0)).astype(int) - image.shape[1::-1] + border, 0)
    if max(*before, *after) > border - 4:
        before, after = (np.maximum(pad, round(side * 0.3)) for pad in (before, after))
        image = np.pad(image, ((before[1], after[1]), (before[0], after[0]), (0, 0)), "reflect")
        h, w, _ = image.shape
        y, x, _ = np.ogrid[:h, :w, :1]
        mask = np.maximum(
            1 - np.minimum(x / before[0], (w - 1 - x) / after[0]), 1 - np.minimum(y / before[1], (h - 1 - y) / after[1])
        )
        blur = side * 0.02
        image += (gaussian_filter(image, [blur, blur, 0]) - image) * np.clip(mask * 3 + 1, 0, 1)
        image += (np.median(image, axis=(0, 1)) - image) * np.clip(mask, 0, 1)
        quad += before
    onto = cv2.getAffineTransform(quad[:3].astype(np.float32), corners_of(size)[:3].astype(np.float32))
    return cv2.warpAffine(image, onto, (size, size), flags=cv2.INTER_LINEAR)


def corners_of(size):
    """Upper left, lower left, lower right, upper right of a crop, pixel centres at whole numbers."""
    return np.array([[-0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5], [size - 0.5, -0.5]])


@pytest.fixture(scope="module")
def photographs(shared_data):
    """50 photographs of LFW and AFLW2000 by name, faces near the border and turned ones among them."""
    paths = [*sorted(shared_data.glob("aflw2000/*.jpg")), *sorted(shared_data.glob("lfw/*/*.jpg"))[::25]][:50]
    return {path.name: cv2.imread(str(path))[..., ::-1] for path in paths}


@pytest.mark.parametrize(("align", "corners"), [("arcface", arcface_corners), ("ffhq", ffhq_corners)])
@pytest.mark.parametrize("size", [112, 200])
def test_the_transform_is_the_published_one_on_50_photographs(photographs, extract_rows, align, corners, size):
    """`transform` takes the crop's corners from where the formula does, by the landmarks of the row, within 0.01 px."""
    rows = extract_rows(photographs, align=align, crop_size=size)
    found = [row for some in rows.values() for row in some if row.status == "ok"]
    assert len(photographs) == 50
    assert len(found) >= 48
    for row in found:
        inverse = cv2.invertAffineTransform(np.reshape(row.transform, (2, 3)))
        ours = corners_of(size) @ inverse[:, :2].T + inverse[:, 2]
        assert np.abs(ours - corners(np.reshape(row.landmarks, (5, 2)), size)).max() < 0.01
        image = cv2.imdecode(np.frombuffer(row.crop, np.uint8), cv2.IMREAD_COLOR_RGB)
        onto = np.reshape(row.transform, (2, 3))
        inside = cv2.warpAffine(np.ones(photographs[row.path].shape[:2]), onto, (size, size)) == 1
        inside = cv2.erode(inside.astype(np.uint8), np.ones((1 + size // 4, 1 + size // 4))) == 1
        shown = cv2.warpAffine(photographs[row.path], onto, (size, size))
        assert np.abs(image.astype(float) - shown)[inside].mean() < 12


@pytest.mark.parametrize("cut", [(0, 60), (90, 40), (150, 0)])
def test_beyond_the_border_ffhq_reflects_and_softens(astronaut, find_faces, cut):
    """As the published script does it: within 3 of 255 on average, and it shows, for nothing is softened by `arcface`."""
    left, top = cut
    image = np.ascontiguousarray(astronaut[top:, left:])
    face = find_faces(image)[0]
    found = cut_aligned("ffhq", image, align_face("ffhq", face, 0.0, 160, 0.3), 160)[..., 2::-1].astype(float)
    quad = ffhq_corners(face.landmarks.astype(float), 160)
    assert quad.min() < -10
    expected = ffhq_crop(image, quad, 160)
    assert np.abs(found - expected).mean() < 3
    plain = cut_aligned("arcface", image, align_face("ffhq", face, 0.0, 160, 0.3), 160)[..., 2::-1]
    assert np.abs(plain - expected).mean() > 2 * np.abs(found - expected).mean()


def test_a_template_of_ones_own(astronaut, extract_rows, tmp_path):
    """--align FILE brings the landmarks to the points in a TOML file, for the size that it gives, at any crop size."""
    points = [[70, 90], [130, 90], [100, 130], [75, 160], [125, 160]]
    (tmp_path / "mine.toml").write_text(f"size = 200\npoints = {points}\n")
    [row] = extract_rows({"a.png": astronaut}, align=str(tmp_path / "mine.toml"), crop_size=100)["a.png"]
    onto = np.reshape(row.transform, (2, 3))
    landed = np.reshape(row.landmarks, (5, 2)) @ onto[:, :2].T + onto[:, 2]
    assert np.abs(landed - np.array(points) / 2).max() < 4
    assert landed.mean(axis=0) == pytest.approx(np.mean(points, axis=0) / 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "give box, arcface, ffhq or a TOML file"),
        ("size = 112", "holds no template; give `size = 112` and `points"),
        ("size = 112\npoints = [[1, 2], [3, 4]]", "holds no template"),
        ("size = 0\npoints = [[1, 2], [3, 4], [1, 2], [3, 4], [5, 6]]", "holds no template"),
        ("size = = 3", "holds no template"),
    ],
)
def test_a_template_that_is_none_is_refused(tmp_path, content, said):
    """In one line that says what to give."""
    if content is not None:
        (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(UsageError, match=said):
        ExtractConfig(align=str(tmp_path / "mine.toml"))


def test_settings_hold_the_points_and_not_the_file(tmp_path):
    """A changed template is another setting; the default is none, so that outputs of before still fit."""
    file = tmp_path / "mine.toml"
    file.write_text(f"size = 112\npoints = {TEMPLATE}\n")
    config = ExtractConfig(align=str(file))
    assert settings_of(config)["align"].startswith("points:112,38.2946,51.6963,73.5318")
    assert ExtractConfig(align=config.align) == config
    assert "align" not in settings_of(ExtractConfig())
    with pytest.raises(UsageError, match="--cropped keeps pictures whole"):
        ExtractConfig(align="ffhq", cropped=True)


def test_what_is_told_of_a_face_does_not_depend_on_its_alignment(astronaut, extract_rows):
    """Boxes, landmarks and pose are the same to the last bit; the embedding of the crop nearly so."""
    told, embeddings = [], []
    for align in ("box", "arcface", "ffhq"):
        [row] = extract_rows({"a.png": astronaut}, align=align)["a.png"]
        told.append((row.bbox, row.landmarks, row.yaw, row.pitch, row.roll, row.pose_error))
        onto = np.reshape(row.transform, (2, 3))
        points = np.reshape(row.landmarks, (5, 2)) @ onto[:, :2].T + onto[:, 2]
        crop = cv2.imdecode(np.frombuffer(row.crop, np.uint8), cv2.IMREAD_COLOR_RGB)
        embeddings.append(make_identity().embed([crop], [points])[0])
    assert told[0] == told[1] == told[2]
    assert np.min(embeddings @ np.transpose(embeddings)) > 0.97


@pytest.mark.parametrize("align", ["arcface", "ffhq"])
def test_landmarks_in_one_place_give_the_box(align):
    """What a damaged frame may yield is no reason to stop."""
    face = Face(np.array([10, 20, 60, 90], np.float32), np.full((5, 2), 33, np.float32), 0.9)
    assert align_face(align, face, 5.0, 128, 0.3) == align_face("box", face, 5.0, 128, 0.3)
