"""The nineteen networks are those of the record, number by number."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from train.config import AutoencoderConfig
from train.presets import resolve, tables

pytestmark = pytest.mark.tensorflow
FACTS = {
    "v1": (34_809_091, 768, (64, 64, 3), (64, 64, 3)),
    "v2": (8_888_705, 640, (128, 128, 1), (128, 128, 1)),
    "v3": (12_266_975, 896, (128, 128, 1), (128, 128, 1)),
    "v4": (1_248_065, 448, (64, 64, 1), (64, 64, 1)),
    "v5": (1_248_065, 448, (64, 64, 1), (64, 64, 1)),
    "v6": (8_647_649, 2_432, (96, 96, 1), (96, 96, 1)),
    "v7": (13_129_409, 3_968, (32, 32, 1), (32, 32, 1)),
    "v8": (13_129_409, 3_968, (32, 32, 1), (32, 32, 1)),
    "v9": (6_721_409, 1_408, (128, 128, 1), (32, 32, 1)),
    "v10": (9_705_601, 1_920, (128, 128, 1), (64, 64, 1)),
    "v11": (9_705_601, 1_920, (128, 128, 1), (64, 64, 1)),
    "v12": (18_736_897, 768, (128, 128, 1), (64, 64, 1)),
    "archived-1": (363_939, 0, (96, 96, 3), (96, 96, 3)),
    "archived-2": (363_939, 0, (96, 96, 3), (96, 96, 3)),
    "archived-3": (2_405_763, 768, (32, 32, 3), (32, 32, 3)),
    "archived-4": (18_033_283, 1_536, (64, 64, 3), (64, 64, 3)),
    "archived-5": (18_033_283, 1_536, (64, 64, 3), (64, 64, 3)),
    "archived-6": (18_033_283, 1_536, (64, 64, 3), (64, 64, 3)),
    "archived-7": (34_810_627, 1_536, (64, 64, 3), (64, 64, 3)),
    "frontal-1": (469_056, 0, (64, 64, 1), (64, 64, 1)),
    "frontal-2": (1_525_856, 0, (128, 128, 3), (128, 128, 3)),
}


def built(name, *assignments, **options):
    from train import backend

    backend.choose("tensorflow")
    from train.models.autoencoders import build_model

    return build_model(resolve(AutoencoderConfig, "autoencoder", name, {}, assignments), **options)


def layer_counts(model, *halves):
    """(kind of layer, parameters) of those that have any."""
    layers = [layer for half in halves for layer in model.get_layer(half).layers]
    return [(type(layer).__name__, layer.count_params()) for layer in layers if layer.count_params()]


@pytest.mark.parametrize("name", FACTS)
def test_totals(name):
    """Total, not trained, input and output; presets.toml says the same."""
    model = built(name)
    fixed = sum(math.prod(v.shape) for v in model.non_trainable_weights)
    assert (model.count_params(), fixed, model.input_shape[1:], model.output_shape[1:]) == FACTS[name]
    table = tables("autoencoder")[name]
    assert (table["parameters"], table["non_trainable"]) == FACTS[name][:2]


def test_all_in_the_table():
    """Every preset's total is held."""
    assert set(FACTS) == set(tables("autoencoder"))


def test_v2_layer_by_layer():
    """The table that the original printed."""
    assert [count for _, count in layer_counts(built("v2"), "encoder", "decoder")] == [
        *(1_280, 147_584, 73_792, 4_194_560, 4_210_688),
        *(36_928, 256, 73_856, 512, 147_584, 512, 1_153),
    ]


@pytest.mark.parametrize("name", ["archived-1", "archived-2"])
def test_archived_map_layer_by_layer(name):
    """Four convolutions, four Dense layers at each of 6x6 pixels, five convolutions."""
    model = built(name)
    assert [count for _, count in layer_counts(model, "encoder", "decoder")] == [
        *(2_016, 41_536, 18_464, 4_624, 8_704, 65_664, 16_512, 66_048),
        *(73_744, 4_640, 18_496, 41_544, 1_947),
    ]
    assert model.get_layer("encoder").output_shape == (None, 6, 6, 128)


def test_archived_3_halves():
    """Encoder and decoder, each to the number."""
    model = built("archived-3")
    assert [model.get_layer(half).count_params() for half in ("encoder", "decoder")] == [1_125_120, 1_280_643]


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("v4", ([0.1, 0.1, 0.1, 0.2], [0.1, 0.1, 0.1])),
        ("v9", ([0.2, 0.2], [0.2, 0.2])),
        ("v12", ([0.2], [0.2])),
        ("archived-1", ([0.4], [0.2, 0.4])),
        ("archived-5", ([], [])),
        ("archived-7", ([0.2, 0.2], [0.2, 0.2])),
    ],
)
def test_dropout(name, rates):
    """Where it was, and how much."""
    model = built(name)
    found = [[x.rate for x in model.get_layer(half).layers if hasattr(x, "rate")] for half in ("encoder", "decoder")]
    assert tuple(found) == rates


def test_legacy_output_stays_above_a_half():
    """The original's bug keeps every pixel at 0.5 or more; the corrected output is free of it, at the same size."""
    faces = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    small = ("input_size=16", "output_size=16", "encoder=[8,8]", "latent=8")
    right, legacy = built("v4", *small), built("v4", *small, "legacy_output=true")
    legacy.set_weights(right.get_weights())
    a, b = (model(faces).numpy() for model in (right, legacy))
    assert right.count_params() == legacy.count_params()
    assert a.min() < 0.5
    assert b.min() == 0.5
    assert np.allclose(b, np.maximum(a, 0.5))


def test_the_seed_decides_the_weights():
    """The same seed, the same weights; another seed, others. A plain copy gives the same in Keras's own layers."""
    from train.plain import plain_copy

    small = ("input_size=16", "output_size=16", "encoder=[8,8]", "latent=8")
    model = built("v4", *small, "seed=1")
    first, again, other = model.get_weights(), *(built("v4", *small, f"seed={seed}").get_weights() for seed in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    plain, ours = plain_copy(model.get_layer("encoder")), model.get_layer("encoder")
    faces = np.random.default_rng(0).random((4, 16, 16, 1), np.float32)
    np.testing.assert_allclose(plain(faces), ours(faces), atol=1e-6)
    configs = [layer.get_config() for layer in plain.layers]
    assert all(type(layer).__module__.startswith("keras") for layer in plain.layers)
    assert "facepipe" not in json.dumps(configs, default=str)


def test_ms_ssim():
    """1 for equal pictures, less for worse ones, and its slope is finite even where contrast is opposite."""
    import tensorflow as tf
    from skimage import data

    from train.losses import ms_ssim, ms_ssim_l1, scales

    image = data.camera()[100:164, 200:264].astype(np.float32)[None, ..., None] / 255
    noise = np.random.default_rng(0).normal(0, 0.05, image.shape).astype(np.float32)
    values = [float(ms_ssim(image, image + k * noise)[0]) for k in (0, 1, 3)]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values[0] > values[1] > values[2] > 0
    reference = tf.image.ssim_multiscale(
        image, image + noise, 1.0, power_factors=np.array([0.0448, 0.2856, 0.3001]) / 0.6305
    )
    assert values[1] == pytest.approx(float(reference[0]), abs=2e-3)
    with tf.GradientTape() as tape:
        output = tf.Variable(1 - image)
        loss = ms_ssim_l1(image, output)
    assert np.isfinite(tape.gradient(loss, output).numpy()).all()
    assert [scales(size) for size in (8, 16, 22, 64, 176, 512)] == [1, 1, 2, 3, 5, 5]
