"""Square, level crops."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from facepipe.face.crop import TWO_SAMPLES_FROM, crop_similarity, cut_crop, encode_crop
from facepipe.face.orientation import make_orientation


def _ramp(height=400, width=500):
    """Red grows with x, green with y: a crop tells where each of its pixels came from."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x / 2, y / 2, np.full_like(x, 7)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(("size", "margin"), [(16, 0.3), (64, 0.0), (128, 1.0), (256, 0.3)])
def test_the_crop_is_square_centred_and_shows_the_margin(size, margin):
    """The longer side and its margins fill the crop, the box's centre is its centre, scale is crop px per px."""
    crop = cut_crop(_ramp(), (200, 150, 260, 230), 0.0, size, margin)
    assert crop.image.shape == (size, size, 3)
    assert crop.scale == pytest.approx(size / (80 * (1 + 2 * margin)))
    shown = crop.image.astype(float).mean(axis=(0, 1)) * 2
    assert shown[:2] == pytest.approx([229.5, 189.5], abs=1.5)


def test_an_unturned_crop_at_scale_one_is_the_image_itself(astronaut):
    """Whole pixels are copied, not resampled."""
    crop = cut_crop(astronaut, (100, 50, 228, 178), 0.0, 128, 0.0)
    assert np.array_equal(crop.image, astronaut[50:178, 100:228])
    assert crop.scale == 1.0


@pytest.mark.parametrize("roll", [-35, 20, 90])
def test_roll_is_levelled(astronaut, roll):
    """A picture turned clockwise by the roll is cut as the unturned one is."""
    box = np.array([180, 63, 269, 174], np.float32)
    centre = ((box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, -roll, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    level, straight = cut_crop(turned, box, roll, 128, 0.2).image, cut_crop(astronaut, box, 0, 128, 0.2).image
    assert np.abs(level.astype(int) - straight)[16:-16, 16:-16].mean() < 4


def test_the_tilt_that_is_told_levels_the_eyes(astronaut, find_faces):
    """From detection to crop: the eyes of a face turned by 25 degrees lie level within 6 degrees."""
    turn = cv2.getRotationMatrix2D((224, 118), -25, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    face = find_faces(turned)[0]
    roll = make_orientation().look([turned], [face.box])[0].tilt
    matrix = crop_similarity(face.box, roll, 128, 0.3).matrix
    left, right = face.landmarks[:2] @ matrix[:, :2].T
    assert abs(np.degrees(np.arctan2(*(right - left)[::-1]))) < 6
    assert roll == pytest.approx(25, abs=7)


@pytest.mark.parametrize(
    ("shrink", "period"), [(1.85, 2), (2.5, 2), (2.5, 3), *itertools.product((4.3, 9.0), (2, 3, 4))]
)
def test_fine_stripes_vanish_instead_of_aliasing(shrink, period):
    """Stripes finer than the crop can show become even gray: pixels are averaged over areas, not picked."""
    x = np.arange(1500)
    image = np.repeat(np.repeat(((x % period) < period / 2)[None, :, None] * 255, 1500, 0), 3, 2).astype(np.uint8)
    side = 128 * shrink
    crop = cut_crop(image, (100, 100, 100 + side, 100 + side), 7.0, 128, 0.0).image
    sampled = image[100 : 100 + int(side) : int(shrink), 100 : 100 + int(side) : int(shrink)]
    assert crop.std() < 0.4 * max(sampled.std(), 100)


@pytest.mark.parametrize("box", [(-60, -40, 40, 60), (450, 350, 560, 460), (-500, -500, -400, -400), (0, 0, 500, 400)])
def test_beyond_the_border_its_pixels_are_repeated(box):
    """No black: what lies outside continues the outermost pixels, even for a box wholly outside."""
    image = (_ramp() // 2 + 20).astype(np.uint8)
    crop = cut_crop(image, box, 10.0, 64, 0.3).image
    assert crop.min() >= 20
    assert (crop[..., 2] == 23).all()


@pytest.mark.parametrize("roll", [0, 1.3, -30, 90, 170])
@pytest.mark.parametrize("box", [(180, 63, 269, 174), (430, -20, 530, 60), (-20, 420, 90, 540), (60, 60, 170, 180)])
def test_a_crop_shows_what_the_whole_image_shows_there(box, roll, astronaut):
    """Only a part of the image is looked at: the crop is that of the whole one, but for rounding."""
    similarity = crop_similarity(box, roll, 128, 0.3)
    assert similarity.scale > 1 / TWO_SAMPLES_FROM  # one bilinear sample a pixel
    options = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    whole = cv2.warpAffine(astronaut, similarity.matrix, (128, 128), **options)
    assert np.abs(cut_crop(astronaut, box, roll, 128, 0.3).image.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2)])
def test_tiny_images_are_cut_too(shape):
    """Images of a single pixel, row or two columns; a box without area is one pixel."""
    image = np.full((*shape, 3), 50, np.uint8)
    for box in ((0, 0, shape[1], shape[0]), (0, 0, 0, 0)):
        assert (cut_crop(image, box, 0.0, 16, 0.3).image == 50).all()


def test_encoding_is_jpeg_and_keeps_the_crop(astronaut):
    """Bytes are a JPEG with half the colour resolution that decodes to the crop, RGB, within an RMS of 3."""
    cut = cut_crop(astronaut, (180, 63, 269, 174), 3.0, 128, 0.3)
    data, crop = encode_crop(cut.bgra), cut.image
    decoded = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert data[:3] == b"\xff\xd8\xff"
    assert b"\x03\x01\x22\x00\x02\x11" in data  # three components, the first sampled 2x2: 4:2:0
    assert np.sqrt(((decoded.astype(float) - crop) ** 2).mean()) < 3
