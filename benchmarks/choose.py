#!/usr/bin/env python3
"""What `select`, `split` and `shard` cost against the number of images: CPU seconds, wall seconds and peak memory.

    python benchmarks/choose.py [--sizes 77641,155282,310563,621126] [--faces FOLDER] [--shard]

Rows are laid out as YouTube Faces is: 1,595 people, 3,425 videos at 621,126 images, in parts of 512; every row carries a
real crop (of `--faces`, the output of an extract; else scikit-image's faces), turned and shifted by person. CPU is user + system of all processes, memory the largest of any one process; slope
is the log-log slope of the CPU time against the size before: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from measuring import measure

IMAGES_A_PERSON, IMAGES_A_VIDEO, PART_ROWS = 389, 181, 512


def load_pictures(folder: str) -> list[np.ndarray]:
    """Crops of 128 px, BGR: those of an extract's output, or scikit-image's faces."""
    if folder:
        from facepipe.storage import parquet, place

        tables = [table for _, table in parquet.iterate_parts(place(folder), ["status", "crop.bytes"])]
        rows = [row for table in tables for row in table.to_pylist() if row["status"] == "ok"]
        return [cv2.imdecode(np.frombuffer(row["crop"]["bytes"], np.uint8), cv2.IMREAD_COLOR) for row in rows]
    from skimage import data

    faces = [cv2.resize((face * 255).astype(np.uint8), (128, 128)) for face in data.lfw_subset()[:100]]
    return [cv2.cvtColor(face, cv2.COLOR_GRAY2BGR) for face in faces]


def encode_person(person: int, pictures: list[np.ndarray]) -> list[bytes]:
    """Twenty crops of one person: a photograph turned, scaled and shifted by the person, then a little by the frame."""
    rng = np.random.default_rng(person)
    picture = pictures[int(rng.integers(len(pictures)))]
    turn, scale, (x, y) = rng.uniform(-25, 25), rng.uniform(0.8, 1.3), rng.uniform(-15, 15, 2)
    found = []
    for frame in range(20):
        matrix = cv2.getRotationMatrix2D((64, 64), turn + frame / 2, scale)
        matrix[:, 2] += (x + frame / 4, y)
        moved = cv2.warpAffine(picture, matrix, (128, 128), borderMode=cv2.BORDER_REFLECT)
        found.append(cv2.imencode(".jpg", moved, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    return found


def make_faces(output: str, images: int, pictures: list[np.ndarray]) -> None:
    """Writes the parts. Each crop ends in a few bytes of its own, so that no two are equal."""
    from facepipe.records import FaceRow
    from facepipe.storage import parquet, place
    from facepipe.storage.partlist import describe, write_list
    from facepipe.storage.settings import write_settings

    out, rng = place(output), np.random.default_rng(0)
    parts = range(0, images, PART_ROWS)
    encode = lru_cache(maxsize=4)(lambda person: encode_person(person, pictures))
    for number, start in enumerate(parts):
        rows = []
        angles = rng.gamma(2.0, 10.0, (PART_ROWS, 3))
        for i in range(start, min(start + PART_ROWS, images)):
            identity, video = f"Person_{i // IMAGES_A_PERSON:05d}", str(i % IMAGES_A_PERSON // IMAGES_A_VIDEO)
            path = f"{identity}/{video}/{video}.{i % IMAGES_A_VIDEO}.jpg"
            yaw, pitch, sharpness = angles[i - start].tolist()
            row = FaceRow(f"{path}#0", path, identity, video, i % IMAGES_A_VIDEO, 0, "ok", width=320, height=240)
            row.bbox, row.landmarks = [100.0, 60.0, 190.0, 160.0 + yaw], [1.5 * n for n in range(10)]
            row.score, row.yaw, row.pitch, row.roll = 0.9, yaw, pitch, 1.0
            row.frontal_angle, row.pose_error = math.hypot(yaw, pitch), 3.0
            row.sharpness, row.crop_scale = sharpness / 40, 0.8
            row.crop = encode(i // IMAGES_A_PERSON)[i % 20] + i.to_bytes(4, "little")
            rows.append(row)
        parquet.write_table(out, parquet.part_name(number), parquet.rows_to_table(rows))
    write_settings(out, {"stage": "extract", "parts": len(parts), "crop_size": 128})
    write_list(out, [describe(out, name) for name in parquet.part_names(out)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="77641,155282,310563,621126")
    parser.add_argument("--faces", default="")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    options = parser.parse_args()
    pictures = load_pictures(options.faces)
    before: dict[str, tuple[int, float]] = {}
    figures: list[dict[str, Any]] = []
    for images in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            make_faces(f"{folder}/faces", images, pictures)
            faces, rest = ["--faces", f"{folder}/faces"], ["--workers", options.workers, "--quiet"]
            stages = {
                "select": ["select", "-i", f"{folder}/faces", "-o", f"{folder}/targets", "--quiet"],
                "split": ["split", *faces, "--targets", f"{folder}/targets", "-o", f"{folder}/pairs", *rest],
            }
            if options.shard:
                stages["shard"] = ["shard", "-i", f"{folder}/pairs", *faces, "-o", f"{folder}/shards", *rest]
            for stage, arguments in stages.items():
                used = measure(sys.executable, "-m", "facepipe", *arguments)
                size, cost = before.get(stage, (0, 0.0))
                slope = math.log(used.cpu_s / cost) / math.log(images / size) if size else float("nan")
                before[stage] = (images, used.cpu_s)
                figures.append({"stage": stage, "images": images, **used._asdict()})
                print(
                    f"{stage:<7} {images:>9,} images  {used.cpu_s:7.1f} s CPU  {used.wall_s:7.1f} s  {used.peak_mb:6.0f} MB  slope {slope:.2f}",
                    flush=True,
                )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
