"""The measures against their definitions and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

import facepipe
from facepipe.errors import InputError
from train.losses import ms_ssim, ssim
from train.metrics.identity import identification, principal_components, roc_auc, similarities
from train.metrics.images import bands_of, by_band, mean_ms_ssim, measures, pairwise_distance
from train.metrics.recognition import USUAL, embed, face_mask, face_measures, find_frame


@pytest.fixture(scope="module")
def photographs():
    """Two crops of a real photograph, (64, 64, 3) float32 0..1, one of them noisy."""
    from skimage import data

    image = data.astronaut()[40:104, 180:244].astype(np.float32) / 255
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 0.1, image.shape), 0, 1).astype(np.float32)
    return image, noisy


@pytest.mark.parametrize("channels", [1, 3])
def test_as_scikit_image(photographs, channels):
    """MSE, PSNR and SSIM agree with another implementation."""
    from skimage import metrics

    a, b = (image[..., :channels] for image in photographs)
    found = measures(a[None], b[None])
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = np.mean([metrics.structural_similarity(a[..., c], b[..., c], **options) for c in range(channels)])
    assert found["ssim"][0] == pytest.approx(expected, abs=1e-5)
    assert found["mse"][0] == pytest.approx(metrics.mean_squared_error(a, b), rel=1e-5)
    assert found["psnr"][0] == pytest.approx(metrics.peak_signal_noise_ratio(a, b, data_range=1), rel=1e-5)
    assert found["mae"][0] == pytest.approx(np.abs(a - b).mean(), rel=1e-5)


def test_equal_images(photographs):
    """Nothing lost: SSIM 1, PSNR at its cap."""
    found = measures(photographs[0][None], photographs[0][None])
    assert (found["mse"][0], found["psnr"][0]) == (0, 100)
    assert found["ssim"][0] == pytest.approx(1)
    assert float(ssim(*np.zeros((2, 1, 7, 7, 1), np.float32))[0]) == pytest.approx(1)


def test_bands():
    """The lower end belongs to a band; either sign; an unknown yaw is never 0."""
    yaws = [0, 14.9, -15, 30, 44, -45, 60, 90, -100, np.nan]
    assert bands_of(np.array(yaws)).tolist() == (
        ["0-15", "0-15", "15-30", "30-45", "30-45", "45-60", "60-90", "60-90", "60-90", "unknown"]
    )
    table = by_band({"mse": np.arange(10.0)}, bands_of(np.array(yaws)))
    assert table["30-45"] == {"images": 2, "mse": 3.5}
    assert table["all"] == {"images": 10, "mse": 4.5}
    assert list(table) == ["all", "0-15", "15-30", "30-45", "45-60", "60-90", "unknown"]


@pytest.mark.parametrize(
    ("same", "different"), [([3, 4], [1, 2]), ([1, 2], [3, 4]), ([1, 2, 2], [2, 2, 0]), ([0.5], [0.5])]
)
def test_roc_auc(same, different):
    """The share of (same, different) couples in the right order, ties half."""
    couples = [(s > d) + 0.5 * (s == d) for s in same for d in different]
    assert roc_auc(np.array(same, float), np.array(different, float)) == pytest.approx(np.mean(couples))


def test_roc_auc_of_nothing():
    """Without one kind of couple it can't be told."""
    assert np.isnan(roc_auc(np.array([]), np.array([1.0])))


def test_principal_components():
    """Orthonormal axes that rebuild what they span, the widest first, never more than the vectors give."""
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(12, 3)) * [5, 2, 1] @ rng.normal(size=(3, 50)) + 4).astype(np.float32)
    found = principal_components(vectors, 8)
    assert found.axes.shape == (3, 50)
    assert np.allclose(found.axes @ found.axes.T, np.eye(3), atol=1e-5)
    assert np.allclose(found.project(vectors) @ found.axes + found.mean, vectors, atol=1e-3)
    spread = found.project(vectors).var(axis=0)
    assert (np.diff(spread) < 0).all()
    assert np.allclose(np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)[:3] ** 2 / 12, spread, rtol=1e-3)


