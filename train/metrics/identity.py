"""Whether fingerprints tell people apart: rank-1 identification and ROC AUC, against plain baselines. Numpy alone.

One frontal image of each person is the gallery, every other image a probe. Vectors are compared by the cosine of their
angle, after the mean over training targets is taken off: the same for all kinds of vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from train.metrics.images import UNKNOWN, band_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

AMONG = 100
"""People among whom rank-1 is told as well: the more there are, the harder one is found, and figures of data sets of
different sizes would say little beside each other."""
MOST_TARGETS = 2000
"""PCA's axes come from at most so many training targets."""


@dataclass(frozen=True)
class Principal:
    """Principal components: `mean` (d,), `axes` (k, d), orthonormal rows, the widest first."""

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    def project(self, vectors: Vectors) -> NDArray[np.float64]:
        """(n, d) -> (n, k)."""
        return (vectors - self.mean) @ self.axes.T


def principal_components(vectors: Vectors, count: int) -> Principal:
    """The first `count` components, or as many as the vectors (n, d) span: at most n - 1."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - mean
    _, widths, axes = np.linalg.svd(centred, full_matrices=False)
    return Principal(mean, axes[: min(count, int(np.sum(widths > widths[0] * 3e-5)))])


def similarities(probes: Vectors, gallery: Vectors, mean: NDArray[Any]) -> NDArray[np.float64]:
    """(p, g): cosines, -1..1; a vector equal to the mean is like nobody (0)."""

    def units(vectors: Vectors) -> NDArray[np.float64]:
        centred = vectors - np.asarray(mean, np.float64)
        return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)

    return units(probes) @ units(gallery).T


def roc_auc(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """The chance that a `same` value is above a `different` one, both at random, ties counted half; NaN without."""
    if not len(same) or not len(different):
        return float("nan")
    ordered = np.sort(different)
    below = np.searchsorted(ordered, same, "left")
    up_to = np.searchsorted(ordered, same, "right")
    return float(np.mean((below + up_to) / 2) / len(ordered))


def identification(
    likeness: NDArray[np.float64], probes: NDArray[Any], gallery: NDArray[Any], bands: NDArray[np.str_]
) -> dict[str, dict[str, float]]:
    """Rank-1, among all and among AMONG people, and AUC over `all` probes and each yaw band.

    Args:
        likeness: (p, g), from `similarities`.
        probes: (p,) identities.
        gallery: (g,) identities, each once.
        bands: (p,) from `images.bands_of`.

    Returns:
        name -> probes, rank1 (the share whose most alike gallery image is their own person's), rank1_of_100 (the same,
        expected where AMONG - 1 of the others are in the gallery, drawn at random) and auc.
    """
    own = probes[:, None] == gallery[None]
    right = own[np.arange(len(probes)), likeness.argmax(axis=1)]
    more_alike = (likeness >= np.where(own, likeness, -np.inf).max(axis=1)[:, None]).sum(axis=1) - 1
    few = _chance_of_none(more_alike, len(gallery) - 1, AMONG - 1) if len(gallery) > AMONG else right
    table = {}
    for name in ("all", *band_names(), UNKNOWN):
        chosen = np.ones(len(probes), bool) if name == "all" else bands == name
        if chosen.any():
            table[name] = {
                "probes": int(chosen.sum()),
                "rank1": float(right[chosen].mean()),
                "rank1_of_100": float(few[chosen].mean()),
                "auc": roc_auc(likeness[chosen][own[chosen]], likeness[chosen][~own[chosen]]),
            }
    return table


def _chance_of_none(some: NDArray[np.int64], of: int, drawn: int) -> NDArray[np.float64]:
    """The chance (n,) that `drawn` of `of`, without putting back, are none of the `some` (n,) among these."""
    left = of - some[:, None] - np.arange(drawn)
    return np.prod(np.clip(left, 0, None) / (of - np.arange(drawn)), axis=1)
