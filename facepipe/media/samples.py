"""Samples of any depth, colour model or orientation -> RGB uint8, upright.

Large arrays are turned in strips of rows, so that the passing float and 16-bit copies stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import PIL.Image
    from numpy.typing import NDArray

    from facepipe.records import Image

BACKGROUND = 128
"""Gray level, 0..255, behind transparent pixels."""
FIRST_TRANSPOSED = 5
"""EXIF orientations from here on exchange width and height."""
_STRIP_ROWS = 16
_WHITES = (1.0, *(2.0**bits - 1 for bits in (8, 10, 12, 14, 16)))
_LEAST_USED = 0.26
"""Of what the bits hold: two bits more than are used leave a quarter of it."""


_TURNS: dict[int, Callable[[Image], Any]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: cv2.transpose,
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.flip(cv2.transpose(image), -1),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def upright(image: Image, orientation: int) -> Image:
    """Undoes an EXIF orientation (1..8): (h, w, 3) -> (h, w, 3), or (w, h, 3) from 5 on; contiguous."""
    turn = _TURNS.get(orientation)
    return image if turn is None else np.asarray(turn(image), np.uint8)


def shrink(image: Image, reduction: int) -> Image:
    """(h, w, 3) -> its sides divided by `reduction`, rounded up; each pixel the mean of those it covers."""
    if reduction == 1:
        return image
    height, width = image.shape[:2]
    size = (-(-width // reduction), -(-height // reduction))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def gray_to_rgb(gray: NDArray[np.uint8]) -> Image:
    """(h, w) -> (h, w, 3)."""
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)


def over_background(rgba: NDArray[np.uint8]) -> Image:
    """(h, w, 4), alpha not premultiplied -> (h, w, 3) over mid-gray; wholly transparent pictures keep their colours."""
    alpha = rgba[..., 3]
    if alpha.min() == 255 or alpha.max() == 0:
        return np.ascontiguousarray(rgba[..., :3])
    rgb = np.empty((*alpha.shape, 3), np.uint8)
    for rows in _strips(len(alpha)):
        weight = rgba[rows, :, 3:].astype(np.uint32)
        mixed = rgba[rows, :, :3] * weight + BACKGROUND * (255 - weight)
        rgb[rows] = (mixed + 127) // 255
    return rgb


def to_8_bit(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Any whole-number or float samples -> uint8 of the same shape; of four channels, the last by itself: alpha.

    White is the smallest that holds the largest value of: 1 (floats), then what 8, 10, 12, 14 and 16 bits hold, as
    cameras and scanners put 12 bits into files of 16; the one before, where the largest value is little above that:
    lossy compression, and the highlights of floats. With larger or negative values, from the least to the largest.
    NaN is black.
    """
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    out = np.empty(samples.shape, np.uint8)
    has_alpha = samples.ndim == 3 and samples.shape[2] == 4
    for channels in (slice(0, 3), slice(3, 4)) if has_alpha else (slice(None),):
        _scale(samples[..., channels], out[..., channels])
    return out


def _scale(samples: NDArray[Any], out: NDArray[np.uint8]) -> None:
    low, high = _value_range(samples)
    for rows in _strips(len(samples)):
        scaled = (np.nan_to_num(samples[rows].astype(np.float64), nan=low, posinf=high, neginf=low) - low) * (
            255 / (high - low)
        )
        out[rows] = np.clip(scaled + 0.5, 0, 255)


def _value_range(samples: NDArray[Any]) -> tuple[float, float]:
    """What is black and what is white."""
    if samples.dtype == np.bool_:
        return 0.0, 1.0
    low, high = 0.0, 0.0
    for rows in _strips(len(samples)):
        strip = samples[rows]
        finite = strip[np.isfinite(strip)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low < 0 or high > 65535:
        return low, max(high, np.nextafter(low, np.inf))
    whites = _WHITES[0 if samples.dtype.kind == "f" else 1 :]
    found = next(i for i, white in enumerate(whites) if high <= white)
    return 0.0, whites[found - 1 if found and high < _LEAST_USED * whites[found] else found]


def _strips(height: int) -> Iterator[slice]:
    for top in range(0, height, _STRIP_ROWS):
        yield slice(top, top + _STRIP_ROWS)


def opencv_to_rgb(samples: NDArray[Any]) -> Image:
    """What OpenCV gives undecided, (h, w) or (h, w, 1, 3 or 4) of any type in the order B, G, R, A -> (h, w, 3)."""
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    samples = to_8_bit(samples)
    if channels == 4:
        return over_background(np.asarray(cv2.cvtColor(samples, cv2.COLOR_BGRA2RGBA, dst=samples), np.uint8))
    return np.asarray(cv2.cvtColor(samples, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_GRAY2RGB), np.uint8)


def picture_to_rgb(picture: PIL.Image.Image) -> Image:
    """A loaded Pillow picture of any mode -> (h, w, 3) uint8 RGB, in its own orientation."""
    mode = picture.mode
    if mode == "RGB" and "transparency" not in picture.info:
        return np.array(picture)
    if mode in ("L", "1") and "transparency" not in picture.info:
        return gray_to_rgb(np.asarray(picture.convert("L")))
    if mode in ("F", "I") or mode.startswith("I;16"):
        return gray_to_rgb(to_8_bit(np.asarray(picture)))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return over_background(np.asarray(picture.convert("RGBA")))
    return np.array(picture.convert("RGB"))
