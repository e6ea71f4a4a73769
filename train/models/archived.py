"""The archived autoencoders 1 to 7: earlier experiments, in two shapes.

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

from train.models.autoencoder import block_rate, model_name
from train.models.parts import Parts, join, to_pixels

if TYPE_CHECKING:
    from train.config import AutoencoderConfig

WIDE = 512
"""Units of the first and the last Dense of the map."""
SLOPE = 0.2


def build(config: AutoencoderConfig, *, plain: bool = False) -> keras.Model:
    """The model of an archived preset; see `autoencoder.build_model`."""
    feature = (config.input_size, config.input_size, config.channels)
    parts = Parts(config.seed, plain=plain)
    if config.family == "archived-map":
        return join(model_name(config), feature, _map_encoder(config, parts, feature), _map_decoder(config, parts))
    encoder, shape = _strided_encoder(config, parts, feature)
    return join(model_name(config), feature, encoder, _strided_decoder(config, parts, shape))


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
