"""A functional Keras model -> ONNX, layer by layer: no TensorFlow, and no package that lags behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from facepipe.errors import UsageError
from train.onnx_layers import CONVERTERS

if TYPE_CHECKING:
    import keras

OPSET = 17
IR_VERSION = 8
"""What ONNX Runtime has read since 1.12."""
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]
TYPES = {"float32": onnx.TensorProto.FLOAT, "int32": onnx.TensorProto.INT32}


class Graph:
    """Collects nodes and constants; each method gives the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._count = 0

    def name(self, kind: str) -> str:
        """A new one."""
        self._count += 1
        return f"{kind.lower()}_{self._count}"

    def add(self, kind: str, inputs: list[str], **options: Any) -> str:
        """A node with one output."""
        output = self.name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}_node", **options))
        return output

    def constant(self, value: np.ndarray) -> str:
        """An initializer."""
        name = self.name("constant")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def reshape(self, x: str, shape: list[int]) -> str:
        """0 keeps a size, -1 is what is left."""
        return self.add("Reshape", [x, self.constant(np.array(shape, np.int64))])

    def to_first(self, x: str) -> str:
        """(n, h, w, c) -> (n, c, h, w)."""
        return self.add("Transpose", [x], perm=FIRST)

    def to_last(self, x: str) -> str:
        """(n, c, h, w) -> (n, h, w, c)."""
        return self.add("Transpose", [x], perm=LAST)


def convert(model: keras.Model) -> onnx.ModelProto:
    """An ONNX model with Keras's inputs and outputs: same names, same layout, any batch size.

    Raises:
        UsageError: A layer has no converter.
    """
    graph = Graph()
    inputs = [tensor.name for tensor in model.inputs]
    outputs = _walk(graph, model, inputs)
    names = [getattr(tensor, "name", "output") for tensor in model.outputs]
    for made, name in zip(outputs, names, strict=True):
        graph.nodes.append(helper.make_node("Identity", [made], [f"{name}_out"], name=f"{name}_node"))
    made = helper.make_graph(
        graph.nodes,
        model.name,
        [_described(tensor.name, tensor) for tensor in model.inputs],
        [_described(f"{name}_out", tensor) for name, tensor in zip(names, model.outputs, strict=True)],
        graph.constants,
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="facepipe")
    proto.ir_version = IR_VERSION
    onnx.checker.check_model(proto)
    return proto


def _described(name: str, tensor: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TYPES[str(tensor.dtype)], ["n", *tensor.shape[1:]])


def _walk(graph: Graph, model: Any, inputs: list[str]) -> list[str]:
    """Converts a functional model's layers in their order; a model within a model is walked in turn."""
    made = {id(tensor): name for tensor, name in zip(model.inputs, inputs, strict=True)}
    for operation in model.operations:
        node = operation._inbound_nodes[_node_of(operation, made)]  # noqa: SLF001 - Keras's own export reads it too
        if not node.input_tensors:
            continue
        given = [made[id(tensor)] for tensor in node.input_tensors]
        if hasattr(operation, "operations"):
            results = _walk(graph, operation, given)
        else:
            results = [_converted(graph, operation, given)]
        made |= {id(tensor): name for tensor, name in zip(node.output_tensors, results, strict=True)}
    return [made[id(tensor)] for tensor in model.outputs]


def _node_of(operation: Any, made: dict[int, str]) -> int:
    """Which of an operation's uses is this graph's: the one whose inputs are known."""
    for number, node in enumerate(operation._inbound_nodes):  # noqa: SLF001
        if all(id(tensor) in made for tensor in node.input_tensors):
            return number
    raise UsageError(f"the layer {operation.name} can't be placed in the graph; export --format keras instead")


def _converted(graph: Graph, layer: Any, inputs: list[str]) -> str:
    converter = CONVERTERS.get(type(layer).__name__)
    if converter is None:
        raise UsageError(f"{type(layer).__name__} has no ONNX form here; export --format keras instead")
    return converter(graph, layer, inputs)
