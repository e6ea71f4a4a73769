"""DCGAN's two networks (Radford et al. 2016, arXiv:1511.06434): strided 4x4 convolutions without bias.

The same shape at every size: the generator's Dense gives 4x4, each transposed convolution doubles it and halves the
channels down to `g_conv_dim`; the discriminator mirrors it. With spectral normalisation and attention it is the
smaller of the shapes that Zhang et al. 2019 (SAGAN) are used in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import layers

from train.models import residual
from train.models.blocks import Blocks, latent_inputs, leaky, norm, scored
from train.models.layers import MinibatchStddev
from train.models.options import BASE

if TYPE_CHECKING:
    from train.models.options import NetworkOptions

STDDEV = 0.02
KERNEL = 4


def build_networks(options: NetworkOptions) -> tuple[keras.Model, keras.Model]:
    """The generator and the discriminator.

    The generator takes z (batch, z_size) float32 and, with classes, labels (batch,) int32; it gives images
    (batch, size, size, channels) float32 in [-1, 1]. The discriminator takes such images (and labels) and gives a
    linear score (batch, 1) and the features under it, flattened.
    """
    if options.residual:
        return residual.build_generator(options), residual.build_discriminator(options)
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
