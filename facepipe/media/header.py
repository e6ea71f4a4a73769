"""What a picture's file says of itself, read by Pillow without decoding it: format, size, orientation.

A size that a header claims is compared with `--max-pixels` before a decoder sees it.
"""

from __future__ import annotations

import importlib
import io
import re
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facepipe.errors import ImageError
from facepipe.media.exif import orientation_of, search_exif
from facepipe.media.png import bare_png
from facepipe.media.signatures import VIDEO, sniff
from facepipe.media.tiff import find_picture
from facepipe.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.ImageFile import ImageFile

MOST_PIXELS = 2**30
"""No decoder takes more (OpenCV's own limit)."""
MOST_READS = 200_000
"""More than any header takes: one made of a hundred million empty pieces would take minutes."""
_PLAIN_BYTES = 1 << 17
_NAMES = {"PNM": "PPM", "HEIC": "HEIF"}
_PLUGINS = {"HEIC": "pillow_heif", "JXL": "pillow_jxl"}
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Header:
    """What the file claims.

    format: "JPEG", "PNG", ... width, height: px, as stored: an orientation (EXIF's, 1..8) from 5 on exchanges them; 0
    where only decoding tells. bytes_per_pixel: what decoding one pixel takes in memory at most, as measured. opencv:
    whether OpenCV decodes it right; unchanged: it is then asked for its own depth and channels. start: where a JPEG's
    pixel data begin. progressive: a JPEG in scans. directory: where a TIFF's picture is described, 0 for its first one.
    opencv_turns: OpenCV undoes this TIFF's orientation itself. inverted: its white is 0. narrowed: of its 16 bits a
    sample, decoders give the upper 8.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    bytes_per_pixel: float = 17
    opencv: bool = False
    unchanged: bool = False
    start: int = 0
    progressive: bool = False
    directory: int = 0
    opencv_turns: bool = False
    inverted: bool = False
    narrowed: bool = False


def read_header(data: bytes) -> Header:
    """Returns what the bytes of a picture's file say of it.

    Raises:
        ImageError: `decode_error`, where the file is empty, no picture, or its header is broken; `too_large`, where it
            claims more pixels than any decoder takes.
    """
    name = check_format(data)
    if name == "ICO":  # opening it decodes it
        return Header(name, 0, 0)
    try:
        if name == "JPEG" and (found := _plain_jpeg(data)):
            return found
        with pillow_limits(MOST_PIXELS):
            return _READERS.get(name, _other)(data, name)
    except ImageError:
        raise
    except Exception as error:  # readers of broken files raise anything
        raise unreadable(name, error) from None


def check_format(data: bytes) -> str:
    """Returns the picture's format; an ImageError where there is none."""
    if not data:
        raise ImageError(Status.DECODE_ERROR, "the file is empty")
    name = sniff(data)
    if name == VIDEO:
        raise ImageError(Status.DECODE_ERROR, "not an image: it is a video")
    if not name:
        raise ImageError(Status.DECODE_ERROR, f"not an image that can be read: it starts with {data[:16]!r}")
    return name


