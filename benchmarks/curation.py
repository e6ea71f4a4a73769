#!/usr/bin/env python3
"""What the filters of `select` measure: copies and near-duplicates by perceptual hash, and sharpness by the face's size.

    python benchmarks/curation.py [DATA] [--work DIR]

DATA (default ../shared/data) holds `lfw` and `ytf`, a directory of photographs a person, `aflw2000`, photographs of large
faces, and `video`, a video of a face. Photographs are saved again in other qualities and sizes, and faces are found in all
of them by `facepipe extract`, kept in `--work` where it is given. Prints Markdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from facepipe.dataset.duplicates import COPY_BITS, COPY_SHIFT, count_bits, hash_pictures
from facepipe.stages.scan import decode_small
from facepipe.storage import parquet, place

QUALITIES = (95, 85, 75, 50)
DISTANCES = (8, 16, 24, 40, 60, 80)
FACE_PX = (64, 96, 128, 192, 256, 512)
BLURS = (0.0, 0.01, 0.02, 0.04)
"""Standard deviations of a Gaussian, as shares of the face's longer side."""
_COLUMNS = ("path", "identity", "video", "frame_index", "status", "width", "height", "bbox", "landmarks", "sharpness")


def extract(images: Path, faces: Path, *options: str) -> list[dict]:
    """The usable faces, by path; what is there already is kept."""
    command = [sys.executable, "-m", "facepipe", "extract", "-i", str(images), "-o", str(faces), "--quiet", *options]
    subprocess.run([*command, "--workers", "1"], check=True, stdout=subprocess.DEVNULL)
    found = []
    for _, table in parquet.iterate_parts(place(str(faces)), [*_COLUMNS, "crop.bytes"]):
        found += [row for row in table.to_pylist() if row["status"] == "ok"]
    small = np.array([decode_small(row["crop"]["bytes"], 128) for row in found])
    for row, fine in zip(found, hash_pictures(small)[1], strict=True):
        row["fine"], row["name"] = fine, row["path"].rpartition(".")[0]
    return found


def save_again(images: Path, folder: Path, quality: int) -> None:
    """Every third picture, as JPEG of this quality."""
    for file in sorted(images.rglob("*.jpg"))[::3]:
        to = folder / file.relative_to(images)
        to.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(to), cv2.imread(str(file)), [cv2.IMWRITE_JPEG_QUALITY, quality])


def compare(pairs: list[tuple[dict, dict]]) -> tuple[np.ndarray, np.ndarray]:
    """Differing bits of pairs of faces, and which of them are told to be copies of one picture."""
    one, other = zip(*pairs, strict=True)
    bits = count_bits(np.array([row["fine"] for row in one]), np.array([row["fine"] for row in other]))
    places = [np.array([row["landmarks"] for row in rows]) for rows in (one, other)]
    boxes = np.array([row["bbox"] for row in other])
    shift = np.abs(places[0] - places[1]).max(axis=1) / (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    same = [(a["width"], a["height"]) == (b["width"], b["height"]) for a, b in pairs]
    return bits, (bits <= COPY_BITS) & (shift <= COPY_SHIFT) & np.array(same)


def tell(what: str, pairs: list[tuple[dict, dict]]) -> None:
    """A line of the first table."""
    bits, copies = compare(pairs)
    shares = [f"{(bits <= limit).mean():.1%}" for limit in DISTANCES]
    print(f"| {what} | {len(pairs):,} | {copies.mean():.1%} | {' | '.join(shares)} |", flush=True)


def tell_duplicates(data: Path, work: Path) -> None:
    """Copies, neighbours and others of one person, by distance."""
    print("| two faces | pairs | told to be a copy |", " | ".join(f"within {limit} bits" for limit in DISTANCES), "|")
    print("| --- " * (3 + len(DISTANCES)) + "|")
    for name in ("lfw", "ytf"):
        faces = extract(data / name, work / name / "faces")
        by_name = {row["name"]: row for row in faces}
        for quality in QUALITIES:
            folder = work / f"{name}{quality}"
            save_again(data / name, folder / "images", quality)
            again = extract(folder / "images", folder / "faces")
            pairs = [(by_name[row["name"]], row) for row in again if row["name"] in by_name]
            tell(f"{name}: saved again, quality {quality}", pairs)
        people: dict[str, list[dict]] = {}
        for row in faces:
            people.setdefault(row["identity"], []).append(row)
        tell(
            f"{name}: any two of a person",
            [(a, b) for rows in people.values() for a in rows for b in rows if a is not b],
        )
    video = sorted(extract(data / "video", work / "video" / "faces"), key=lambda row: (row["path"], row["frame_index"]))
    for step in (1, 5, 25):
        pairs = [(a, b) for a, b in zip(video, video[step:], strict=False) if a["path"] == b["path"]]
        tell(f"video: frames {step} apart", pairs)


def tell_sharpness(data: Path, work: Path) -> None:
    """The median sharpness of one face by its size and blur."""
    images = data / "aflw2000"
    faces = [row for row in extract(images, work / "large" / "faces") if face_px(row) >= 200]
    print(f"\n{len(faces)} photographs\n\n| blur, share of the face |", " | ".join(f"{px} px" for px in FACE_PX), "|")
    print("| --- " * (1 + len(FACE_PX)) + "|")
    for blur in BLURS:
        medians = []
        for px in FACE_PX:
            folder = work / f"px{px}blur{blur}"
            (folder / "images").mkdir(parents=True, exist_ok=True)
            for row in faces:
                picture, scale = cv2.imread(str(images / row["path"])), px / face_px(row)
                if blur:
                    picture = cv2.GaussianBlur(picture, (0, 0), blur * face_px(row))
                method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
                resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
                cv2.imwrite(str(folder / "images" / f"{row['name']}.png"), resized)
            found = extract(folder / "images", folder / "faces", "--min-score", "0.1")
            medians.append(f"{np.median([row['sharpness'] for row in found]):.2f}")
        print(f"| {blur:.0%} | {' | '.join(medians)} |", flush=True)


def face_px(row: dict) -> float:
    """The longer side of a face's box."""
    left, top, right, bottom = row["bbox"]
    return max(right - left, bottom - top)


def main() -> None:
    """Reads the command line, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        tell_duplicates(given.data, work)
        tell_sharpness(given.data, work)


if __name__ == "__main__":
    main()
