"""Square crops of whole heads, roll levelled, and the bytes they are stored as."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import Box, Image

JPEG_QUALITY = 96
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    JPEG_QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
]
TWO_SAMPLES_FROM = 1.6
"""Image px per crop px. Up to here bilinear samples err by an RMS of 1.3 of 255 against exact averaging over areas,
less than the JPEG does; from here on, two samples a pixel bring it from 2.0 at worst to 1.1."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A cut-out.

    image: (size, size, 3) uint8 RGB. scale: crop px per px of the image it came from, above 1 where it was enlarged.
    matrix: (2, 3) float64, from px of that image to px of the crop (pixel centres at whole numbers).
    """

    image: Image
    scale: float
    matrix: NDArray[np.float64]


def crop_matrix(box: Box | NDArray[np.float32], roll: float, size: int, margin: float) -> NDArray[np.float64]:
    """The (2, 3) similarity from px of the image to px of a square crop around a box.

    Args:
        box: x1, y1, x2, y2, px.
        roll: degrees that the face is turned clockwise in the image; taken out.
        size: px, the crop's side.
        margin: share of the box's longer side that is added on each side.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    scale = size / (max(x2 - x1, y2 - y1, 1.0) * (1 + 2 * margin))
    cosine, sine = scale * math.cos(math.radians(roll)), scale * math.sin(math.radians(roll))
    # The box's centre, in pixel-centre coordinates, lands on the crop's centre.
    centre_x, centre_y, middle = (x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2, (size - 1) / 2
    return np.array(
        [
            [cosine, sine, middle - cosine * centre_x - sine * centre_y],
            [-sine, cosine, middle + sine * centre_x - cosine * centre_y],
        ]
    )


def cut_crop(image: Image, box: Box | NDArray[np.float32], roll: float, size: int, margin: float) -> Crop:
    """Cuts the head out, upright.

    Beyond the image's border the outermost pixels are repeated: black would be an edge that training learns, and a
    reflection shows a second half of the head.

    Args:
        image: (h, w, 3) uint8 RGB.
        box: the face's x1, y1, x2, y2, px of `image`.
        roll: degrees that the face is turned clockwise in the image.
        size: px, the crop's side.
        margin: share of the box's longer side that is added on each side.

    Returns:
        The crop; averaged over areas where it is smaller than what it shows, bilinear where it is larger.
    """
    matrix = crop_matrix(box, roll, size, margin)
    scale = math.hypot(matrix[0, 0], matrix[0, 1])
    blocks = int(1 / scale)
    if blocks < 2:
        part, shifted = _part(image, matrix, size, scale)
        return Crop(_sample(part, shifted, size), scale, matrix)
    averaged, to_image = _averaged(image, matrix, size, blocks)
    return Crop(_sample(averaged, _after(matrix, to_image), size), scale, matrix)


def _part(image: Image, matrix: NDArray[np.float64], size: int, scale: float) -> tuple[Image, NDArray[np.float64]]:
    """A copy of what the crop shows, and the matrix from there to the crop.

    The crop's rows lie across the image's where the face is turned: from an image that has left the core's cache, pixel
    by pixel, they cost twice as much as copying the image's rows first.
    """
    left, top, right, bottom = _window(image, matrix, size, scale, 2)
    (a, b, x), (c, d, y) = matrix.tolist()
    shifted = np.array([[a, b, x + a * left + b * top], [c, d, y + c * left + d * top]])
    return image[top:bottom, left:right].copy(), shifted


def _window(
    image: Image, matrix: NDArray[np.float64], size: int, scale: float, room: float
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the crop shows of an image, with `room` px around it."""
    (a, b, x), (c, d, y) = matrix.tolist()
    across, down = ((size - 1) / 2 - x) / scale**2, ((size - 1) / 2 - y) / scale**2
    reach = size / 2 * (abs(a) + abs(b)) / scale**2 + room
    left, right = _span(a * across + c * down, reach, image.shape[1])
    top, bottom = _span(b * across + d * down, reach, image.shape[0])
    return left, top, right, bottom


def _span(centre: float, reach: float, length: int) -> tuple[int, int]:
    """Start and end of what lies within reach, at least one px of an image's `length`."""
    start = min(max(int(centre - reach), 0), length - 1)
    return start, max(int(centre + reach) + 1, start + 1)


def _averaged(image: Image, matrix: NDArray[np.float64], size: int, blocks: int) -> tuple[Image, NDArray[np.float64]]:
    """What the crop shows, averaged over `blocks`² px, and the (2, 3) matrix from its px to the image's."""
    left, top, right, bottom = _window(image, matrix, size, math.hypot(matrix[0, 0], matrix[0, 1]), 2 * blocks)
    part = image[top : max(bottom, top + blocks), left : max(right, left + blocks)]
    columns, rows = part.shape[1] // blocks, part.shape[0] // blocks
    if not (columns and rows):
        return image, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    part = part[: rows * blocks, : columns * blocks]
    averaged = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    shift = (blocks - 1) / 2
    return averaged, np.array([[blocks, 0.0, left + shift], [0.0, blocks, top + shift]])


def _after(matrix: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """The (2, 3) matrix that does `first` and then `matrix`."""
    combined = matrix[:, :2] @ first
    combined[:, 2] += matrix[:, 2]
    return combined


def _sample(source: Image, matrix: NDArray[np.float64], size: int) -> Image:
    """The crop's pixels (size, size, 3), bilinear from `source`, the mean of two samples where one would alias."""
    if math.hypot(matrix[0, 0], matrix[0, 1]) * TWO_SAMPLES_FROM > 1:
        return _warp(source, matrix, size)
    quarter = np.array([[0.0, 0.0, 0.25], [0.0, 0.0, 0.25]])
    one, other = _warp(source, matrix + quarter, size), _warp(source, matrix - quarter, size)
    return np.asarray(cv2.addWeighted(one, 0.5, other, 0.5, 0), dtype=np.uint8)


def _warp(source: Image, matrix: NDArray[np.float64], size: int) -> Image:
    pixels = cv2.warpAffine(source, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(pixels, dtype=np.uint8)


def encode_crop(crop: Image) -> bytes:
    """A crop (size, size, 3) uint8 RGB as JPEG, quality 96, colour at half resolution as in most photographs.

    `benchmarks/crops.py`, at 128 px: 7.7 kB, 0.06 ms to encode and 0.11 to decode, RMS error 1.7 of 255 (0.50 after
    reduction to 64 px gray, 1.3 in colour). With colour at full resolution, quality 95: 8.5 kB, 0.08 ms, 1.5 (0.55 and
    0.8). PNG is exact at 30 kB and 0.5 ms, WebP 95 takes 5.0 kB at 1.6 ms and an error of 1.9.

    Raises:
        ImageError: the encoder refused.
    """
    done, data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), _JPEG)
    if not done:
        raise ImageError("decode_error", "the crop could not be encoded as JPEG")
    encoded: bytes = data.tobytes()
    return encoded
