#!/usr/bin/env python3
"""How crops could be stored: bytes, time and error of JPEG, PNG and WebP.

    python benchmarks/crops.py [FOLDER_OF_PHOTOGRAPHS] [--every 40]

Crops of 128 px of the most certain face in every so-many-th photograph, each encoded and decoded: kB, milliseconds of CPU
time, and the root mean square error of 255, as stored and after reduction to 64 px in colour and in gray. Default
folder: ../shared/data/lfw.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from facepipe.cropping import cut_crop
from facepipe.detection import make_detector

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5
FULL, HALF = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
WAYS = {
    "JPEG 96, colour at half resolution (as stored)": (
        ".jpg",
        [cv2.IMWRITE_JPEG_QUALITY, 96, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, HALF],
    ),
    "JPEG 95, the same": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, HALF]),
    "JPEG 95, colour at full resolution": (
        ".jpg",
        [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FULL],
    ),
    "PNG": (".png", []),
    "WebP 95": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 95]),
}


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference."""
    return float(np.sqrt(((a.astype(float) - b) ** 2).mean()))


def small(crop: np.ndarray, *, gray: bool) -> np.ndarray:
    """At 64 px."""
    return cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) if gray else crop, (64, 64), interpolation=cv2.INTER_AREA)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "lfw")
    parser.add_argument("--every", type=int, default=40)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detector, crops = make_detector("yunet"), []
    for file in sorted(options.folder.rglob("*.jpg"))[:: options.every]:
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        if faces := detector.detect(image, 40):
            crops.append(cv2.cvtColor(cut_crop(image, faces[0].box, 0.0, 128, 0.3).image, cv2.COLOR_RGB2BGR))
    print(f"{len(crops)} crops of 128 px\n")
    print(
        "| | kB | ms to encode | ms to decode | RMS error | at 64 px, colour | gray |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, (suffix, flags) in WAYS.items():
        started = time.process_time()
        for _ in range(REPEATS):
            files = [cv2.imencode(suffix, crop, flags)[1] for crop in crops]
        encoded = time.process_time()
        for _ in range(REPEATS):
            decoded = [cv2.imdecode(file, cv2.IMREAD_COLOR) for file in files]
        times = [1000 * t / REPEATS / len(crops) for t in (encoded - started, time.process_time() - encoded)]
        pairs = list(zip(crops, decoded, strict=True))
        errors = [np.mean([rms(a, b) for a, b in pairs])]
        errors += [np.mean([rms(small(a, gray=g), small(b, gray=g)) for a, b in pairs]) for g in (False, True)]
        cells = [f"{np.mean([len(file) for file in files]) / 1000:.1f}", *(f"{t:.2f}" for t in times)]
        print(f"| {name} | {' | '.join([*cells, *(f'{e:.2f}' for e in errors)])} |")


if __name__ == "__main__":
    main()
