"""DCGAN's two networks (Radford et al. 2016, arXiv:1511.06434): strided 4x4 convolutions without bias.

The same shape at every size: the generator's Dense gives 4x4, each transposed convolution doubles it and halves the
channels down to `g_conv_dim`; the discriminator mirrors it. With spectral normalisation and attention it is the
smaller of the shapes that Zhang et al. 2019 (SAGAN) are used in.

Residual networks for GANs (Gulrajani et al. 2017, arXiv:1704.00028, and Miyato et al. 2018, arXiv:1802.05957).

Generator blocks: normalise, activate, double, convolve 3x3, twice, beside a doubled 1x1 shortcut. Discriminator
blocks: the same without doubling, then the mean of 2x2 pixels. The score is a linear map of the sum over places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from train.gan.config import BASE
from train.models.blocks import Blocks, latent_inputs, leaky, norm, scored
from train.models.layers import MinibatchStddev, SumOverPlaces

if TYPE_CHECKING:
    from train.gan.config import NetworkOptions

STDDEV, GLOROT = 0.02, 0.0
WIDEST = 16
"""Widths of residual networks are doubled at each halving up to this many times the smallest."""
KERNEL = 4


def build_networks(options: NetworkOptions) -> tuple[keras.Model, keras.Model]:
    """The generator and the discriminator.

    The generator takes z (batch, z_size) float32 and, with classes, labels (batch,) int32; it gives images
    (batch, size, size, channels) float32 in [-1, 1]. The discriminator takes such images (and labels) and gives a
    linear score (batch, 1) and the features under it, flattened.
    """
    if options.residual:
        return _residual_generator(options), _residual_discriminator(options)
    return build_generator(options), build_discriminator(options)


def build_generator(options: NetworkOptions) -> keras.Model:
    """See `build_networks`."""
    blocks = Blocks(spectral=options.g_spectral, stddev=STDDEV, seed=(options.seed, 1))
    inputs, x = latent_inputs(blocks, options.z_size, options.classes)
    width = options.g_conv_dim << (options.levels - 1)
    x = blocks.dense(BASE * BASE * width)(x)
    x = layers.Reshape((BASE, BASE, width))(x)
    x = norm(options.g_norm)(x) if options.project_norm else x
    x = leaky(x)
    for _ in range(options.levels - 1):
        x = _attended(blocks, x, options)
        width //= 2
        x = leaky(norm(options.g_norm)(blocks.conv_transpose(width, KERNEL, 2)(x)))
    x = _attended(blocks, x, options)
    x = blocks.conv_transpose(options.channels, KERNEL, 2)(x)
    return keras.Model(inputs, layers.Activation("tanh", dtype="float32", name="image")(x), name="generator")


def build_discriminator(options: NetworkOptions) -> keras.Model:
    """See `build_networks`."""
    blocks = Blocks(spectral=options.d_spectral, stddev=STDDEV, seed=(options.seed, 2))
    inputs = keras.Input((options.image_size, options.image_size, options.channels), name="image")
    x = leaky(blocks.conv(options.d_conv_dim, KERNEL, 2)(inputs))
    for level in range(1, options.levels):
        x = _attended(blocks, x, options)
        x = leaky(norm(options.norm)(blocks.conv(options.d_conv_dim << level, KERNEL, 2)(x)))
    x = _attended(blocks, x, options)
    if options.minibatch_stddev:
        # The convolution lets the score depend on the statistic in more than a straight line, as Karras et al. do.
        x = leaky(blocks.conv(x.shape[-1], 3)(MinibatchStddev()(x)))
    score = blocks.dense(1)(layers.Flatten()(x))
    return scored(blocks, inputs, x, score, options.classes, "discriminator")


def _attended(blocks: Blocks, x: keras.KerasTensor, options: NetworkOptions) -> keras.KerasTensor:
    return blocks.attend(x) if x.shape[1] in options.attention else x


def _residual_generator(options: NetworkOptions) -> keras.Model:
    """From z (batch, z_size)[, labels] to images (batch, size, size, channels) float32 in [-1, 1]."""
    blocks = Blocks(spectral=options.g_spectral, stddev=GLOROT, seed=(options.seed, 1))
    inputs, x = latent_inputs(blocks, options.z_size, options.classes)
    widths = [options.g_conv_dim * min(1 << level, WIDEST) for level in range(options.levels)][::-1]
    x = blocks.dense(BASE * BASE * widths[0])(x)
    x = layers.Reshape((BASE, BASE, widths[0]))(x)
    x = norm(options.g_norm)(x) if options.project_norm else x
    for width in widths:
        x = blocks.attend(x) if x.shape[1] in options.attention else x
        x = _up(blocks, x, width, options.g_norm)
    x = layers.ReLU()(norm(options.g_norm)(x))
    x = blocks.conv(options.channels, 3, bias=True)(x)
    return keras.Model(inputs, layers.Activation("tanh", dtype="float32", name="image")(x), name="generator")


def _residual_discriminator(options: NetworkOptions) -> keras.Model:
    """Images (batch, size, size, channels)[, labels] -> linear score (batch, 1), features under it."""
    blocks = Blocks(spectral=options.d_spectral, stddev=GLOROT, seed=(options.seed, 2))
    inputs = keras.Input((options.image_size, options.image_size, options.channels), name="image")
    x = _down(blocks, inputs, options.d_conv_dim, "none", first=True)
    for level in range(1, options.levels):
        x = blocks.attend(x) if x.shape[1] in options.attention else x
        x = _down(blocks, x, options.d_conv_dim * min(1 << level, WIDEST), options.norm)
    x = blocks.attend(x) if x.shape[1] in options.attention else x
    if options.minibatch_stddev:
        x = blocks.conv(x.shape[-1], 3, bias=True)(MinibatchStddev()(x))
    x = layers.ReLU()(x)
    score = blocks.dense(1)(SumOverPlaces()(x))
    return scored(blocks, inputs, x, score, options.classes, "discriminator")


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
