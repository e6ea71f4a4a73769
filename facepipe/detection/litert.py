"""How networks are run on LiteRT, whose kernels for int8 weights ONNX Runtime has no match for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import WeightsError
from facepipe.media.stderr import captured_stderr

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


class Network:
    """A TFLite network of one input, ready to run on one thread. Not thread-safe; one a process.

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

    def run(self, values: Array) -> list[Array]:
        """The outputs, float32, for an input of the declared shape."""
        self._network.set_tensor(self._input, values)
        self._network.invoke()
        return [self._network.get_tensor(index) for index in self._outputs]
