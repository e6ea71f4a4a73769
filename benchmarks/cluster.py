#!/usr/bin/env python3
"""What `--engine dask` costs beside `--engine local`, at the same number of workers.

    python benchmarks/cluster.py [FOLDER_OF_PHOTOGRAPHS] [--copies 1] [--runs 3] [--workers 2]

Whole runs of `facepipe extract` in turn: local, and Dask on a cluster that runs already, a scheduler and a process a
worker, whose CPU time counts as far as it goes beyond what they take idle.
The ratios are medians over the rounds. CPU time is of all processes (user + system); wall time says what a person
waits, but other work on the machine shows in it. A short run shows what starting costs and a long one the engine.
Python's bytecode is made before, as `pip install` does. `--copies 10` gives every person ten times, by links: the
folder of 1,279 photographs becomes as large as LFW itself. Default folder: ../shared/data/lfw.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from measuring import Used, measure

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def start_cluster(workers: int, environment: dict[str, str]) -> Iterator[tuple[str, list[psutil.Process]]]:
    """A scheduler and worker processes of one thread; gives its address and its processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    words = [["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    words += [["worker", address, "--nthreads", "1", "--no-dashboard"]] * workers
    started = [
        psutil.Popen(
            [sys.executable, "-m", "dask", *words_of_one],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for words_of_one in words
    ]
    try:
        yield address, started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def cpu_s(processes: list[psutil.Process]) -> float:
    """CPU seconds so far of processes and their children, the ended ones too."""
    alive = {child for process in processes for child in [process, *process.children(recursive=True)]}
    return sum(sum(process.cpu_times()[:4]) for process in alive)


def idle_rate(processes: list[psutil.Process], seconds: float = 6.0) -> float:
    """CPU seconds a second that processes take with nothing to do."""
    before = cpu_s(processes)
    time.sleep(seconds)
    return (cpu_s(processes) - before) / seconds


def run_extract(folder: str, words: list[str], environment: dict[str, str]) -> tuple[Used, int]:
    """One run, and how many images it had."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "facepipe", "extract", "-q", "--layout", "identity", "-i", folder]
        used = measure(*command, "-o", scratch, *words, environment=environment)
        return used, json.loads(Path(scratch, "run.json").read_text())["images"]


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
    workers = ["--workers", str(given.workers)]
    rounds: list[dict[str, Used]] = []
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as bytecode:
        folder = multiply(given.folder, given.copies, scratch)
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        with start_cluster(given.workers, environment) as (address, processes):
            words = {
                "local": ["--engine", "local", *workers],
                "dask": ["--engine", "dask", "--scheduler", address, *workers],
            }
            for options in words.values():
                run_extract(folder, [*options, "--limit", "64"], environment)  # makes the bytecode
            idle = idle_rate(processes)
            print(f"a running cluster takes {idle:.2f} s CPU a second idle")
            for _ in range(given.runs):
                found = {}
                for engine, options in words.items():
                    before = cpu_s(processes)
                    used, images = run_extract(folder, options, environment)
                    elsewhere = cpu_s(processes) - before - idle * used.wall_s if engine == "dask" else 0.0
                    found[engine] = used._replace(cpu_s=used.cpu_s + elsewhere)
                rounds.append(found)
                figures = (f"{e} {u.cpu_s:.2f} s CPU, {u.wall_s:.2f} s wall" for e, u in found.items())
                print(f"{images:,} images, {given.workers} workers: {'; '.join(figures)}", flush=True)
    for figure in ("cpu_s", "wall_s"):
        pairs = [(getattr(found["local"], figure), getattr(found["dask"], figure)) for found in rounds]
        ratio = statistics.median(dask / local for local, dask in pairs)
        extra = statistics.median(dask - local for local, dask in pairs)
        print(f"{figure}: dask takes {ratio:.2f} times as long as local, {extra:+.2f} s")


if __name__ == "__main__":
    main()
