#!/usr/bin/env python3
"""How crops could be stored and sampled: bytes, time and error of JPEG, PNG and WebP; error of one sample a pixel and two.

    python benchmarks/crops.py [FOLDER_OF_PHOTOGRAPHS] [--every 40]

Crops of 128 px of the most certain face in every so-many-th photograph, each encoded and decoded: kB, milliseconds of CPU
time, and the root mean square error of 255, as stored and after reduction to 64 px in colour and in gray. Then crops of
90 to 170 px of the same faces, cut with one bilinear sample a pixel and with two, against exact averaging over what each
pixel covers: root mean square error of 255, by how many image px a crop px is. Default folder: ../shared/data/lfw.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from facepipe.detection import make_detector
from facepipe.face import crop
from facepipe.face.orientation import make_orientation

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 5
FULL, HALF = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
WAYS = {
    "JPEG 95, colour at half resolution (as stored)": (
        ".jpg",
        [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, HALF],
    ),
    "JPEG 96, the same": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 96, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, HALF]),
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


def exact(image: np.ndarray, similarity: crop.Similarity, size: int) -> np.ndarray:
    """A crop (size, size, 3) RGB whose every pixel is the mean of 8x8 places in what it covers."""
    dense = np.vstack([similarity.matrix, [0, 0, 1]])
    dense = np.array([[8, 0, 3.5], [0, 8, 3.5]]) @ dense
    places = cv2.warpAffine(
        image, dense, (8 * size, 8 * size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    return places.reshape(size, 8, size, 8, 3).mean(axis=(1, 3))


def sampling_errors(faces: list[tuple[np.ndarray, np.ndarray, float]]) -> None:
    """Prints the table of samples a pixel."""
    errors: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for size in (90, 100, 110, 120, 128, 140, 150, 170):
        for image, box, roll in faces:
            similarity = crop.crop_similarity(box, roll, size, 0.3)
            if 1.2 <= 1 / similarity.scale < 2:
                wanted, found = exact(image, similarity, size), []
                for two_from in (2.0, 1.0):
                    crop.TWO_SAMPLES_FROM = two_from
                    found.append(rms(crop.cut_crop(image, box, roll, size, 0.3).image, wanted))
                errors[int(10 / similarity.scale)].append((found[0], found[1]))
    print("\n| image px per crop px | crops | RMS error of one sample | of two |\n|---|---:|---:|---:|")
    for tenth, pairs in sorted(errors.items()):
        one, two = np.mean(pairs, axis=0)
        print(f"| {tenth / 10:.1f} to {tenth / 10 + 0.1:.1f} | {len(pairs)} | {one:.2f} | {two:.2f} |")


def main() -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "lfw")
    parser.add_argument("--every", type=int, default=40)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detector, crops, cuts = make_detector("yunet"), [], []
    for file in sorted(options.folder.rglob("*.jpg"))[:: options.every]:
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        [faces] = detector.refine([image], detector.detect([image], 40))
        if faces:
            crops.append(cv2.cvtColor(crop.cut_crop(image, faces[0].box, 0.0, 128, 0.3).image, cv2.COLOR_RGB2BGR))
            [orientation] = make_orientation().look([image], [faces[0].box])
            cuts.append((image, faces[0].box, orientation.tilt if orientation.known else 0.0))
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
    sampling_errors(cuts)


if __name__ == "__main__":
    main()
