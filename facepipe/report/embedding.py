"""A user's face embedding model, run on stored crops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import InputError
from facepipe.text import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import Image

_SIDE = 112


class Embedder:
    """An ONNX model from face crops to vectors.

    Its first input is (n, 3, side, side) or (n, side, side, 3) float32 RGB, scaled to -1..1; 112 px where it leaves the
    side open. Its first output is taken as the vector.

    Raises:
        InputError: the file is no such model.
    """

    def __init__(self, path: str) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"--embedder {path} is no ONNX model that can be run ({first_line(error)})") from error
        given = self._session.get_inputs()[0]
        self._input, shape = given.name, list(given.shape)
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise InputError(f"--embedder {path} takes {shape}; it must take (n, 3, side, side) or (n, side, side, 3)")
        self._channels_first = shape[1] == 3
        sides = [size for size in (shape[2:] if self._channels_first else shape[1:3]) if isinstance(size, int)]
        if len(set(sides)) > 1:
            raise InputError(f"--embedder {path} takes {shape}; crops are square")
        self.side = sides[0] if sides else _SIDE

    def embed(self, crop: Image) -> NDArray[np.float32]:
        """(side, side, 3) uint8 RGB -> (d,) float32."""
        scaled = (crop.astype(np.float32) - 127.5) / 127.5
        batch = (scaled.transpose(2, 0, 1) if self._channels_first else scaled)[None]
        return np.asarray(self._session.run(None, {self._input: batch})[0], dtype=np.float32).ravel()
