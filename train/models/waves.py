"""A straight line from feature to output, for a network to begin with: the first cosine waves of the picture.

A wave is a column of the two-dimensional discrete cosine transform (Ahmed, Natarajan and Rao 1974), lowest frequencies
first. The encoder's line measures as many waves as the fingerprint has numbers; the decoder's draws them again, weaker.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from train.models.parts import PACKAGE, SeededGlorot, half

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from train.feeds import Feed

POOL = 4
"""The line sees the feature at a quarter of its sides: no finer wave is worth a number of the fingerprint."""
GAIN = 0.2
"""How strongly a person's face differs from the mean in the first output: between two photographs of the same person
little more than that is alike."""
SLOPE = 0.25
"""Of the sigmoid at its middle."""
MEASURED, DRAWN = "waves", "drawn_waves"
"""The layers' names."""
MOST_BATCHES = 200


def wave_table(count: int, side: int, size: int, channels: int) -> NDArray[np.float32]:
    """(count, size * size * channels): waves of unit length on `side` x `side`, taken at the pixels of `size` x `size`.

    Ordered by frequency, each in every channel by itself; zeros where there are no more than side * side * channels.
    """
    along = (np.arange(size) + 0.5) * np.pi / size
    rows = np.cos(np.arange(side)[:, None] * along) * np.sqrt(np.where(np.arange(side) > 0, 2, 1) / side)[:, None]
    order = sorted(itertools.product(range(side), repeat=2), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    table = np.zeros((count, size, size, channels), np.float32)
    for place, ((u, v), channel) in enumerate(itertools.islice(itertools.product(order, range(channels)), count)):
        table[place, :, :, channel] = np.outer(rows[u], rows[v])
    return table.reshape(count, -1)


@keras.saving.register_keras_serializable(PACKAGE)
class MeasuringWaves(keras.initializers.Initializer):
    """Kernel (side * side * channels, latent) that measures the waves; Glorot's numbers where there are no more."""

    def __init__(self, side: int, channels: int, scale: float, seed: tuple[int, ...]) -> None:
        self.side, self.channels, self.scale, self.seed = side, channels, scale, tuple(seed)

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A tensor of `shape`."""
        kernel = wave_table(shape[1], self.side, self.side, self.channels).T
        rest = ops.convert_to_numpy(SeededGlorot(self.seed)(shape))
        return ops.convert_to_tensor(np.where(kernel.any(axis=0), kernel, rest) * self.scale, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"side": self.side, "channels": self.channels, "scale": self.scale, "seed": list(self.seed)}


@keras.saving.register_keras_serializable(PACKAGE)
class DrawingWaves(keras.initializers.Initializer):
    """Kernel (latent, size * size * channels) that draws waves measured at `side`, `gain` times as high."""

    def __init__(self, side: int, size: int, channels: int, gain: float = GAIN) -> None:
        self.side, self.size, self.channels, self.gain = side, size, channels, gain

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> Any:
        """A tensor of `shape`."""
        table = wave_table(shape[0], self.side, self.size, self.channels)
        return ops.convert_to_tensor(table * np.float32(self.gain / SLOPE), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"side": self.side, "size": self.size, "channels": self.channels, "gain": self.gain}


def start_at_means(model: keras.Model, feed: Feed) -> None:
    """Sets two biases from the training pairs: the mean feature's fingerprint is 0, and 0 is drawn as the mean target.

    Args:
        model: With the layers that `MEASURED` and `DRAWN` name.
        feed: Training batches; a pass over them is read, or as much of it as `MOST_BATCHES`.
    """
    means, count = [0.0, 0.0], min(feed.steps, MOST_BATCHES)
    for batch in itertools.islice(iter(feed), count):
        means = [mean + np.asarray(x, np.float64).mean(axis=0) / count for mean, x in zip(means, batch, strict=False)]
    feature, target = (np.asarray(mean, np.float32) for mean in means)
    measured, drawn = half(model, "encoder").get_layer(MEASURED), half(model, "decoder").get_layer(DRAWN)
    measured.bias.assign(-_pooled(feature) @ ops.convert_to_numpy(measured.kernel))
    likely = np.clip(target, 0.01, 0.99)
    drawn.bias.assign(np.log(likely / (1 - likely)).ravel())


def _pooled(image: NDArray[np.float32]) -> NDArray[np.float32]:
    side, _, channels = image.shape
    return image.reshape(side // POOL, POOL, side // POOL, POOL, channels).mean(axis=(1, 3)).ravel()
