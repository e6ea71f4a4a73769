"""The networks as ONNX graphs made for speed: fewer, larger operations than in the files they come from.

All take (n, 3, height, width) float32 RGB in 0..255: what scaling and channel order the network was trained with is
folded into its first convolution.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

# Old enough for every ONNX Runtime the package index has for our Pythons.
OPSET = 13
IR_VERSION = 8
_NUMBERS = itertools.count()


class Graph:
    """An ONNX graph under construction: values are names, each call adds one node."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, array: Array) -> str:
        """Adds a float32 constant."""
        return self.keep(f"constant{next(_NUMBERS)}", np.asarray(array, dtype=np.float32))

    def whole(self, numbers: Sequence[int]) -> str:
        """Adds a constant list of int64, such as a shape."""
        return self.keep(f"numbers{next(_NUMBERS)}", np.array(numbers, dtype=np.int64))

    def number(self, number: int) -> str:
        """Adds a constant int64 without dimensions, such as an index."""
        return self.keep(f"number{next(_NUMBERS)}", np.array(number, dtype=np.int64))

    def array(self, array: NDArray[Any]) -> str:
        """Adds a constant of the array's own type."""
        return self.keep(f"array{next(_NUMBERS)}", array)

    def keep(self, name: str, array: NDArray[Any]) -> str:
        """Adds a constant under a name of its own, once."""
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def extend(self, other: Graph) -> None:
        """Adds another graph's nodes and constants."""
        self.nodes += other.nodes
        self.constants |= other.constants

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        output = output or f"value{next(_NUMBERS)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        """Adds the value's parts along its channels and returns their names."""
        outputs = [f"value{next(_NUMBERS)}" for _ in sizes]
        self.nodes.append(helper.make_node("Split", [value, self.whole(sizes)], outputs, axis=1))
        return outputs

    def convolve(self, value: str, weight: Array, bias: Array, **attributes: Any) -> str:
        """A convolution; `weight` is (out, in, height, width)."""
        kernel = list(weight.shape[2:])
        return self.add("Conv", value, self.constant(weight), self.constant(bias), kernel_shape=kernel, **attributes)

    def prelu(self, value: str, slope: Array) -> str:
        """PReLU with one slope a channel, as slope·x + (1 - slope)·relu(x).

        Two depthwise convolutions and a sum stay in the runtime's blocked memory layout, where its PRelu operator
        costs two conversions and a slow loop: O-Net as a whole runs 1.4 times faster so.
        """
        slope = slope.reshape(-1, 1, 1, 1)
        share: dict[str, Any] = {"kernel_shape": [1, 1], "group": len(slope)}
        linear = self.add("Conv", value, self.constant(slope), **share)
        positive = self.add("Conv", self.add("Relu", value), self.constant(1 - slope), **share)
        return self.add("Add", positive, linear)

    def serialize(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> bytes:
        """The finished model."""
        graph = helper.make_graph(self.nodes, "facepipe", list(inputs), list(outputs), list(self.constants.values()))
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]  # the runtime's own: 8 bits
        model = helper.make_model(graph, opset_imports=sets, ir_version=IR_VERSION)
        serialized: bytes = model.SerializeToString()
        return serialized


def floats(name: str, shape: Sequence[int | str]) -> Any:
    """The declaration of a float32 input or output; names stand for sizes known at run time."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def wholes(name: str, shape: Sequence[int | str]) -> Any:
    """The same of an int64 one."""
    return helper.make_tensor_value_info(name, TensorProto.INT64, list(shape))


def bytes_of(name: str, shape: Sequence[int | str]) -> Any:
    """The same of a uint8 one."""
    return helper.make_tensor_value_info(name, TensorProto.UINT8, list(shape))


def kernel_of(keras: Array) -> Array:
    """Keras (height, width, in, out) -> ONNX (out, in, height, width)."""
    return keras.transpose(3, 2, 0, 1)


def first_layer(arrays: Sequence[Array]) -> tuple[Array, Array]:
    """MTCNN's first convolution for pixels of 0..255; it was trained on (pixel - 127.5) / 128."""
    kernel = kernel_of(arrays[0]).astype(np.float64)
    bias = arrays[1] - 127.5 / 128 * kernel.sum(axis=(1, 2, 3))
    return (kernel / 128).astype(np.float32), bias.astype(np.float32)


