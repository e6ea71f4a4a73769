"""What a video's container and codec tell beside the pixels: how they lie, how long it is, whether it is whole."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame

_STRETCHED = 4.0
"""Pixels further from square than this are a mistake in the file."""
_ORIENTATIONS = {  # signs of the display matrix's a and d, or, where width and height are exchanged, of b and c
    (False, 1, 1): 1, (False, -1, 1): 2, (False, -1, -1): 3, (False, 1, -1): 4,
    (True, 1, 1): 5, (True, 1, -1): 6, (True, -1, -1): 7, (True, -1, 1): 8,
}  # fmt: skip
_WITHOUT_LENGTH = frozenset({"mpegvideo", "m4v", "h264", "hevc", "dv"})
"""Streams without a container: FFmpeg guesses how long they are."""
_MPEG = frozenset({"mpeg1video", "mpeg2video"})
_SEQUENCE = re.compile(rb"\x00\x00\x01\xb3(...)", re.DOTALL)
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA_HEADER, _BROADCAST = 50, 1


def orientation_of(frame: VideoFrame) -> int:
    """EXIF's number for what the display matrix says; 1 where there is none."""
    side: Any = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return 1
    a, b, _, c, d = np.frombuffer(bytes(side), np.int32, 5).astype(np.int64).tolist()
    exchanged = abs(b) + abs(c) > abs(a) + abs(d)
    signs = np.sign((b, c) if exchanged else (a, d)).tolist()
    return _ORIENTATIONS.get((exchanged, *signs), 1)


def stretch_of(ratio: Any) -> tuple[float, float]:
    """What makes a frame's pixels square, in x and y: those of DV, DVD and HDV are not. No side gets smaller."""
    if not ratio or not 1 / _STRETCHED <= ratio <= _STRETCHED:
        return 1.0, 1.0
    return max(float(ratio), 1.0), max(float(1 / ratio), 1.0)


def mpeg_size(packet: Any, stream: Any) -> bytes:
    """Where a packet of MPEG-1 or MPEG-2 begins a sequence, the bytes that tell the size of its pictures; else b""."""
    if packet is None or stream.codec_context.name not in _MPEG:
        return b""
    found = _SEQUENCE.match(bytes(memoryview(packet)[:7]))
    return found[1] if found else b""


def length_s(container: Any, stream: Any) -> float:
    """How long the whole file is, as its header says; 0 where it does not."""
    name, rate = container.format.name, stream.average_rate
    if name == "avi" and rate:  # FFmpeg takes the length from what is there
        return float(stream.frames / rate)
    return 0.0 if name in _WITHOUT_LENGTH else (container.duration or 0) / 1_000_000


def is_asf_whole(descriptor: int) -> bool | None:
    """Whether all packets are there that the header of an ASF file (WMV) counts; None where it does not, or is none.

    Its length in seconds proves nothing: it counts what lies before the first frame.
    """
    head = os.pread(descriptor, 1 << 16, 0)
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 96 or int.from_bytes(head[at + 88 : at + 92], "little") & _BROADCAST:
        return None
    packets, size = (int.from_bytes(head[at + i : at + i + n], "little") for i, n in ((56, 8), (92, 4)))
    header = int.from_bytes(head[16:24], "little") + _ASF_DATA_HEADER
    return os.fstat(descriptor).st_size >= header + packets * size
