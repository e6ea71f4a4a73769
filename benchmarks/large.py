#!/usr/bin/env python3
"""What a photograph of 12 megapixels costs, beside reading it with OpenCV at the reduction that suits its face.

    python benchmarks/large.py [--photographs 12] [--runs 5]

Each is 4000 x 3000: scikit-image's coffee table with its astronaut in front, whose face takes a tenth to a fifth of the
height, with a camera's grain, JPEG quality 90, all listed several times. CPU time (user + system) of `facepipe extract`
with one worker, start-up taken out by a run with `--limit 1`, against `cv2.imread` with IMREAD_REDUCED_COLOR_4, 2 and
whole; medians of alternating runs. The peak is the largest process's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from measuring import measure
from memory import write_manifest

READ = "import cv2, sys; cv2.setNumThreads(1); [cv2.imread(file, int(sys.argv[1])) for file in sys.argv[2:]]"
REPEATS = 6
"""How often they are listed: the start takes as long as twenty of them."""
FLAGS = {"reduced to a quarter": cv2.IMREAD_REDUCED_COLOR_4, "to a half": cv2.IMREAD_REDUCED_COLOR_2, "whole": 1}


def make_photographs(folder: Path, count: int) -> list[str]:
    """Writes them, a person each."""
    from skimage import data

    rng = np.random.default_rng(0)
    table = cv2.resize(cv2.cvtColor(data.coffee(), cv2.COLOR_RGB2BGR), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    astronaut = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    files = []
    for number in range(count):
        side = int(rng.integers(1400, 2800))
        left, top = int(rng.integers(0, 4000 - side)), int(rng.integers(0, 3000 - side))
        image = table.copy()
        image[top : top + side, left : left + side] = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_CUBIC)
        image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        file = folder / f"person{number:03d}" / "1.jpg"
        file.parent.mkdir(parents=True)
        cv2.imwrite(str(file), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        files.append(str(file))
    return files


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=12)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = make_photographs(Path(folder, "images"), options.photographs)
        manifest = Path(folder, "people.csv")
        write_manifest(Path(folder, "images"), REPEATS * len(files), manifest)
        files *= REPEATS
        tool = [sys.executable, "-m", "facepipe", "extract", "-q", "-i", f"{folder}/images", "--workers", "1"]
        tool += ["--manifest", str(manifest), "-o"]
        times: dict[str, list[float]] = {"facepipe extract": [], **{name: [] for name in FLAGS}}
        peak = measure(*tool, f"{folder}/watched").peak_mb
        for run in range(options.runs):
            start = measure(*tool, f"{folder}/one-{run}", "--limit", "1").cpu_s
            times["facepipe extract"].append(measure(*tool, f"{folder}/all-{run}").cpu_s - start)
            for name, flag in FLAGS.items():
                read = [sys.executable, "-c", READ, str(flag)]
                start = measure(*read, files[0]).cpu_s
                times[name].append(measure(*read, *files).cpu_s - start)
    ours = times.pop("facepipe extract")
    each = 1000 / (REPEATS * options.photographs - 1)
    print(f"facepipe extract: {statistics.median(ours) * each:.1f} ms, largest process {peak:.0f} MB")
    for name, theirs in times.items():
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(f"cv2.imread, {name}: {statistics.median(theirs) * each:.1f} ms; extract takes {ratio:.2f} times that")


if __name__ == "__main__":
    main()