def _body(graph: Graph, arrays: Sequence[Array], pools: Sequence[dict[str, Any]]) -> str:
    """Convolutions, of three arrays each, with PReLU and, after the first of them, a pool of two px steps each."""
    value = "pixels"
    for i in range(0, len(arrays), 3):
        kernel, bias = first_layer(arrays) if i == 0 else (kernel_of(arrays[i]), arrays[i + 1])
        value = graph.prelu(graph.convolve(value, kernel, bias), arrays[i + 2])
        if i // 3 < len(pools):
            value = graph.add("MaxPool", value, strides=[2, 2], **pools[i // 3])
    return value


def p_net(arrays: Sequence[Array]) -> bytes:
    """MTCNN's proposal network (Zhang et al. 2016), fully convolutional.

    Args:
        arrays: its 13, in the order of the Keras layers.

    Returns:
        A model from `pixels` (1, 3, h, w) to `out` (1, 6, h', w'): four offsets, then the logits of no face and face.
    """
    graph = Graph()
    value = _body(graph, arrays[:9], [{"kernel_shape": [2, 2], "ceil_mode": 1}])
    heads = np.concatenate([kernel_of(arrays[9]), kernel_of(arrays[11])])
    value = graph.convolve(value, heads, np.concatenate([arrays[10], arrays[12]]))
    graph.add("Identity", value, output="out")
    return graph.serialize([floats("pixels", (1, 3, "h", "w"))], [floats("out", (1, 6, "ho", "wo"))])


_POOLS = ({"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}, {"kernel_shape": [3, 3]}, {"kernel_shape": [2, 2]})


def r_net(arrays: Sequence[Array]) -> bytes:
    """MTCNN's refinement network.

    Args:
        arrays: its 16, in the order of the Keras layers.

    Returns:
        A model from `pixels` (n, 3, 24, 24) to `out` (n, 6): four offsets, then the logits of no face and face.
    """
    graph = Graph()
    _dense_end(graph, _body(graph, arrays[:9], _POOLS[:2]), arrays[9:], (64, 3, 3))
    return graph.serialize([floats("pixels", ("n", 3, 24, 24))], [floats("out", ("n", 6))])


def o_net(arrays: Sequence[Array]) -> bytes:
    """MTCNN's output network.

    Args:
        arrays: its 21, in the order of the Keras layers.

    Returns:
        A model from `pixels` (n, 3, 48, 48) to `out` (n, 16): four offsets, five x and five y of the landmarks as
        shares of the box, the logits of no face and face.
    """
    graph = Graph()
    _dense_end(graph, _body(graph, arrays[:12], _POOLS), arrays[12:], (128, 3, 3))
    return graph.serialize([floats("pixels", ("n", 3, 48, 48))], [floats("out", ("n", 16))])


def _dense_end(graph: Graph, value: str, arrays: Sequence[Array], maps: tuple[int, int, int]) -> None:
    """The layers after the convolutions, `maps` (channels, height, width): one hidden layer, then all heads at once."""
    hidden, bias, slope, *heads = arrays
    channels, height, width = maps
    # The package flattens (width, height, channels), as its networks were trained on transposed images; ONNX flattens
    # (channels, height, width).
    hidden = hidden.reshape(width, height, channels, -1).transpose(2, 1, 0, 3).reshape(hidden.shape)
    value = graph.add("Gemm", graph.add("Flatten", value), graph.constant(hidden), graph.constant(bias))
    value = graph.add("PRelu", value, graph.constant(slope))
    weight, bias = np.concatenate(heads[0::2], axis=1), np.concatenate(heads[1::2])
    graph.add("Gemm", value, graph.constant(weight), graph.constant(bias), output="out")


def parse(model: bytes) -> Any:
    """The ONNX model in the bytes; a `google.protobuf` error where they hold none."""
    return onnx.load_model_from_string(model)
