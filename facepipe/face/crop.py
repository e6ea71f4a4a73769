"""Square crops of whole heads, roll levelled; how sharp they are, and the bytes they are stored as."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from facepipe.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from facepipe.records import BgraImage, Box, Image

JPEG_QUALITY = 95
_JPEG = [
    cv2.IMWRITE_JPEG_QUALITY,
    JPEG_QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
]
TWO_SAMPLES_FROM = 1.8
"""Image px per crop px. Up to here bilinear samples err by an RMS of 1.3 of 255 at most against exact averaging over
areas, less than the JPEG does; from here on they err by up to 1.6, and two samples a pixel by 1.0
(`benchmarks/crops.py`)."""

WORKING_SIDE = 128
"""px: crops are compared at this side, whatever `--crop-size` was."""
CENTRE = 0.5
"""The share of the side that is looked at, in the middle: the face, without hair and background."""


class Crop(NamedTuple):
    """A cut-out.

    bgra: (size, size, 4) uint8. scale: crop px per px of the image it came from, above 1 where it was enlarged.
    """

    bgra: BgraImage
    scale: float

    @property
    def image(self) -> Image:
        """(size, size, 3) uint8 RGB."""
        return np.asarray(cv2.cvtColor(self.bgra, cv2.COLOR_BGRA2RGB), np.uint8)


class Similarity(NamedTuple):
    """From px of an image to px of a crop, pixel centres at whole numbers: turned, scaled, shifted.

    u = cosine x + sine y + right, v = cosine y - sine x + down: cosine and sine are the scale times the turn's.
    """

    cosine: float
    sine: float
    right: float
    down: float

    @property
    def scale(self) -> float:
        """Crop px per px of the image."""
        return math.hypot(self.cosine, self.sine)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(2, 3), as OpenCV takes it."""
        cosine, sine, right, down = self
        return np.array([[cosine, sine, right], [-sine, cosine, down]])

    def of_part(self, left: float, top: float, blocks: int = 1) -> Similarity:
        """The same for an image whose pixel (0, 0) is (left, top) of this one, each of its pixels `blocks` wide."""
        cosine, sine, right, down = self
        return Similarity(
            cosine * blocks, sine * blocks, right + cosine * left + sine * top, down + cosine * top - sine * left
        )


def crop_similarity(box: Box | NDArray[np.float32], roll: float, size: int, margin: float) -> Similarity:
    """The similarity from px of the image to px of a square crop around a box.

    Args:
        box: x1, y1, x2, y2, px.
        roll: degrees that the face is turned clockwise in the image; taken out.
        size: px, the crop's side.
        margin: share of the box's longer side that is added on each side.
    """
    x1, y1, x2, y2 = box if isinstance(box, tuple) else box.tolist()
    scale = size / (max(x2 - x1, y2 - y1, 1.0) * (1 + 2 * margin))
    angle = math.radians(roll)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    # The box's centre, in pixel-centre coordinates, lands on the crop's centre.
    centre_x, centre_y, middle = (x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2, (size - 1) / 2
    return Similarity(
        cosine, sine, middle - cosine * centre_x - sine * centre_y, middle + sine * centre_x - cosine * centre_y
    )


def points_in_crop(points: ArrayLike, transform: ArrayLike) -> NDArray[np.float64]:
    """(n, 2) px of a crop: points (n, 2) px of its image, flat or not, by the row's `transform` (2, 3), likewise."""
    matrix = np.asarray(transform, np.float64).reshape(2, 3)
    return np.asarray(points, np.float64).reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]


