"""Each kind of noise does what its line in the table says, reproducibly, image by image."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from facepipe.dataset.noise import KINDS, Noise, add_noise, parse_noise
from facepipe.dataset.seeding import Draws
from facepipe.errors import UsageError

EXACT = {"gaussian": "fc6b5b1d", "salt-and-pepper": "75686082", "occlusion": "646e5953", "speckle": "741cfd06"}
RANDOM = [kind for kind in KINDS if kind not in ("blur", "jpeg", "low-resolution")]


@pytest.fixture(scope="module")
def faces():
    """(20, 25, 25, 1) uint8: photographs of faces."""
    from skimage import data

    return (data.lfw_subset()[:20, ..., None] * 255).astype(np.uint8)


def noisy(images, kind, strength, keys=None, seed=0):
    draws = Draws()
    keys = keys or range(len(images))
    return add_noise(images, Noise(kind, strength), lambda i: draws.at(seed, keys[i], kind, strength))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_s_noise_does_not_depend_on_its_neighbours(faces, kind, channels):
    """The same key gives the same pixels alone, in a block, and in another order; the input is left as it was."""
    images = np.repeat(faces, channels, axis=3)
    kept = images.copy()
    block = noisy(images, kind, 0.3)
    alone = np.concatenate([noisy(images[i : i + 1], kind, 0.3, keys=[i]) for i in range(len(images))])
    turned = noisy(images[::-1], kind, 0.3, keys=range(len(images))[::-1])[::-1]
    assert (block.shape, block.dtype) == (images.shape, np.uint8)
    assert np.array_equal(block, alone)
    assert np.array_equal(block, turned)
    assert np.array_equal(images, kept)


@pytest.mark.parametrize("kind", RANDOM)
def test_seeds_and_keys_give_other_noise(faces, kind):
    """Another seed, another key or another strength is another draw."""
    first = noisy(faces, kind, 0.3)
    assert not np.array_equal(first, noisy(faces, kind, 0.3, seed=1))
    assert not np.array_equal(first, noisy(faces, kind, 0.3, keys=range(100, 120)))


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_noise_changes_more(faces, kind):
    """The mean change grows with the strength, from a little to a lot."""
    changes = [np.abs(noisy(faces, kind, s).astype(int) - faces).mean() for s in (0.02, 0.2, 0.8)]
    assert changes == sorted(changes)
    assert changes[0] < 10 < changes[2]


@pytest.mark.parametrize("kind", ["gaussian", "speckle", "poisson"])
def test_the_deviation_is_the_strength(kind):
    """On a light gray (80 % white) the values spread by 0.1, times the gray for speckle and its root for shot noise."""
    gray = np.full((4, 64, 64, 1), 204, np.uint8)
    expected = {"gaussian": 0.1, "speckle": 0.08, "poisson": 0.1 * np.sqrt(0.8)}[kind]
    values = noisy(gray, kind, 0.1) / 255
    assert abs(values.std() - expected) < 0.005
    assert abs(values.mean() - 0.8) < 0.005


def test_salt_and_pepper_turns_whole_pixels():
    """A share of 0.3 of the pixels is black or white in all channels, half each; the rest is untouched."""
    gray = np.full((4, 64, 64, 3), 100, np.uint8)
    values = noisy(gray, "salt-and-pepper", 0.3)
    assert sorted(np.unique(values.reshape(-1, 3), axis=0).tolist()) == [[0] * 3, [100] * 3, [255] * 3]
    assert abs((values == 0).mean() - 0.15) < 0.01
    assert abs((values == 255).mean() - 0.15) < 0.01


@pytest.mark.parametrize("strength", [0.05, 0.6, 1.0])
def test_occlusion_covers_the_share(strength):
    """The covered area is the strength, up to rounding, and of one colour."""
    blank = np.zeros((50, 64, 64, 3), np.uint8)
    covered = [(image != 0).any(axis=2).mean() for image in noisy(blank, "occlusion", strength)]
    assert abs(np.median(covered) - strength) < 0.03
    assert all(len(np.unique(image.reshape(-1, 3), axis=0)) <= 2 for image in noisy(blank, "occlusion", strength))


def test_colours_keep_their_channels():
    """JPEG leaves red red: channels are not swapped on the way."""
    red = np.zeros((1, 32, 32, 3), np.uint8)
    red[..., 0] = 255
    assert noisy(red, "jpeg", 0.1)[0, 16, 16].tolist() == pytest.approx([255, 0, 0], abs=8)


def test_low_resolution_and_blur_smooth(faces):
    """Neighbouring pixels differ less than before."""
    rough = np.abs(np.diff(faces.astype(int), axis=2)).mean()
    for kind in ("blur", "low-resolution"):
        assert np.abs(np.diff(noisy(faces, kind, 0.7).astype(int), axis=2)).mean() < 0.5 * rough


def test_blur_spreads_an_edge_by_a_tenth_of_the_side():
    """Of the strength: on 100 px the steps of a blurred edge have a standard deviation of 10 px times it."""
    edge = np.zeros((1, 100, 100, 1), np.uint8)
    edge[:, :, 50:] = 255
    steps = np.diff(noisy(edge, "blur", 0.4)[0, 50, :, 0].astype(float))
    places = np.arange(99) + 0.5
    centre = (steps * places).sum() / steps.sum()
    assert np.sqrt((steps * (places - centre) ** 2).sum() / steps.sum()) == pytest.approx(4, abs=0.1)


def test_low_resolution_keeps_two_pixels_a_side():
    """At full strength a picture still goes from dark to light, down as well as across."""
    ramp = np.linspace(0, 127, 64)
    rising = (ramp[:, None] + ramp[None])[None, ..., None].astype(np.uint8)
    low = noisy(rising, "low-resolution", 1.0)[0, ..., 0].astype(int)
    assert (low[0, -1] - low[0, 0], low[-1, 0] - low[0, 0]) == (pytest.approx(64, abs=4), pytest.approx(64, abs=4))


def test_known_noise():
    """The noise that the shards are made with by default and the others drawn from whole numbers, must not change unnoticed."""
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    hashes = {kind: hashlib.sha256(noisy(ramp, kind, 0.1).tobytes()).hexdigest()[:8] for kind in EXACT}
    assert hashes == EXACT


def test_parsing():
    """One noise a strength, in the order given."""
    expected = (Noise("gaussian", 0.03), Noise("gaussian", 0.1), Noise("blur", 1.0))
    assert parse_noise(["gaussian:0.03, 0.1", "blur:1"]) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gausian:0.1", "did you mean gaussian"),
        ("salt:0.1", "did you mean salt-and-pepper"),
        ("zzz:0.1", "it can be gaussian"),
        ("gaussian", "no strength"),
        ("gaussian:", "no strength"),
        ("gaussian:x", "'x' is not a number"),
        ("gaussian:0", "above 0"),
        ("gaussian:nan", "above 0"),
        ("gaussian:1.5", "at most at 1"),
        ("gaussian:0.1,0.1", "given twice"),
        ("none", "can't stand beside"),
        ("nothing", "there is no kind 'nothing'; did you mean none\\?"),
    ],
)
def test_mistakes_are_named(text, said):
    """Each mistake is said in one line, the nearest kind with it."""
    with pytest.raises(UsageError, match=said):
        parse_noise([text])
