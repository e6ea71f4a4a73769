"""How networks are run: ONNX Runtime, or LiteRT where weights have 8 bits; on one thread, a worker has one core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime

from facepipe.errors import WeightsError
from facepipe.media.stderr import captured_stderr
from facepipe.text import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.records import Image


def open_session(model: bytes, *, keep_memory: bool = False) -> onnxruntime.InferenceSession:
    """A session for a serialized ONNX model.

    Args:
        model: the bytes.
        keep_memory: hold on to the memory of every input shape, planned as one block (memory arena and pattern), which
            stays in the core's caches: for inputs that are small and of few shapes. Photographs come in thousands.

    Raises:
        WeightsError: the bytes are no model that ONNX Runtime can run.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = keep_memory
    options.enable_mem_pattern = keep_memory
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime raises half a dozen exception types of its own for a bad model.
        raise WeightsError(f"the model can't be run: {first_line(error)}") from error


def to_planes(images: Sequence[Image]) -> NDArray[np.float32]:
    """N images (h, w, 3) uint8 of one shape as the networks take them: (n, 3, h, w) float32, the values as they are.

    OpenCV's `blobFromImages` does the same and takes longer.
    """
    height, width, channels = images[0].shape
    planes = np.empty((len(images), channels, height, width), dtype=np.uint8)
    for image, (red, green, blue) in zip(images, planes, strict=True):
        cv2.split(image, [red, green, blue])  # written where they are to be
    return planes.astype(np.float32)


class Network:
    """A TFLite network of one input: LiteRT's kernels for int8 weights have no match in ONNX Runtime. Not thread-safe.

    Args:
        model: the file's bytes.
        name: what messages call it.

    Raises:
        WeightsError: LiteRT can't run it, or can't be imported here.
    """

    def __init__(self, model: bytes, name: str) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise WeightsError(
                f"LiteRT can't be loaded ({error}): pip install --force-reinstall ai-edge-litert"
            ) from error
        try:
            with captured_stderr((b"INFO: ",)):  # its own line about its delegate, written from C++
                network: Any = Interpreter(model_content=model, num_threads=1)
                network.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise WeightsError(f"{name} is no TFLite model") from error
        inputs, outputs = network.get_input_details(), network.get_output_details()
        self.input_shapes = [tuple(int(side) for side in each["shape"]) for each in inputs]
        self.output_sizes = [int(np.prod(each["shape"])) for each in outputs]
        self._network = network
        self._input, self._outputs = int(inputs[0]["index"]), [int(each["index"]) for each in outputs]
        self._dtype = inputs[0]["dtype"]
        self._number = self.input_shapes[0][0]

    def run(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for n inputs of the declared shape, (n, ...), uint8 or float32; n may differ from call to call.

        Another n than the one before costs 10 microseconds. The network's reshapes must leave n open (-1).
        """
        if len(values) != self._number:
            self._number = len(values)
            self._network.resize_tensor_input(self._input, (self._number, *self.input_shapes[0][1:]))
            self._network.allocate_tensors()
        self._network.set_tensor(self._input, values.astype(self._dtype, copy=False))
        self._network.invoke()
        return [self._network.get_tensor(index) for index in self._outputs]
