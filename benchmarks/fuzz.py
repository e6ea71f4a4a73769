"""Feeds mutated files to facepipe's readers: no crash, no hang, no memory above the bound, no exception but its own.

    python benchmarks/fuzz.py                        23,800 images, 13,500 other files
    python benchmarks/fuzz.py --kinds png --count 500 --seed 7 --detect
    python benchmarks/fuzz.py --kinds png --only 123   one mutation again, in this process

A mutation is made from (seed, kind, number) alone. It is read in a child process, which says what it is on, so that
a death or a hang names its file. Findings are written to `--findings`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

IMAGES = ("jpeg", "png", "webp", "gif", "tiff", "bmp", "avif")
TEXTS = ("manifest", "parquet-manifest", "youtube-faces", "celeba", "vggface2", "recipe", "part", "tfrecord")
VIDEOS = ("video",)
MAX_PIXELS = 1_000_000
BOUND = 16 * MAX_PIXELS + 48 * 2**20
"""Bytes that one image may add to the process: 16 a pixel, and room for the allocator's slack."""
DETECTOR_BOUND = 200 * MAX_PIXELS
"""What detection may add: its networks' activations."""
ADDRESS_SPACE = 6 * 2**30
HANG_S = 20.0
NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


# -- seeds: whole files of every kind -------------------------------------------------------------------------------


def image_seeds(kind: str) -> list[bytes]:
    """A real photograph in every variety of a format."""
    from PIL import Image
    from skimage import data

    photo = Image.fromarray(data.astronaut()[0:225, 100:400]).resize((120, 90))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    frames = {"save_all": True, "append_images": [photo.rotate(90)]}
    xmp = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><r tiff:Orientation="8"/></x:xmpmeta>'
    rgba, gray, palette = photo.convert("RGBA"), photo.convert("L"), photo.quantize(64)
    rgba.putalpha(gray)
    wide = Image.fromarray(__import__("numpy").asarray(gray).astype("uint16") * 257)
    varieties = {
        "jpeg": [(photo, {"exif": exif}), (photo, {"progressive": True}), (gray, {}), (photo.convert("CMYK"), {}),
                 (photo, {"restart_marker_blocks": 2, "subsampling": 0}), (photo, {"icc_profile": b"x" * 300}), (photo, {"xmp": xmp})],
        "png": [(photo, {}), (rgba, {"exif": exif}), (palette, {"transparency": 3}), (wide, {}), (photo.convert("1"), {}),
                (photo, frames), (gray.convert("LA"), {})],
        "webp": [(photo, {"exif": exif}), (rgba, {"lossless": True}), (photo, frames), (photo, {"quality": 20})],
        "gif": [(photo, {}), (palette, frames), (gray, {"interlace": 1}), (palette, {"transparency": 3})],
        "tiff": [(photo, {"exif": exif}), (photo, {"compression": "tiff_lzw"}), (photo, {"compression": "jpeg"}),
                 (gray, {"compression": "tiff_adobe_deflate", "big_tiff": True}), (photo.convert("1"), {"compression": "group4"}),
                 (wide, {}), (photo.convert("CMYK"), {"compression": "packbits"}), (palette, {}), (rgba, frames),
                 (gray.convert("F"), {}), (photo.convert("YCbCr"), {"compression": "jpeg"}), (photo, {"tiled": True})],
        "avif": [(photo, {"exif": exif, "speed": 9}), (rgba, {"xmp": xmp, "speed": 9}), (photo, {**frames, "speed": 9})],
        "bmp": [(photo, {}), (palette, {}), (gray, {}), (photo.convert("1"), {}), (rgba, {})],
    }  # fmt: skip
    seeds = []
    for picture, options in varieties[kind]:
        file = io.BytesIO()
        picture.save(file, kind.upper(), **options)
        seeds.append(file.getvalue())
    if kind == "tiff":  # a thumbnail before the photograph
        thumbnail, file = photo.resize((24, 18)), io.BytesIO()
        thumbnail.encoderinfo = {"tiffinfo": {254: 1}}
        thumbnail.save(file, "TIFF", save_all=True, append_images=[photo])
        seeds.append(file.getvalue())
    return seeds + opencv_seeds(kind, photo)


