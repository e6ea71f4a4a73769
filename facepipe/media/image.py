"""Bytes of an image file -> RGB pixels, upright.

OpenCV decodes what it decodes right and fast (JPEG of 8 bits, PNG without a palette, WebP, 16-bit colour), Pillow the
rest, and OpenCV again what Pillow does not know. What comes out is sRGB by assumption: colour profiles (ICC) are not
applied.

- What the file says of orientation is applied: EXIF (all eight) and XMP, from every format that Pillow reads them of,
  and the turns that AVIF and HEIC have of their own.
- Transparent pixels show mid-gray (128): hair and skin of any shade keep an edge against it. A picture that is
  transparent everywhere shows its colours.
- White is what the bits that are used hold: 12 bits in a file of 16 are scaled by 255 / 4095; floats by the same rule,
  from 0..1 on.
- Animations and files of several pages: the first; of a TIFF, the first that is neither a thumbnail nor a mask.
- A baseline JPEG that is cut off is used if no more than 1 % of its pixels are missing (a lost end mark, a lost last
  byte); every other file that ends early is a `decode_error`: a gray lower half is no photograph of a face.

Memory: besides the file itself, at most 16 bytes for each of `max_pixels`, whatever the format: what a header claims
is refused before a decoder is called (`too_large`). An ordinary photograph takes 7 bytes a pixel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.errors import ImageError
from facepipe.media.exif import is_turned_by_pillow, orientation_of
from facepipe.media.header import (
    Header,
    open_pillow,
    pillow_limits,
    read_header,
    unreadable,
)
from facepipe.media.png import bare_png
from facepipe.media.samples import FIRST_TRANSPOSED, opencv_to_rgb, picture_to_rgb, shrink, upright
from facepipe.media.stderr import captured_stderr
from facepipe.media.tiff import with_first
from facepipe.records import Status

if TYPE_CHECKING:
    from facepipe.records import Image

__all__ = ["Header", "check_size", "decode", "read_header"]

MISSING = 0.01
"""Share of a cut-off JPEG's pixels that may be missing."""
_BYTES_PER_PIXEL = 16
_NEARLY_BLACK = 64
_COLOR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_FLAGS = {  # the reduced flags with the bit that says BGR taken out
    1: _COLOR,
    2: _COLOR | cv2.IMREAD_REDUCED_COLOR_2 & ~1,
    4: _COLOR | cv2.IMREAD_REDUCED_COLOR_4 & ~1,
    8: _COLOR | cv2.IMREAD_REDUCED_COLOR_8 & ~1,
}
_DEPTHS = (np.uint8, np.uint16)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises ImageError `too_large` where a picture has more than `max_pixels`."""
    if width * height > max_pixels:
        raise ImageError(
            Status.TOO_LARGE, f"{width} x {height} pixels, more than --max-pixels {max_pixels}: give a larger limit"
        )


def decode(data: bytes, *, max_pixels: int, reduction: int = 1, header: Header | None = None) -> Image:
    """Decodes one image.

    Args:
        data: the file's bytes.
        max_pixels: refuse images that claim more pixels.
        reduction: 1, 2, 4 or 8: the result's sides are those of the upright image divided by it, rounded up. A JPEG
            is decoded at that size, at a fraction of the cost; others are decoded whole and shrunk by area.
        header: what `read_header` told of `data`, where it is known already.

    Returns:
        (height, width, 3) uint8, RGB, 0..255, C-contiguous.

    Raises:
        ImageError: `decode_error` or `too_large`, with a sentence.
    """
    header = read_header(data) if header is None else header
    check_size(header.width, header.height, max_pixels)
    cost_bytes = header.width * header.height * header.bytes_per_pixel
    if cost_bytes > max_pixels * _BYTES_PER_PIXEL:  # of the few kinds that take more a pixel
        raise ImageError(Status.TOO_LARGE, f"decoding takes {cost_bytes / 1e6:.0f} MB, more than --max-pixels allows")
    try:
        image = _decode_opencv(data, header, reduction) if header.opencv else None
        if image is not None:
            return upright(image, 1 if header.opencv_turns else header.orientation)
        return shrink(_whole(_decode_other(data, header, max_pixels), header), reduction)
    except MemoryError:
        raise ImageError(Status.TOO_LARGE, "there is not enough memory to decode it") from None


def _decode_opencv(data: bytes, header: Header, reduction: int) -> Image | None:
    """None where it gives nothing, or not what the header promised: then Pillow says what is wrong."""
    if header.format == "JPEG":
        return _decode_jpeg(data, header, reduction)
    with captured_stderr():
        image = _cv2_decode(_bare(data, header), cv2.IMREAD_UNCHANGED if header.unchanged else _FLAGS[1])
    if not _fits(image, header) or image.dtype not in _DEPTHS:
        return None
    return shrink(opencv_to_rgb(image) if header.unchanged else image, reduction)


def _fits(image: Any, header: Header) -> bool:
    """Whether OpenCV gave the size that the header promised."""
    shape = (header.height, header.width)
    turned = header.opencv_turns and header.orientation >= FIRST_TRANSPOSED
    return image is not None and image.shape[:2] == (shape[::-1] if turned else shape)


def _bare(data: bytes, header: Header) -> bytes:
    """Without what is not the picture's."""
    if header.format == "PNG":
        return bare_png(data)
    return with_first(data, header.directory)


