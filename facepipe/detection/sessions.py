"""How networks are run on ONNX Runtime: one thread, memory that does not grow with the input shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnxruntime

from facepipe.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.records import Image


def open_session(model: bytes, *, keep_memory: bool = False) -> onnxruntime.InferenceSession:
    """A session for a serialized ONNX model.

    One thread: facepipe runs one worker process a core.

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
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"the model can't be run: {line}") from error


def to_planes(images: Sequence[Image]) -> NDArray[np.float32]:
    """N images (h, w, 3) uint8 of one shape as the networks take them: (n, 3, h, w) float32, the values as they are.

    OpenCV's `blobFromImages` does the same and takes longer.
    """
    height, width, channels = images[0].shape
    planes = np.empty((len(images), channels, height, width), dtype=np.uint8)
    for image, (red, green, blue) in zip(images, planes, strict=True):
        cv2.split(image, [red, green, blue])  # written where they are to be
    return planes.astype(np.float32)
