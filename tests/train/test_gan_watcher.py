"""The watcher names what goes wrong: told by real pictures here, by real runs in test_gan_trainer.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from runfolders import typed

from train.gan.config import GanConfig
from train.gan.watcher import SETTLED, WINDOW, Watcher
from train.presets import resolve

HEALTHY = {"d_loss": 1.2, "g_loss": 0.9, "right_real": 0.7, "right_fake": 0.8}


@pytest.fixture
def faces(lfw_faces):
    return lfw_faces[..., None]


@pytest.fixture
def watcher(faces):
    return Watcher(GanConfig(), faces)


def steps(watcher, measures, windows=1, first=0):
    """The troubles named over whole windows of the same measures."""
    return [t for step in range(first, first + windows * WINDOW) for t in watcher.see_step(step, measures)]


def test_healthy_training_is_quiet(watcher, faces):
    """Ordinary measures and varied samples name nothing, over many windows."""
    assert steps(watcher, HEALTHY, windows=20) == []
    assert watcher.see_samples(5000, 9, faces[::-1])[0] == []


def test_saturation_is_named_once_in_ten_windows(watcher):
    """A discriminator that is always right is named with what helps, and not again at once."""
    found = steps(watcher, {**HEALTHY, "right_real": 1.0, "right_fake": 0.99}, windows=12)
    assert [(t.name, t.step) for t in found] == [("saturation", WINDOW - 1), ("saturation", 11 * WINDOW - 1)]
    assert "try --diff-augment color,translation,cutout" in found[0].text


def test_right_about_reals_alone_is_no_saturation(watcher):
    """A discriminator that calls everything real has not won."""
    assert steps(watcher, {**HEALTHY, "right_real": 1.0, "right_fake": 0.1}) == []


def test_wasserstein_may_be_right(faces):
    """A critic under a gradient penalty teaches the better the more right it is."""
    watcher = Watcher(GanConfig(loss="wasserstein-gp"), faces)
    assert steps(watcher, {**HEALTHY, "right_real": 1.0, "right_fake": 1.0}) == []


@pytest.mark.parametrize("copies", [1, 2], ids=["one face", "two faces"])
def test_repeated_faces_are_a_collapse(watcher, faces, copies):
    """Samples that are one or two faces, each with a little noise, are named; the figures stand in the line."""
    noisy = np.repeat(faces[:copies], 64 // copies, axis=0) + np.random.default_rng(0).normal(0, 2, (64, 25, 25, 1))
    samples = np.clip(noisy, 0, 255).astype(np.uint8)
    (found,), variety = watcher.see_samples(2000, 5, samples)
    assert found.name == "collapse"
    assert f"{variety['pairwise_distance']:.3f}" in found.text
    assert "try --minibatch-stddev" in found.text


def test_new_generators_are_not_judged(watcher, faces):
    """In the first steps all samples are alike, and that is no collapse yet."""
    alike = np.repeat(faces[:1], 64, axis=0)
    assert watcher.see_samples(SETTLED - 1, 1, alike)[0] == []


def test_growing_losses_diverge(watcher):
    """A loss twenty times the first windows' is named; large but steady losses are not."""
    assert steps(watcher, {**HEALTHY, "d_loss": -30.0}, windows=5) == []
    (found,) = steps(watcher, {**HEALTHY, "d_loss": -900.0}, first=5 * WINDOW)
    assert (found.name, "d_loss averages 900" in found.text) == ("divergence", True)


def test_no_number_is_told_at_once(watcher):
    """NaN does not wait for a window's end."""
    (found,) = watcher.see_step(17, {**HEALTHY, "g_loss": float("nan")})
    assert (found.name, found.step) == ("not-finite", 17)


def test_advice_is_what_is_not_on_yet(faces):
    """A remedy that the run has already is not advised."""
    bare = GanConfig()
    helped = replace(bare, diff_augment=("color",), r1=1.0, label_smoothing=0.1)
    for config, advice in ((bare, "--diff-augment"), (helped, "a lower --d-learning-rate")):
        watcher = Watcher(config, faces)
        (found,) = steps(watcher, {**HEALTHY, "right_real": 1.0, "right_fake": 1.0})
        assert advice in found.text


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ((), "--learning-rate 0.0001"),
        (("--learning-rate=0.01",), "--learning-rate 0.0002"),
        (("--d-learning-rate=0.01",), "--learning-rate 0.0001 --d-learning-rate 0.0002"),
        (("--g-learning-rate=0.0002", "--d-learning-rate=0.0004"), "--g-learning-rate 0.0001 --d-learning-rate 0.0002"),
    ],
)
def test_advised_rates_are_those_that_count(faces, words, advice):
    """The run with the advice taken learns more slowly: an option that something outranks is not advised."""
    before = {"spectral_norm": "discriminator", "r1": 1, **typed("gan", words)}
    config = resolve(GanConfig, "gan", "dcgan", before)
    (found,) = Watcher(config, faces).see_step(17, {**HEALTHY, "g_loss": float("nan")})
    assert found.text.endswith(f"; try {advice}")
    taken = resolve(GanConfig, "gan", "dcgan", {**before, **typed("gan", advice.split())})
    assert all(after < before for after, before in zip(taken.learning_rates, config.learning_rates, strict=True))