def test_identification():
    """The most alike gallery picture decides; bands are counted apart."""
    gallery = np.eye(3, dtype=np.float32)
    probes = np.array([[1, 0, 0], [0, 1, 0.1], [0.9, 0, 0.1]], np.float32)
    likeness = similarities(probes, gallery, np.zeros(3))
    assert likeness[0].tolist() == pytest.approx([1, 0, 0])
    people = np.array([b"a", b"b", b"c"], object)
    table = identification(likeness, people, people, np.array(["0-15", "0-15", "60-90"]))
    assert table["0-15"] == {"probes": 2, "rank1": 1.0, "rank1_of_100": 1.0, "auc": 1.0}
    assert table["all"]["rank1"] == pytest.approx(2 / 3)
    assert (table["60-90"]["rank1"], table["60-90"]["auc"]) == (0.0, 0.5)


def test_identification_among_a_hundred():
    """Is what it comes to on average where only a hundred people are there, drawn at random."""
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(300, 16)).astype(np.float32)
    probes, people = gallery + rng.normal(size=(300, 16)).astype(np.float32), np.arange(300)
    likeness = similarities(probes, gallery, np.zeros(16))
    found = identification(likeness, people, people, np.full(300, "0-15"))["all"]["rank1_of_100"]
    drawn = [rng.choice(300, 100, replace=False) for _ in range(200)]
    right = [(likeness[np.ix_(some, some)].argmax(axis=1) == np.arange(100)).mean() for some in drawn]
    assert found == pytest.approx(np.mean(right), abs=0.01)


def test_the_mean_is_like_nobody():
    """A vector that equals the mean has no direction."""
    assert similarities(np.ones((1, 4), np.float32), np.eye(4, dtype=np.float32), np.ones(4)).tolist() == [[0, 0, 0, 0]]


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
    assert float(ms_ssim(first, second)[0]) == pytest.approx(expected, abs=1e-4)


def test_similarity_falls_with_noise(astronaut):
    """More noise, less similarity, over all five scales."""
    first = np.repeat(astronaut[None, :256, 128:384].astype(np.float32) / 255, 3, axis=0)
    rng = np.random.default_rng(2)
    strengths = np.array([0, 0.05, 0.2], np.float32)[:, None, None, None]
    second = np.clip(first + strengths * rng.standard_normal(first.shape, np.float32), 0, 1)
    clean, little, much = np.asarray(ms_ssim(first, second))
    assert clean == pytest.approx(1, abs=1e-5)
    assert 1 > little > 0.8 > much > 0


def test_one_picture():
    """There are no pairs of one."""
    with pytest.raises(InputError, match="2 pictures"):
        pairwise_distance(np.zeros((1, 16, 16, 3), np.uint8))


def test_light_is_no_error_and_blur_is_less_sharp(lfw_faces):
    """Another gain and offset leave nothing of the error and take of the sharpness their share; a mean face is blurred."""
    faces = lfw_faces[:20, :, :, None].astype(np.float32) / 255
    darker = face_measures(faces, 0.5 * faces + 0.2, np.ones((25, 25), bool))
    assert darker["gain_free"] == pytest.approx(0, abs=1e-6)
    assert darker["sharpness"] == pytest.approx(0.5, abs=1e-3)
    mean = face_measures(faces, np.broadcast_to(faces.mean(axis=0), faces.shape), face_mask(USUAL, 25))
    assert mean["sharpness"].mean() < 0.7
    assert mean["gain_free"].min() > 1e-3


def test_a_person_is_recognised_and_a_mean_face_is_nobody(astronaut):
    """A photograph with some noise is nearest to itself, another face is far, in the frame that detection finds."""
    crop = facepipe.detect(astronaut)[0].crop
    frame = find_frame(np.repeat(crop[None], 6, axis=0))
    assert np.abs(frame - USUAL).max() < 0.1
    noisy = np.clip(crop + np.random.default_rng(0).normal(0, 8, crop.shape), 0, 255).astype(np.uint8)
    same, mirrored, flat = (
        embed(np.stack([noisy, crop[:, ::-1], np.full_like(crop, 120)]), frame) @ embed(crop[None], frame)[0]
    )
    assert same > 0.97
    assert mirrored > 0.9 > flat
