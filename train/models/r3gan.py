"""R3GAN's networks (Huang et al. 2024, arXiv:2501.05441), small: residual blocks without any normalisation.

A block is 1x1, 3x3, 1x1 convolution on half the width, each but the last with a bias and LeakyReLU. Its last kernel
begins at 0 and the others shrink with the depth (Fixup, Zhang et al. 2019, arXiv:1901.09321), which takes the place of
normalisation. Of the paper's shape, grouped convolutions of twice the width are left out: they are slow on CPUs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from train.gan.config import BASE
from train.models.blocks import Blocks, latent_inputs, leaky, scored
from train.models.layers import MinibatchStddev

if TYPE_CHECKING:
    from train.gan.config import GanConfig

BLOCKS = 2
"""Of a resolution."""
WIDEST = 8
"""Times the narrowest."""
GLOROT = 0.0


def build_generator(config: GanConfig) -> keras.Model:
    """From z (batch, z_size)[, labels] to images (batch, size, size, channels) float32 in [-1, 1]."""
    blocks = Blocks(spectral=False, stddev=GLOROT, seed=(config.seed, 1))
    widths = _widths(config.g_conv_dim, config.levels)[::-1]
    inputs, x = latent_inputs(blocks, config.z_size, config.classes)
    x = layers.Reshape((BASE, BASE, widths[0]))(blocks.dense(BASE * BASE * widths[0])(x))
    x = _stage(blocks, x, config)
    for width in widths[1:]:
        x = layers.UpSampling2D(2, interpolation="bilinear")(blocks.conv(width, 1)(x))
        x = _stage(blocks, x, config)
    x = blocks.conv(config.channels, 1, bias=True)(x)
    return keras.Model(inputs, layers.Activation("tanh", dtype="float32", name="image")(x), name="generator")


def build_discriminator(config: GanConfig) -> keras.Model:
    """Images (batch, size, size, channels)[, labels] -> linear score (batch, 1), features under it."""
    blocks = Blocks(spectral=False, stddev=GLOROT, seed=(config.seed, 2))
    widths = _widths(config.d_conv_dim, config.levels)
    inputs = keras.Input((config.image_size, config.image_size, config.channels), name="image")
    x = _stage(blocks, blocks.conv(widths[0], 1, bias=True)(inputs), config)
    for width in widths[1:]:
        x = _stage(blocks, blocks.conv(width, 1)(layers.AveragePooling2D(2)(x)), config)
    if config.minibatch_stddev:
        x = leaky(blocks.conv(x.shape[-1], 3, bias=True)(MinibatchStddev()(x)))
    return scored(blocks, inputs, x, blocks.dense(1)(layers.Flatten()(x)), config.classes, "discriminator")


def _widths(narrowest: int, levels: int) -> list[int]:
    """Of every resolution, the largest first."""
    return [narrowest * min(1 << level, WIDEST) for level in range(levels + 1)]


def _stage(blocks: Blocks, x: Any, config: GanConfig) -> Any:
    if x.shape[1] in config.attention:
        x = blocks.attend(x)
    for _ in range(BLOCKS):
        x = _block(blocks, x, BLOCKS * (config.levels + 1))
    return x


def _block(blocks: Blocks, x: Any, depth: int) -> Any:
    """(b, h, w, c) -> (b, h, w, c)."""
    width = x.shape[-1]
    half = max(1, width // 2)
    y = leaky(blocks.conv(half, 1, bias=True, initializer=_fixup(blocks, width, depth))(x))
    y = leaky(blocks.conv(half, 3, bias=True, initializer=_fixup(blocks, 9 * half, depth))(y))
    return layers.Add()([x, blocks.conv(width, 1, initializer="zeros")(y)])


def _fixup(blocks: Blocks, inputs: int, depth: int) -> Any:
    """He's deviation before LeakyReLU 0.2, times depth^(-1 / 4), as there are three convolutions in each branch."""
    return blocks.initializer(math.sqrt(2 / (1 + 0.2**2) / inputs) * depth**-0.25)
