"""How close a reconstructed face is to its target, by how far the feature is turned; how much pictures of a set differ.

Images are (n, h, w, c): float32 of 0..1, or uint8 where it says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from facepipe.errors import InputError
from train.losses import ms_ssim, ssim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Images = NDArray[np.float32]
    Values = NDArray[np.float64]

BANDS = ((0, 15), (15, 30), (30, 45), (45, 60), (60, 90))
"""Degrees of |yaw|; the lower end belongs to a band, and 90 to the last."""
UNKNOWN = "unknown"
LEAST_MSE = 1e-10
"""Caps PSNR at 100 dB."""


def measures(target: Images, output: Images) -> dict[str, Values]:
    """mse, mae, psnr (dB) and ssim of each image: (n,) float64."""
    difference = output.astype(np.float64) - target
    mse = np.mean(difference**2, axis=(1, 2, 3))
    return {
        "mse": mse,
        "mae": np.mean(np.abs(difference), axis=(1, 2, 3)),
        "psnr": -10 * np.log10(np.maximum(mse, LEAST_MSE)),
        "ssim": ops.convert_to_numpy(ssim(target, output)).astype(np.float64),
    }


def band_names() -> list[str]:
    """`0-15` and so on."""
    return [f"{low}-{high}" for low, high in BANDS]


def bands_of(yaws: NDArray[Any]) -> NDArray[np.str_]:
    """The band's name of each yaw (degrees, either sign); NaN is `unknown`."""
    turned = np.abs(np.asarray(yaws, np.float64))
    names = np.full(turned.shape, UNKNOWN, "<U7")
    for (low, _), name in zip(BANDS, band_names(), strict=True):
        names[turned >= low] = name
    return names


def by_band(values: Mapping[str, Values], bands: NDArray[np.str_]) -> dict[str, dict[str, float]]:
    """Means of each measure, over `all` and over each band that has images; `images` counts them."""
    table = {"all": _means(values, np.ones(len(bands), bool))}
    for name in (*band_names(), UNKNOWN):
        if (chosen := bands == name).any():
            table[name] = _means(values, chosen)
    return table


def _means(values: Mapping[str, Values], chosen: NDArray[np.bool_]) -> dict[str, float]:
    means = {name: float(np.mean(numbers[chosen])) for name, numbers in values.items()}
    return {"images": int(chosen.sum()), **means}


def random_pairs(count: int, pairs: int, seed: int) -> NDArray[np.int64]:
    """(pairs, 2) places of different pictures."""
    rng = np.random.default_rng([seed, count])
    first = rng.integers(0, count, pairs)
    return np.stack([first, (first + rng.integers(1, count, pairs)) % count], axis=1)


def pairwise_distance(images: NDArray[np.uint8], *, pairs: int = 512, seed: int = 0) -> float:
    """The mean over random pairs of the root mean squared difference, of values in 0..1; 0: all the same."""
    first, second = _pair_up(images, pairs, seed)
    return float(np.sqrt(np.square(first - second).mean(axis=(1, 2, 3))).mean())


def mean_ms_ssim(images: NDArray[np.uint8], *, pairs: int = 128, seed: int = 0) -> float:
    """The mean MS-SSIM of random pairs: how alike they are (Odena et al. 2017, arXiv:1610.09585); 1: all the same."""
    return float(np.mean(ops.convert_to_numpy(ms_ssim(*_pair_up(images, pairs, seed)))))


def _pair_up(images: NDArray[np.uint8], pairs: int, seed: int) -> tuple[Images, Images]:
    if len(images) < 2:
        raise InputError("variety needs 2 pictures or more")
    places = random_pairs(len(images), pairs, seed)
    scaled = images.astype(np.float32) / 255
    return scaled[places[:, 0]], scaled[places[:, 1]]
