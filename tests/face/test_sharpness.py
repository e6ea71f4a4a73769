"""Sharpness of crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.face.crop import sharpness


@pytest.fixture(scope="module")
def crop(astronaut_face):
    return cv2.resize(astronaut_face, (128, 128), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def astronaut_face():
    from skimage import data

    image = cv2.cvtColor(data.astronaut()[20:220, 124:324], cv2.COLOR_RGB2BGRA)
    return cv2.resize(image, (512, 512), interpolation=cv2.INTER_CUBIC)


def test_blur_lowers_it_step_by_step(crop):
    """The more a crop is blurred, the less sharp it is."""
    values = [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma)) for sigma in (0.3, 0.7, 1.0, 1.5, 2.5, 4.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 3 * values[-1]


def test_an_enlarged_small_face_is_less_sharp(crop):
    """A 32 px face blown up to 128 px has less than half the detail."""
    small = cv2.resize(cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA), (128, 128))
    assert sharpness(small) < 0.5 * sharpness(crop)


def test_size_light_and_contrast_do_not_matter(astronaut_face, crop):
    """One face in crops of 128 px and more has one sharpness, within 20 %; darker, brighter or flatter, within 5 %."""
    for size in (160, 256, 512):
        resized = cv2.resize(astronaut_face, (size, size), interpolation=cv2.INTER_AREA)
        assert sharpness(resized) == pytest.approx(sharpness(crop), rel=0.2)
    for gain, bias in ((0.5, 0), (0.5, 100), (0.8, 30)):
        changed = np.clip(crop * gain + bias, 0, 255).astype(np.uint8)
        assert sharpness(changed) == pytest.approx(sharpness(crop), rel=0.05)


@pytest.mark.parametrize("size", [16, 64, 128])
def test_a_plain_crop_has_none(size):
    """Where there is nothing to see, it is 0 and not a division by nothing; single pixels one level lighter are no detail."""
    crop = np.full((size, size, 4), 128, np.uint8)
    assert sharpness(crop) == 0.0
    crop[::4, ::4, :3] += 1
    assert size < 128 or sharpness(crop) == 0.0
