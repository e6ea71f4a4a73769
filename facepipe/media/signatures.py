"""Formats by their first bytes: a file's name proves nothing."""

from __future__ import annotations

VIDEO = "VIDEO"
START_BYTES = 400
"""So much of a file's start tells what it is."""
_AVIF = frozenset({b"avif", b"avis"})
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf"})
_SIGNATURES = (  # offset, signature, format
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"\xff\x0a", "JXL"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (0, b"8BPS", "PSD"),
    (0, b"qoif", "QOI"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"\x59\xa6\x6a\x95", "SUN"),
    (0, b"\x01\xda", "SGI"),
    (0, b"\x0a\x05\x01", "PCX"),
    (0, b"\x0a\x03\x01", "PCX"),
    (0, b"\x0a\x02\x01", "PCX"),
    *((offset, signature, VIDEO) for offset, signature in (  # no playlists, which make FFmpeg open other files and URLs
        (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"), (8, b"AVI "), (8, b"AVIX"),
        (0, b"\x1a\x45\xdf\xa3"), (0, b"FLV\1"), (0, b"\0\0\1\xba"), (0, b"\0\0\1\xb3"), (0, b"OggS"), (0, b".RMF"),
        (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01"), (0, b"\x1f\x07\0"),
        (0, b"\0\0\1\xb0"), (0, b"DKIF"), (0, b"nut/multimedia container"), (0, b"YUV4MPEG2 "),
        (0, b"\0\0\0\1\x67"), (0, b"\0\0\0\1\x27"), (0, b"\0\0\0\1\x40\1"),
    )),
)  # fmt: skip
_TRANSPORT_PACKETS = ((0, 188), (4, 192))
"""Offset and length of an MPEG transport stream's packets, each of which begins with G."""


def sniff(start: bytes) -> str:
    """Returns a picture's format, such as "JPEG", or `VIDEO`; "" where a file's first START_BYTES are neither's."""
    if start[4:8] == b"ftyp":
        return _sniff_brands(start)
    known = next((name for offset, signature, name in _SIGNATURES if start.startswith(signature, offset)), "")
    return known or _sniff_weak(start)


def _sniff_weak(start: bytes) -> str:
    """Formats without a signature, by few values that fit."""
    for offset, length in _TRANSPORT_PACKETS:
        if start[offset : offset + 1] == start[offset + length : offset + length + 1] == b"G":
            return VIDEO
    if start[:1] == b"P" and start[1:2] in b"1234567Ff" and start[2:3].isspace():
        return "PNM"
    if len(start) > 18 and start[1] in (0, 1) and start[2] in (1, 2, 3, 9, 10, 11) and start[16] in (8, 15, 16, 24, 32):
        return "TGA"
    return ""


def _sniff_brands(start: bytes) -> str:
    """By the brands of an ISO file: AVIF's and HEIC's may stand behind one that both have."""
    end = min(int.from_bytes(start[:4]), START_BYTES)
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, end, 4))}
    return "AVIF" if brands & _AVIF else "HEIC" if brands & _HEIC else VIDEO
