"""Keras layers whose first weights numpy draws from the run's seed: the same on every backend."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

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


@keras.saving.register_keras_serializable(PACKAGE)
class SameDropout(layers.Layer):
    """Dropout whose mask is the same on every backend: a hash of each number's place, the seed and the count of calls.

    Keras's own draws other masks on TensorFlow than on JAX, and a model's first loss then differs in the third digit.
    The hash is the 32-bit mixer `lowbias32` (Wellons 2018), with a key on each side of its first multiplication.
    """

    def __init__(self, rate: float, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Some of the inputs are 0 and the others larger by 1 / (1 - rate); as they are when not training."""
        if not training or not self.rate:
            return inputs
        keep = ops.greater_equal(self._numbers(inputs), np.uint32(round(self.rate * 2**32)))
        return inputs * ops.cast(keep, inputs.dtype) * ops.cast(1 / (1 - self.rate), inputs.dtype)

    def _numbers(self, inputs: Any) -> Any:
        """uint32, uniform, one for each number of the inputs."""
        key = ops.cast(self.seed_generator.next(), "uint32")
        shape = ops.shape(inputs)
        places = ops.cast(ops.arange(math.prod(shape[1:])), "uint32")[None]
        # Every example has a key of its own, so that small batches and large ones draw from the same numbers.
        rows = _mixed(ops.cast(ops.arange(shape[0]), "uint32") + key[1] * np.uint32(0x9E3779B9), key[0])[:, None]
        return ops.reshape(_mixed(places + rows, rows), shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def _mixed(x: Any, key: Any) -> Any:
    """A bijection of uint32 that looks random, another one for each key."""
    x = ops.bitwise_xor(x, ops.right_shift(x, np.uint32(16))) * np.uint32(0x7FEB352D) + key
    x = ops.bitwise_xor(x, ops.right_shift(x, np.uint32(15))) * np.uint32(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, np.uint32(16)))


class Parts:
    """Makes layers; each with weights gets the next number of the seed, each Dropout a generator of its own.

    With `plain`, only what Keras itself has: such a model is read where this package is not.
    """

    def __init__(self, seed: int, *, plain: bool = False) -> None:
        self.seed, self.plain, self.count = seed, plain, 0

    def _next(self) -> tuple[int, int]:
        self.count += 1
        return self.seed, self.count

    def _first(self) -> str | SeededGlorot:
        return "glorot_uniform" if self.plain else SeededGlorot(self._next())

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
        if self.plain:
            return layers.Dropout(rate)
        seed, count = self._next()
        return SameDropout(rate, (seed * 1009 + count) % 2**31)


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
