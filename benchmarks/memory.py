#!/usr/bin/env python3
"""Does memory stay flat over 100,000 images? The peak of each process at a tenth of the run and at its end.

    python benchmarks/memory.py [PHOTOGRAPHS] [--images 100000] [--workers 2]

PHOTOGRAPHS (default ../shared/data/lfw) are repeated through a manifest, under identities of their own, until there are
enough. Twice a second the peak (VmHWM, Linux only) of every process of `facepipe extract` is read. Ends with 1 where a
peak grew by more than a tenth, a worker passed 300 MB or the parent 200 MB.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED_GROWTH, WORKER_MB, PARENT_MB = 1.10, 300, 200


def write_manifest(photographs: Path, images: int, manifest: Path) -> None:
    """`images` rows: every photograph once, then again under other identities."""
    files = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.jpg"))
    if not files:
        raise SystemExit(f"{photographs}: no .jpg in it; give a folder of photographs")
    with manifest.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "identity"])
        rounds = ((number, path) for number in itertools.count() for path in files)
        rows.writerows((path, f"{number:04d}-{Path(path).parent}") for number, path in itertools.islice(rounds, images))


def peak_mb(pid: int) -> float:
    """The most memory that a process had at once so far; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def children_of(pid: int) -> list[int]:
    """Processes whose parent this is, whichever thread started them."""
    found: list[int] = []
    with suppress(OSError):  # threads end while one looks
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def main() -> None:
    """Runs the extract, watches it, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "lfw")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest, faces = Path(folder, "manifest.csv"), Path(folder, "faces")
        write_manifest(options.photographs.resolve(), options.images, manifest)
        words = ["extract", "-q", "-i", str(options.photographs), "--manifest", str(manifest), "-o", str(faces)]
        run = subprocess.Popen(
            [sys.executable, "-m", "facepipe", *words, "--workers", str(options.workers)], stdout=subprocess.DEVNULL
        )
        early: dict[int, float] = {}
        last: dict[int, float] = {}
        parts_wanted = options.images / 512
        while run.poll() is None:
            last |= {pid: peak for pid in (run.pid, *children_of(run.pid)) if (peak := peak_mb(pid))}
            if not early and sum(1 for _ in faces.glob("part-*.parquet")) >= parts_wanted / 10:
                early = dict(last)
            time.sleep(0.5)
        if run.returncode:
            raise SystemExit(f"extract ended with {run.returncode}")
    print(
        f"| process | peak at {options.images // 10:,} images | peak at {options.images:,} | growth |\n|---|---|---|---|"
    )
    good = bool(early)
    for pid in early:
        name, bound = ("parent", PARENT_MB) if pid == run.pid else ("worker", WORKER_MB)
        growth = last[pid] / early[pid]
        good &= growth <= ALLOWED_GROWTH and last[pid] <= bound
        print(f"| {name} | {early[pid]:.0f} MB | {last[pid]:.0f} MB | {growth - 1:+.1%} |")
    if not good:
        raise SystemExit("memory is not flat, or above its bound")


if __name__ == "__main__":
    main()
