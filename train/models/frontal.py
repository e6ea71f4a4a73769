"""frontal-1: the same task with what has been learned since, as small as does clearly better than v1 to v12.

Residual blocks (He et al. 2016, arXiv:1512.03385, normalised first as in arXiv:1603.05027) with GroupNorm (Wu and He
2018, arXiv:1803.08494), which needs no batch statistics and so behaves the same while training and after. They begin
as nothing beside a straight line (`waves`), and learn what it can't say.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
from keras import layers

from train.models.autoencoder import model_name
from train.models.parts import Parts, join, to_pixels
from train.models.waves import DRAWN, MEASURED, POOL, DrawingWaves, MeasuringWaves

if TYPE_CHECKING:
    from train.config import AutoencoderConfig

GROUPS = 8
RATE = 0.2
"""Dropout on the flattened features and on the fingerprint, unless `dropout_rate` says otherwise."""


def build(config: AutoencoderConfig, *, plain: bool = False) -> keras.Model:
    """The model of a residual preset; see `autoencoder.build_model`."""
    feature = (config.input_size, config.input_size, config.channels)
    parts = Parts(config.seed, plain=plain)
    encoder, shape = _encoder(config, parts, feature)
    return join(model_name(config), feature, encoder, _decoder(config, parts, shape))


def _encoder(config: AutoencoderConfig, parts: Parts, feature: tuple[int, ...]) -> tuple[keras.Model, tuple[int, ...]]:
    inputs = x = keras.Input(feature, name="feature")
    x = parts.conv(config.encoder[0], strides=2)(x)
    for level, filters in enumerate(config.encoder):
        x = _block(parts, x, filters)
        if level:
            x = layers.AveragePooling2D(2)(x)
    x = _active(x)
    shape = tuple(x.shape[1:])
    x = _dropped(config, parts, layers.Flatten()(x))
    found = parts.dense(config.latent, kernel_initializer="zeros", use_bias=False)(x)
    latent = layers.Add(name="latent")([_measured(config, parts, inputs), found])
    return keras.Model(inputs, latent, name="encoder"), shape


def _measured(config: AutoencoderConfig, parts: Parts, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The encoder's straight line."""
    scale = 1 / 255 if config.input_scale == "bytes" else 1.0
    waves = MeasuringWaves(config.input_size // POOL, config.channels, scale, (config.seed, 0))
    first = {} if parts.plain else {"kernel_initializer": waves}
    return parts.dense(config.latent, name=MEASURED, **first)(layers.Flatten()(layers.AveragePooling2D(POOL)(inputs)))


def _decoder(config: AutoencoderConfig, parts: Parts, shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input((config.latent,), name="fingerprint")
    fingerprint = _dropped(config, parts, inputs)
    x = layers.Reshape(shape)(parts.dense(math.prod(shape))(fingerprint))
    for filters in config.decoder_filters[:-1]:
        x = _block(parts, layers.UpSampling2D()(x), filters)
    x = _active(_block(parts, x, config.decoder_filters[-1]))
    # The last doubling is the output's own: at full size every channel costs four times as much.
    x = parts.conv_up(config.channels, kernel_initializer="zeros", use_bias=False)(x)
    x = layers.Add()([_drawn(config, parts, fingerprint), x])
    return keras.Model(inputs, to_pixels(x, legacy=config.legacy_output), name="decoder")


def _drawn(config: AutoencoderConfig, parts: Parts, fingerprint: keras.KerasTensor) -> keras.KerasTensor:
    """The decoder's straight line."""
    shape = (config.output_size, config.output_size, config.channels)
    waves = DrawingWaves(config.input_size // POOL, config.output_size, config.channels)
    first = {} if parts.plain else {"kernel_initializer": waves}
    return layers.Reshape(shape)(parts.dense(math.prod(shape), name=DRAWN, **first)(fingerprint))


def _dropped(config: AutoencoderConfig, parts: Parts, x: keras.KerasTensor) -> keras.KerasTensor:
    if config.dropout == "none":
        return x
    return parts.dropout(RATE if config.dropout_rate < 0 else config.dropout_rate)(x)


def _block(parts: Parts, x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Two convolutions beside a shortcut, which is a 1x1 convolution where the channels change."""
    y = parts.conv(filters)(_active(x))
    y = parts.conv(filters)(_active(y))
    shortcut = x if x.shape[-1] == filters else parts.conv(filters, 1)(x)
    return layers.Add()([y, shortcut])


def _active(x: keras.KerasTensor) -> keras.KerasTensor:
    """GroupNorm, then SiLU (x times its sigmoid)."""
    groups = math.gcd(GROUPS, x.shape[-1])
    return layers.Activation("silu")(layers.GroupNormalization(groups)(x))