def fit_similarity(points: NDArray[np.float32], wanted: NDArray[np.float64]) -> Similarity:
    """The similarity that brings points closest to where they are wanted, both (n, 2) px; of scale 0 for one place."""
    source = np.asarray(points, np.float64).reshape(-1, 2)
    centre, middle = source.mean(axis=0), wanted.mean(axis=0)
    # Least squares with points as complex numbers: turn and scale are one factor.
    here, there = (source - centre) @ [1, 1j], (wanted - middle) @ [1, 1j]
    factor = np.vdot(here, there) / max(np.vdot(here, here).real, 1e-9)
    cosine, sine = float(factor.real), float(-factor.imag)
    right = float(middle[0] - cosine * centre[0] - sine * centre[1])
    return Similarity(cosine, sine, right, float(middle[1] + sine * centre[0] - cosine * centre[1]))


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
        The crop: bilinear; averaged over areas from `TWO_SAMPLES_FROM` px of the image a crop px on.
    """
    similarity = crop_similarity(box, roll, size, margin)
    return Crop(warp(image, similarity, size), similarity.scale)


def warp(image: Image, similarity: Similarity, size: int, border: int = cv2.BORDER_REPLICATE) -> BgraImage:
    """What a similarity shows of an image (h, w, 3) uint8 RGB, `size` px square, as `cut_crop` samples it."""
    part, of_part = _part(image, similarity, size, max(int(1 / similarity.scale), 1))
    return _sample(part, of_part, size, border)


def _part(image: Image, similarity: Similarity, size: int, blocks: int) -> tuple[BgraImage, Similarity]:
    """What the crop shows, BGRA, averaged over `blocks`² px, and the similarity from there to the crop.

    A copy where nothing is averaged, too: the crop's rows lie across the image's where the face is turned, and from an
    image that has left the core's cache, pixel by pixel, they cost twice as much as copying the image's rows first.
    """
    left, top, right, bottom = window(image, similarity, size, 2 * blocks)
    shown = image[top : max(bottom, top + blocks), left : max(right, left + blocks)]
    columns, rows = shown.shape[1] // blocks, shown.shape[0] // blocks
    if not (columns and rows):
        shown, left, top, blocks = image, 0, 0, 1
    if blocks > 1:
        shown = np.asarray(
            cv2.resize(shown[: rows * blocks, : columns * blocks], (columns, rows), interpolation=cv2.INTER_AREA),
            np.uint8,
        )
    centre = (blocks - 1) / 2
    part = np.asarray(cv2.cvtColor(shown, cv2.COLOR_RGB2BGRA), np.uint8)
    return part, similarity.of_part(left + centre, top + centre, blocks)


def window(image: Image, similarity: Similarity, size: int, room: float) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the crop shows of an image, with `room` px around it."""
    cosine, sine, right, down = similarity
    squared = cosine * cosine + sine * sine
    across, along = ((size - 1) / 2 - right) / squared, ((size - 1) / 2 - down) / squared
    reach = size / 2 * (abs(cosine) + abs(sine)) / squared + room
    height, width, _ = image.shape
    start, end = _span(cosine * across - sine * along, reach, width)
    first, last = _span(sine * across + cosine * along, reach, height)
    return start, first, end, last


def _span(centre: float, reach: float, length: int) -> tuple[int, int]:
    """Start and end of what lies within reach, at least one px of an image's `length`."""
    start = min(max(int(centre - reach), 0), length - 1)
    return start, max(int(centre + reach) + 1, start + 1)


def _sample(source: BgraImage, similarity: Similarity, size: int, border: int) -> BgraImage:
    """The crop's pixels, bilinear from `source`, the mean of two samples where one would alias."""
    matrix = similarity.matrix
    if similarity.scale * TWO_SAMPLES_FROM > 1:
        return _warp(source, matrix, size, border)
    quarter = np.array([[0.0, 0.0, 0.25], [0.0, 0.0, 0.25]])
    one, other = (_warp(source, matrix + shift, size, border) for shift in (quarter, -quarter))
    return np.asarray(cv2.addWeighted(one, 0.5, other, 0.5, 0), np.uint8)


def _warp(source: BgraImage, matrix: NDArray[np.float64], size: int, border: int) -> BgraImage:
    pixels = cv2.warpAffine(source, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(pixels, np.uint8)


def encode_crop(bgra: BgraImage) -> bytes:
    """A crop (size, size, 4) uint8 BGRA as JPEG, quality 95, colour at half resolution: what OpenCV writes by default.

    `benchmarks/crops.py`, at 128 px: 7.0 kB, 0.06 ms to encode and 0.11 to decode, RMS error 1.9 of 255 (0.56 after
    reduction to 64 px gray, 1.4 in colour). With colour at full resolution: 8.6 kB, 0.08 ms, 1.5 (0.56 and 0.8). PNG is
    exact at 30 kB and 0.5 ms, WebP 95 takes 5.1 kB at 1.7 ms and an error of 1.8.

    Raises:
        ImageError: the encoder refused.
    """
    done, data = cv2.imencode(".jpg", bgra, _JPEG)
    if not done:
        raise ImageError("decode_error", "the crop could not be encoded as JPEG")
    encoded: bytes = data.tobytes()
    return encoded


def sharpness(bgra: BgraImage) -> float:
    """How much fine detail the face shows, for its contrast.

    The crop is brought to 128 px, and in the middle half, where the face is, the root mean square of its Laplacian is
    divided by the standard deviation of its gray values. So it depends neither on brightness and contrast nor on the
    crop's size, but on what the face shows at one and the same scale: an enlarged small face is as blurred as it looks.

    Args:
        bgra: the crop, (size, size, 4) uint8 BGRA.

    Returns:
        About 0.1 for a badly blurred face, 0.5 for a good photograph; 0 where there is nothing to see.
    """
    height, width = bgra.shape[:2]
    top, left = int(height * (1 - CENTRE) / 2), int(width * (1 - CENTRE) / 2)
    gray = cv2.cvtColor(bgra[top : height - top, left : width - left], cv2.COLOR_BGRA2GRAY)
    side = round(WORKING_SIDE * CENTRE)
    if gray.shape != (side, side):
        # Averaging at less than half the size would itself blur, by as much as a fifth.
        method = cv2.INTER_AREA if gray.shape[0] >= 2 * side else cv2.INTER_CUBIC
        gray = cv2.resize(gray, (side, side), interpolation=method)
    contrast = float(cv2.meanStdDev(gray)[1][0, 0])
    detail = float(cv2.norm(cv2.Laplacian(gray, cv2.CV_16S))) / side
    return detail / contrast if contrast >= 1 else 0.0
