"""The GANs' networks: their sizes, their own layers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facepipe.errors import UsageError
from train.gan.config import GanConfig
from train.presets import FACTS, resolve, tables

pytestmark = pytest.mark.tensorflow
EXACT = {
    "dcgan64": (663_297, 1_072_512, 12 * 64, 6 * 64),
    "dcgan128": (2_637_313, 3_455_744, 12 * 128, 6 * 128),
    "dcgan256": (10_517_505, 12_154_368, 12 * 256, 6 * 256),
}
"""Trainable parameters of discriminator and generator, and the batch statistics that Keras counts on top."""


@pytest.fixture(scope="module")
def built():
    """Every preset's (generator, discriminator), built once."""
    from train.models.gan import build_networks

    made = {}

    def get(preset):
        if preset not in made:
            made[preset] = build_networks(resolve(GanConfig, "gan", preset, {}))
        return made[preset]

    return get


@pytest.mark.parametrize("preset", EXACT)
def test_published_sizes(built, preset):
    """dcgan64, 128 and 256 have exactly the parameters of the originals, and Keras's own totals 12c and 6c more."""
    from train.gan.assembly import parameters

    generator, discriminator = built(preset)
    discriminator_extra = discriminator.count_params() - parameters(discriminator)
    generator_extra = generator.count_params() - parameters(generator)
    actual = parameters(discriminator), parameters(generator), discriminator_extra, generator_extra
    assert actual == EXACT[preset]


@pytest.mark.parametrize(
    "preset", [pytest.param(name, marks=[pytest.mark.slow] * name.endswith("128")) for name in sorted(tables("gan"))]
)
def test_presets_count_and_shape(built, preset):
    """Every preset has the parameters that its table says, and images of its size."""
    from train.gan.assembly import parameters

    table = tables("gan")[preset]
    generator, discriminator = built(preset)
    assert (parameters(discriminator), parameters(generator)) == (table["discriminator"], table["generator"])
    size = table.get("image_size", 64)
    assert generator.output_shape == (None, size, size, 3)
    assert discriminator.inputs[0].shape == (None, size, size, 3)


def test_sagan_is_what_its_name_says():
    """Spectral normalisation in both networks, attention at 32 px, the generator wider, two learning rates."""
    config = resolve(GanConfig, "gan", "sagan", {})
    assert (config.spectral_norm, config.attention, config.image_size) == ("both", (32,), 64)
    assert config.g_conv_dim > config.d_conv_dim
    assert config.learning_rates == (1e-4, 4e-4)


def test_first_weights_come_from_the_seed():
    """The same seed gives the same weights, another one others, with deviation 0.02."""
    from train.models.gan import build_networks

    first, again, other = (
        build_networks(GanConfig(image_size=32, seed=seed))[1].get_weights()[1] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert first.std() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("kind", ["conv", "transpose", "dense"])
def test_spectral_kernels_have_norm_one(kind):
    """The normalised kernel's largest singular value is 1 within 1 %, also after 50 steps with one iteration each."""
    import keras

    from train.models.layers import SpectralConv2D, SpectralConv2DTranspose, SpectralDense

    keras.utils.set_random_seed(0)
    layer = {
        "conv": lambda: SpectralConv2D(24, 4, 2, padding="same"),
        "transpose": lambda: SpectralConv2DTranspose(24, 4, 2, padding="same"),
        "dense": lambda: SpectralDense(24),
    }[kind]()
    layer.build((None, 40) if kind == "dense" else (None, 8, 8, 12))
    assert largest_singular_value(layer) == pytest.approx(1, rel=0.01)
    rng = np.random.default_rng(0)
    for _ in range(50):
        # As far as Adam goes at the largest rate of the presets.
        layer.kernel.assign_add(4e-4 * np.sign(rng.standard_normal(layer.kernel.shape)).astype(np.float32))
        layer.iterate()
    assert largest_singular_value(layer) == pytest.approx(1, rel=0.01)


def largest_singular_value(layer):
    kernel = np.asarray(layer.normalised_kernel())
    matrix = np.moveaxis(kernel, layer.out_axis, -1).reshape(-1, kernel.shape[layer.out_axis])
    return np.linalg.svd(matrix, compute_uv=False)[0]


def test_spectral_gradient_goes_through_sigma():
    """For the loss sum(A * W / sigma(W)) the gradient is (A - <A, W / s> u v') / s, as in the paper (eq. 12)."""
    import tensorflow as tf

    from train.models.layers import SpectralDense

    layer = SpectralDense(6, use_bias=False)
    layer.build((None, 9))
    for _ in range(200):
        layer.iterate()
    weights = np.asarray(layer.kernel.value)
    other = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(other * layer.normalised_kernel())
    left, values, right = np.linalg.svd(weights)
    rank_one = np.outer(left[:, 0], right[0])
    expected = (other - (other * weights / values[0]).sum() * rank_one) / values[0]
    np.testing.assert_allclose(tape.gradient(loss, layer.kernel.value), expected, atol=1e-3)


def test_attention_starts_as_nothing_and_looks_everywhere():
    """With gamma 0 a network with attention passes its input on; with gamma 1 one far pixel changes every other."""
    import keras

    from train.models.blocks import Blocks

    inputs = keras.Input((8, 8, 16))
    blocks = Blocks(spectral=False, stddev=0.3, seed=(0,))
    model = keras.Model(inputs, blocks.attend(inputs))
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 16)).astype(np.float32)
    np.testing.assert_array_equal(model([x]), x)
    model.layers[-1].gamma.assign(1.0)
    changed = x.copy()
    changed[0, 7, 7] += 3
    difference = np.abs(np.asarray(model([changed])) - np.asarray(model([x]))).max(axis=-1)
    assert (difference > 1e-6).all()


