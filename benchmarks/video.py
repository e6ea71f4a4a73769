#!/usr/bin/env python3
"""What following faces through a video saves, and what it costs in precision.

    python benchmarks/video.py [VIDEO] [--runs 5]

First `facepipe extract --track` beside `--no-track`, one worker, the video in several people's folders: CPU time a frame
(user + system, start-up taken out by a run over a single frame; medians of alternating runs, the ratio's median over the
pairs), frames with a face, and how far the landmarks lie from those of a full search of every frame. Then the search
alone, in this process, with other numbers of frames between two full searches. Default: ../shared/data/video/one_face_320x240.avi.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from measuring import measure

from facepipe.config import ExtractConfig
from facepipe.detection import make_detector, make_refiner
from facepipe.detection.tracking import Tracker, frames_held
from facepipe.media.video import iter_frames

ROOT = Path(__file__).resolve().parents[1]
GAPS = (1, 3, 6, 12, 24)
"""Frames between two full searches; 1: every frame."""
HELD = 8
"""Spans of frames that are held at once."""
COPIES = 6
"""How many people have the video: the start takes as long as one of them."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SETTINGS = ExtractConfig(input="", output="")


def extract(scratch: Path, option: str) -> tuple[float, dict[int, np.ndarray]]:
    """CPU milliseconds a frame, and the landmarks (5, 2) of the frames with a face."""
    used = []
    for folder in (scratch / "frame", scratch / "video"):
        out = scratch / "faces"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "facepipe", "extract", "-q", "-i", str(folder), "-o", str(out), option]
        used.append(measure(*command, "--workers", "1", environment=ONE_THREAD).cpu_s)
    columns = ["identity", "frame_index", "status", "landmarks"]
    rows = pq.read_table(str(next(out.glob("*.parquet"))), columns=columns).to_pylist()
    rows = [row for row in rows if row["identity"] == rows[0]["identity"]]
    found = {row["frame_index"]: np.reshape(row["landmarks"], (5, 2)) for row in rows if row["status"] == "ok"}
    frames = 1 + max(row["frame_index"] for row in rows)
    return 1000 * (used[1] - used[0]) / (COPIES * frames - 1), found


def distance(one: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> float:
    """px between the landmarks of the frames that both have, on average."""
    both = one.keys() & other.keys()
    return float(np.mean([np.linalg.norm(one[i] - other[i], axis=1).mean() for i in both]))


def search(images: list[np.ndarray], gap: int) -> tuple[float, dict[int, np.ndarray]]:
    """CPU milliseconds a frame of a tracker that searches every `gap` frames, and the largest face's landmarks."""
    detector, refiner = make_detector(SETTINGS.detector), make_refiner()
    tracker = Tracker(detector, refiner, SETTINGS.min_face, SETTINGS.min_score, gap)
    started = time.process_time()
    found, held = tracker.faces(images[:1]), frames_held(images[0].nbytes, gap)
    for i in range(1, len(images), held):
        found += tracker.faces(images[i : i + held])
    spent = time.process_time() - started
    largest = {i: max(faces, key=lambda face: face.box[2] - face.box[0]) for i, faces in enumerate(found) if faces}
    return 1000 * spent / len(images), {i: face.landmarks for i, face in largest.items()}


def main() -> None:
    """Measures and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT.parent / "shared" / "data" / "video" / "one_face_320x240.avi"
    parser.add_argument("video", nargs="?", type=Path, default=default)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    images = [image for _, image in iter_frames(str(options.video), 1, SETTINGS.max_pixels)]

    costs: dict[str, list[float]] = {"--no-track": [], "--track": []}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        frame = scratch / "frame" / "person" / "0.jpg"
        frame.parent.mkdir(parents=True)
        cv2.imwrite(str(frame), cv2.cvtColor(images[0], cv2.COLOR_RGB2BGR))
        for person in range(COPIES):
            copy = scratch / "video" / f"person{person}" / options.video.name
            copy.parent.mkdir(parents=True)
            copy.symlink_to(options.video.resolve())
        for _ in range(options.runs):
            for option, each in costs.items():
                cost, found[option] = extract(scratch, option)
                each.append(cost)
    every, followed = found["--no-track"], found["--track"]
    ratio = statistics.median(a / b for a, b in zip(costs["--no-track"], costs["--track"], strict=True))
    print(f"{len(images)} frames, whole extract, CPU ms a frame\n")
    print("| | ms | frames with a face | px from a full search |\n| --- | ---: | ---: | ---: |")
    print(f"| `--no-track` | {statistics.median(costs['--no-track']):.2f} | {len(every)} | 0 |")
    print(
        f"| `--track` | {statistics.median(costs['--track']):.2f} | {len(followed)} | {distance(followed, every):.2f} |"
    )
    print(f"\n`--track` is {ratio:.2f} times as fast.")

    times: dict[int, list[float]] = {gap: [] for gap in GAPS}
    places = {}
    for _ in range(options.runs):
        for gap in GAPS:
            spent, places[gap] = search(images, gap)
            times[gap].append(spent)
    print(
        "\nThe search alone\n\n| a full search every | ms | times as fast | px from it |\n| ---: | ---: | ---: | ---: |"
    )
    for gap in GAPS:
        gain = statistics.median(a / b for a, b in zip(times[1], times[gap], strict=True))
        print(f"| {gap} | {statistics.median(times[gap]):.2f} | {gain:.1f} | {distance(places[gap], places[1]):.2f} |")


if __name__ == "__main__":
    main()
