"""Layers of our own for both backends: spectral normalisation, self-attention, minibatch standard deviation.

All images are (batch, height, width, channels).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "facepipe"


@keras.saving.register_keras_serializable(PACKAGE)
class SeededNormal(keras.initializers.Initializer):
    """N(0, stddev), drawn by numpy from `seed`: the same weights on every backend, in any order of building.

    Args:
        stddev: The standard deviation; 0: Glorot's, sqrt(2 / (fan in + fan out)) (Glorot and Bengio 2010).
        seed: Any whole numbers.
    """

    def __init__(self, stddev: float, seed: tuple[int, ...]) -> None:
        self.stddev, self.seed = stddev, tuple(seed)

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A tensor of `shape`."""
        field = math.prod(shape[:-2]) if len(shape) > 1 else 1
        stddev = self.stddev or math.sqrt(2 / (field * sum(shape[-2:])))
        drawn = np.random.default_rng(self.seed).standard_normal(shape, dtype=np.float32) * np.float32(stddev)
        return ops.convert_to_tensor(drawn, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"stddev": self.stddev, "seed": list(self.seed)}


class Spectral(keras.layers.Layer):
    """Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957), mixed into a layer that has a `kernel`.

    The kernel W is used as W / sigma(W), a reparameterisation: W itself is what the optimizer sees and the gradient
    flows through sigma = u' W v, with u and v held constant, as in the paper. (Keras's own wrapper does this on JAX
    but overwrites W and skips sigma's gradient on TensorFlow, so that one model trains in two ways.)
    `iterate` makes one power iteration; the trainer calls it once before each of the network's steps.

    W is taken as the matrix of (height x width x inputs) rows and (outputs) columns.
    """

    out_axis = -1

    def build(self, input_shape: Any) -> None:
        """Makes the kernel, then its two singular vectors, settled by 30 power iterations."""
        super().build(input_shape)
        kernel = ops.convert_to_numpy(ops.cast(self.kernel, "float32"))
        matrix = np.moveaxis(kernel, self.out_axis, -1).reshape(-1, kernel.shape[self.out_axis])
        left = np.ones(matrix.shape[1], np.float32)
        for _ in range(30):
            right = _unit(matrix @ left)
            left = _unit(matrix.T @ right)
        self._letters = "abcdef"[: kernel.ndim]
        out = self._letters[self.out_axis]
        self._rest = self._letters.replace(out, "")
        self._out = out
        rest_shape = [size for letter, size in zip(self._letters, kernel.shape, strict=True) if letter != out]
        self.left = self._vector("left", left)
        self.right = self._vector("right", right.reshape(rest_shape))

    def _vector(self, name: str, value: np.ndarray) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=value.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(value, dtype=dtype),  # noqa: ARG005
            trainable=False,
            autocast=False,
            dtype="float32",
        )

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """All variables; Dense and Conv2D would leave the singular vectors out."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: dict[str, Any]) -> None:
        """See `save_own_variables`."""
        keras.layers.Layer.load_own_variables(self, store)

    def iterate(self) -> None:
        """One power iteration: u and v come nearer to the first pair of singular vectors of the present kernel."""
        kernel = ops.stop_gradient(ops.cast(self.kernel, "float32"))
        right = ops.einsum(f"{self._letters},{self._out}->{self._rest}", kernel, self.left)
        right = right / ops.maximum(ops.sqrt(ops.sum(right * right)), 1e-12)
        left = ops.einsum(f"{self._letters},{self._rest}->{self._out}", kernel, right)
        left = left / ops.maximum(ops.sqrt(ops.sum(left * left)), 1e-12)
        self.right.assign(right)
        self.left.assign(left)

    def normalised_kernel(self) -> Any:
        """W / sigma(W), in the layer's computing dtype."""
        kernel = ops.cast(self.kernel, "float32")
        product = ops.einsum(f"{self._letters},{self._rest}->{self._out}", kernel, ops.stop_gradient(self.right.value))
        sigma = ops.sum(product * ops.stop_gradient(self.left.value))
        return ops.cast(kernel / sigma, self.compute_dtype)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


