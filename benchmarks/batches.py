#!/usr/bin/env python3
"""What it saves to take several pictures through the steps of `extract` at once.

    python benchmarks/batches.py [FOLDER_OF_PHOTOGRAPHS] [--runs 7]

Decodes, detects, refines the surest face's landmarks, crops and encodes, each step for so many pictures before the next:
CPU milliseconds a photograph, the median of runs in turn, and how much less it is than for one at a time, the median over
the pairs. The faces and crops are compared: they are the same to the last bit. Default folder: ../shared/data/lfw.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import cv2

from facepipe.detection import make_detector
from facepipe.face.crop import cut_crop, encode_crop
from facepipe.media.image import decode

ROOT = Path(__file__).resolve().parents[1]
BATCHES = (1, 8, 16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "lfw")
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    files = [file.read_bytes() for file in sorted(options.folder.rglob("*.jpg"))]
    detector = make_detector("yunet")

    def run(batch: int) -> tuple[float, list[object]]:
        started, results = time.process_time(), []
        for i in range(0, len(files), batch):
            images = [decode(data, max_pixels=10**8) for data in files[i : i + batch]]
            best = [faces[:1] for faces in detector.detect(images, 40)]
            refined = detector.refine(images, best)
            pairs = [(image, face) for image, faces in zip(images, refined, strict=True) for face in faces]
            crops = [cut_crop(image, face.box, 0.0, 128, 0.3).bgra for image, face in pairs]
            encoded = [encode_crop(crop) for crop in crops]
            results += zip([(face.landmarks.tobytes(), face.score) for _, face in pairs], encoded, strict=True)
        return 1000 * (time.process_time() - started) / len(files), results

    expected = run(1)[1]
    costs: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(options.runs):
        for batch, taken in costs.items():
            milliseconds, results = run(batch)
            assert results == expected, "a picture's faces depend on its company"
            taken.append(milliseconds)
    print(f"{len(files)} photographs, medians of {options.runs} runs\n")
    print("| pictures at once | CPU ms a photograph | less than with one |\n| ---: | ---: | ---: |")
    for batch, taken in costs.items():
        less = statistics.median(1 - mine / one for mine, one in zip(taken, costs[1], strict=True))
        print(f"| {batch} | {statistics.median(taken):.2f} | {100 * less:.0f} % |")


if __name__ == "__main__":
    main()
