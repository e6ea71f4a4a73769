"""Bytes of an image file -> RGB pixels, upright.

OpenCV decodes what it decodes right and fast (JPEG of 8 bits, PNG of 8 bits without a palette, WebP), Pillow the
rest, and OpenCV again what Pillow does not know. What comes out is sRGB by assumption: colour profiles (ICC) are not
applied.

- EXIF orientation (all eight) is applied, from JPEG, PNG, WebP and TIFF, and from what Pillow reads of other formats,
  such as AVIF.
- Transparent pixels show mid-gray (128): hair and skin of any shade keep an edge against it. A picture that is
  transparent everywhere shows its colours.
- 16 bits are scaled by 1/257. Whole numbers and floats of other widths: 0..1, 0..255 or 0..65535, whichever holds
  the largest value, else from least to largest.
- Animations and multi-page files: the first frame.
- A baseline JPEG that is cut off is used if no more than 1 % of its pixels are missing (a lost end mark, a lost last
  byte); every other file that ends early is a `decode_error`: a gray lower half is no photograph of a face.

Memory: besides the file itself, at most 16 bytes for each of `max_pixels`, whatever the format: what a header claims
is refused before a decoder is called (`too_large`). An ordinary photograph takes 7 bytes a pixel.
"""

from __future__ import annotations

import importlib
import io
import threading
import warnings
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.chatter import captured_chatter
from facepipe.errors import ImageError
from facepipe.headers import Header, png_chunks, read_header
from facepipe.records import Status
from facepipe.samples import opencv_to_rgb, picture_to_rgb, shrink, upright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.records import Image

__all__ = ["Header", "check_size", "decode", "read_header"]

