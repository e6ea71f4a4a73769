#!/usr/bin/env python3
"""What it saves that a worker has several pictures on their way at once.

    python benchmarks/together.py [FOLDER_OF_PHOTOGRAPHS] [--runs 7]

The work of one worker on a folder of photographs, in this process, nothing written: CPU milliseconds a photograph with so
many on their way, the median of runs in turn, and how much less it is than with one, the median over the pairs. The rows
are compared: they are the same to the last bit. Default folder: ../shared/data/lfw.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import cv2

from facepipe import lockstep
from facepipe.config import ExtractConfig
from facepipe.execution.stopwatch import Stopwatch
from facepipe.parquet import table_to_sources
from facepipe.sources import list_sources
from facepipe.stages.extract_part import PartExtractor
from facepipe.storage import place

ROOT = Path(__file__).resolve().parents[1]
PART = 512
PICTURES = (1, 8, 16, 32, 64)


class NoGuard:
    """Nobody watches."""

    def __init__(self) -> None:
        self.blamed: dict[int, str] = {}

    def on(self, item: int) -> None: ...

    def off(self) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=str(ROOT.parent / "shared" / "data" / "lfw"))
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    config = ExtractConfig(input=arguments.folder, output=os.devnull)
    sources = table_to_sources(list_sources(place(config.input), config).to_arrow())
    extractor = PartExtractor(config, NoGuard(), Stopwatch())

    def run(pictures: int) -> tuple[float, list[object]]:
        lockstep.MOST_PICTURES = pictures
        started, rows = time.process_time(), []
        for i in range(0, len(sources), PART):
            rows += extractor.rows(sources[i : i + PART])
        return 1000 * (time.process_time() - started) / len(sources), rows

    expected = run(1)[1]
    costs: dict[int, list[float]] = {pictures: [] for pictures in PICTURES}
    for _ in range(arguments.runs):
        for pictures, taken in costs.items():
            milliseconds, rows = run(pictures)
            assert rows == expected, "a picture's row depends on its company"
            taken.append(milliseconds)
    print(f"{len(sources)} photographs, medians of {arguments.runs} runs\n")
    print("| pictures on their way | CPU ms a photograph | less than with one |\n| ---: | ---: | ---: |")
    for pictures, taken in costs.items():
        less = statistics.median(1 - mine / one for mine, one in zip(taken, costs[1], strict=True))
        print(f"| {pictures} | {statistics.median(taken):.2f} | {100 * less:.0f} % |")


if __name__ == "__main__":
    main()
