"""How long MP4 and MOV files are shown: a trimmed film still holds, and counts, frames that nobody sees."""

from __future__ import annotations

import os
from typing import BinaryIO

_HEADER = 8


def shown_seconds(path: str) -> float:
    """The length that an MP4 or MOV file states for the whole film; 0 where it states none, or is another kind."""
    try:
        with open(path, "rb") as file:
            end = os.fstat(file.fileno()).st_size
            movie = _find(file, b"moov", end)
            header = _find(file, b"mvhd", file.tell() + movie) and file.read(32)
    except OSError:
        return 0.0
    if not header or len(header) < 32:
        return 0.0
    long = header[0] == 1
    rate = int.from_bytes(header[20:24] if long else header[12:16])
    duration = int.from_bytes(header[24:32] if long else header[16:20])
    return duration / rate if rate else 0.0


def _find(file: BinaryIO, kind: bytes, end: int) -> int:
    """Goes to the content of the first box of a kind before `end`; its size, 0 where there is none."""
    while file.tell() + _HEADER <= end:
        head = file.read(_HEADER)
        size, start = int.from_bytes(head[:4]), _HEADER
        if size == 1:
            size, start = int.from_bytes(file.read(8)), _HEADER + 8
        if head[4:] == kind:
            return max(size - start, 0)
        if size < start:
            break
        file.seek(size - start, os.SEEK_CUR)
    return 0
