"""What an image file says of itself, read without decoding it: format, size, orientation.

Everything here walks bytes that nobody vouches for: offsets and counts are checked against the file's length, and no
loop runs longer than the file. A size that a header claims is compared with `--max-pixels` before a decoder sees it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.errors import ImageError
from facepipe.exif import exif_orientation, tiff_tags
from facepipe.records import Status
from facepipe.signatures import sniff

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Header:
    """What the file claims.

    format: "JPEG", "PNG", ... width, height: px, as stored: an orientation (EXIF's, 1..8) from 5 on exchanges them.
    bytes_per_pixel: what decoding one pixel takes in memory at most, as measured. opencv: whether OpenCV decodes it
    right; with_alpha: it may then give a fourth channel. start: where a JPEG's pixel data begin. progressive: a JPEG
    in scans.
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    bytes_per_pixel: float = 17
    opencv: bool = False
    with_alpha: bool = False
    start: int = 0
    progressive: bool = False


def read_header(data: bytes) -> Header:
    """Format, size in px and orientation, from the bytes alone.

    Formats other than JPEG, PNG, GIF, WebP, TIFF and BMP give width and height 0: their decoder tells the size, before
    it decodes.

    Raises:
        ImageError: `decode_error`, where the file is empty, no image, or its header is broken.
    """
    if not data:
        raise ImageError(Status.DECODE_ERROR, "the file is empty")
    name = sniff(data)
    reader = _READERS.get(name)
    try:
        header = reader(data) if reader else Header(name, 0, 0)
    except (struct.error, IndexError, ValueError, OverflowError):
        raise ImageError(Status.DECODE_ERROR, f"the {name} header is broken or cut off") from None
    if reader and (header.width < 1 or header.height < 1):
        raise ImageError(Status.DECODE_ERROR, f"the {name} header says {header.width} x {header.height} pixels")
    return header


_MAX_STEPS = 200_000
"""More segments than any picture has: a header made of a hundred million empty ones would take minutes."""
_NOT_FILL = re.compile(rb"[^\xff]")
_BLOCK = re.compile(rb"[,;!]")
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # Huffman tables, extensions, arithmetic coding: among the frame markers
_NO_MARKER = -1
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def _steps() -> Iterator[int]:
    """Counts a walk's steps; a ValueError where it does not end."""
    yield from range(_MAX_STEPS)
    raise ValueError


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """The next marker's second byte from `at` on, and what follows it; `_NO_MARKER` where there is none."""
    if data[at] == 0xFF and at + 1 < len(data) and data[at + 1] != 0xFF:  # so it is in all but broken files
        return data[at + 1], at + 2
    found = _NOT_FILL.search(data, data.index(b"\xff", at))  # libjpeg too skips stray bytes between markers
    return (_NO_MARKER, len(data)) if found is None else (found[0][0], found.end())


def _jpeg(data: bytes) -> Header:
    """Walks the markers to the frame header and on to the first scan."""
    at, end = 2, len(data)
    orientation, frame = 1, None
    for _ in _steps():
        if at >= end:
            break
        marker, at = _next_marker(data, at)
        if marker == _NO_MARKER:
            break
        if marker in _BARE or marker == 0:
            continue
        if marker == 0xD9:
            break
        length = data[at] << 8 | data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME and frame is None:
            frame = (marker, *struct.unpack_from(">BHHB", data, at + 2))
        elif marker == 0xE1 and orientation == 1 and data.startswith(b"Exif\0\0", at + 2):
            orientation = exif_orientation(data[at + 8 : at + length])
        elif marker == 0xDA:
            break
        at += max(length, 2)
    if frame is None:
        raise ValueError
    marker, precision, height, width, components = frame
    progressive = marker in (0xC2, 0xCA)
    return Header(
        "JPEG",
        width,
        height,
        orientation,
        bytes_per_pixel=18 if components > 3 else 10 if progressive else 7,
        opencv=precision == 8 and components in (1, 3) and marker in (0xC0, 0xC1, 0xC2),
        start=at,
        progressive=progressive,
    )


def png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """(type, start, end) of every whole chunk, start and end with its length and CRC."""
    chunks: list[tuple[bytes, int, int]] = []
    at = 8
    for _ in _steps():
        if at + 12 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        chunks.append((data[at + 4 : at + 8], at, end))
        at = end
    return chunks


def _png(data: bytes) -> Header:
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    if data[12:16] != b"IHDR":
        raise ValueError
    orientation, transparent = 1, False
    for name, start, end in png_chunks(data):
        if name == b"eXIf":
            orientation = exif_orientation(data[start + 8 : end - 4])
        transparent = transparent or name == b"tRNS"
    opencv = depth == 8 and color in (0, 2, 4, 6) and not transparent
    cost = (13 if color in (4, 6) else 8) if opencv else 19 if depth == 16 and color in (4, 6) else 14
    return Header("PNG", width, height, orientation, cost, opencv, with_alpha=color in (4, 6))


def _gif(data: bytes) -> Header:
    """The logical screen, or the first frame where that is larger."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    for _ in _steps():
        found = _BLOCK.search(data, at)  # Pillow too skips what is no block
        if found is None:
            break
        block, at = found[0][0], found.start()
        if block == 0x2C:
            left, top, w, h = struct.unpack_from("<HHHH", data, at + 1)
            width, height = max(width, left + w), max(height, top + h)
            break
        if block == 0x3B:
            break
        at += 2
        for _ in _steps():
            length = data[at]
            at += length + 1
            if length == 0:
                break
    return Header("GIF", width, height, bytes_per_pixel=12)


def _webp(data: bytes) -> Header:
    if data[:4] != b"RIFF":
        raise ValueError
    width = height = 0
    orientation, at, extended = 1, 12, False
    for _ in _steps():
        if at + 8 > len(data):
            break
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = at + 8
        if name == b"VP8X":
            extended = True
            width = int.from_bytes(data[body + 4 : body + 7], "little") + 1
            height = int.from_bytes(data[body + 7 : body + 10], "little") + 1
        elif name == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, body + 6))
        elif name == b"VP8L" and not width:
            (bits,) = struct.unpack_from("<I", data, body + 1)
            width, height, extended = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, True
        elif name == b"EXIF":
            exif = data[body : body + length]
            orientation = exif_orientation(exif.removeprefix(b"Exif\0\0"))
        at = body + length + (length & 1)
    return Header("WEBP", width, height, orientation, 16, opencv=True, with_alpha=extended)


def _bmp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return Header("BMP", abs(width), abs(height), bytes_per_pixel=11)


def _tiff(data: bytes) -> Header:
    """The first directory. Tiles count too: a decoder sets aside memory for a whole one."""
    tags = tiff_tags(data, frozenset({256, 257, 258, 274, 277, 322, 323}))
    width, height = tags.get(256, 0), tags.get(257, 0)
    samples, bits = max(1, tags.get(277, 1)), max(8, tags.get(258, 8))
    tile_w, tile_h = tags.get(322, 0), tags.get(323, 0)
    per_pixel = max(16.0 if samples < 4 else 18.0, samples * bits / 8 * 2.2)
    if tile_w and tile_h and width and height:
        covered = -(-width // tile_w) * tile_w * -(-height // tile_h) * tile_h
        per_pixel *= max(1.0, covered / (width * height))
    orientation = tags.get(274, 1)
    return Header("TIFF", width, height, orientation if 1 <= orientation <= 8 else 1, per_pixel)


_READERS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WEBP": _webp, "BMP": _bmp, "TIFF": _tiff}
