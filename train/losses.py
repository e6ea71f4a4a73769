"""The autoencoders' losses and the likeness of pictures, on (n, h, w, c) float32 images of 0..1: one value an image.

MS-SSIM: Wang, Simoncelli and Bovik 2003. Mixed with L1 at 0.84: Zhao, Gallo, Frosio and Kautz 2017 (arXiv:1511.08861).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WINDOW, SIGMA = 11, 1.5
"""px, of the Gaussian of SSIM (Wang et al. 2004)."""
C1, C2 = 0.01**2, 0.03**2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, finest first."""
MIX = 0.84
SHARE = 0.05
"""Of MS-SSIM beside the squared error, whose values are a tenth as large: enough for structure, too little to draw what
can't be known."""

HIDDEN, SEEN, PIXELS = 0.05, 4.0, 4.0
"""Of the flow's loss: weight of where hidden pixels lie, of what is seen, and of the picture's error there."""


def loss_named(name: str) -> str | Callable[[Any, Any], Any]:
    """What `Model.compile` takes for mse, mae, bce, ms-ssim-l1, ms-ssim-mse or flow."""
    own = {"bce": "binary_crossentropy", "ms-ssim-l1": ms_ssim_l1, "ms-ssim-mse": ms_ssim_mse, "flow": flow_loss}
    return own.get(name, name)


def flow_loss(target: Any, output: Any) -> Any:
    """(n,): how far from where the renderer knows it each pixel is taken, px, whether it is seen, and the error there.

    Args:
        target: (n, s, s, c + 3), the picture, and its flow as `models.warp` gives it.
        output: likewise.
    """
    side, seen = int(target.shape[1]), target[..., -1:]
    distance = ops.sqrt(ops.sum(ops.square(target[..., -3:-1] - output[..., -3:-1]), axis=-1, keepdims=True) + 1e-8)
    moved = side * (seen + HIDDEN * (1 - seen)) * distance
    pixels = seen * ops.mean(ops.abs(target[..., :-3] - output[..., :-3]), axis=-1, keepdims=True)
    return ops.mean(moved + SEEN * ops.square(seen - output[..., -1:]) + PIXELS * pixels, axis=(1, 2, 3))


def ms_ssim_l1(target: Any, output: Any) -> Any:
    """0.84 (1 - MS-SSIM) + 0.16 L1, (n,)."""
    l1 = ops.mean(ops.abs(target - output), axis=(1, 2, 3))
    return MIX * (1 - ms_ssim(target, output)) + (1 - MIX) * l1


def ms_ssim_mse(target: Any, output: Any) -> Any:
    """0.05 (1 - MS-SSIM) + MSE, (n,)."""
    mse = ops.mean(ops.square(target - output), axis=(1, 2, 3))
    return SHARE * (1 - ms_ssim(target, output)) + mse


def ms_ssim(left: Any, right: Any) -> Any:
    """(n,) in 0..1, over as many scales as leave room for the window (5 from 176 px, 3 at 64 px)."""
    levels = scales(int(left.shape[1]))
    weights = np.array(WEIGHTS[:levels]) / sum(WEIGHTS[:levels])
    left, right = _channels_first(left, right)
    total = 1.0
    for level, weight in enumerate(weights):
        whole, contrast = _ssim_terms(left, right)
        term = whole if level == levels - 1 else contrast
        # Kept above 0, where a power of less than 1 has no slope.
        total = total * ops.power(ops.maximum(term, 1e-4), float(weight))
        if level < levels - 1:
            left, right = _halved(left), _halved(right)
    return ops.mean(total, axis=1)


def ssim(left: Any, right: Any) -> Any:
    """(n,) in -1..1: the mean where the whole window fits, over all channels (Wang, Bovik, Sheikh, Simoncelli 2004)."""
    return ops.mean(_ssim_terms(*_channels_first(left, right))[0], axis=1)


def _channels_first(*images: Any) -> list[Any]:
    """(n, c, h, w): the last two axes are what the window's matrices multiply."""
    return [ops.transpose(ops.cast(x, "float32"), (0, 3, 1, 2)) for x in images]


def scales(size: int) -> int:
    """How many halvings of `size` px leave room for the window, at most five; an image below 11 px has one."""
    return max(1, sum(size >> level >= WINDOW for level in range(len(WEIGHTS))))


def _ssim_terms(left: Any, right: Any) -> tuple[Any, Any]:
    """SSIM, and its contrast and structure alone, each the mean over the picture: (n, c)."""
    window = ops.convert_to_tensor(_window(int(left.shape[2])))

    def smooth(x: Any) -> Any:
        return ops.matmul(ops.matmul(window, x), ops.transpose(window))

    mean_l, mean_r = smooth(left), smooth(right)
    var_l = smooth(left * left) - mean_l * mean_l
    var_r = smooth(right * right) - mean_r * mean_r
    both = smooth(left * right) - mean_l * mean_r
    contrast = (2 * both + C2) / (var_l + var_r + C2)
    luminance = (2 * mean_l * mean_r + C1) / (mean_l * mean_l + mean_r * mean_r + C1)
    return ops.mean(luminance * contrast, axis=(2, 3)), ops.mean(contrast, axis=(2, 3))


@cache
def _window(size: int) -> NDArray[np.float32]:
    """A matrix (places, size) whose rows are the Gaussian at every place where it fits."""
    width = min(WINDOW, size)
    bell = np.exp(-((np.arange(width) - (width - 1) / 2) ** 2) / (2 * SIGMA**2))
    rows = np.zeros((size - width + 1, size))
    for place in range(len(rows)):
        rows[place, place : place + width] = bell / bell.sum()
    return rows.astype(np.float32)


def _halved(x: Any) -> Any:
    _, c, h, w = x.shape
    even = x[:, :, : h // 2 * 2, : w // 2 * 2]
    return ops.mean(ops.reshape(even, (-1, c, h // 2, 2, w // 2, 2)), axis=(3, 5))