def test_minibatch_deviation_of_copies():
    """Of copies the added channel is (nearly) 0, of random pictures their deviation."""
    from train.models.layers import MinibatchStddev

    noise = np.random.default_rng(0).standard_normal((64, 4, 4, 8)).astype(np.float32)
    copies = np.repeat(noise[:1], 64, axis=0)
    added = [float(np.asarray(MinibatchStddev()(x))[0, 0, 0, -1]) for x in (copies, noise)]
    assert added == [pytest.approx(1e-4, abs=1e-5), pytest.approx(1, abs=0.03)]


@pytest.mark.parametrize("name", ["BatchNorm", "LayerNorm"])
def test_normalisation_has_right_second_derivatives(name):
    """The gradient of a gradient penalty equals its finite differences (Keras's layers on TensorFlow fail this)."""
    import tensorflow as tf

    from train.models import normalisation

    layer = getattr(normalisation, name)(dtype="float32")
    x = tf.constant(np.random.default_rng(0).standard_normal((3, 2, 2, 2)), tf.float32)
    layer.build(x.shape)

    def penalty(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(layer(x, training=True) ** 3) if name == "BatchNorm" else tf.reduce_sum(layer(x) ** 3)
        return tf.reduce_sum(tape.gradient(score, x) ** 2)

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = penalty(x)
    gradient = np.asarray(tape.gradient(value, x))
    direction = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    step = 1e-2
    slope = (penalty(x + step * direction) - penalty(x - step * direction)) / (2 * step)
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, "a power of two"),
        ({"attention": (64,)}, "feature maps of 4, 8, 16, 32 px"),
        ({"channels": 2}, "1 .gray. or 3"),
        ({"spectral_norm": "all"}, "none, discriminator, both"),
        ({"loss": "mse"}, "bce, hinge|did you mean"),
        ({"label_smoothing": 0.7}, "between 0 and 0.49"),
        ({"diff_augment": ("blur",)}, "color, translation, cutout"),
        ({"d_steps": 0}, "must be 1 or more"),
    ],
)
def test_options_that_cannot_be_meant(options, message):
    """Each is refused in a line that says what can be given."""
    with pytest.raises(UsageError, match=message):
        GanConfig(**options)


def test_presets_hold_no_unknown_keys():
    """Every table resolves, and its facts are only facts."""
    for name, table in tables("gan").items():
        config = resolve(GanConfig, "gan", name, {})
        assert all(key in FACTS or getattr(config, key) is not None for key in table)
        assert math.log2(config.image_size).is_integer()
