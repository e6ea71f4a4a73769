"""Noise for training pictures: eight kinds, each with a strength from 0 (none) to 1.

| kind | what a strength s does |
|---|---|
| gaussian | adds normal noise of standard deviation s (of the full range) to every value |
| salt-and-pepper | turns a share s of the pixels black or white |
| speckle | multiplies every value by 1 + s times normal noise |
| poisson | shot noise: a white pixel counts 1/s^2 photons, so its standard deviation is s |
| blur | Gaussian blur with a sigma of s / 10 of the side |
| jpeg | saved as JPEG of quality 100 - 99 s |
| low-resolution | shrunk to 1 - s of the side (at least 2 px) and enlarged again |
| occlusion | covers a share s of the area with a rectangle of one colour |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.errors import UsageError
from facepipe.text import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    """(n, height, width, channels) uint8, 0..255; one channel (gray) or three (RGB)."""

NO_NOISE = "none"
"""Stands alone."""
Draw = Callable[[int], np.random.Generator]
"""Index of an image in its block -> that image's generator; each call ends the one before."""


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise and its strength, 0 < strength <= 1."""

    kind: str
    strength: float


def parse_noise(texts: Iterable[str]) -> tuple[Noise, ...]:
    """`["gaussian:0.03,0.1", "blur:0.2"]` -> one `Noise` a strength, in that order.

    Raises:
        UsageError: an unknown kind (the nearest one is named), a strength that is none, or the same one twice.
    """
    found: list[Noise] = []
    for text in texts:
        kind, _, strengths = text.partition(":")
        _check_kind(kind.strip(), text)
        if not strengths.strip():
            raise UsageError(f"--noise {text}: no strength; give KIND:STRENGTH[,STRENGTH...], such as {kind}:0.1")
        found += [Noise(kind.strip(), _parse_strength(strength, text)) for strength in strengths.split(",")]
    for noise in found:
        if found.count(noise) > 1:
            raise UsageError(f"--noise {noise.kind}:{noise.strength:g} is given twice")
    return tuple(found)


def _check_kind(kind: str, text: str) -> None:
    if kind in KINDS:
        return
    if kind == NO_NOISE:
        raise UsageError("--noise none can't stand beside other noise; leave one of them out")
    hint = nearest(kind, (*KINDS, NO_NOISE), cutoff=0.4)
    raise UsageError(f"--noise {text}: there is no kind {kind!r}; {hint}")


def _parse_strength(strength: str, text: str) -> float:
    try:
        value = float(strength)
    except ValueError:
        raise UsageError(f"--noise {text}: {strength.strip()!r} is not a number") from None
    if not 0 < value <= 1:
        raise UsageError(f"--noise {text}: {strength.strip()} must lie above 0 and at most at 1")
    return value


def add_noise(images: Images, noise: Noise, draw: Draw) -> Images:
    """A noisy copy of a block of images, each by its own generator, so that it does not depend on its neighbours."""
    return KINDS[noise.kind](images, noise.strength, draw) if len(images) else images.copy()


@lru_cache(maxsize=1)
def _quantiles() -> NDArray[np.float64]:
    """(65536,) the standard normal distribution in equal steps of probability; its ends lie at 4.3."""
    upper = [NormalDist().inv_cdf((i + 0.5) / 65536) for i in range(32768, 65536)]
    return np.array([*(-value for value in reversed(upper)), *upper])


@lru_cache(maxsize=64)
def _offsets(strength: float) -> NDArray[np.int16]:
    """The quantiles as whole steps of a pixel's value, for noise of this standard deviation."""
    return np.asarray(np.rint(255 * strength * _quantiles()).astype(np.int16))


