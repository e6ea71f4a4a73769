"""Keras layers whose first weights numpy draws from the run's seed: the same on every backend."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from train.config import AutoencoderConfig

PACKAGE = "facepipe"


@keras.saving.register_keras_serializable(PACKAGE)
class SeededGlorot(keras.initializers.Initializer):
    """Uniform within sqrt(6 / (fan in + fan out)) of 0 (Glorot and Bengio 2010), drawn by numpy from `seed`."""

    def __init__(self, seed: tuple[int, ...]) -> None:
        self.seed = tuple(seed)

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A tensor of `shape`."""
        field = math.prod(shape[:-2])
        limit = math.sqrt(6 / (field * sum(shape[-2:])))
        drawn = np.random.default_rng(self.seed).uniform(-limit, limit, shape).astype(np.float32)
        return ops.convert_to_tensor(drawn, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": list(self.seed)}


class Parts:
    """Makes layers; each with weights gets the next number of the seed, each Dropout a generator of its own."""

    def __init__(self, seed: int) -> None:
        self.seed, self.count = seed, 0

    def _next(self) -> tuple[int, int]:
        self.count += 1
        return self.seed, self.count

    def _first(self) -> SeededGlorot:
        return SeededGlorot(self._next())

    def conv(self, filters: int, kernel: int = 3, **options: Any) -> layers.Layer:
        """A convolution, stride 1 unless told, same padding."""
        return layers.Conv2D(filters, kernel, padding="same", kernel_initializer=self._first(), **options)

    def conv_up(self, filters: int, strides: int = 2, **options: Any) -> layers.Layer:
        """A transposed 3x3 convolution, same padding: each side becomes `strides` times as long."""
        options = {"strides": strides, "padding": "same", "kernel_initializer": self._first()} | options
        return layers.Conv2DTranspose(filters, 3, **options)

    def dense(self, units: int, **options: Any) -> layers.Layer:
        """A dense layer on the last axis."""
        return layers.Dense(units, **({"kernel_initializer": self._first()} | options))

    def dropout(self, rate: float) -> layers.Layer:
        """Dropout; at rate 0 it does nothing."""
        seed, count = self._next()
        return layers.Dropout(rate, seed=(seed * 1009 + count) % 2**31)


def model_name(config: AutoencoderConfig) -> str:
    """The preset's name as Keras allows it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", config.preset or "autoencoder")


def to_pixels(inputs: Any, *, legacy: bool) -> Any:
    """A sigmoid in float32, whatever the precision before it; `legacy` puts the original's ReLU in front."""
    if legacy:
        inputs = layers.ReLU(dtype="float32", name="legacy_relu")(inputs)
    return layers.Activation("sigmoid", dtype="float32", name="pixels")(inputs)


def join(name: str, feature: tuple[int, ...], encoder: keras.Model, decoder: keras.Model) -> keras.Model:
    """decoder(encoder(feature)); both halves are found again by `half`."""
    inputs = keras.Input(feature, name="feature")
    return keras.Model(inputs, decoder(encoder(inputs)), name=name)


def half(model: keras.Model, name: str) -> keras.Model:
    """The model's `encoder` or `decoder`."""
    return model.get_layer(name)
