"""A PNG's chunks: those that make the picture, without what else a file may hold."""

from __future__ import annotations

import re
import zlib

_MOST_CHUNKS = 200_000
_PICTURE = frozenset({b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_MOST_TEXT = 1 << 20
_ORIENTATION = re.compile(rb"eXIf|(?:iTXt|tEXt|zTXt)(XML:com\.adobe\.xmp|Raw profile type (exif|xmp|APP1))\0")


def bare_png(data: bytes, *, with_orientation: bool = False) -> bytes:
    """Returns the PNG without texts, profiles (which may unpack to gigabytes) and the frames of an animation.

    A last chunk that is cut off gets the length that it has: libpng would set aside what it claims, up to 2 GB.

    Args:
        data: the file.
        with_orientation: keep what may tell how the picture is to be turned, and put it before the pixels.

    Raises:
        ValueError: its header is broken, or is made of more chunks than any picture's.
    """
    if data[12:16] != b"IHDR":
        raise ValueError("its header is broken")
    about, picture, at = [], [], 33
    for _ in range(_MOST_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if at + 12 > len(data) or end > len(data):
            break
        if data[at + 4 : at + 8] in _PICTURE:
            picture.append(data[at:end])
        elif with_orientation and end - at < _MOST_TEXT and _ORIENTATION.match(data, at + 4):
            about.append(data[at:end])
        at = end
    else:
        raise ValueError("its header has no end")
    if data[at + 4 : at + 8] == b"IDAT":
        picture.append(_chunk(data[at + 4 :]))
    return b"".join((data[:33], *about, *picture, _chunk(b"IEND")))


def _chunk(named: bytes) -> bytes:
    """A chunk of a name and a body: its length before, its CRC behind."""
    return (len(named) - 4).to_bytes(4) + named + zlib.crc32(named).to_bytes(4)