def _decode_jpeg(data: bytes, header: Header, reduction: int) -> Image | None:
    whole = data.rfind(b"\xff\xd9", header.start) >= 0
    if not whole and header.progressive:
        raise ImageError(Status.DECODE_ERROR, "the JPEG is cut off")
    with captured_stderr() as said:
        image = _cv2_decode(data if whole else data + b"\xff\xd9", _FLAGS[reduction])
    if image is None or image.shape != (-(-header.height // reduction), -(-header.width // reduction), 3):
        return None
    if any("remature end" in line for line in said):
        _check_missing(image)
    return np.asarray(image, np.uint8)


def _cv2_decode(data: bytes, flags: int) -> Any:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # assertions inside OpenCV; Pillow then says what is wrong
        return None


def _check_missing(image: Image) -> None:
    """Refuses a JPEG whose data ended early: libjpeg leaves the missing blocks at exactly mid-gray."""
    missing = float((image == 128).all(axis=2).mean())
    if missing > MISSING:
        raise ImageError(
            Status.DECODE_ERROR, f"the JPEG is cut off or damaged: {missing:.0%} of the picture is missing"
        )


def _whole(image: Image, header: Header) -> Image:
    """What a decoder gave, white where the file says; refused where it left out the bits that are used."""
    if header.narrowed and image.max() < _NEARLY_BLACK:
        said = "a TIFF of this kind is not read with fewer bits in use than 16; save it as gray or RGB"
        raise ImageError(Status.DECODE_ERROR, said)
    return np.subtract(255, image, dtype=np.uint8) if header.inverted else image


def _decode_other(data: bytes, header: Header, max_pixels: int) -> Image:
    """By Pillow, else by OpenCV."""
    data = _bare(data, header)
    try:
        image, orientation = _decode_pillow(data, header, max_pixels)
    except ImageError:
        raise
    except Exception as error:  # decoders of broken files raise anything
        unusual = _decode_unusual(data, header)
        if unusual is None:
            raise unreadable(header.format, error) from None
        return upright(unusual, 1 if header.opencv_turns else header.orientation)
    return upright(image, orientation)


def _decode_unusual(data: bytes, header: Header) -> Image | None:
    """What Pillow has no mode for, such as float TIFFs, by OpenCV; None if it can't either."""
    if header.format != "TIFF":
        return None
    with captured_stderr():
        samples = _cv2_decode(data, cv2.IMREAD_UNCHANGED)
    return opencv_to_rgb(samples) if _fits(samples, header) else None


def _decode_pillow(data: bytes, header: Header, max_pixels: int) -> tuple[Image, int]:
    """The picture, and the EXIF orientation that is still to be applied: Pillow turns TIFFs that tell it."""
    with pillow_limits(max_pixels), captured_stderr(), open_pillow(data, header.format, math.inf) as picture:
        check_size(*picture.size, max_pixels)
        turned = header.format == "TIFF" and is_turned_by_pillow(picture)
        orientation = header.orientation if header.width else orientation_of(picture)
        picture.load()
        return picture_to_rgb(picture), 1 if turned else orientation