def opencv_seeds(kind: str, photo: object) -> list[bytes]:
    """What Pillow does not write: 16-bit colour, float TIFFs, OpenCV's own headers."""
    import cv2
    import numpy as np

    pixels = np.asarray(photo)[..., ::-1]
    arrays = {"png": [pixels.astype(np.uint16) * 257], "tiff": [pixels.astype(np.uint16) * 257, pixels.astype(np.float32) / 255],
              "bmp": [pixels], "jpeg": [pixels]}.get(kind, [])  # fmt: skip
    return [cv2.imencode(f".{kind}", array)[1].tobytes() for array in arrays]


MANIFEST = "path,identity,video,frame_index,x1,y1,x2,y2,label\n" + "".join(
    f'"v/{i}.jpg",Änn {i % 3},v{i % 2},{i},{i}.5,2,{i + 40},50,{i % 5 - 2}\n' for i in range(30)
)
FACES = "".join(f"Ann\\3\\3.{i}.jpg,0,262,165,132,132,0.0,1\r\n" for i in range(20))
CELEBA = {
    "identity_CelebA.txt": "".join(f"00000{i}.jpg {2880 + i % 3}\n" for i in range(9)),
    "list_attr_celeba.txt": "9\nSmiling Young\n" + "".join(f"00000{i}.jpg  1 -1\n" for i in range(9)),
}
BOXES = "NAME_ID,X,Y,W,H\n" + "".join(f'"n000002/000{i}_01",161,140,224,324\n' for i in range(9))


def text_seeds(kind: str) -> list[bytes]:
    """Manifests, label files, recipes and facepipe's own files."""
    if kind in ("manifest", "parquet-manifest"):
        return (
            [MANIFEST.encode(), MANIFEST.replace(",", ";").encode("utf-16")]
            if kind == "manifest"
            else [parquet_manifest()]
        )
    if kind == "recipe":
        return [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "pipelines").glob("*.toml"))]
    if kind == "part":
        return [own_part()]
    if kind == "tfrecord":
        return [own_records()]
    return {
        "youtube-faces": [FACES.encode()],
        "vggface2": [BOXES.encode()],
        "celeba": [text.encode() for text in CELEBA.values()],
    }[kind]


def parquet_manifest() -> bytes:
    import pyarrow as pa
    from pyarrow import csv, parquet

    file = io.BytesIO()
    parquet.write_table(csv.read_csv(pa.BufferReader(MANIFEST.encode())), file)
    return file.getvalue()


def own_part() -> bytes:
    from pyarrow import parquet

    from facepipe.records import FaceRow
    from facepipe.storage.parquet import rows_to_table

    rows = [
        FaceRow(f"a/{i}.jpg#0", f"a/{i}.jpg", "a", "", 0, 0, "ok", bbox=[1, 2, 3, 4], crop=bytes(500))
        for i in range(20)
    ]
    file = io.BytesIO()
    parquet.write_table(rows_to_table(rows), file, write_page_checksum=True)
    return file.getvalue()


def own_records() -> bytes:
    from facepipe.storage.tfrecord import encode_example, write_records

    file = io.BytesIO()
    write_records(
        file, (encode_example({"key": f"k{i}", "yaw": 0.5, "label": i, "image": bytes(300)}) for i in range(8))
    )
    return file.getvalue()


CODECS = (
    ("mp4", "mpeg4", {}), ("avi", "mjpeg", {}), ("avi", "mpeg4", {}), ("webm", "libvpx", {}), ("matroska", "mpeg4", {}),
    ("flv", "flv", {}), ("asf", "wmv2", {}), ("mpegts", "mpeg2video", {"flags": "+ildct+ilme"}), ("mov", "mpeg4", {}),
)  # fmt: skip


