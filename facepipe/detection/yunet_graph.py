"""YuNet's file as facepipe runs it: any input size, RGB, and faces as output instead of twelve maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from facepipe.detection import networks
from facepipe.detection.yunet import OVERLAP, STRIDES
from facepipe.errors import WeightsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.detection.networks import Graph

    Array = NDArray[np.float32]

MOST_FACES = 5000
_MEMORY_ONLY = {"Transpose", "Reshape", "Sigmoid"}


class _Source:
    """Look-ups in the graph of a YuNet file."""

    def __init__(self, model: Any) -> None:
        self.nodes = list(model.graph.node)
        self.pixels = model.graph.input[0].name
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

    def of(self, node: Any) -> tuple[Array, Array]:
        """A convolution's weight and bias."""
        return self.constants[node.input[1]], self.constants[node.input[2]]


def _merge_heads(source: _Source, graph: Graph, stride: int) -> tuple[str, set[str]]:
    """One pair of convolutions in place of a level's four.

    Returns:
        The pair's output (1, 16, h, w): class and objectness logits, the box's width and height, its centre, five
        points; and the outputs of the nodes that it replaces.
    """
    heads = {name: source.head(f"{name}_{stride}") for name in ("cls", "obj", "bbox", "kps")}
    features = {before.input[0] for before, _ in heads.values()}
    if len(features) != 1:
        raise KeyError(f"cls_{stride}")
    # The file's boxes are centre, then size.
    order = np.array([0, 1, 4, 5, 2, 3, *range(6, 16)])
    mix, mix_bias = (
        np.concatenate(parts)[order] for parts in zip(*(source.of(b) for b, _ in heads.values()), strict=True)
    )
    last, last_bias = (
        np.concatenate(parts)[order] for parts in zip(*(source.of(a) for _, a in heads.values()), strict=True)
    )
    mixed = graph.convolve(features.pop(), mix, mix_bias)
    out = graph.convolve(mixed, last, last_bias, pads=[1, 1, 1, 1], group=16)
    return out, {node.output[0] for pair in heads.values() for node in pair}


def _allow_halves(source: _Source) -> dict[str, tuple[str, str]]:
    """Makes sides that are multiples of 16 possible: the deepest level is rounded up, and cut when it is enlarged.

    Returns:
        The enlarged map's name -> its name after the cut, and the name of the map that it must fit.
    """
    pool = [node for node in source.nodes if node.op_type == "MaxPool"][-1]
    for attribute in pool.attribute:
        if attribute.name == "ceil_mode":
            attribute.i = 1
    enlarged = next(node for node in source.nodes if node.op_type == "Resize").output[0]
    addition = next(node for node in source.nodes if node.op_type == "Add" and enlarged in node.input)
    partner = next(name for name in addition.input if name != enlarged)
    cut = f"{enlarged}_cut"
    for i, name in enumerate(addition.input):
        if name == enlarged:
            addition.input[i] = cut
    return {enlarged: (cut, partner)}


def _copy_body(source: _Source, graph: Graph, replaced: set[str]) -> None:
    """The file's nodes up to its heads, and the constants they use."""
    cuts = _allow_halves(source)
    first = next(node for node in source.nodes if source.pixels in node.input)
    for node in source.nodes:
        if node.op_type in _MEMORY_ONLY or node.output[0] in replaced:
            continue
        for i, name in enumerate(node.input):
            if name == source.pixels:
                node.input[i] = "pixels"
            elif name in source.constants:
                value = source.constants[name]
                # Trained on BGR: with its first kernel turned around the network takes RGB.
                graph.keep(name, value[:, ::-1] if node is first and value.ndim == 4 else value)
        graph.nodes.append(node)
        for output in node.output:
            if output in cuts:
                cut, partner = cuts[output]
                rows_and_columns = graph.add("Slice", graph.add("Shape", partner), graph.whole([2]), graph.whole([4]))
                graph.add("Slice", output, graph.whole([0, 0]), rows_and_columns, graph.whole([2, 3]), output=cut)


def _read_faces(graph: Graph, levels: list[str]) -> None:
    """From the levels' maps to the faces that stay after non-maximum suppression, in `faces` and `owners`."""
    flat = [graph.add("Reshape", level, graph.whole([0, 16, -1])) for level in levels]
    logits, sizes, places = graph.split(graph.add("Concat", *flat, axis=2), [2, 2, 12])
    product = graph.add("ReduceProd", graph.add("Sigmoid", logits), axes=[1], keepdims=1)
    scores = graph.add("Sqrt", product)
    pairs = graph.add("Reshape", places, graph.whole([0, 6, 2, -1]))
    where = graph.add("Add", graph.add("Mul", pairs, "steps"), "starts")
    where = graph.add("Reshape", where, graph.whole([0, 12, -1]))
    centres, points = graph.split(where, [2, 10])
    half = graph.add("Mul", graph.add("Exp", sizes), "reaches")
    boxes = graph.add("Concat", graph.add("Sub", centres, half), graph.add("Add", centres, half), axis=1)
    chosen = graph.add(
        "NonMaxSuppression",
        graph.add("Transpose", boxes, perm=[0, 2, 1]),
        scores,
        graph.whole([MOST_FACES]),
        graph.constant(np.array([OVERLAP])),
        "floor",
    )
    everything = graph.add("Transpose", graph.add("Concat", boxes, points, scores, axis=1), perm=[0, 2, 1])
    picture_and_cell = graph.add("Gather", chosen, graph.whole([0, 2]), axis=1)
    graph.add("GatherND", everything, picture_and_cell, output="faces")
    graph.add("Gather", chosen, graph.number(0), axis=1, output="owners")


def rebuild(file: bytes) -> bytes:
    """A YuNet file (Wu et al. 2023, `face_detection_yunet_2023mar.onnx`) as one graph from pixels to faces.

    The file's input is fixed at 640x640 and it has twelve outputs. Here every level's four heads run as one pair of
    convolutions, and decoding and suppression are part of the graph: in Python they took a quarter as long as the
    network.

    Args:
        file: the file's bytes.

    Returns:
        A model from `pixels` (b, 3, h, w), RGB 0..255, h and w multiples of 16, with `steps` and `starts` (1, 1, 2, n)
        and `reaches` (1, 2, n) for the n cells of its three levels (see `yunet.cells`) and `floor` (1,), the score
        that a face must exceed, to `faces` (k, 15), px of the input: box, five points, score; and `owners` (k,) int64,
        the picture that each is of: picture after picture, best score first.

    Raises:
        WeightsError: the bytes are no network of YuNet's shape.
    """
    try:
        source, graph = _Source(networks.parse(file)), networks.Graph()
        heads = networks.Graph()
        merged = [_merge_heads(source, heads, stride) for stride in STRIDES]
        _copy_body(source, graph, set().union(*(gone for _, gone in merged)))
        graph.extend(heads)
        _read_faces(graph, [out for out, _ in merged])
    except Exception as error:
        # protobuf, KeyError, IndexError: whatever a foreign file makes fail says the same.
        raise WeightsError(
            "the model is no YuNet: it has not the parts of face_detection_yunet_2023mar.onnx"
        ) from error
    inputs: dict[str, tuple[int | str, ...]] = {
        "pixels": ("b", 3, "h", "w"),
        "steps": (1, 1, 2, "n"),
        "starts": (1, 1, 2, "n"),
        "reaches": (1, 2, "n"),
        "floor": (1,),
    }
    outputs = [networks.floats("faces", ("k", 15)), networks.wholes("owners", ("k",))]
    return graph.serialize([networks.floats(*item) for item in inputs.items()], outputs)
