"""The autoencoders v1 to v12, one rule for all: a side face is squeezed to a latent vector and drawn from the front.

Encoder: [Conv 3x3, ReLU; MaxPool; Dropout] a block, Flatten, Dense(latent). Decoder: Dense, Reshape, [transposed
Conv 3x3 stride 2, ReLU; BatchNorm; Dropout] a block, a transposed Conv 3x3 to the channels, sigmoid.

The archived autoencoders 1 to 7: earlier experiments, in two shapes.

archived-map (1, 2): convolutions down to 6x6, four Dense layers applied at each of its pixels (their second gives the
latent map, 6x6x128), convolutions back up. archived-strided (3 to 7): strided convolutions, a latent vector, transposed
convolutions, all with LeakyReLU 0.2 and BatchNorm.

Of archived-1 and 2 the activations were not recorded: ReLU here, the sigmoid at the end, as in all the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
from keras import layers

from train.models import frontal, warp
from train.models.parts import Parts, join, model_name, to_pixels

if TYPE_CHECKING:
    from train.config import AutoencoderConfig

WIDE = 512
"""Units of the first and the last Dense of the map."""
SLOPE = 0.2
BLOCK_RATE, FLAT_RATE, ALTERNATE_RATE = 0.1, 0.2, 0.2


def build_model(config: AutoencoderConfig) -> keras.Model:
    """The network of a configuration, of any family, with the seed's weights.

    Takes (n, input_size, input_size, channels) float32, 0..1 (or 0..255 where `input_scale` is bytes); gives
    (n, output_size, output_size, channels) float32, 0..1. Its layers `encoder` and `decoder` are models too.
    """
    if config.family == "residual":
        return frontal.build(config)
    if config.family == "warp":
        return warp.build(config)
    feature = (config.input_size, config.input_size, config.channels)
    parts = Parts(config.seed)
    if config.family == "archived-map":
        return join(model_name(config), feature, _map_encoder(config, parts, feature), _map_decoder(config, parts))
    original = config.family == "original"
    encoder, shape = (_encoder if original else _strided_encoder)(config, parts, feature)
    decoder = (_decoder if original else _strided_decoder)(config, parts, shape)
    return join(model_name(config), feature, encoder, decoder)


def block_rate(config: AutoencoderConfig, block: int, *, decoder: bool = False) -> float:
    """The dropout after a block, counted from 0: all of them, or the encoder's odd and the decoder's even ones."""
    if config.dropout == "none":
        return 0.0
    if config.dropout == "every":
        return BLOCK_RATE if config.dropout_rate < 0 else config.dropout_rate
    chosen = block % 2 == (0 if decoder else 1)
    rate = ALTERNATE_RATE if config.dropout_rate < 0 else config.dropout_rate
    return rate if chosen else 0.0


def _flat_rate(config: AutoencoderConfig) -> float:
    if config.dropout != "every":
        return 0.0
    return FLAT_RATE if config.dropout_rate < 0 else config.dropout_rate


def _encoder(config: AutoencoderConfig, parts: Parts, feature: tuple[int, ...]) -> tuple[keras.Model, tuple[int, ...]]:
    """The encoder, and the shape (h, w, c) that it flattens."""
    inputs = x = keras.Input(feature, name="feature")
    for block, filters in enumerate(config.encoder):
        x = layers.MaxPooling2D()(parts.conv(filters, activation="relu")(x))
        if rate := block_rate(config, block):
            x = parts.dropout(rate)(x)
    shape = tuple(x.shape[1:])
    x = layers.Flatten()(x)
    if rate := _flat_rate(config):
        x = parts.dropout(rate)(x)
    return keras.Model(inputs, parts.dense(config.latent, name="latent")(x), name="encoder"), shape


def _decoder(config: AutoencoderConfig, parts: Parts, shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input((config.latent,), name="fingerprint")
    x = layers.Reshape(shape)(parts.dense(math.prod(shape))(inputs))
    for block, filters in enumerate(config.decoder_filters):
        x = layers.BatchNormalization()(parts.conv_up(filters, activation="relu")(x))
        if rate := block_rate(config, block, decoder=True):
            x = parts.dropout(rate)(x)
    x = parts.conv_up(config.channels, strides=1)(x)
    return keras.Model(inputs, to_pixels(x, legacy=config.legacy_output), name="decoder")


def _map_encoder(config: AutoencoderConfig, parts: Parts, feature: tuple[int, ...]) -> keras.Model:
    inputs = x = keras.Input(feature, name="feature")
    for filters in config.encoder:
        x = layers.MaxPooling2D()(parts.conv(filters, activation="relu")(x))
    x = parts.dropout(0.4)(parts.dense(WIDE, activation="relu")(x))
    x = parts.dense(config.latent, activation="relu", name="latent")(x)
    return keras.Model(inputs, x, name="encoder")


def _map_decoder(config: AutoencoderConfig, parts: Parts) -> keras.Model:
    side = config.input_size >> len(config.encoder)
    inputs = x = keras.Input((side, side, config.latent), name="fingerprint")
    x = parts.dropout(0.2)(x)
    x = parts.dropout(0.4)(parts.dense(config.latent, activation="relu")(x))
    x = parts.dense(WIDE, activation="relu")(x)
    for filters in config.decoder_filters:
        x = layers.UpSampling2D()(parts.conv(filters, activation="relu")(x))
    x = parts.conv(config.channels)(x)
    return keras.Model(inputs, to_pixels(x, legacy=config.legacy_output), name="decoder")


def _strided_encoder(
    config: AutoencoderConfig, parts: Parts, feature: tuple[int, ...]
) -> tuple[keras.Model, tuple[int, ...]]:
    inputs = x = keras.Input(feature, name="feature")
    for block, filters in enumerate(config.encoder):
        x = _normalised(parts.conv(filters, strides=2)(x))
        if rate := block_rate(config, block):
            x = parts.dropout(rate)(x)
    shape = tuple(x.shape[1:])
    x = parts.dense(config.latent, name="latent")(layers.Flatten()(x))
    return keras.Model(inputs, x, name="encoder"), shape


def _strided_decoder(config: AutoencoderConfig, parts: Parts, shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input((config.latent,), name="fingerprint")
    x = layers.Reshape(shape)(parts.dense(math.prod(shape))(inputs))
    for block, filters in enumerate(config.decoder_filters):
        x = _normalised(parts.conv_up(filters)(x))
        if rate := block_rate(config, block, decoder=True):
            x = parts.dropout(rate)(x)
    x = parts.conv_up(config.channels, strides=1)(x)
    return keras.Model(inputs, to_pixels(x, legacy=config.legacy_output), name="decoder")


def _normalised(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.BatchNormalization()(layers.LeakyReLU(negative_slope=SLOPE)(x))