def video_seeds(folder: str) -> list[bytes]:
    """Short videos in many containers: one mirrored, one interlaced, all of a rate that varies where they can."""
    from fractions import Fraction

    import av
    import numpy as np
    from skimage import data

    seeds = []
    for number, (container, codec, options) in enumerate(CODECS):
        path = os.path.join(folder, f"seed{number}")
        with av.open(path, "w", format=container) as file:
            stream = file.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 96, 80, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if container == "mov":
                stream.set_display_rotation(90, hflip=True)
            for i in range(6):
                picture = np.ascontiguousarray(data.astronaut()[i : i + 80, 180 : 180 + 96])
                frame = av.VideoFrame.from_ndarray(picture)
                frame.pts, frame.time_base = i, Fraction(1, 25)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        seeds.append(Path(path).read_bytes())
    return seeds


# -- mutations -------------------------------------------------------------------------------------------------------


def mutate(seeds: list[bytes], seed: int, kind: str, number: int) -> bytes:
    """Mutation `number` of a kind: one to eight changes to one of its seeds, most of them near its start."""
    rng = random.Random(f"{seed}/{kind}/{number}")
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 5, 8))):
        _change(data, rng, seeds)
    return repaired(kind, bytes(data)) if rng.random() < 0.7 else bytes(data)


def repaired(kind: str, data: bytes) -> bytes:
    """The same with right checksums, so that a reader gets past them."""
    if kind == "png":
        return repaired_png(data)
    if kind == "tfrecord":
        from facepipe.storage.tfrecord import frame_record

        records, at = [], 0
        while at + 16 <= len(data):
            length = min(int.from_bytes(data[at : at + 8], "little"), len(data) - at - 16)
            records.append(frame_record(data[at + 12 : at + 12 + length]))
            at += 16 + length
        return b"".join(records)
    return data


def repaired_png(data: bytes) -> bytes:
    """The whole chunks, each with its right checksum."""
    chunks, at = [data[:8]], 8
    while at + 12 <= len(data) and (end := at + 12 + int.from_bytes(data[at : at + 4])) <= len(data):
        body = data[at + 4 : end - 4]
        chunks.append(data[at : at + 4] + body + zlib.crc32(body).to_bytes(4))
        at = end
    return b"".join(chunks)


def _change(data: bytearray, rng: random.Random, seeds: list[bytes]) -> None:
    if not data:
        return
    reach = rng.choice((64, 300, len(data)))
    at = rng.randrange(min(len(data), reach))
    kind = rng.randrange(9)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at] = rng.randrange(256)
    elif kind in (2, 3):
        size, order = rng.choice((1, 2, 4)), rng.choice(("little", "big"))
        data[at : at + size] = (rng.choice(NUMBERS) % 256**size).to_bytes(size, order)
    elif kind == 4:
        del data[rng.randrange(len(data)) :]
    elif kind == 5:
        del data[at : at + rng.choice((1, 2, 4, 50))]
    elif kind == 6:
        end = at + rng.choice((1, 4, 12, 100))
        data[at:at] = data[at:end] * rng.choice((1, 2, 20))
    elif kind == 7:
        other = rng.choice(seeds)
        start = rng.randrange(len(other))
        data[at : at + 64] = other[start : start + rng.choice((4, 64, 500))]
    else:
        data[at : at + 8] = rng.randbytes(rng.choice((1, 8, 40)))


# -- readers ---------------------------------------------------------------------------------------------------------


