"""How a picture's file says that it is to be turned: by EXIF, or by XMP where EXIF does not say it."""

from __future__ import annotations

import re
from typing import Any

ORIENTATION_TAG = 0x0112
_PROFILES = tuple(f"Raw profile type {kind}" for kind in ("exif", "xmp", "APP1"))
"""Texts in which ImageMagick keeps what PNG had no place for."""
_RESOURCES = {1058: "exif", 1060: "xmp"}
_SEARCHED = ("GIF", "JPEG2000")
_MARKS = {"exif": b"JpgTiffExif->JP2", "xmp": b"<x:xmpmeta"}
_MOST_BYTES = 1 << 20
_TIFF_PREFIX = re.compile(rb"""xmlns:([\w.-]+)\s*=\s*["']http://ns\.adobe\.com/tiff/1\.0/["']""")
_ORIENTATION = re.compile(rb"""([\w.-]+):Orientation\s*(?:=\s*["']|>)\s*([1-8])\b""")


def orientation_of(picture: Any) -> int:
    """1..8, 1 where nothing is told; AVIF and HEIC report their own turns as EXIF's. `picture`: opened by Pillow."""
    try:
        _unfold(picture.info)
        told = _told(picture)
        told = told[0] if isinstance(told, bytes | tuple) else told
        orientation = int(told)
    except Exception:  # readers of broken EXIF raise anything, and the picture may be whole
        orientation = 0
    return orientation if 1 <= orientation <= 8 else orientation_in_xmp(picture.info.get("xmp")) or 1


def is_turned_by_pillow(picture: Any) -> bool:
    """Whether Pillow undoes this TIFF's orientation as it loads it."""
    return _told(picture) in range(2, 9)


def _told(picture: Any) -> Any:
    """The tag's value, of any type; not by the picture's own method: a PNG's decodes it to see what is behind it."""
    from PIL.Image import Image

    return Image.getexif(picture).get(ORIENTATION_TAG)


def orientation_in_xmp(xmp: object) -> int:
    """1..8, or 0 where the packet does not tell it; XML allows many spellings of the same."""
    if not isinstance(xmp, bytes):
        return 0
    prefixes = {b"tiff", *_TIFF_PREFIX.findall(xmp)}
    return next((int(number) for prefix, number in _ORIENTATION.findall(xmp) if prefix in prefixes), 0)


def search_exif(picture: Any, data: bytes, name: str) -> None:
    """Puts EXIF and XMP of formats in which Pillow does not look for them where it keeps those of others."""
    for number, _, content in getattr(picture, "resources", ()):  # Photoshop's
        if number in _RESOURCES:
            picture.info[_RESOURCES[number]] = content
    for key, mark in _MARKS.items() if name in _SEARCHED else ():
        at = data.find(mark)
        if at >= 0:
            picture.info[key] = data[at + len(mark) : at + _MOST_BYTES]


def _unfold(info: dict[str, Any]) -> None:
    """Profiles in hexadecimal digits, behind three lines, to where Pillow keeps those of other files."""
    for name in _PROFILES:
        if name in info:
            content = bytes.fromhex("".join(info[name].split("\n")[3:]))
            info.setdefault("xmp" if _MARKS["xmp"] in content else "exif", content)
