"""Pictures changed on their way into the discriminator. All are (batch, height, width, channels) float32 in -1..1.

DiffAugment (Zhao et al. 2020, arXiv:2006.10738): the same kinds of change for real and generated pictures, and the
generator's gradient goes through them, so a small set does not teach the discriminator its very pictures. Random
numbers come from outside (`draws`), one row a picture, so a step is a function of its inputs alone.
"""

from __future__ import annotations

from typing import Any

from keras import ops

SHIFT = 1 / 8
"""The longest translation, of the side."""
HOLE = 1 / 2
"""The hole's side, of the picture's."""


def augmented(images: Any, numbers: Any, policies: tuple[str, ...]) -> Any:
    """DiffAugment with the paper's strengths.

    Args:
        images: (batch, height, width, channels).
        numbers: (batch, draws.AUGMENTS) float32 in 0..1.
        policies: Any of color, translation, cutout.
    """
    if "color" in policies:
        images = _colored(images, numbers)
    if "translation" in policies:
        images = _translated(images, numbers[:, 3], numbers[:, 4])
    if "cutout" in policies:
        images = _holed(images, numbers[:, 5], numbers[:, 6])
    return images


def _colored(images: Any, numbers: Any) -> Any:
    """Brightness +-0.5, saturation times 0..2, contrast times 0.5..1.5."""
    brightness, saturation, contrast = (ops.reshape(numbers[:, i], (-1, 1, 1, 1)) for i in range(3))
    images = images + (brightness - 0.5)
    gray = ops.mean(images, axis=3, keepdims=True)
    images = (images - gray) * (saturation * 2.0) + gray
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) * (contrast + 0.5) + mean


def _translated(images: Any, down: Any, right: Any) -> Any:
    """Shifted by whole pixels; what comes in is 0, mid-gray.

    Written as products with shifted unit matrices: matrix products are cheap beside the convolutions, and their
    gradients (and those gradients' gradients) exist alike on every backend, which gathers' don't.
    """
    height, width = images.shape[1:3]
    images = ops.einsum("bih,bhwc->biwc", _shifts(down, height), images)
    return ops.einsum("bjw,biwc->bijc", _shifts(right, width), images)


def _shifts(number: Any, side: int) -> Any:
    """(batch, side, side): row i has its 1 at i - shift."""
    longest = int(side * SHIFT + 0.5)
    shift = ops.floor(number * (2 * longest + 1)) - longest
    places = ops.arange(side, dtype="float32")
    difference = ops.reshape(places, (1, side, 1)) - ops.reshape(places, (1, 1, side))
    return ops.cast(ops.equal(difference, ops.reshape(shift, (-1, 1, 1))), "float32")


def _holed(images: Any, row: Any, column: Any) -> Any:
    """A square hole, partly outside at times, set to 0."""
    height, width = images.shape[1:3]
    inside = ops.expand_dims(_hole(row, height), 2) * ops.expand_dims(_hole(column, width), 1)
    return images * (1.0 - ops.expand_dims(inside, 3))


def _hole(number: Any, side: int) -> Any:
    """(batch, side): 1 within the hole along one axis."""
    length = int(side * HOLE + 0.5)
    first = ops.reshape(ops.floor(number * (side + 1 - length % 2)) - length // 2, (-1, 1))
    places = ops.reshape(ops.arange(side, dtype="float32"), (1, side))
    return ops.cast(ops.logical_and(places >= first, places < first + length), "float32")
