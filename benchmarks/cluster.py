#!/usr/bin/env python3
"""What `--engine dask` costs beside `--engine local`, at the same number of workers.

    python benchmarks/cluster.py [FOLDER_OF_PHOTOGRAPHS] [--copies 1] [--runs 3] [--workers 2]

Whole runs of `facepipe extract` in pairs that alternate; the ratios are medians over the pairs. CPU time is of all
processes (user + system); wall time says what a person waits, but other work on the machine shows in it. Dask starts
its local cluster within the measured time, once a run, so a short run shows the start and a long one the engine.
`--copies 10` gives every person ten times, by links: the folder of 1,279 photographs becomes as large as LFW itself.
Default folder: ../shared/data/lfw.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measure(folder: str, engine: str, workers: int) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and images of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "facepipe", "extract", "-q", "--layout", "identity", "-i", folder]
        command += ["-o", scratch, "--engine", engine, "--workers", str(workers)]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        images = json.loads(Path(scratch, "run.json").read_text())["images"]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall, images


def multiply(folder: Path, copies: int, scratch: str) -> str:
    """A folder with `copies` links to every person of `folder`."""
    if copies == 1:
        return str(folder)
    for person in sorted(folder.iterdir()):
        if person.is_dir():
            for copy in range(copies):
                Path(scratch, f"{person.name}_{copy}").symlink_to(person.resolve())
    return scratch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "lfw")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = multiply(given.folder, given.copies, scratch)
        pairs = []
        for _ in range(given.runs):
            local, dask = (measure(folder, engine, given.workers) for engine in ("local", "dask"))
            pairs.append((local, dask))
            print(
                f"{local[2]:,} images, {given.workers} workers: local {local[0]:.1f} s CPU, {local[1]:.1f} s wall; "
                f"dask {dask[0]:.1f} s CPU, {dask[1]:.1f} s wall",
                flush=True,
            )
    for name, index in (("CPU", 0), ("wall", 1)):
        ratios = [dask[index] / local[index] for local, dask in pairs]
        extra = statistics.median(dask[index] - local[index] for local, dask in pairs)
        print(f"{name}: dask takes {statistics.median(ratios):.2f} times as long as local, {extra:+.1f} s")


if __name__ == "__main__":
    main()
