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


@pytest.mark.parametrize("size", [160, 256, 512])
def test_the_crop_size_does_not_matter(astronaut_face, crop, size):
    """One face in crops of 128 px and more has one sharpness, within 20 %."""
    resized = cv2.resize(astronaut_face, (size, size), interpolation=cv2.INTER_AREA)
    assert sharpness(resized) == pytest.approx(sharpness(crop), rel=0.2)


@pytest.mark.parametrize(("gain", "bias"), [(0.5, 0), (0.5, 100), (0.8, 30)])
def test_light_and_contrast_do_not_matter(crop, gain, bias):
    """A darker, brighter or flatter picture of the same face is as sharp, within 5 %."""
    changed = np.clip(crop * gain + bias, 0, 255).astype(np.uint8)
    assert sharpness(changed) == pytest.approx(sharpness(crop), rel=0.05)


def test_an_enlarged_small_face_is_less_sharp(crop):
    """A 32 px face blown up to 128 px has less than half the detail."""
    small = cv2.resize(cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA), (128, 128))
    assert sharpness(small) < 0.5 * sharpness(crop)


def test_grain_that_nobody_sees_is_no_detail():
    """A gray crop with single pixels one level lighter, as a decoder leaves them, has no sharpness."""
    crop = np.full((128, 128, 4), 128, np.uint8)
    crop[::4, ::4, :3] += 1
    assert sharpness(crop) == 0.0


@pytest.mark.parametrize("size", [16, 64, 128])
def test_a_plain_crop_has_none(size):
    """Where there is nothing to see, sharpness is 0 and not a division by nothing."""
    assert sharpness(np.full((size, size, 4), 200, np.uint8)) == 0.0
