"""Distances between sets of pictures and of features, on distributions whose answers are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.errors import InputError
from train.metrics.distribution import frechet, laplacian_pyramid, precision_recall, sliced_wasserstein


def smooth(count, seed, size=32):
    """(count, size, size, 3) uint8 pictures that change slowly from pixel to pixel."""
    rough = np.random.default_rng(seed).standard_normal((count, size, size, 3))
    soft = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in rough])
    return np.clip(128 + soft / soft.std() * 40, 0, 255).astype(np.uint8)


def noise(count, seed, size=32):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("mean", "scale"), [(0.0, 1.0), (3.0, 1.0), (0.0, 2.0), (1.0, 0.5)], ids=["same", "moved", "wider", "both"]
)
def test_frechet_of_normal_distributions(mean, scale):
    """For N(0, 1) against N(m, s) in 4 dimensions it is 4 m^2 + 4 (1 - s)^2."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 20000, 4))
    expected = 4 * mean**2 + 4 * (1 - scale) ** 2
    assert frechet(first, second * scale + mean) == pytest.approx(expected, abs=0.05 + 0.02 * expected)


def test_frechet_of_correlated_features():
    """With full covariances A and B it is tr(A + B - 2 (A B)^1/2), the root taken by eigenvalues of A B."""
    rng = np.random.default_rng(1)
    first, second = (rng.standard_normal((50000, 3)) @ rng.standard_normal((3, 3)) for _ in range(2))
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    expected = np.trace(a + b) - 2 * np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    assert frechet(first, second) == pytest.approx(expected, abs=0.01)


def test_frechet_of_fewer_rows_than_features():
    """A set against itself is 0 also where the covariances have no full rank."""
    features = np.random.default_rng(2).standard_normal((10, 64)).astype(np.float32)
    assert frechet(features, features) == pytest.approx(0, abs=1e-5)


def test_precision_and_recall_of_halves():
    """Of two clusters, fakes in one: all are good (precision near 1), half is missing (recall near 0.5)."""
    rng = np.random.default_rng(3)
    near, far = rng.standard_normal((2, 1000, 2)) + np.array([0, 100])[:, None, None]
    fake = rng.standard_normal((1000, 2))
    precision, recall = precision_recall(np.concatenate([near, far]), fake)
    assert (precision, recall) == (pytest.approx(1, abs=0.03), pytest.approx(0.5, abs=0.03))


def test_precision_and_recall_of_too_wide_fakes():
    """Fakes in both clusters of which one is real: half are good, nothing is missing."""
    rng = np.random.default_rng(4)
    real = rng.standard_normal((1000, 2))
    fake = rng.standard_normal((2000, 2)) + np.repeat([[0.0], [100.0]], 1000, axis=0)
    precision, recall = precision_recall(real, fake)
    assert (precision, recall) == (pytest.approx(0.5, abs=0.03), pytest.approx(1, abs=0.03))


def test_pyramid_adds_up():
    """Each level is what its smaller, doubled neighbour misses: of constant pictures only the last level is not 0."""
    fine, coarse = laplacian_pyramid(np.full((2, 32, 32, 3), 51, np.uint8))
    assert [level.shape for level in (fine, coarse)] == [(2, 32, 32, 3), (2, 16, 16, 3)]
    np.testing.assert_allclose(fine[:, 2:-2, 2:-2], 0, atol=1e-6)
    np.testing.assert_allclose(coarse, 0.2, atol=1e-6)


def test_sliced_wasserstein_of_noise_and_flat_pictures():
    """White noise projects to N(0, 1), flat pictures to N(0, s^2) with s the direction's sum, itself N(0, 1).

    So the distance is the mean over s of sqrt(2 / pi) * | |s| - 1 |.
    """
    rng = np.random.default_rng(0)
    rough = np.clip(128 + 30 * rng.standard_normal((3000, 16, 16, 3)), 0, 255).astype(np.uint8)
    grays = np.clip(128 + 30 * rng.standard_normal((3000, 1, 1, 1)), 0, 255).astype(np.uint8)
    flat = np.broadcast_to(grays, rough.shape)
    sums = rng.standard_normal(1_000_000)
    expected = 1000 * np.sqrt(2 / np.pi) * np.abs(np.abs(sums) - 1).mean()
    assert sliced_wasserstein(rough, flat, patches=4)[16] == pytest.approx(expected, rel=0.1)


def test_sliced_wasserstein_tells_like_from_unlike():
    """Two samples of one distribution are far nearer than two distributions, at every level."""
    same = sliced_wasserstein(noise(200, 0), noise(200, 1), directions=128)
    different = sliced_wasserstein(noise(200, 0), smooth(200, 2), directions=128)
    assert list(same) == [32, 16]
    assert all(different[level] > 5 * same[level] for level in same)


def test_sliced_wasserstein_sees_lost_texture():
    """Blurring moves the fine level more than the coarse one."""
    real = smooth(200, 0)
    rough = np.clip(real + np.random.default_rng(5).normal(0, 10, real.shape), 0, 255).astype(np.uint8)
    blurred = np.stack([cv2.GaussianBlur(image, (5, 5), 0) for image in rough])
    found = sliced_wasserstein(rough, blurred, directions=128)
    assert found[32] > 3 * found[16]


@pytest.mark.parametrize(
    "sets", [(noise(1, 0), noise(1, 1)), (noise(4, 0), noise(4, 1, size=16))], ids=["one picture", "other size"]
)
def test_sets_that_do_not_compare(sets):
    """Too few or differently sized pictures are refused with what to give."""
    with pytest.raises(InputError, match="2 or more"):
        sliced_wasserstein(*sets)


def test_too_few_for_neighbours():
    """Precision needs more pictures than neighbours."""
    with pytest.raises(InputError, match="more than 3"):
        precision_recall(np.zeros((3, 2), np.float32), np.zeros((9, 2), np.float32))