MISSING = 0.01
"""Share of a cut-off JPEG's pixels that may be missing."""
_BYTES_PER_PIXEL = 16
_COLOR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_FLAGS = {  # the reduced flags with the bit that says BGR taken out
    1: _COLOR,
    2: _COLOR | cv2.IMREAD_REDUCED_COLOR_2 & ~1,
    4: _COLOR | cv2.IMREAD_REDUCED_COLOR_4 & ~1,
    8: _COLOR | cv2.IMREAD_REDUCED_COLOR_8 & ~1,
}
_PICTURE_CHUNKS = frozenset({b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PILLOW_NAMES = {"PNM": "PPM", "HEIC": "HEIF"}
_PILLOW_COSTS = {"JPEG2000": 26, "AVIF": 17, "PSD": 17, "ICO": 17, "HEIC": 17, "JXL": 26}
"""Bytes a pixel of formats whose size only their decoder tells."""
_PLUGINS = {"HEIC": "pillow_heif", "JXL": "pillow_jxl"}
_ORIENTATION_TAG = 0x0112
_PILLOW_LOCK = threading.Lock()


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
    if not header.format:
        raise ImageError(Status.DECODE_ERROR, f"not an image that can be read: it starts with {data[:16]!r}")
    check_size(header.width, header.height, max_pixels)
    _check_cost(header.width * header.height * header.bytes_per_pixel, max_pixels)
    try:
        image = _decode_opencv(data, header, reduction) if header.opencv else None
        if image is not None:
            return upright(image, header.orientation)
        return shrink(_decode_other(data, header, max_pixels), reduction)
    except MemoryError:
        raise ImageError(Status.TOO_LARGE, "there is not enough memory to decode it") from None


def _check_cost(cost_bytes: float, max_pixels: int) -> None:
    """Refuses the few kinds that take more than 16 bytes a pixel before they reach `max_pixels`."""
    if cost_bytes > max_pixels * _BYTES_PER_PIXEL:
        raise ImageError(Status.TOO_LARGE, f"decoding takes {cost_bytes / 1e6:.0f} MB, more than --max-pixels allows")


def _decode_opencv(data: bytes, header: Header, reduction: int) -> Image | None:
    """None where it gives nothing, or not what the header promised: then Pillow says what is wrong."""
    if header.format == "JPEG":
        return _decode_jpeg(data, header, reduction)
    data = _bare_png(data) if header.format == "PNG" else data
    with captured_chatter():
        image = _cv2_decode(data, cv2.IMREAD_UNCHANGED if header.with_alpha else _FLAGS[1])
    if image is None or image.dtype != np.uint8 or image.shape[:2] != (header.height, header.width):
        return None
    if header.with_alpha:
        image = opencv_to_rgb(image)
    return shrink(image, reduction)


def _decode_jpeg(data: bytes, header: Header, reduction: int) -> Image | None:
    whole = data.rfind(b"\xff\xd9", header.start) >= 0
    if not whole and header.progressive:
        raise ImageError(Status.DECODE_ERROR, "the JPEG is cut off")
    with captured_chatter() as chatter:
        image = _cv2_decode(data if whole else data + b"\xff\xd9", _FLAGS[reduction])
    if image is None or image.shape != (-(-header.height // reduction), -(-header.width // reduction), 3):
        return None
    if any("remature end" in line for line in chatter):
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


def _bare_png(data: bytes) -> bytes:
    """The chunks that make the picture: no texts, profiles (which may unpack to gigabytes) or animation frames.

    A last chunk that is cut off gets the length that it has: libpng would set aside what it claims, up to 2 GB.
    """
    chunks = png_chunks(data)
    kept = [data[:33], *(data[start:end] for name, start, end in chunks[1:] if name in _PICTURE_CHUNKS)]
    rest = data[chunks[-1][2] if chunks else 8 :]
    if rest[4:8] == b"IDAT":
        kept.append(_png_chunk(rest[4:]))
    if not any(name == b"IEND" for name, _, _ in chunks):
        kept.append(_png_chunk(b"IEND"))
    return b"".join(kept)


def _png_chunk(named: bytes) -> bytes:
    """A chunk of a name and a body: its length before, its CRC behind."""
    return (len(named) - 4).to_bytes(4, "big") + named + zlib.crc32(named).to_bytes(4, "big")


def _decode_other(data: bytes, header: Header, max_pixels: int) -> Image:
    """By Pillow, else by OpenCV."""
    try:
        image, orientation = _decode_pillow(data, header, max_pixels)
    except ImageError:
        raise
    except Exception as error:  # decoders of broken files raise anything
        if not header.width:
            raise _unreadable(header, error) from None
        unusual = _decode_unusual(data, header)
        if unusual is None:
            raise _unreadable(header, error) from None
        return upright(unusual, header.orientation)
    return upright(image, orientation)


def _decode_unusual(data: bytes, header: Header) -> Image | None:
    """What Pillow has no mode for, such as float or 16-bit colour TIFFs, by OpenCV; None if it can't either."""
    if header.format not in ("TIFF", "BMP"):
        return None
    with captured_chatter():
        samples = _cv2_decode(data, cv2.IMREAD_UNCHANGED)
    return None if samples is None or samples.shape[:2] != (header.height, header.width) else opencv_to_rgb(samples)


@contextmanager
def _pillow_limits(max_pixels: int) -> Iterator[None]:
    """Pillow's limit is global and its warnings go to the terminal: both are set aside while one image is decoded."""
    from PIL import Image

    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max(1, max_pixels // 2)  # it raises above twice this
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _decode_pillow(data: bytes, header: Header, max_pixels: int) -> tuple[Image, int]:
    """The picture, and the EXIF orientation that is still to be applied."""
    from PIL import Image

    if header.format == "PNG":
        data = _bare_png(data)
    _load_plugin(header.format)
    with _pillow_limits(max_pixels), captured_chatter():
        try:
            with Image.open(io.BytesIO(data), formats=(_PILLOW_NAMES.get(header.format, header.format),)) as picture:
                check_size(*picture.size, max_pixels)
                _check_cost(picture.width * picture.height * _PILLOW_COSTS.get(header.format, 0), max_pixels)
                orientation = _orientation_left(picture, header)
                picture.load()
                return picture_to_rgb(picture), orientation
        except Image.DecompressionBombError:
            raise ImageError(Status.TOO_LARGE, f"it holds a picture of more than --max-pixels {max_pixels}") from None


def _orientation_left(picture: Any, header: Header) -> int:
    """Pillow turns TIFFs itself; of formats whose header is not read here it says how they are to be turned.

    Their EXIF is not read past Pillow: AVIF, HEIC and JPEG XL have turns of their own that go before EXIF's, which
    decoders report as EXIF or have applied.
    """
    if header.format == "TIFF":
        return 1
    if header.width:
        return header.orientation
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # decoders of broken EXIF raise anything, and the picture may be whole
        return 1


def _load_plugin(name: str) -> None:
    """HEIC and JPEG XL are read where their Pillow plugin is installed."""
    if name not in _PLUGINS:
        return
    try:
        plugin = importlib.import_module(_PLUGINS[name])
    except ImportError:
        package = _PLUGINS[name].replace("_", "-")
        raise ImageError(Status.DECODE_ERROR, f"{name} images need a plugin: pip install {package}") from None
    register = getattr(plugin, "register_heif_opener", None)
    if register:
        register()


def _unreadable(header: Header, error: Exception) -> ImageError:
    """The sentence for the row: what the file seems to be, and what its decoder said."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in reason:
        reason = "the file is cut off"
    elif "cannot identify" in reason:
        reason = "its header is broken"
    return ImageError(Status.DECODE_ERROR, f"the {header.format} can't be decoded: {reason[:200]}")
