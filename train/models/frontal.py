"""frontal-1: the same task with what has been learned since, as small as does clearly better than v1 to v12.

Residual blocks (He et al. 2016, arXiv:1512.03385, normalised first as in arXiv:1603.05027) with GroupNorm (Wu and He
2018, arXiv:1803.08494), which needs no batch statistics and so behaves the same while training and after. They begin
as nothing beside a straight line, and learn what it can't say.

The straight line from feature to output: the first cosine waves of the picture.

A wave is a column of the two-dimensional discrete cosine transform (Ahmed, Natarajan and Rao 1974), lowest frequencies
first. The encoder's line measures as many waves as the fingerprint has numbers; the decoder's draws them again, weaker.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from train.models.parts import PACKAGE, Parts, SeededGlorot, half, join, model_name, to_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.feeds import Feed

POOL = 4
"""The line sees the feature at a quarter of its sides: no finer wave is worth a number of the fingerprint."""
GAIN = 0.2
"""How strongly a person's face differs from the mean in the first output: between two photographs of the same person
little more than that is alike."""
SLOPE = 0.25
"""Of the sigmoid at its middle."""
MEASURED, DRAWN = "waves", "drawn_waves"
"""The layers' names."""
MOST_BATCHES = 200
GROUPS = 8
RATE = 0.2
"""Dropout on the flattened features and on the fingerprint, unless `dropout_rate` says otherwise."""


def build(config: AutoencoderConfig) -> keras.Model:
    """The model of a residual preset; see `autoencoder.build_model`."""
    feature = (config.input_size, config.input_size, config.channels)
    parts = Parts(config.seed)
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
    return parts.dense(config.latent, name=MEASURED, kernel_initializer=waves)(
        layers.Flatten()(layers.AveragePooling2D(POOL)(inputs))
    )


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
    drawn = parts.dense(math.prod(shape), name=DRAWN, kernel_initializer=waves)
    return layers.Reshape(shape)(drawn(fingerprint))


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


def wave_table(count: int, side: int, size: int, channels: int) -> NDArray[np.float32]:
    """(count, size * size * channels): waves of unit length on `side` x `side`, taken at the pixels of `size` x `size`.

    Ordered by frequency, each in every channel by itself; zeros where there are no more than side * side * channels.
    """
    along = (np.arange(size) + 0.5) * np.pi / size
    rows = np.cos(np.arange(side)[:, None] * along) * np.sqrt(np.where(np.arange(side) > 0, 2, 1) / side)[:, None]
    order = sorted(itertools.product(range(side), repeat=2), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    table = np.zeros((count, size, size, channels), np.float32)
    for place, ((u, v), channel) in enumerate(itertools.islice(itertools.product(order, range(channels)), count)):
        table[place, :, :, channel] = np.outer(rows[u], rows[v])
    return table.reshape(count, -1)


@keras.saving.register_keras_serializable(PACKAGE)
class MeasuringWaves(keras.initializers.Initializer):
    """Kernel (side * side * channels, latent) that measures the waves; Glorot's numbers where there are no more."""

    def __init__(self, side: int, channels: int, scale: float, seed: tuple[int, ...]) -> None:
        self.side, self.channels, self.scale, self.seed = side, channels, scale, tuple(seed)

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A tensor of `shape`."""
        kernel = wave_table(shape[1], self.side, self.side, self.channels).T
        rest = ops.convert_to_numpy(SeededGlorot(self.seed)(shape))
        return ops.convert_to_tensor(np.where(kernel.any(axis=0), kernel, rest) * self.scale, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"side": self.side, "channels": self.channels, "scale": self.scale, "seed": list(self.seed)}


@keras.saving.register_keras_serializable(PACKAGE)
class DrawingWaves(keras.initializers.Initializer):
    """Kernel (latent, size * size * channels) that draws waves measured at `side`, `gain` times as high."""

    def __init__(self, side: int, size: int, channels: int, gain: float = GAIN) -> None:
        self.side, self.size, self.channels, self.gain = side, size, channels, gain

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A tensor of `shape`."""
        table = wave_table(shape[0], self.side, self.size, self.channels)
        return ops.convert_to_tensor(table * np.float32(self.gain / SLOPE), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"side": self.side, "size": self.size, "channels": self.channels, "gain": self.gain}


def start_at_means(model: keras.Model, feed: Feed) -> None:
    """Sets two biases from the training pairs: the mean feature's fingerprint is 0, and 0 is drawn as the mean target.

    Args:
        model: With the layers that `MEASURED` and `DRAWN` name.
        feed: Training batches; a pass over them is read, or as much of it as `MOST_BATCHES`.
    """
    means, count = [0.0, 0.0], min(feed.steps, MOST_BATCHES)
    for batch in itertools.islice(iter(feed), count):
        means = [mean + np.asarray(x, np.float64).mean(axis=0) / count for mean, x in zip(means, batch, strict=False)]
    feature, target = (np.asarray(mean, np.float32) for mean in means)
    measured, drawn = half(model, "encoder").get_layer(MEASURED), half(model, "decoder").get_layer(DRAWN)
    measured.bias.assign(-_pooled(feature) @ ops.convert_to_numpy(measured.kernel))
    likely = np.clip(target, 0.01, 0.99)
    drawn.bias.assign(np.log(likely / (1 - likely)).ravel())


def _pooled(image: NDArray[np.float32]) -> NDArray[np.float32]:
    side, _, channels = image.shape
    return image.reshape(side // POOL, POOL, side // POOL, POOL, channels).mean(axis=(1, 3)).ravel()