@keras.saving.register_keras_serializable(PACKAGE)
class SpectralDense(Spectral, keras.layers.Dense):
    """A linear Dense with a spectrally normalised kernel."""

    def call(self, inputs: Any) -> Any:
        outputs = ops.matmul(inputs, self.normalised_kernel())
        return outputs + self.bias if self.use_bias else outputs


@keras.saving.register_keras_serializable(PACKAGE)
class SpectralConv2D(Spectral, keras.layers.Conv2D):
    """A linear Conv2D with a spectrally normalised kernel."""

    def call(self, inputs: Any) -> Any:
        outputs = ops.conv(inputs, self.normalised_kernel(), strides=self.strides, padding=self.padding)
        return outputs + self.bias if self.use_bias else outputs


@keras.saving.register_keras_serializable(PACKAGE)
class SpectralConv2DTranspose(Spectral, keras.layers.Conv2DTranspose):
    """A linear Conv2DTranspose with a spectrally normalised kernel (height, width, outputs, inputs)."""

    out_axis = 2

    def call(self, inputs: Any) -> Any:
        outputs = ops.conv_transpose(inputs, self.normalised_kernel(), strides=self.strides, padding=self.padding)
        return outputs + self.bias if self.use_bias else outputs


@keras.saving.register_keras_serializable(PACKAGE)
class AttentionMix(keras.layers.Layer):
    """The heart of self-attention (Zhang et al. 2019, arXiv:1805.08318): where each pixel looks, and what it takes.

    Takes queries (b, h, w, k), keys (b, h2, w2, k) and values (b, h2, w2, c), gives (b, h, w, c).
    """

    def call(self, queries: Any, keys: Any, values: Any) -> Any:
        height, width = queries.shape[1:3]
        flat_queries = ops.reshape(queries, (-1, height * width, queries.shape[-1]))
        flat_keys = ops.reshape(keys, (-1, keys.shape[1] * keys.shape[2], keys.shape[-1]))
        flat_values = ops.reshape(values, (-1, values.shape[1] * values.shape[2], values.shape[-1]))
        weights = ops.softmax(ops.matmul(flat_queries, ops.transpose(flat_keys, (0, 2, 1))), axis=-1)
        return ops.reshape(ops.matmul(weights, flat_values), (-1, height, width, values.shape[-1]))


@keras.saving.register_keras_serializable(PACKAGE)
class ScaledSum(keras.layers.Layer):
    """`x + gamma * y` with one trained gamma that starts at 0: attention is faded in."""

    def build(self, *_: Any) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def call(self, x: Any, y: Any) -> Any:
        return x + self.gamma * y


@keras.saving.register_keras_serializable(PACKAGE)
class Leaky(keras.layers.Layer):
    """LeakyReLU with slope 0.2, also at exactly 0.

    JAX's own has slope 1 there and TensorFlow's 0.2. Convolutions without bias give exact zeros inside the holes of
    `cutout`, and a gradient penalty sees the slope.
    """

    def call(self, inputs: Any) -> Any:
        if keras.backend.backend() == "jax":
            return ops.where(inputs > 0, inputs, 0.2 * inputs)
        return ops.leaky_relu(inputs, 0.2)


@keras.saving.register_keras_serializable(PACKAGE)
class SumOverPlaces(keras.layers.Layer):
    """(b, h, w, c) -> (b, c)."""

    def call(self, inputs: Any) -> Any:
        return ops.sum(inputs, axis=(1, 2))


@keras.saving.register_keras_serializable(PACKAGE)
class MinibatchStddev(keras.layers.Layer):
    """Appends one channel: the batch's standard deviation, averaged over places and channels (Karras et al. 2018).

    A generator that repeats itself is told by a low value (arXiv:1710.10196, a simpler form of the minibatch
    discrimination of Salimans et al. 2016). The group is the whole batch.
    """

    def call(self, inputs: Any) -> Any:
        wide = ops.cast(inputs, "float32")
        deviation = ops.mean(ops.sqrt(ops.var(wide, axis=0) + 1e-8))
        channel = ops.ones_like(inputs[..., :1]) * ops.cast(deviation, inputs.dtype)
        return ops.concatenate([inputs, channel], axis=-1)


def spectral_layers(network: keras.Model) -> Iterator[Spectral]:
    """The network's spectrally normalised layers, in order."""
    return (layer for layer in network.layers if isinstance(layer, Spectral))