def unreadable(name: str, error: Exception) -> ImageError:
    """The sentence for the row: what the file seems to be, and what its decoder said."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if type(error).__name__ == "DecompressionBombError":
        return ImageError(Status.TOO_LARGE, f"the {name} claims more pixels than --max-pixels allows")
    if "runcated" in reason or "end of file" in reason:
        reason = "the file is cut off"
    elif "cannot identify" in reason or "not identified" in reason:
        reason = "its header is broken"
    return ImageError(Status.DECODE_ERROR, f"the {name} can't be decoded: {reason[:200]}")


@contextmanager
def pillow_limits(max_pixels: int) -> Iterator[None]:
    """Pillow's limit is global and its warnings go to the terminal: both are set aside while one picture is read."""
    from PIL import Image

    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max(1, max_pixels // 2)  # it raises above twice this
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


class _File(io.BytesIO):
    """Bytes that can't be read without end."""

    def __init__(self, data: bytes, reads: float) -> None:
        super().__init__(data)
        self.reads_left = reads

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("its header has no end")
        return super().read(size)


def open_pillow(data: bytes, name: str, reads: float = MOST_READS) -> ImageFile:
    """Opens a picture with Pillow's plugin for its format; after so many reads there is an OSError."""
    from PIL import Image

    if name == "JPEG":  # its factory looks for further pictures
        return _open_jpeg(_File(data, reads))
    _load_plugin(name)
    name = _NAMES.get(name, name)
    Image.preinit()
    if name not in Image.OPEN:
        Image.init()
    return Image.OPEN[name][0](_File(data, reads), "")


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


def _open_jpeg(file: io.BytesIO) -> ImageFile:
    from PIL.JpegImagePlugin import JpegImageFile

    return JpegImageFile(file)


def _plain_jpeg(data: bytes) -> Header | None:
    """Most photographs, read in half the time; None where there is EXIF, of which Pillow may warn, or much else."""
    start = data[:_PLAIN_BYTES]
    if b"Exif" in start:
        return None
    try:
        picture = _open_jpeg(io.BytesIO(start))
    except Exception:
        return None
    if not picture.tile:
        return None
    return _jpeg_header(picture, orientation_of(picture) if "xmp" in picture.info else 1)


def _jpeg(data: bytes, name: str) -> Header:
    picture = open_pillow(data, name)
    return _jpeg_header(picture, orientation_of(picture))


def _jpeg_header(picture: Any, orientation: int) -> Header:
    progressive, layers = "progressive" in picture.info, picture.layers
    cost = 18 if layers > 3 else 10 if progressive else 7
    width, height = picture.size
    start, opencv = picture.fp.tell(), layers in (1, 3)
    return Header("JPEG", width, height, orientation, cost, opencv, start=start, progressive=progressive)


def _png(data: bytes, name: str) -> Header:
    try:
        picture = open_pillow(bare_png(data, with_orientation=True), name)
    except Exception:  # texts that unpack to gigabytes, broken checksums
        picture = open_pillow(bare_png(data), name)
    depth, color = data[24], data[25]
    opencv = depth >= 8 and color in (0, 2, 4, 6) and (depth == 16 or "transparency" not in picture.info)
    wide, alpha = depth == 16, color in (4, 6)
    cost = (21 if wide and alpha else 16 if wide else 13 if alpha else 8) if opencv else 14
    return Header(name, *picture.size, orientation_of(picture), cost, opencv, unchanged=wide or alpha)


def _webp(data: bytes, name: str) -> Header:
    picture = open_pillow(data, name)
    return Header(name, *picture.size, orientation_of(picture), 16, opencv=True, unchanged=data[12:16] != b"VP8 ")


def _tiff(data: bytes, name: str) -> Header:
    page = find_picture(_File(data, MOST_READS))
    cost = max(16.0 if page.samples < 4 else 18.0, page.samples * page.bits / 8 * 2.2) * page.covered
    wide = page.bits == 16 and page.is_rgb
    told = Header(name, page.width, page.height, page.orientation, cost, wide, unchanged=True)
    narrowed = page.bits == 16 and page.samples > 1 and not wide
    turns, inverted = page.is_told, page.is_inverted
    return replace(told, directory=page.directory, opencv_turns=turns, inverted=inverted, narrowed=narrowed)


_COSTS = {"GIF": 12, "BMP": 11, "JPEG2000": 26, "JXL": 26}
_WIDE_PNM = re.compile(rb"P6(\s|#[^\n]*\n)+[0-9]+\s+[0-9]+\s+65535\s")


def _other(data: bytes, name: str) -> Header:
    picture: Any = open_pillow(data, name)
    search_exif(picture, data, name)
    width, height = picture.size
    wide = _has_16_bit_colors(data, name)
    return Header(name, width, height, orientation_of(picture), _COSTS.get(name, 17), wide, unchanged=True)


def _has_16_bit_colors(data: bytes, name: str) -> bool:
    """Of which Pillow gives the upper 8."""
    if name == "JPEG2000":
        at = data.find(b"ihdr")
        return at > 0 and data[at + 12 : at + 15] == b"\0\3\x0f"
    return name == "PNM" and _WIDE_PNM.match(data) is not None


_READERS: dict[str, Callable[[bytes, str], Header]] = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "TIFF": _tiff}
