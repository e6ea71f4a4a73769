"""TIFF directories: what EXIF blocks and TIFF files keep their tags in."""

from __future__ import annotations

import struct

_MAX_ENTRIES = 65_535


def exif_orientation(exif: bytes) -> int:
    """EXIF's orientation 1..8; 1 where there is none or it can't be read."""
    try:
        orientation = tiff_tags(exif, frozenset({274})).get(274, 1)
    except (struct.error, ValueError, OverflowError):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def tiff_tags(data: bytes, wanted: frozenset[int]) -> dict[int, int]:
    """The first value of each wanted whole-number tag in the first directory, TIFF or BigTIFF."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError
    (version,) = struct.unpack_from(order + "H", data, 2)
    big = version == 43
    offset_at, offset_code, count_code, entry = (8, "Q", "Q", 20) if big else (4, "I", "H", 12)
    (at,) = struct.unpack_from(order + offset_code, data, offset_at)
    (count,) = struct.unpack_from(order + count_code, data, at)
    at += 8 if big else 2
    tags: dict[int, int] = {}
    for start in range(at, min(at + min(count, _MAX_ENTRIES) * entry, len(data) - entry + 1), entry):
        tag, kind = struct.unpack_from(order + "HH", data, start)
        if tag in wanted and tag not in tags and kind in _INTEGER_KINDS:
            tags[tag] = _tiff_value(data, order, start, kind, big=big)
    return tags


_INTEGER_KINDS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _tiff_value(data: bytes, order: str, entry: int, kind: int, *, big: bool) -> int:
    """The first of an entry's values: in the entry where they fit, else where it points to."""
    code = _INTEGER_KINDS[kind]
    (count,) = struct.unpack_from(order + ("Q" if big else "I"), data, entry + 4)
    at = entry + (12 if big else 8)
    if count * struct.calcsize(code) > (8 if big else 4):
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
    return int(struct.unpack_from(order + code, data, at)[0])
