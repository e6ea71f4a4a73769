"""How much pictures of one set differ."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.errors import InputError
from train.metrics.diversity import mean_ms_ssim, ms_ssim, pairwise_distance


def test_pairwise_distance_of_noise():
    """Independent uniform pixels are sqrt(1/6) apart."""
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)
    assert pairwise_distance(images) == pytest.approx(np.sqrt(1 / 6), abs=0.01)


def test_copies_have_no_variety(lfw_faces):
    """Of one face repeated the distance is 0 and the similarity 1; of real faces neither is near."""
    copies = np.repeat(lfw_faces[:1, :, :, None], 20, axis=0)
    assert (pairwise_distance(copies), mean_ms_ssim(copies)) == (0, pytest.approx(1, abs=1e-6))
    faces = lfw_faces[..., None]
    assert pairwise_distance(faces) > 0.1
    assert mean_ms_ssim(faces) < 0.6


def test_one_scale_equals_skimage():
    """At one scale MS-SSIM is SSIM with a Gaussian window, as scikit-image has it."""
    from skimage.metrics import structural_similarity

    first, second = np.random.default_rng(1).random((2, 1, 20, 20, 1)).astype(np.float32)
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0, "full": True}
    _, full = structural_similarity(first[0, :, :, 0], second[0, :, :, 0], **options)
    expected = max(0, full[5:-5, 5:-5].mean())
    assert ms_ssim(first, second)[0] == pytest.approx(expected, abs=1e-5)


def test_similarity_falls_with_noise(astronaut):
    """More noise, less similarity, over all five scales."""
    first = np.repeat(astronaut[None, :256, 128:384].astype(np.float32) / 255, 3, axis=0)
    rng = np.random.default_rng(2)
    strengths = np.array([0, 0.05, 0.2], np.float32)[:, None, None, None]
    second = np.clip(first + strengths * rng.standard_normal(first.shape, np.float32), 0, 1)
    clean, little, much = ms_ssim(first, second)
    assert clean == pytest.approx(1)
    assert 1 > little > 0.8 > much > 0


def test_one_picture():
    """There are no pairs of one."""
    with pytest.raises(InputError, match="2 pictures"):
        pairwise_distance(np.zeros((1, 16, 16, 3), np.uint8))
