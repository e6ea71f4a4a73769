"""A residual preset begins as a straight line: the mean target, and a little of the face it is shown."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from train.config import AutoencoderConfig
from train.data import load_arrays
from train.feeds import open_feed
from train.presets import resolve
from train.shards import ImageView, View, find_shards

pytestmark = pytest.mark.tensorflow
SMALL = ("input_size=16", "output_size=16", "encoder=[8,8]", "batch_size=8")


def built(*assignments, **options):
    from train import backend

    backend.choose("tensorflow")
    from train.models.autoencoders import build_model

    return build_model(resolve(AutoencoderConfig, "autoencoder", "frontal-1", {}, assignments), **options)


@pytest.mark.parametrize(("side", "channels"), [(4, 1), (8, 3)])
def test_waves_are_a_rotation(side, channels):
    """All of them together: unit length, at right angles, the constant first."""
    from train.models.frontal import wave_table

    count = side * side * channels
    table = wave_table(count, side, side, channels).astype(np.float64)
    np.testing.assert_allclose(table @ table.T, np.eye(count), atol=1e-6)
    assert np.ptp(table[0].reshape(side, side, channels)[..., 0]) < 1e-6


def test_waves_of_another_size():
    """Drawn larger they are the same waves, and those that are not there are zeros."""
    from train.models.frontal import wave_table

    small, large = (wave_table(20, 4, size, 1).reshape(20, size, size) for size in (4, 16))
    shrunk = np.array([cv2.resize(wave, (4, 4), interpolation=cv2.INTER_AREA) for wave in large])
    assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99 for a, b in zip(small[1:16], shrunk[1:16], strict=True))
    assert not small[16:].any()
    assert not large[16:].any()


@pytest.mark.parametrize("scale", ["unit", "bytes"])
def test_begins_at_the_means(pairs, scale):
    """The mean feature gives fingerprint 0, which is drawn as the mean target; a face gives some of its own look."""
    from train.data import view_of
    from train.models.frontal import start_at_means

    assignments = (*SMALL, f"input_scale={scale}", "swap=0", "mirror=false")
    config = resolve(AutoencoderConfig, "autoencoder", "frontal-1", {}, assignments)
    shards = find_shards(str(pairs), "pairs")
    model = built(*assignments)
    start_at_means(model, open_feed(shards, "train", view_of(config), config))
    view = View((ImageView("feature", 16, 1), ImageView("target", 16, 1)))
    features, targets = (stack / np.float32(255) for stack in load_arrays(shards, "train", view).images)
    asked = features * 255 if scale == "bytes" else features
    codes = model.get_layer("encoder")(asked).numpy()
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-4)
    assert codes.std(axis=0).min() > 0
    mean = targets.mean(axis=0)
    np.testing.assert_allclose(model.get_layer("decoder")(np.zeros((1, 64), np.float32))[0], mean, atol=1e-5)
    own, drawn = features - features.mean(axis=0), model(asked).numpy() - mean
    assert np.mean(np.mean(own * drawn, axis=(1, 2, 3)) > 0) > 0.95
    assert 0 < drawn.std() < own.std() / 2


def test_more_numbers_than_waves():
    """A fingerprint longer than there are waves begins with other measures too: none is the same for all faces."""
    faces = np.random.default_rng(0).random((8, 16, 16, 1), np.float32)
    assert built(*SMALL, "latent=40").get_layer("encoder")(faces).numpy().std(axis=0).min() > 0


def test_residual_blocks_begin_as_nothing():
    """Whatever is in them, the first output is the line's; with their last weights it is another."""
    from train.models.frontal import DRAWN, MEASURED

    model = built(*SMALL)
    faces = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    before = model(faces).numpy()
    for name, kept in (("encoder", MEASURED), ("decoder", DRAWN)):
        for layer in model.get_layer(name).layers:
            if layer.name != kept and any(w.numpy().any() for w in layer.weights):
                layer.set_weights([w.numpy() * 2 if w.numpy().any() else w.numpy() for w in layer.weights])
    np.testing.assert_allclose(model(faces).numpy(), before, atol=1e-6)
    ends = [model.get_layer(half).layers for half in ("encoder", "decoder")]
    zeros = [layer for layers in ends for layer in layers if "kernel" in {w.name for w in layer.weights}]
    zeros = [layer for layer in zeros if not layer.kernel.numpy().any()]
    assert len(zeros) == 2
    for layer in zeros:
        layer.kernel.assign(layer.kernel + 0.1)
    assert np.abs(model(faces).numpy() - before).max() > 1e-3
