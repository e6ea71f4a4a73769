"""Makes `facepipe/models/landmarks.tflite`, O-Net in 8 bits, out of the weights in the package `mtcnn`.

    python tools/build_landmarks.py

The format is that of `schema.fbs` in google-ai-edge/LiteRT: flatbuffers, whose numbers stand below.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from facepipe.detection import networks, weights
from facepipe.detection.landmarks import MODEL, SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = NDArray[np.float32]

MADE = "67d54e210af3a2b632c9884f0dee9c9f83534b35cff2dc2c3dd46e298dc951e7"
OUTPUT = Path(__file__).parents[1] / "facepipe" / "models" / MODEL
SCHEMA = 3
TYPES = {"float32": 0, "int32": 2, "int8": 9}
CONV, DENSE, MAX_POOL, RESHAPE, PRELU = 3, 9, 17, 22, 54
"""BuiltinOperator."""
VERSIONS = {CONV: 5, DENSE: 12, MAX_POOL: 1, RESHAPE: 1, PRELU: 1}
"""Those that take int8 weights beside float32 values, for convolutions with a scale for each output channel."""
CONV_OPTIONS, POOL_OPTIONS, DENSE_OPTIONS = 1, 5, 8
"""BuiltinOptions."""
SAME, VALID = 0, 1
"""Padding."""
INT8_MOST = 127


class Graph:
    """A TFLite graph under construction: values are numbers of tensors, each call adds one operation.

    Values are (n, height, width, channels) or (n, channels) float32. Weights are stored as int8, a scale for each
    output channel: the runtime turns each operation's input into 8 bits by its own least and greatest value, multiplies
    whole numbers, and gives float32 ("dynamic range quantization").
    """

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1 << 20)
        self._shapes: list[tuple[int, ...]] = []
        self._tensors: list[int] = []
        self._buffers: list[int] = []
        self._operators: list[int] = []
        self._keep(b"")

    def value(self, *shape: int) -> int:
        """Adds an input of the graph, float32."""
        return self._tensor(shape, "float32", 0, 0)

    def convolve(self, value: int, weight: Array, bias: Array, *, exact: bool = False) -> int:
        """A convolution without padding; `weight` is (height, width, in, out), `exact` keeps it in float32."""
        weight = np.ascontiguousarray(weight.transpose(3, 0, 1, 2))
        number, rows, columns, _ = self._shapes[value]
        outs, height, width, _ = weight.shape
        shape = (number, rows - height + 1, columns - width + 1, outs)
        options = self._table((0, "Int8", VALID), (1, "Int32", 1), (2, "Int32", 1))
        weights = self._constant(weight) if exact else self._quantized(weight)
        return self._add(CONV, (value, weights, self._constant(bias)), shape, CONV_OPTIONS, options)

    def pool(self, value: int, side: int, *, same: bool = False) -> int:
        """The maximum of squares of `side`, two apart; `same` adds room at the edges, as TensorFlow does."""
        number, rows, columns, channels = self._shapes[value]
        room = 0 if same else side - 1
        shape = (number, -(-(rows - room) // 2), -(-(columns - room) // 2), channels)
        sizes = [(slot, "Int32", size) for slot, size in ((1, 2), (2, 2), (3, side), (4, side))]
        options = self._table((0, "Int8", SAME if same else VALID), *sizes)
        return self._add(MAX_POOL, (value,), shape, POOL_OPTIONS, options)

    def prelu(self, value: int, slope: Array) -> int:
        """PReLU with one slope a channel."""
        shape = self._shapes[value]
        return self._add(PRELU, (value, self._constant(slope.reshape((1,) * (len(shape) - 2) + (-1,)))), shape)

    def reshape(self, value: int, *shape: int) -> int:
        """(n, ...) -> (n, *shape), the numbers in the same order, whatever n is when it is run."""
        target = self._constant(np.array((-1, *shape), dtype=np.int32))
        return self._add(RESHAPE, (value, target), (self._shapes[value][0], *shape))

    def dense(self, value: int, weight: Array, bias: Array, *, exact: bool = False) -> int:
        """A dense layer; `weight` is (in, out), `exact` keeps it in float32."""
        weight = np.ascontiguousarray(weight.T)
        options = self._table((3, "Bool", not exact))
        weights = self._constant(weight) if exact else self._quantized(weight)
        return self._add(
            DENSE, (value, weights, self._constant(bias)), (self._shapes[value][0], len(weight)), DENSE_OPTIONS, options
        )

    def serialize(self, start: int, end: int) -> bytes:
        """The finished model, from one value to another. Ends the construction."""
        whole = [self._offsets(self._tensors), self._numbers([start]), self._numbers([end])]
        graph = self._table(*((i, "Offset", part) for i, part in enumerate([*whole, self._offsets(self._operators)])))
        codes = [self._table((0, "Int8", code), (2, "Int32", VERSIONS[code]), (3, "Int32", code)) for code in VERSIONS]
        parts = [self._offsets(codes), self._offsets([graph])]
        buffers = self._offsets(self._buffers)
        model = self._table(
            (0, "Uint32", SCHEMA), (1, "Offset", parts[0]), (2, "Offset", parts[1]), (4, "Offset", buffers)
        )
        self._builder.Finish(model, b"TFL3")
        return bytes(self._builder.Output())

    def _quantized(self, weight: Array) -> int:
        """A constant (out, ...) rounded to int8, each output's largest weight to 127."""
        flat = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
        scale = np.where(flat > 0, flat / INT8_MOST, 1).astype(np.float32)
        numbers = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        scales, zeros = self._numbers(scale), self._numbers(np.zeros(len(weight), dtype=np.int64))
        quantization = self._table((2, "Offset", scales), (3, "Offset", zeros))
        return self._tensor(weight.shape, "int8", self._keep(numbers.tobytes()), quantization)

    def _constant(self, array: NDArray[Any]) -> int:
        array = array if array.dtype == np.int32 else np.asarray(array, dtype=np.float32)
        return self._tensor(array.shape, array.dtype.name, self._keep(array.tobytes()), 0)

    def _keep(self, data: bytes) -> int:
        """Adds a buffer; the first, empty one stands for values that are computed."""
        fields = []
        if data:
            self._builder.StartVector(1, len(data), 16)
            self._builder.head -= len(data)
            self._builder.Bytes[self._builder.head : self._builder.head + len(data)] = data
            fields = [(0, "Offset", self._builder.EndVector())]
        self._buffers.append(self._table(*fields))
        return len(self._buffers) - 1

    def _tensor(self, shape: Sequence[int], kind: str, buffer: int, quantization: int) -> int:
        fields = [(0, "Offset", self._numbers(shape)), (1, "Int8", TYPES[kind]), (2, "Uint32", buffer)]
        if quantization:
            fields.append((4, "Offset", quantization))
        self._tensors.append(self._table(*fields))
        self._shapes.append(tuple(shape))
        return len(self._tensors) - 1

    def _add(self, code: int, inputs: Sequence[int], shape: Sequence[int], kind: int = 0, options: int = 0) -> int:
        output = self._tensor(shape, "float32", 0, 0)
        fields = [(0, "Uint32", list(VERSIONS).index(code)), (1, "Offset", self._numbers(inputs))]
        fields.append((2, "Offset", self._numbers([output])))
        if options:
            fields += [(3, "Uint8", kind), (4, "Offset", options)]
        self._operators.append(self._table(*fields))
        return output

    def _table(self, *fields: tuple[int, str, Any]) -> int:
        """A flatbuffers table of (slot, kind, number) and where it lies."""
        self._builder.StartObject(1 + max((slot for slot, _, _ in fields), default=0))
        for slot, kind, number in fields:
            name = "UOffsetTRelative" if kind == "Offset" else kind
            # A default that no number equals: every field is written.
            getattr(self._builder, f"Prepend{name}Slot")(slot, number, None if kind != "Offset" else 0)
        return int(self._builder.EndObject())

    def _numbers(self, numbers: Sequence[int] | NDArray[Any]) -> int:
        """A vector of whole numbers (int32) or of an array's own."""
        array = numbers if isinstance(numbers, np.ndarray) else np.array(numbers, dtype=np.int32)
        return int(self._builder.CreateNumpyVector(array))

    def _offsets(self, offsets: Sequence[int]) -> int:
        """A vector of tables."""
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())


