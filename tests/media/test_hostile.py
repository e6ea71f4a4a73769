"""Mutated and hostile files: no crash, no hang, no memory above the bound, no exception but facepipe's own."""

from __future__ import annotations

import importlib.util
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest

from facepipe.errors import ImageError
from facepipe.media.image import decode, read_header
from facepipe.records import Status

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    """The fuzzing script, as a module."""
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


IMAGES = ["jpeg", "png", "webp", "gif", "tiff", "bmp", "avif"]
OTHERS = ["manifest", "parquet-manifest", "youtube-faces", "celeba", "vggface2", "recipe", "part", "tfrecord", "video"]


def survived(fuzz, kind, count, seed, detect):
    report = Counter()
    findings = fuzz.run(kind, count, seed, detect, report)
    assert findings == []
    assert sum(report.values()) == count
    assert report["ok"] < count, "no mutation did any harm: the test tests nothing"


def test_mutated_images(fuzz):
    """30 mutations of each format give a picture or a sentence, in a process of bounded memory."""
    survived(fuzz, ",".join(IMAGES), 210, 100, detect=False)


def test_mutated_lists_and_videos(fuzz):
    """15 mutations of each other kind of file give a listing, frames, rows, or a line that says what is wrong."""
    survived(fuzz, ",".join(OTHERS), 135, 100, detect=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*IMAGES, *OTHERS])
def test_many_mutations(fuzz, kind):
    """1,000 of each format of pictures, through the decoder and the detector; 500 of every other kind of file."""
    survived(fuzz, kind, 1000 if kind in IMAGES else 500, 101, detect=kind in IMAGES)


def test_a_crash_is_noticed(fuzz, monkeypatch, tmp_path):
    """The fuzzer sees processes that die, that hang and that raise what they should not."""
    script = tmp_path / "broken.py"
    deeds = {2: "os.kill(os.getpid(), 11)", 4: "time.sleep(60)", 5: "raise ValueError('x')"}
    branches = "\n".join(f"    if number == {number}: {deed}" for number, deed in deeds.items())
    script.write_text(
        f"import os, sys, time\nsys.path.insert(0, {str(SCRIPT.parent)!r})\nimport fuzz\n"
        f"def read(self, data, number):\n{branches}\n    return 'ok'\n"
        "fuzz.Reader.read, fuzz.image_seeds = lambda *a: read(*a) if a[1] else 'ok', lambda kind: [b'1234']\n"
        "fuzz.mutate = lambda *_: b'5'\n"
        "fuzz.Reader.read = read\nfuzz.main()\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(script))
    monkeypatch.setattr(fuzz, "HANG_S", 2.0)
    report = Counter()
    findings = dict(fuzz.run("png", 8, 0, False, report))
    assert sorted(findings) == [2, 4, 5]
    assert "ended with -11" in findings[2]
    assert "ended with -9" in findings[4]
    assert "ValueError" in findings[5]
    assert report["ok"] == 5


def refused(data, limit=1_000_000):
    with pytest.raises(ImageError) as caught:
        decode(data, max_pixels=limit)
    return caught.value


def test_a_png_chunk_that_claims_gigabytes(fuzz):
    """A last chunk that claims more than the file holds is not set aside for. (Found by fuzzing: 888 MB.)"""
    header = struct.pack(">IIBBBBB", 120, 90, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data += struct.pack(">I", 0x3FFFFFFF) + b"IDAT" + zlib.compress(bytes(1000))
    before = peak()
    Path("/proc/self/clear_refs").write_text("5")
    assert refused(data).status == Status.DECODE_ERROR
    assert peak() - before < 50_000


def test_a_bigtiff_offset_beyond_any_memory():
    """Offsets of 64 bits are no index. (Found by fuzzing: an OverflowError.)"""
    data = b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**64 - 1) + bytes(100)
    assert refused(data).status == Status.DECODE_ERROR
    exif = b"Exif\0\0" + data
    jpeg = (
        b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + b"\xff\xc0\0\x11\x08\0\x10\0\x10\3" + bytes(9)
    )
    assert read_header(jpeg).orientation == 1


def test_a_gif_whose_frame_is_larger_than_its_screen():
    """The first frame counts, however much lies before it that is no block. (Found by fuzzing: a wrong size.)"""
    screen = b"GIF89a" + struct.pack("<HHBBB", 70, 90, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 120, 90, 0)
    header = read_header(screen + b"\0\1\2\3" + frame + b"\x08\0;")
    assert (header.width, header.height) == (120, 90)


SIZE = 10_000_000
ENDLESS = {
    "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * SIZE,
    "jpeg of empty segments": b"\xff\xd8" + b"\xff\xe1\0\2" * (SIZE // 4),
    "jpeg of restarts": b"\xff\xd8" + b"\xff\xd0" * (SIZE // 2),
    "png of empty chunks": b"\x89PNG\r\n\x1a\n" + bytes(SIZE),
    "gif of nothing": b"GIF89a" + bytes(7) + b"\1" * SIZE,
    "gif of empty blocks": b"GIF89a" + bytes(7) + b"!\1" + b"\1\1" * (SIZE // 2),
    "webp of empty chunks": b"RIFF\0\0\0\0WEBP" + bytes(SIZE),
    "bigtiff of many tags": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(SIZE),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_headers_without_end(kind):
    """A header made of millions of empty pieces is given up within a second."""
    started = time.process_time()
    assert refused(ENDLESS[kind]).status == Status.DECODE_ERROR
    assert time.process_time() - started < 1


def test_a_second_png_header_is_dropped(fuzz):
    """A PNG whose second header claims more than the first is decoded by the first."""
    data = fuzz.image_seeds("png")[0]
    second = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + second + struct.pack(">I", zlib.crc32(second))
    assert decode(data[:33] + chunk + data[33:], max_pixels=20_000).shape == (90, 120, 3)


@pytest.mark.parametrize("side", [8_388_698, 200_000_000])
def test_a_png_header_is_read_without_its_pixels(side):
    """What a header claims is not set aside for reading it. (Found by fuzzing: 100 MB for row pointers.)"""
    body = b"IHDR" + struct.pack(">IIBBBBB", 4, side, 8, 2, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    read_header(data)
    before = peak()
    assert read_header(data).height == side
    assert peak() - before < 1000


def peak():
    """KB of this process."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("peaks are told by /proc")
    return int(status.read_text().split("VmHWM:")[1].split()[0])