class Reader:
    """Reads mutations of one kind as facepipe does; anything but its own errors comes out as an exception."""

    def __init__(self, kind: str, folder: str, detect: bool) -> None:
        self.kind = kind
        self.folder = folder
        self.seeds = (
            image_seeds(kind) if kind in IMAGES else video_seeds(folder) if kind in VIDEOS else text_seeds(kind)
        )
        self.detector = None
        if detect and kind in IMAGES:
            from facepipe.detection import make_detector

            self.detector = make_detector("yunet")
        self._layout()

    def _layout(self) -> None:
        """The pictures that label files speak of."""
        names = {"youtube-faces": [f"frame_images_DB/Ann/3/3.{i}.jpg" for i in range(20)],
                 "celeba": [f"img_align_celeba/00000{i}.jpg" for i in range(9)],
                 "vggface2": [f"train/n000002/000{i}_01.jpg" for i in range(9)]}.get(self.kind, [])  # fmt: skip
        for name in names:
            self._write(name, b"")

    def _write(self, name: str, data: bytes) -> str:
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_bytes(data)
        return path

    def read(self, data: bytes, number: int) -> str:
        """What became of it: `ok`, or the name of facepipe's own error."""
        from facepipe.errors import FacepipeError, ImageError

        try:
            self._read(data, number)
        except ImageError as error:
            outcome, said = str(error.status), error.message
        except FacepipeError as error:
            outcome, said = type(error).__name__, str(error)
        else:
            return "ok"
        assert said.strip(), "an error without a sentence"
        assert "\n" not in said, f"more than one line: {said!r}"
        return outcome

    def _read(self, data: bytes, number: int) -> None:
        if self.kind in IMAGES:
            self._read_image(data, number)
        elif self.kind in VIDEOS:
            self._read_video(data)
        elif self.kind == "recipe":
            from facepipe.stages.recipes import read_recipe

            read_recipe(self._write("r.toml", data))
        elif self.kind == "part":
            from facepipe.storage import place
            from facepipe.storage.parquet import read_table

            self._write("part-00000.parquet", data)
            read_table(place(self.folder), "part-00000.parquet").to_pylist()
        elif self.kind == "tfrecord":
            from facepipe.storage.tfrecord import decode_example, read_records

            for record in read_records(io.BytesIO(data)):
                decode_example(record)
        else:
            self._list(data, number)

    def _read_image(self, data: bytes, number: int) -> None:
        from facepipe.media.image import decode, read_header

        header = read_header(data)
        reduction = (1, 1, 2, 4, 8)[number % 5]
        image = decode(data, max_pixels=MAX_PIXELS, reduction=reduction)
        assert (image.dtype.name, image.ndim, image.shape[-1]) == ("uint8", 3, 3), image.shape
        assert image.flags.c_contiguous
        if header.width:
            sides = (-(-header.height // reduction), -(-header.width // reduction))
            assert image.shape[:2] in (sides, sides[::-1]), (image.shape, header)
        if self.detector is not None:
            self.detector.refine([image], self.detector.detect([image], 20))

    def _read_video(self, data: bytes) -> None:
        from facepipe.media.video import iter_frames

        for count, (_, image) in enumerate(iter_frames(self._write("video", data), 1, MAX_PIXELS)):
            assert image.ndim == 3
            assert image.shape[0] * image.shape[1] <= MAX_PIXELS
            if count > 200:
                break

    def _list(self, data: bytes, number: int) -> None:
        from facepipe.config import ExtractConfig
        from facepipe.inputs import list_sources
        from facepipe.storage import place

        options = {}
        if "manifest" in self.kind:
            options["manifest"] = self._write("manifest", data)
        elif self.kind == "youtube-faces":
            self._write("frame_images_DB/Ann.labeled_faces.txt", data)
        elif self.kind == "vggface2":
            self._write("bb_landmark/loose_bb_train.csv", data)
        else:
            for name, text in CELEBA.items():
                self._write(name, text.encode())
            self._write(list(CELEBA)[number % 2], data)
            options["label"] = "Smiling"
        here = place(self.folder)
        for source in list_sources(here, ExtractConfig(input=self.folder, **options)).sources():
            inside = os.path.normpath(os.path.join(self.folder, source.file))
            assert inside.startswith(self.folder + os.sep), source
            source.path.encode(), source.identity.encode()


# -- processes -------------------------------------------------------------------------------------------------------


def reset_peak() -> int:
    """Starts the peak anew where the system can, and returns it, in bytes."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes() -> int:
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def child(kinds: list[str], numbers: range, seed: int, detect: bool) -> None:
    """Reads mutations, a JSON line each: [number] before, [number, outcome] after. Kinds take turns."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with contextlib.ExitStack() as folders:
        readers = [Reader(kind, folders.enter_context(tempfile.TemporaryDirectory()), detect) for kind in kinds]
        for reader in readers:
            for data in reader.seeds:  # loads every module and warms every allocator before memory is watched
                reader.read(data, 0)
        for number in numbers:
            print(json.dumps([number]), flush=True)
            print(json.dumps([number, _outcome(readers[number % len(kinds)], seed, number // len(kinds))]), flush=True)


def _outcome(reader: Reader, seed: int, number: int) -> str:
    data = mutate(reader.seeds, seed, reader.kind, number)
    before = reset_peak()
    try:
        outcome = reader.read(data, number)
    except Exception as error:  # every other exception is a finding
        outcome = f"FOUND {type(error).__name__}: {error}"[:300]
    if peak_bytes() - before > BOUND + len(data) + (DETECTOR_BOUND if reader.detector else 0):
        outcome = f"FOUND memory: {(peak_bytes() - before) / 1e6:.0f} MB more"
    return outcome


def run(kind: str, count: int, seed: int, detect: bool, report: Counter[str], start: int = 0) -> list[tuple[int, str]]:
    """All mutations of a kind, or of several (`png,gif`) in turns; a new child goes on behind one that died."""
    findings = []
    number = start
    while number < start + count:
        command = [
            sys.executable,
            __file__,
            "--child",
            kind,
            str(number),
            str(start + count),
            str(seed),
            str(int(detect)),
        ]
        with tempfile.TemporaryFile() as errors:  # a pipe would fill up, and stop the child
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
            current, done = _follow(process, report, findings)
            errors.seek(max(0, os.fstat(errors.fileno()).st_size - 300))
            said = errors.read().decode(errors="replace")
        if done == start + count - 1:
            break
        if current < 0:
            raise SystemExit(f"the child for {kind} did not start: {said}")
        findings.append((current, f"FOUND process ended with {process.returncode}: {said}"))
        report["died"] += 1
        number = current + 1
    return findings


def _follow(process: subprocess.Popen[bytes], report: Counter[str], findings: list[tuple[int, str]]) -> tuple[int, int]:
    """Reads a child's lines until it ends; kills it when it hangs. The last number begun, the last one finished."""
    current = done = -1
    os.set_blocking(process.stdout.fileno(), False)
    rest = b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], HANG_S if current >= 0 else 120)
        block = process.stdout.read() if ready else None
        if not ready:
            process.kill()
        if not block:
            process.wait()
            return current, done
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            entry = json.loads(line)
            current = entry[0]
            if len(entry) == 2:
                done = current
                report["FOUND" if entry[1].startswith("FOUND") else entry[1]] += 1
                if entry[1].startswith("FOUND"):
                    findings.append((current, entry[1]))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        kind, start, end, seed, detect = sys.argv[2:]
        child(kind.split(","), range(int(start), int(end)), int(seed), detect == "1")
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=[*IMAGES, *TEXTS, *VIDEOS], choices=[*IMAGES, *TEXTS, *VIDEOS])
    parser.add_argument("--count", type=int, default=0, help="mutations a kind; 0: 3,400 an image format, 1,500 others")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detect", action="store_true", help="detect faces in what can be decoded")
    parser.add_argument("--only", type=int, default=-1, help="read one mutation in this process")
    parser.add_argument("--findings", default="", help="a file for what was found, a JSON line each")
    options = parser.parse_args()
    if options.only >= 0:
        with tempfile.TemporaryDirectory() as folder:
            reader = Reader(options.kinds[0], folder, options.detect)
            print(reader.read(mutate(reader.seeds, options.seed, options.kinds[0], options.only), options.only))
        return
    total, found = 0, 0
    for kind in options.kinds:
        count = options.count or (3400 if kind in IMAGES else 1500)
        report: Counter[str] = Counter()
        began = time.monotonic()
        findings = run(kind, count, options.seed, options.detect, report, options.start)
        total, found = total + count, found + len(findings)
        outcomes = ", ".join(f"{n} {name}" for name, n in sorted(report.items()))
        print(f"{kind:17} {count:6} read in {time.monotonic() - began:5.0f} s: {outcomes}", flush=True)
        for number, said in findings:
            print(f"    --kinds {kind} --seed {options.seed} --only {number}: {said}")
            if options.findings:
                with open(options.findings, "a") as file:
                    file.write(json.dumps([kind, options.seed, number, said]) + "\n")
    print(f"{total} files, {found} findings, seed {options.seed}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
