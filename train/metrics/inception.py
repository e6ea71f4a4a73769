"""Features of a network that the user gives as a file: with Inception-v3's, distances may be called FID.

An `.onnx` file runs on ONNX Runtime, a `.keras` or `.h5` file on Keras. The network takes RGB pictures in -1..1, as
both common ports of Inception-v3 do; its first output, flattened, is the feature.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.errors import InputError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Network = Callable[[NDArray[np.float32]], NDArray[Any]]

SIDE = 299
"""px: Inception's input, where the file leaves it open."""
BATCH = 32


def check_file(path: str) -> None:
    """Raises a `WeightsError` for a path that is given and no file."""
    if path and not os.path.isfile(path):
        raise WeightsError(f"--inception {path} is no file; give Inception-v3 as .onnx, .keras or .h5")


def file_features(path: str, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The features of a network in a file.

    Args:
        path: The file.
        images: (n, height, width, 1 or 3) uint8, gray or RGB.

    Returns:
        (n, size) float32.

    Raises:
        WeightsError: The file is missing, no network, or does not take such pictures.
    """
    check_file(path)
    try:
        network, side, first = _onnx(path) if path.lower().endswith(".onnx") else _keras(path)
        batches = [network(_prepared(images[i : i + BATCH], side, first)) for i in range(0, len(images), BATCH)]
    except Exception as error:
        # Foreign code on a foreign file: whatever it says belongs in one sentence.
        cause = str(error).strip().split("\n")[0]
        raise WeightsError(
            f"--inception {path} can't be run ({cause}); give Inception-v3 as .onnx, .keras or .h5"
        ) from error
    features = np.concatenate([np.asarray(batch, np.float32).reshape(len(batch), -1) for batch in batches])
    if not np.isfinite(features).all():
        raise InputError(f"--inception {path} gives features that are no numbers")
    return features


def _onnx(path: str) -> tuple[Network, int, bool]:
    """The network, its side in px, and whether channels come first."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    first = taken.shape[1] == 3
    side = taken.shape[2]
    return lambda x: session.run(None, {taken.name: x})[0], side if isinstance(side, int) else SIDE, first


def _keras(path: str) -> tuple[Network, int, bool]:
    import keras

    model = keras.saving.load_model(path, compile=False)
    side = model.input_shape[1] or SIDE
    return lambda x: keras.ops.convert_to_numpy(model.predict_on_batch(x)), side, False


def _prepared(images: NDArray[np.uint8], side: int, channels_first: bool) -> NDArray[np.float32]:
    """(n, side, side, 3) or (n, 3, side, side) float32 in -1..1, resized bilinearly."""
    color = np.broadcast_to(images, (*images.shape[:3], 3))
    resized = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR) for image in color])
    scaled = resized.astype(np.float32) / 127.5 - 1
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)) if channels_first else scaled
