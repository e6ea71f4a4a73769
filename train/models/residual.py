"""Residual networks for GANs (Gulrajani et al. 2017, arXiv:1704.00028, and Miyato et al. 2018, arXiv:1802.05957).

Generator blocks: normalise, activate, double, convolve 3x3, twice, beside a doubled 1x1 shortcut. Discriminator
blocks: the same without doubling, then the mean of 2x2 pixels. The score is a linear map of the sum over places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from train.models.blocks import Blocks, latent_inputs, norm, scored
from train.models.layers import MinibatchStddev, SumOverPlaces
from train.models.options import BASE

if TYPE_CHECKING:
    from train.models.options import NetworkOptions

GLOROT = 0.0
WIDEST = 16
"""Widths are doubled at each halving up to this many times the smallest."""


def build_generator(options: NetworkOptions) -> keras.Model:
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


def build_discriminator(options: NetworkOptions) -> keras.Model:
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