def for_pairs(kernel: Array) -> Array:
    """A convolution of single pixels as one of pairs of neighbours in a row, of which it gives pairs.

    Kernels for 8 bits take the channels of a pixel by the eight: three of them leave more of it idle than six do, which
    costs the first layer a third of its time.

    Args:
        kernel: (3, 3, channels, outputs).

    Returns:
        (3, 2, 2 * channels, 2 * outputs), half of a pair after the other.
    """
    rows, columns, channels, outputs = kernel.shape
    pairs = np.zeros((rows, 2, 2, channels, 2, outputs), np.float32)
    for half in range(2):
        for column in range(columns):
            pairs[:, (half + column) // 2, (half + column) % 2, :, half] = kernel[:, column]
    return pairs.reshape(rows, 2, 2 * channels, 2 * outputs)


def build(arrays: Sequence[Array]) -> bytes:
    """O-Net as a TFLite file.

    The last layer stays exact: rounding its weights alone moves the landmarks by twice what all the others' does.

    Args:
        arrays: its 21 arrays, in the order of the Keras layers.

    Returns:
        A model from (n, 48, 48, 3) float32 RGB in 0..255 to (n, 16): what `networks.o_net` gives. Each square is turned
        into 8 bits by its own values, so they don't change each other.
    """
    graph = Graph()
    pixels = graph.value(1, SIDE, SIDE, 3)
    kernel, bias = networks.first_layer(arrays)
    value = graph.reshape(pixels, SIDE, SIDE // 2, 6)
    value = graph.convolve(value, for_pairs(kernel.transpose(2, 3, 1, 0)), np.tile(bias, 2))
    value = graph.prelu(value, np.tile(arrays[2].reshape(-1), 2))
    value = graph.pool(graph.reshape(value, SIDE - 2, SIDE - 2, 32), 3, same=True)
    value = graph.prelu(graph.convolve(value, arrays[3], arrays[4]), arrays[5])
    value = graph.pool(value, 3)
    value = graph.prelu(graph.convolve(value, arrays[6], arrays[7]), arrays[8])
    value = graph.pool(value, 2)
    value = graph.prelu(graph.convolve(value, arrays[9], arrays[10]), arrays[11])
    hidden, bias, slope, *heads = arrays[12:]
    # The package flattens (width, height, channels): its networks were trained on transposed images.
    hidden = hidden.reshape(3, 3, 128, -1).swapaxes(0, 1).reshape(hidden.shape)
    value = graph.prelu(graph.dense(graph.reshape(value, len(hidden)), hidden, bias), slope)
    ends = np.concatenate(heads[0::2], axis=1), np.concatenate(heads[1::2])
    return graph.serialize(pixels, graph.dense(value, *ends, exact=True))


def main() -> None:
    """Writes the file and says its SHA-256."""
    model = build(weights.read_arrays(weights.O_NET))
    OUTPUT.write_bytes(model)
    digest = hashlib.sha256(model).hexdigest()
    print(OUTPUT, digest, "as before" if digest == MADE else f"not as before: {MADE}")


if __name__ == "__main__":
    main()
