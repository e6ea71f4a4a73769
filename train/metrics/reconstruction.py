"""How close a reconstructed face is to the target: MSE, MAE, PSNR, SSIM. Numpy and OpenCV alone.

Images are (n, h, w, c) float32 of 0..1; every measure gives (n,) float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Images = NDArray[np.float32]
    Values = NDArray[np.float64]

WINDOW, SIGMA = 11, 1.5
"""px, of the Gaussian of SSIM (Wang, Bovik, Sheikh and Simoncelli 2004)."""
C1, C2 = 0.01**2, 0.03**2
BANDS = ((0, 15), (15, 30), (30, 45), (45, 60), (60, 90))
"""Degrees of |yaw|; the lower end belongs to a band, and 90 to the last."""
UNKNOWN = "unknown"
LEAST_MSE = 1e-10
"""Caps PSNR at 100 dB."""


def measures(target: Images, output: Images) -> dict[str, Values]:
    """mse, mae, psnr (dB) and ssim of each image."""
    difference = output.astype(np.float64) - target
    mse = np.mean(difference**2, axis=(1, 2, 3))
    return {
        "mse": mse,
        "mae": np.mean(np.abs(difference), axis=(1, 2, 3)),
        "psnr": -10 * np.log10(np.maximum(mse, LEAST_MSE)),
        "ssim": np.array([ssim(t, o) for t, o in zip(target, output, strict=True)]),
    }


def ssim(target: NDArray[np.float32], output: NDArray[np.float32]) -> float:
    """The mean SSIM of two images (h, w, c) where the whole window fits, over all channels; the window is at most h."""
    window = min(WINDOW, target.shape[0] - (target.shape[0] + 1) % 2)
    edge = window // 2

    def smooth(image: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred = cv2.GaussianBlur(image, (window, window), SIGMA).reshape(image.shape)
        return blurred[edge : len(image) - edge, edge : image.shape[1] - edge]

    a, b = target.astype(np.float64), output.astype(np.float64)
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + C1) * (2 * both + C2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))))


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
