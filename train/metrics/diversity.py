"""How much the pictures of one set differ from each other. Numpy alone; images are (n, height, width, c) uint8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Floats = NDArray[np.float32]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, finest first (Wang et al. 2003)."""
WINDOW = 11
DEVIATION = 1.5


def random_pairs(count: int, pairs: int, seed: int) -> NDArray[np.int64]:
    """(pairs, 2) places of different pictures."""
    rng = np.random.default_rng([seed, count])
    first = rng.integers(0, count, pairs)
    return np.stack([first, (first + rng.integers(1, count, pairs)) % count], axis=1)


def pairwise_distance(images: Images, *, pairs: int = 512, seed: int = 0) -> float:
    """The mean over random pairs of the root mean squared difference, of values in 0..1; 0: all the same."""
    first, second = _pair_up(images, pairs, seed)
    return float(np.sqrt(np.square(first - second).mean(axis=(1, 2, 3))).mean())


def mean_ms_ssim(images: Images, *, pairs: int = 128, seed: int = 0) -> float:
    """The mean MS-SSIM of random pairs: how alike they are (Odena et al. 2017, arXiv:1610.09585); 1: all the same."""
    return float(ms_ssim(*_pair_up(images, pairs, seed)).mean())


def _pair_up(images: Images, pairs: int, seed: int) -> tuple[Floats, Floats]:
    if len(images) < 2:
        raise InputError("variety needs 2 pictures or more")
    places = random_pairs(len(images), pairs, seed)
    scaled = images.astype(np.float32) / 255
    return scaled[places[:, 0]], scaled[places[:, 1]]


def ms_ssim(first: Floats, second: Floats) -> Floats:
    """Multi-scale structural similarity (Wang et al. 2003) of pictures in 0..1, channels apart, then their mean.

    As many of the five scales are used as the 11 px window fits in (two at 32 px), their weights brought to sum 1.

    Args:
        first: (n, height, width, channels), at least 11 px.
        second: The same shape.

    Returns:
        (n,) float32, at most 1; negative similarities count as 0.
    """
    scales = max(1, min(len(WEIGHTS), (min(first.shape[1:3]) // WINDOW).bit_length()))
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    result = np.ones((len(first), first.shape[3]))
    for scale, weight in enumerate(weights):
        whole, contrast = _ssim(first, second)
        part = whole if scale == scales - 1 else contrast
        result *= np.maximum(part, 0) ** weight
        first, second = _halved(first), _halved(second)
    return result.mean(axis=1).astype(np.float32)


def _ssim(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """SSIM and its contrast-structure part, (n, channels) each."""
    small, large = 0.01**2, 0.03**2
    a, b = _smoothed(first), _smoothed(second)
    a_variance, b_variance = _smoothed(first * first) - a * a, _smoothed(second * second) - b * b
    covariance = _smoothed(first * second) - a * b
    contrast = (2 * covariance + large) / (a_variance + b_variance + large)
    luminance = (2 * a * b + small) / (a * a + b * b + small)
    return (luminance * contrast).mean(axis=(1, 2)), contrast.mean(axis=(1, 2))


def _smoothed(images: Floats) -> Floats:
    """An 11 px Gaussian window, where it fits whole."""
    places = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-np.square(places) / (2 * DEVIATION**2)).astype(np.float32)
    window /= window.sum()
    for axis in (1, 2):
        size = images.shape[axis] - WINDOW + 1
        images = sum(window[i] * images.take(range(i, i + size), axis=axis) for i in range(WINDOW))
    return images


def _halved(images: Floats) -> Floats:
    """The mean of 2x2 pixels."""
    height, width = (size // 2 * 2 for size in images.shape[1:3])
    return images[:, :height, :width].reshape(len(images), height // 2, 2, width // 2, 2, -1).mean(axis=(2, 4))
