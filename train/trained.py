"""A trained autoencoder taken out of its run folder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from train import checkpoints
from train.backend import devices_in_use, filled
from train.config import AutoencoderConfig
from train.models.autoencoders import build_model
from train.models.parts import half
from train.models.warp import fingerprints
from train.presets import from_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from train.runs import Run

BATCH = 64


class Trained:
    """A run's model with a checkpoint's weights.

    Attributes:
        config: What it was trained with.
        model: (n, input_size, input_size, channels) in the model's own range -> (n, output_size, ...) 0..1.
        state: The checkpoint's: history and so on.
    """

    def __init__(self, run: Run, checkpoint: str = "best") -> None:
        self.config = from_json(AutoencoderConfig, run.settings)
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if self.config.precision == "bfloat16" else "float32")
        self.model = build_model(self.config)
        path = run.checkpoint(checkpoint)
        self.state = checkpoints.load(path, {"weights": self.model.weights})
        if not {"history", "best_epoch"} <= self.state.keys():
            raise checkpoints.damaged(path, "its state is not an autoencoder's")

    def reconstruct(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, s, s, c) uint8 at the model's input size -> (n, t, t, c) float32, 0..1."""
        return self._run(self.model, faces)

    def encode(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, s, s, c) uint8 -> fingerprints (n, latent) float32; a latent map is flattened."""
        if self.config.family == "warp":
            return fingerprints(self.reconstruct(faces), self.config.latent)
        latents = self._run(half(self.model, "encoder"), faces)
        return latents.reshape(len(latents), -1)

    def _run(self, model: keras.Model, faces: NDArray[np.uint8]) -> NDArray[Any]:
        """In batches of one size, the last one filled up: a compiled step meets no new shape."""
        outputs = []
        for start in range(0, len(faces), BATCH):
            part = faces[start : start + BATCH]
            batch = filled(part, math.lcm(BATCH if start else 1, devices_in_use()))
            out = model.predict_on_batch(self.scale(batch))
            outputs.append(np.asarray(keras.ops.convert_to_numpy(out), np.float32)[: len(part)])
        return np.concatenate(outputs)

    def scale(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 -> what the model takes."""
        scaled = faces.astype(np.float32)
        return scaled if self.config.input_scale == "bytes" else scaled * np.float32(1 / 255)