def _words(images: Images, draw: Draw) -> NDArray[np.uint16]:
    """Even 16-bit numbers, (n, height, width, channels): a look-up turns them into a distribution.

    Four times faster than drawing normal numbers one by one, and the same on every processor.
    """
    size = images[0].size
    words = np.empty((len(images), (size + 3) // 4), dtype="<u8")
    for index, row in enumerate(words):
        row[:] = draw(index).bit_generator.random_raw(len(row))
    return words.view("<u2")[:, :size].reshape(images.shape)


def _to_pixels(values: NDArray[Any]) -> Images:
    """Rounded and clipped to 0..255; changes its argument."""
    if values.dtype.kind == "f":
        np.rint(values, out=values)
    np.clip(values, 0, 255, out=values)
    return np.asarray(values.astype(np.uint8))


def _gaussian(images: Images, strength: float, draw: Draw) -> Images:
    values = _offsets(strength)[_words(images, draw)]
    values += images
    return _to_pixels(values)


def _speckle(images: Images, strength: float, draw: Draw) -> Images:
    values = _quantiles().astype(np.float32)[_words(images, draw)]
    values *= np.float32(strength)
    values += np.float32(1)
    values *= images
    return _to_pixels(values)


def _poisson(images: Images, strength: float, draw: Draw) -> Images:
    photons = 1 / (255 * strength * strength)
    counts = [draw(index).poisson(image * photons) for index, image in enumerate(images)]
    return _to_pixels((np.asarray(counts) / photons).astype(np.float32))


def _salt_and_pepper(images: Images, strength: float, draw: Draw) -> Images:
    # One number a pixel: all its channels turn together.
    chance = _words(images[..., :1], draw)[..., 0]
    noisy = images.copy()
    noisy[chance < strength / 2 * 65536] = 0
    noisy[chance >= (1 - strength / 2) * 65536] = 255
    return noisy


def _each(images: Images, change: Callable[[Images], Any]) -> Images:
    """`change` applied to every (height, width, channels) image; OpenCV drops a single channel, which comes back."""
    noisy = np.empty_like(images)
    for image, changed in zip(images, noisy, strict=True):
        changed[...] = np.reshape(change(image), image.shape)
    return noisy


def _blur(images: Images, strength: float, _draw: Draw) -> Images:
    sigma = strength * images.shape[1] / 10
    return _each(images, lambda image: cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def _jpeg(images: Images, strength: float, _draw: Draw) -> Images:
    options = [cv2.IMWRITE_JPEG_QUALITY, round(100 - 99 * strength)]
    # The encoder takes BGR.
    swap = (lambda image: np.ascontiguousarray(image[..., ::-1])) if images.shape[3] > 1 else (lambda image: image)

    def change(image: Images) -> Any:
        decoded = cv2.imdecode(cv2.imencode(".jpg", swap(image), options)[1], cv2.IMREAD_UNCHANGED)
        return swap(decoded)

    return _each(images, change)


def _low_resolution(images: Images, strength: float, _draw: Draw) -> Images:
    height, width = images.shape[1:3]
    small = (max(2, round(width * (1 - strength))), max(2, round(height * (1 - strength))))

    def change(image: Images) -> Any:
        return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height))

    return _each(images, change)


def _occlusion(images: Images, strength: float, draw: Draw) -> Images:
    noisy = images.copy()
    height, width, channels = images.shape[1:]
    for index, image in enumerate(noisy):
        generator = draw(index)
        # The aspect lies between 1:2 and 2:1, less where the rectangle would not fit the image.
        limit = max(0.0, min(np.log(2.0), -np.log(strength)))
        aspect = np.exp(generator.uniform(-limit, limit))
        tall = max(1, round(height * min(1.0, float(np.sqrt(strength * aspect)))))
        wide = max(1, round(width * min(1.0, float(np.sqrt(strength / aspect)))))
        top, left = generator.integers(0, height - tall + 1), generator.integers(0, width - wide + 1)
        image[top : top + tall, left : left + wide] = generator.integers(0, 256, channels)
    return noisy


KINDS: dict[str, Callable[[Images, float, Draw], Images]] = {
    "gaussian": _gaussian,
    "salt-and-pepper": _salt_and_pepper,
    "speckle": _speckle,
    "poisson": _poisson,
    "blur": _blur,
    "jpeg": _jpeg,
    "low-resolution": _low_resolution,
    "occlusion": _occlusion,
}
