"""YuNet's file as facepipe runs it: any input size, RGB, and one output a level instead of four."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from facepipe.detection import networks
from facepipe.errors import WeightsError

STRIDES = (8, 16, 32)
HEADS = ("cls", "obj", "bbox", "kps")
CHANNELS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_MEMORY_ONLY = {"Transpose", "Reshape", "Sigmoid"}


class _Source:
    """Look-ups in the graph of a YuNet file."""

    def __init__(self, model: Any) -> None:
        self.nodes = list(model.graph.node)
        self.producer = {output: node for node in self.nodes for output in node.output}
        self.constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}

    def head(self, output: str) -> tuple[Any, Any]:
        """The two convolutions, 1x1 and then 3x3 by channel, that end in an output of the file."""
        node = self.producer[output]
        while node.op_type in _MEMORY_ONLY:
            node = self.producer[node.input[0]]
        before = self.producer[node.input[0]]
        if node.op_type != "Conv" or before.op_type != "Conv":
            raise KeyError(output)
        return before, node


def _merge_heads(source: _Source, stride: int) -> tuple[list[Any], list[Any], set[str]]:
    """One pair of convolutions in place of a level's four: its nodes, its constants, and the nodes it replaces."""
    pairs = [source.head(f"{head}_{stride}") for head in HEADS]
    features = {before.input[0] for before, _ in pairs}
    if len(features) != 1:
        raise KeyError(f"cls_{stride}")
    parts = {
        f"mix_weight_{stride}": [source.constants[before.input[1]] for before, _ in pairs],
        f"mix_bias_{stride}": [source.constants[before.input[2]] for before, _ in pairs],
        f"head_weight_{stride}": [source.constants[after.input[1]] for _, after in pairs],
        f"head_bias_{stride}": [source.constants[after.input[2]] for _, after in pairs],
    }
    arrays = {name: np.concatenate(values) for name, values in parts.items()}
    mix_weight, mix_bias, head_weight, head_bias = arrays
    if arrays[head_weight].shape != (16, 1, 3, 3):
        raise KeyError(f"kps_{stride}")
    mixed, out = f"mixed_{stride}", f"out_{stride}"
    nodes = [
        helper.make_node("Conv", [features.pop(), mix_weight, mix_bias], [mixed], kernel_shape=[1, 1]),
        helper.make_node(
            "Conv", [mixed, head_weight, head_bias], [out], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=16
        ),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    return nodes, constants, {node.output[0] for pair in pairs for node in pair}


def _read_rgb(source: _Source, constants: list[Any], pixels: str) -> None:
    """Turns the first convolution around, so that the network, trained on BGR, takes RGB."""
    first = next(node for node in source.nodes if pixels in node.input)
    for constant in constants:
        if constant.name == first.input[1]:
            constant.CopyFrom(
                numpy_helper.from_array(np.ascontiguousarray(source.constants[constant.name][:, ::-1]), constant.name)
            )


def rebuild(file: bytes) -> bytes:
    """A YuNet file (Wu et al. 2023, `face_detection_yunet_2023mar.onnx`) as one graph for every input size.

    The file's input is fixed at 640x640 and has twelve outputs. Here every level's class, objectness, box and landmark
    heads run as one pair of convolutions; sigmoids and the reordering of memory are left to the reader of the outputs,
    who needs them at a handful of places only.

    Returns:
        A model from `pixels` (1, 3, h, w), RGB 0..255, h and w multiples of 32, to `out_8`, `out_16`, `out_32`, each
        (1, 16, h / stride, w / stride): class logit, objectness logit, box (4), landmarks (10).

    Raises:
        WeightsError: the bytes are no network of YuNet's shape.
    """
    try:
        model = networks.parse(file)
        source = _Source(model)
        merged = [_merge_heads(source, stride) for stride in STRIDES]
        replaced = set().union(*(gone for _, _, gone in merged))
        body = [n for n in source.nodes if n.op_type not in _MEMORY_ONLY and n.output[0] not in replaced]
        nodes = body + [node for added, _, _ in merged for node in added]
        used = {name for node in nodes for name in node.input}
        constants = [c for c in model.graph.initializer if c.name in used]
        pixels = model.graph.input[0].name
        _read_rgb(source, constants, pixels)
        constants += [constant for _, added, _ in merged for constant in added]
        return _assemble(nodes, constants, pixels)
    except WeightsError:
        raise
    except Exception as error:
        # protobuf, KeyError, IndexError: whatever a foreign file makes fail says the same.
        raise WeightsError(
            "the model is no YuNet: it has not the outputs of face_detection_yunet_2023mar.onnx"
        ) from error


def _assemble(nodes: list[Any], constants: list[Any], pixels: str) -> bytes:
    for node in nodes:
        for i, name in enumerate(node.input):
            if name == pixels:
                node.input[i] = "pixels"
    outputs = [networks.floats(f"out_{stride}", (1, 16, f"h{stride}", f"w{stride}")) for stride in STRIDES]
    graph = helper.make_graph(nodes, "yunet", [networks.floats("pixels", (1, 3, "h", "w"))], outputs, constants)
    opset = helper.make_opsetid("", networks.OPSET)
    serialized: bytes = helper.make_model(
        graph, opset_imports=[opset], ir_version=networks.IR_VERSION
    ).SerializeToString()
    return serialized
