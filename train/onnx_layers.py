"""How each Keras layer is said in ONNX: one function a layer, by the layer's class name.

Between layers, images stay (n, h, w, c) as Keras has them; a convolution turns them to (n, c, h, w) and back, and
ONNX Runtime takes out the pairs of turns that cancel. Dropout and other layers of training alone are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from facepipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.onnx_graph import Graph

    Converter = Callable[[Graph, Any, list[str]], str]

CONVERTERS: dict[str, Converter] = {}
ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def of(*names: str) -> Callable[[Converter], Converter]:
    """Registers a converter for layers of these class names."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(names, converter))
        return converter

    return register


def array(tensor: Any) -> np.ndarray:
    """A weight as float32."""
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), np.float32)


def _kernel(layer: Any) -> np.ndarray:
    """The layer's kernel as it is used: a spectrally normalised one is divided by its norm."""
    return array(layer.normalised_kernel() if hasattr(layer, "normalised_kernel") else layer.kernel)


def _activated(g: Graph, x: str, activation: Any) -> str:
    name = getattr(activation, "__name__", str(activation))
    if name == "linear":
        return x
    if name in {"silu", "swish"}:
        return g.add("Mul", [x, g.add("Sigmoid", [x])])
    if name not in ACTIVATIONS:
        raise UsageError(f"the activation {name} has no ONNX form here; export --format keras instead")
    return g.add(ACTIVATIONS[name], [x])


def _pads(kernel: int, stride: int) -> tuple[int, int]:
    """What TensorFlow adds before and after a side that the stride divides, with same padding."""
    total = max(kernel - stride, 0)
    return total // 2, total - total // 2


@of("Conv2D", "SpectralConv2D")
def conv(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Same padding; sides that the stride divides, as all of ours are."""
    kernel = _kernel(layer)
    (top, bottom), (left, right) = (_pads(k, s) for k, s in zip(kernel.shape[:2], layer.strides, strict=True))
    weights = [g.constant(kernel.transpose(3, 2, 0, 1))]
    weights += [g.constant(array(layer.bias))] if layer.use_bias else []
    options = {"strides": list(layer.strides), "pads": [top, left, bottom, right]}
    x = g.to_last(g.add("Conv", [g.to_first(inputs[0]), *weights], **options))
    return _activated(g, x, layer.activation)


@of("Conv2DTranspose", "SpectralConv2DTranspose")
def conv_transpose(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Same padding: the sides become `stride` times as long."""
    kernel = _kernel(layer)
    (top, bottom), (left, right) = (_pads(k, s) for k, s in zip(kernel.shape[:2], layer.strides, strict=True))
    weights = [g.constant(kernel.transpose(3, 2, 0, 1))]
    weights += [g.constant(array(layer.bias))] if layer.use_bias else []
    options = {"strides": list(layer.strides), "pads": [top, left, bottom, right]}
    x = g.to_last(g.add("ConvTranspose", [g.to_first(inputs[0]), *weights], **options))
    return _activated(g, x, layer.activation)


@of("Dense", "SpectralDense")
def dense(g: Graph, layer: Any, inputs: list[str]) -> str:
    """On the last axis."""
    x = g.add("MatMul", [inputs[0], g.constant(_kernel(layer))])
    x = g.add("Add", [x, g.constant(array(layer.bias))]) if layer.use_bias else x
    return _activated(g, x, layer.activation)


@of("MaxPooling2D")
def max_pool(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Whole windows only."""
    options = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    return g.to_last(g.add("MaxPool", [g.to_first(inputs[0])], **options))


@of("AveragePooling2D")
def average_pool(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Whole windows only."""
    options = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    return g.to_last(g.add("AveragePool", [g.to_first(inputs[0])], **options))


@of("UpSampling2D")
def up_sample(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Each pixel is repeated."""
    scales = g.constant(np.array([1, 1, *layer.size], np.float32))
    options = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    return g.to_last(g.add("Resize", [g.to_first(inputs[0]), "", scales], **options))


@of("Flatten")
def flatten(g: Graph, layer: Any, inputs: list[str]) -> str:  # noqa: ARG001
    """All but the batch."""
    return g.add("Flatten", inputs, axis=1)


@of("Reshape")
def reshape(g: Graph, layer: Any, inputs: list[str]) -> str:
    """All but the batch."""
    return g.reshape(inputs[0], [0, *layer.target_shape])


@of("BatchNormalization", "BatchNorm")
def batch_norm(g: Graph, layer: Any, inputs: list[str]) -> str:
    """With the moving statistics: one factor and one summand a channel."""
    mean, variance = array(layer.moving_mean), array(layer.moving_variance)
    factor = (array(layer.gamma) if layer.scale else 1.0) / np.sqrt(variance + layer.epsilon)
    summand = (array(layer.beta) if layer.center else 0.0) - mean * factor
    return g.add("Add", [g.add("Mul", [inputs[0], g.constant(factor)]), g.constant(summand)])


@of("GroupNormalization")
def group_norm(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Each group of channels as one channel of InstanceNormalization."""
    _, height, width, channels = layer.input.shape
    ones = g.constant(np.ones(layer.groups, np.float32))
    zeros = g.constant(np.zeros(layer.groups, np.float32))
    x = g.reshape(g.to_first(inputs[0]), [0, layer.groups, -1])
    x = g.add("InstanceNormalization", [x, ones, zeros], epsilon=float(layer.epsilon))
    x = g.to_last(g.reshape(x, [0, channels, height, width]))
    return g.add("Add", [g.add("Mul", [x, g.constant(array(layer.gamma))]), g.constant(array(layer.beta))])


@of("Activation", "ReLU")
def activation(g: Graph, layer: Any, inputs: list[str]) -> str:
    """By its name."""
    return _activated(g, inputs[0], getattr(layer, "activation", "relu"))


@of("LeakyReLU", "Leaky")
def leaky_relu(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Slope 0.2 unless the layer has its own."""
    return g.add("LeakyRelu", inputs, alpha=float(getattr(layer, "negative_slope", 0.2)))


@of("Add")
def add(g: Graph, layer: Any, inputs: list[str]) -> str:  # noqa: ARG001
    """Of two."""
    return g.add("Add", inputs)


@of("Concatenate")
def concatenate(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Along the layer's axis."""
    return g.add("Concat", inputs, axis=layer.axis)


@of("Embedding")
def embedding(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Rows of a table."""
    return g.add("Gather", [g.constant(array(layer.embeddings)), inputs[0]], axis=0)


@of("ScaledSum")
def scaled_sum(g: Graph, layer: Any, inputs: list[str]) -> str:
    """X + gamma y."""
    return g.add("Add", [inputs[0], g.add("Mul", [inputs[1], g.constant(array(layer.gamma))])])


@of("AttentionMix")
def attention(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Softmax of queries times keys, times values."""
    (_, height, width, _), _, (_, _, _, channels) = (x.shape for x in layer.input)
    queries, keys, values = (g.reshape(x, [0, -1, t.shape[-1]]) for x, t in zip(inputs, layer.input, strict=True))
    weights = g.add("Softmax", [g.add("MatMul", [queries, g.add("Transpose", [keys], perm=[0, 2, 1])])], axis=-1)
    return g.reshape(g.add("MatMul", [weights, values]), [0, height, width, channels])


@of("Dropout", "SameDropout", "InputLayer")
def nothing(g: Graph, layer: Any, inputs: list[str]) -> str:  # noqa: ARG001
    """Passes on what it gets."""
    return inputs[0]
