"""DCGAN's two networks (Radford et al. 2016, arXiv:1511.06434): strided 4x4 convolutions without bias.

The same shape at every size: the generator's Dense gives 4x4, each transposed convolution doubles it and halves the
channels down to `g_conv_dim`; the discriminator mirrors it. With spectral normalisation and attention it is the
smaller of the shapes that Zhang et al. 2019 (SAGAN) are used in.

Residual networks for GANs (Gulrajani et al. 2017, arXiv:1704.00028, and Miyato et al. 2018, arXiv:1802.05957).

Generator blocks: normalise, activate, double, convolve 3x3, twice, beside a doubled 1x1 shortcut. Discriminator
blocks: the same without doubling, then the mean of 2x2 pixels. The score is a linear map of the sum over places.
`sngan` has one width more at the bottom, as Lee and Town 2020 (arXiv:2005.02494) have it: the generator begins with it,
the discriminator has a block more, down to 2x2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from train.gan.config import BASE
from train.models import r3gan
from train.models.blocks import Blocks, latent_inputs, leaky, norm, scored
from train.models.layers import MinibatchStddev, SumOverPlaces

if TYPE_CHECKING:
    from train.gan.config import GanConfig

STDDEV, GLOROT = 0.02, 0.0
WIDEST = 16
"""Widths of residual networks are doubled at each halving up to this many times the smallest."""
KERNEL = 4


def build_networks(config: GanConfig) -> tuple[keras.Model, keras.Model]:
    """The generator and the discriminator.

    The generator takes z (batch, z_size) float32 and, with classes, labels (batch,) int32; it gives images
    (batch, size, size, channels) float32 in [-1, 1]. The discriminator takes such images (and labels) and gives a
    linear score (batch, 1) and the features under it, flattened.
    """
    if config.architecture == "r3gan":
        return r3gan.build_generator(config), r3gan.build_discriminator(config)
    if config.residual or config.architecture == "sngan":
        return _residual_generator(config), _residual_discriminator(config)
    return build_generator(config), build_discriminator(config)


def build_generator(config: GanConfig) -> keras.Model:
    """See `build_networks`."""
    blocks = Blocks(spectral=config.spectral_norm == "both", stddev=STDDEV, seed=(config.seed, 1))
    inputs, x = latent_inputs(blocks, config.z_size, config.classes)
    width = config.g_conv_dim << (config.levels - 1)
    x = blocks.dense(BASE * BASE * width)(x)
    x = layers.Reshape((BASE, BASE, width))(x)
    x = norm(config.g_norm)(x) if config.project_norm else x
    x = leaky(x)
    for _ in range(config.levels - 1):
        x = _attended(blocks, x, config)
        width //= 2
        x = leaky(norm(config.g_norm)(blocks.conv_transpose(width, KERNEL, 2)(x)))
    x = _attended(blocks, x, config)
    x = blocks.conv_transpose(config.channels, KERNEL, 2)(x)
    return keras.Model(inputs, layers.Activation("tanh", dtype="float32", name="image")(x), name="generator")


def build_discriminator(config: GanConfig) -> keras.Model:
    """See `build_networks`."""
    blocks = Blocks(spectral=config.spectral_norm != "none", stddev=STDDEV, seed=(config.seed, 2))
    inputs = keras.Input((config.image_size, config.image_size, config.channels), name="image")
    x = leaky(blocks.conv(config.d_conv_dim, KERNEL, 2)(inputs))
    for level in range(1, config.levels):
        x = _attended(blocks, x, config)
        x = leaky(norm(config.d_norm)(blocks.conv(config.d_conv_dim << level, KERNEL, 2)(x)))
    x = _attended(blocks, x, config)
    if config.minibatch_stddev:
        # The convolution lets the score depend on the statistic in more than a straight line, as Karras et al. do.
        x = leaky(blocks.conv(x.shape[-1], 3)(MinibatchStddev()(x)))
    score = blocks.dense(1)(layers.Flatten()(x))
    return scored(blocks, inputs, x, score, config.classes, "discriminator")


def _attended(blocks: Blocks, x: keras.KerasTensor, config: GanConfig) -> keras.KerasTensor:
    return blocks.attend(x) if x.shape[1] in config.attention else x


def _width(narrowest: int, level: int) -> int:
    return narrowest * min(1 << level, WIDEST)


def _residual_generator(config: GanConfig) -> keras.Model:
    """From z (batch, z_size)[, labels] to images (batch, size, size, channels) float32 in [-1, 1]."""
    blocks = Blocks(spectral=config.spectral_norm == "both", stddev=GLOROT, seed=(config.seed, 1))
    inputs, x = latent_inputs(blocks, config.z_size, config.classes)
    widths = [_width(config.g_conv_dim, level) for level in range(config.levels)][::-1]
    first = _width(config.g_conv_dim, config.levels) if config.architecture == "sngan" else widths[0]
    x = blocks.dense(BASE * BASE * first)(x)
    x = layers.Reshape((BASE, BASE, first))(x)
    x = norm(config.g_norm)(x) if config.project_norm else x
    for width in widths:
        x = _up(blocks, _attended(blocks, x, config), width, config.g_norm)
    x = layers.ReLU()(norm(config.g_norm)(x))
    x = blocks.conv(config.channels, 3, bias=True)(x)
    return keras.Model(inputs, layers.Activation("tanh", dtype="float32", name="image")(x), name="generator")


def _residual_discriminator(config: GanConfig) -> keras.Model:
    """Images (batch, size, size, channels)[, labels] -> linear score (batch, 1), features under it."""
    blocks = Blocks(spectral=config.spectral_norm != "none", stddev=GLOROT, seed=(config.seed, 2))
    inputs = keras.Input((config.image_size, config.image_size, config.channels), name="image")
    x = _down(blocks, inputs, config.d_conv_dim, "none", first=True)
    for level in range(1, config.levels + (config.architecture == "sngan")):
        x = _down(blocks, _attended(blocks, x, config), _width(config.d_conv_dim, level), config.d_norm)
    x = _attended(blocks, x, config)
    if config.minibatch_stddev:
        x = blocks.conv(x.shape[-1], 3, bias=True)(MinibatchStddev()(x))
    x = layers.ReLU()(x)
    score = blocks.dense(1)(SumOverPlaces()(x))
    return scored(blocks, inputs, x, score, config.classes, "discriminator")


def _up(blocks: Blocks, x: keras.KerasTensor, width: int, kind: str) -> keras.KerasTensor:
    """(b, h, w, c) -> (b, 2h, 2w, width)."""
    y = layers.ReLU()(norm(kind)(x))
    y = blocks.conv(width, 3)(layers.UpSampling2D(2)(y))
    y = blocks.conv(width, 3, bias=True)(layers.ReLU()(norm(kind)(y)))
    # The 1x1 convolution before the doubling gives the same as after it, at a quarter of the work.
    shortcut = layers.UpSampling2D(2)(blocks.conv(width, 1)(x))
    return layers.Add()([y, shortcut])


def _down(blocks: Blocks, x: keras.KerasTensor, width: int, kind: str, *, first: bool = False) -> keras.KerasTensor:
    """(b, h, w, c) -> (b, h / 2, w / 2, width); the first block leaves its input, pixels, as it is."""
    y = x if first else layers.ReLU()(norm(kind)(x))
    y = blocks.conv(width, 3, bias=True)(y)
    y = blocks.conv(width, 3, bias=True)(layers.ReLU()(norm(kind)(y)))
    shortcut = blocks.conv(width, 1)(layers.AveragePooling2D(2)(x))
    return layers.Add()([layers.AveragePooling2D(2)(y), shortcut])
