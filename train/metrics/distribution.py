"""How far two sets of pictures, or of features, are from each other. Numpy and OpenCV alone.

Images are (n, height, width, channels) uint8; features (n, size) float. All distances are 0 for equal distributions,
but two samples of one distribution are a little apart: give each figure beside the one for real against real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Floats = NDArray[np.float32]

PATCH = 7
"""px: the side of the neighbourhoods that are compared."""
COARSEST = 16
"""px: the side of the pyramid's last level."""
BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16


def sliced_wasserstein(
    first: Images, second: Images, *, seed: int = 0, patches: int = 64, directions: int = 512
) -> dict[int, float]:
    """The sliced Wasserstein distance on Laplacian pyramids (Karras et al. 2018, arXiv:1710.10196), times 1000.

    At every level of the pyramid, 7x7 neighbourhoods of both sets, each channel brought to mean 0 and deviation 1
    within its set, are projected on random directions; the distance is the mean difference of the sorted projections.
    Fine levels tell of texture, the coarsest of shape.

    Args:
        first: One set; sides are powers of two from 16.
        second: The other, of the same shape; the longer set is cut.
        seed: For the places and directions.
        patches: Neighbourhoods a picture and level (the paper has 128 on 16,384 pictures).
        directions: Random directions.

    Returns:
        The distance by level, keyed by the level's side in px, finest first.

    Raises:
        InputError: The shapes differ, or there are fewer than 2 pictures.
    """
    count = min(len(first), len(second))
    if first.shape[1:] != second.shape[1:] or count < 2:
        raise InputError(
            f"can't compare {first.shape} with {second.shape}: give two sets of like pictures, 2 or more each"
        )
    levels = zip(laplacian_pyramid(first[:count]), laplacian_pyramid(second[:count]), strict=True)
    return {
        a.shape[1]: 1000.0 * _sliced(_patches(a, patches, seed), _patches(b, patches, seed + 1), directions, seed)
        for a, b in levels
    }


def laplacian_pyramid(images: Images) -> list[Floats]:
    """Band-passed pictures float32 in 0..1 steps, finest first, and the last, smallest one low-passed."""
    levels, present = [], images.astype(np.float32) / 255
    while present.shape[1] > COARSEST:
        smaller = _blurred(present)[:, ::2, ::2]
        spread = np.zeros_like(present)
        spread[:, ::2, ::2] = smaller
        levels.append(present - 4 * _blurred(spread))
        present = smaller
    return [*levels, present]


def _blurred(images: Floats) -> Floats:
    """5x5 binomial filter, mirrored at the edges."""
    blurred = [cv2.sepFilter2D(image, -1, BINOMIAL, BINOMIAL, borderType=cv2.BORDER_REFLECT_101) for image in images]
    return np.stack(blurred).reshape(images.shape)


def _patches(level: Floats, count: int, seed: int) -> Floats:
    """(n * count, 7 * 7 * channels), each channel normalised."""
    rng = np.random.default_rng([seed, level.shape[1]])
    last = level.shape[1] - PATCH + 1
    rows, columns = rng.integers(0, last, (2, len(level), count))
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))
    taken = windows[np.arange(len(level))[:, None], rows, columns].reshape(-1, level.shape[3], PATCH * PATCH)
    mean, deviation = taken.mean(axis=(0, 2), keepdims=True), taken.std(axis=(0, 2), keepdims=True)
    return ((taken - mean) / np.maximum(deviation, 1e-8)).reshape(len(taken), -1)


def _sliced(first: Floats, second: Floats, directions: int, seed: int) -> float:
    rng = np.random.default_rng([seed, 1])
    drawn = rng.standard_normal((first.shape[1], directions), np.float32)
    drawn /= np.linalg.norm(drawn, axis=0)
    total = 0.0
    for some in np.array_split(drawn, max(1, directions // 64), axis=1):
        difference = np.sort(first @ some, axis=0) - np.sort(second @ some, axis=0)
        total += float(np.abs(difference).mean(axis=0).sum())
    return total / directions


def frechet(first: Floats, second: Floats) -> float:
    """The Fréchet distance of two normal distributions fitted to features (Heusel et al. 2017, arXiv:1706.08500).

    It is called FID only where the features are Inception's: say beside it whose features these are.

    Raises:
        InputError: Sizes differ, or a set has fewer than 2 rows.
    """
    if first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise InputError(f"can't compare features of shapes {first.shape} and {second.shape}")
    a, b = first.astype(np.float64), second.astype(np.float64)
    a_covariance, b_covariance = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    a_covariance, b_covariance = np.atleast_2d(a_covariance), np.atleast_2d(b_covariance)
    root = _root(a_covariance)
    # The trace of (A B)^1/2 is that of (A^1/2 B A^1/2)^1/2, which is symmetric and needs no complex root.
    cross = np.linalg.eigvalsh(root @ b_covariance @ root)
    means = float(np.square(a.mean(axis=0) - b.mean(axis=0)).sum())
    traces = float(np.trace(a_covariance) + np.trace(b_covariance))
    return max(0.0, means + traces - 2 * float(np.sqrt(np.maximum(cross, 0)).sum()))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def precision_recall(real: Floats, fake: Floats, *, neighbours: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991) on features.

    Each set's manifold is the union of balls around its points that reach to the `neighbours`-th nearest other point.

    Returns:
        Precision: the share of fakes on the real manifold (are they good?). Recall: the share of reals on the fake
        one (is there all of it?). Both in 0..1.

    Raises:
        InputError: A set is no larger than `neighbours`.
    """
    if min(len(real), len(fake)) <= neighbours:
        raise InputError(f"precision and recall need more than {neighbours} pictures on each side")
    return _covered(real, fake, neighbours), _covered(fake, real, neighbours)


def _covered(manifold: Floats, points: Floats, neighbours: int) -> float:
    """The share of points inside any of the manifold's balls; distances are made a block at a time."""
    reach = np.concatenate(
        # Column 0 is the point itself.
        [np.partition(_squared(block, manifold), neighbours, axis=1)[:, neighbours] for block in _blocks(manifold)]
    )
    inside = [(_squared(block, manifold) <= reach).any(axis=1) for block in _blocks(points)]
    return float(np.concatenate(inside).mean())


def _blocks(rows: Floats, size: int = 1024) -> list[Floats]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _squared(first: Floats, second: Floats) -> NDArray[np.float64]:
    """(n, m) squared distances."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    lengths = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    return np.maximum(lengths - 2 * (a @ b.T), 0)
