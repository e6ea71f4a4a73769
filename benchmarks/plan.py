#!/usr/bin/env python3
"""What it costs to start on 621,126 frames: list the tree, compare it with finished parts, plan.

    python benchmarks/plan.py [--frames 621126] [--folder DIR]

Makes a tree laid out as YouTube Faces (hard links to a few photographs), and finished parts for all of it (real rows,
repeated). Then times `facepipe extract --dry-run` (list and plan) and a rerun that finds every part finished, at four
sizes; peak memory is the largest process's. The last column is CPU time too: what a worker takes to read from the plan
what a part consists of, the median over 50 parts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measuring import measure

ROOT = Path(__file__).resolve().parents[1]
FRAMES_A_VIDEO = 181
VIDEOS_A_PERSON = 2
LINKS_A_FILE = 20_000


def make_tree(root: Path, frames: int) -> None:
    """`frames` files as `<person>/<video>/<video>.<frame>.jpg`."""
    from skimage import data, io

    photograph = data.astronaut()[::2, ::2]
    source = root / "source"
    source.mkdir(parents=True)
    made = 0
    while made < frames:
        person, video = divmod(made // FRAMES_A_VIDEO, VIDEOS_A_PERSON)
        folder = root / "images" / f"Person_{person:05d}" / str(video)
        folder.mkdir(parents=True)
        for frame in range(min(FRAMES_A_VIDEO, frames - made)):
            file = source / f"{made // LINKS_A_FILE}.jpg"
            if not file.exists():
                io.imsave(file, photograph, check_contrast=False)
            os.link(file, folder / f"{video}.{frame}.jpg")
            made += 1


def make_parts(images: str, output: str) -> None:
    """Finished parts for the tree: one real row, repeated with each frame's own key, path and identity."""
    import numpy as np
    import pyarrow as pa

    from facepipe.config import ExtractConfig
    from facepipe.inputs import list_sources
    from facepipe.stages import extract
    from facepipe.stages.extraction.output import finish, prepare
    from facepipe.storage import parquet, place
    from facepipe.storage.partlist import describe

    with tempfile.TemporaryDirectory() as small:
        extract.run(ExtractConfig(input=images, output=small, limit=1), extract_progress())
        row = parquet.read_table(place(small), parquet.part_names(place(small))[0])
    config = ExtractConfig(input=images, output=output)
    settings, listing = extract.chosen_settings(config), list_sources(place(images), config)
    plan = extract.plan_parts(config, listing, settings)
    out, start = place(output), 0
    prepare(out, settings, plan, listing.layout)
    for number, rows in enumerate(plan.groups):
        sources = plan.table.slice(start, rows)
        start += rows
        table = row.take(pa.array(np.zeros(rows, np.int64)))
        for name in ("path", "identity", "video", "frame_index"):
            table = table.set_column(
                table.column_names.index(name), name, sources.column(name).cast(table.schema.field(name).type)
            )
        keys = pa.array([f"{path}#0" for path in sources.column("path").to_pylist()])
        table = table.set_column(table.column_names.index("key"), "key", keys)
        parquet.write_table(out, plan.names[number], table)
    finish(out, plan, {number: describe(out, name) for number, name in enumerate(plan.names)})


def extract_progress() -> object:
    from facepipe.execution.progress import QuietProgress

    return QuietProgress()


def reading_ms(output: str) -> float:
    """CPU milliseconds to read one part of the plan, in a process that reads many."""
    from facepipe.inputs.plan import read_part
    from facepipe.storage import place

    taken = []
    parts = len(list(Path(output).glob("part-*")))
    for number in range(0, parts, max(parts // 50, 1)):
        started = time.process_time()
        read_part(place(output), number, "")
        taken.append(time.process_time() - started)
    return 1000 * statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=621_126)
    parser.add_argument("--folder", default="", help="where the trees are made [a temporary folder]")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    arguments = parser.parse_args()
    print(
        "| frames | list and plan | CPU | peak | rerun, all parts finished | CPU | peak | reading a part's list |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    points, figures = [], []
    starts: dict[str, float] = {}
    for frames in (100, *(arguments.frames // share for share in (8, 4, 2, 1))):
        with tempfile.TemporaryDirectory(dir=arguments.folder or None) as folder:
            root = Path(folder)
            make_tree(root, frames)
            tool = [sys.executable, "-m", "facepipe", "extract", "-q"]
            tool += ["-i", str(root / "images"), "-o", str(root / "faces")]
            dry = measure(*tool, "--dry-run")
            make_parts(str(root / "images"), str(root / "faces"))
            rerun = measure(*tool)
            reading = reading_ms(str(root / "faces"))
        if frames == 100:  # what starting costs
            starts = {"list and plan": dry.cpu_s, "rerun, all done": rerun.cpu_s}
            continue
        points.append((frames, dry.cpu_s - starts["list and plan"]))
        for stage, used in (("list and plan", dry), ("rerun, all done", rerun)):
            row = {"stage": stage, "images": frames, **used._asdict()}
            figures.append({**row, "net_s": used.cpu_s - starts[stage]})
        cells = [f"{used.wall_s:.1f} s | {used.cpu_s:.1f} s | {used.peak_mb:.0f} MB" for used in (dry, rerun)]
        print(f"| {frames:,} | {' | '.join(cells)} | {reading:.1f} ms |", flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    (small, cheap), (large, dear) = points[0], points[-1]
    if cheap > 0:  # else there are too few frames to tell
        slope = math.log(dear / cheap) / math.log(large / small)
        print(f"\nlog-log slope of the CPU time of listing and planning (start-up taken out): {slope:.2f}")


if __name__ == "__main__":
    main()
