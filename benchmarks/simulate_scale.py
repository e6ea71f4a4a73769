#!/usr/bin/env python3
"""What planning, choosing and splitting cost at up to 10^8 images: real code on synthetic rows.

    python benchmarks/simulate_scale.py [--sizes 100000,1000000,10000000] [--only plan,choose]

Rows are made as an extract of N images would give them, 100 a person, parts of 512. Each figure comes from a process of
its own: CPU seconds and peak memory, those of making the rows taken out. The last column is the log-log slope of the
CPU time against the size before: 1 is linear. `plan` also writes the plan to a temporary folder and reads one part back.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES_A_PERSON = 100
PART_SIZE = 512
CHUNK_ROWS = 1 << 20


def make_plan_table(images: int) -> Any:
    """A listing of `images` stills in folders of 100: a table of the schema PLAN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from facepipe.storage import parquet

    chunks = []
    for start in range(0, images, CHUNK_ROWS):
        rows = np.arange(start, min(start + CHUNK_ROWS, images))
        count = len(rows)
        person = pc.binary_join_element_wise(
            "Person", pc.utf8_lpad(pc.cast(pa.array(rows // IMAGES_A_PERSON), pa.string()), 8, "0"), "_"
        )
        frame = pc.utf8_lpad(pc.cast(pa.array(rows % IMAGES_A_PERSON), pa.string()), 4, "0")
        path = pc.binary_join_element_wise(person, pc.binary_join_element_wise(frame, "jpg", "."), "/")
        columns = {
            "path": path,
            "file": pc.cast(path, pa.binary()),
            "identity": person,
            "video": pa.repeat("", count),
            "frame_index": pa.repeat(0, count),
            "box": pa.nulls(count, pa.list_(pa.float64())),
            "label": pa.nulls(count, pa.int64()),
            "is_video": pa.repeat(False, count),
            "repeat": pa.repeat(0, count),
            "size": pa.repeat(-1, count),
        }
        table = pa.table([columns[name] for name in parquet.PLAN.names], names=parquet.PLAN.names)
        chunks.append(table.cast(parquet.PLAN))
    return pa.concat_tables(chunks)


def prepare_plan(images: int) -> Callable[[], None]:
    """Cutting into parts, a fingerprint each, the file, and one part read back."""
    from facepipe.inputs.plan import make_plan, read_part, write_plan
    from facepipe.storage import place

    table = make_plan_table(images)
    full, rest = divmod(images, PART_SIZE)
    groups = [PART_SIZE] * full + [rest] * bool(rest)

    def run() -> None:
        with tempfile.TemporaryDirectory(prefix="facepipe-") as folder:
            plan = make_plan(table, groups, "0" * 64)
            write_plan(place(folder), plan)
            sources, _ = read_part(place(folder), len(groups) // 2, "0" * 64)
            assert sources

    return run


def prepare_subsets(images: int) -> Callable[[], None]:
    """Every person's subset."""
    from facepipe.dataset.splitting import choose_subset

    names = [f"Person_{number:08d}" for number in range(max(images // IMAGES_A_PERSON, 1))]

    def run() -> None:
        shares = [choose_subset(name, 0, 0.1, 0.1) for name in names]
        assert len(names) < 1000 or 0.08 < shares.count("validation") / len(names) < 0.12

    return run


def prepare_duplicates(images: int) -> Callable[[], None]:
    """Duplicates left out, by a 64-bit hash of each crop; one crop in a thousand lies there twice."""
    from facepipe.dataset.splitting import keep_distinct

    rng = np.random.default_rng(0)
    groups = np.arange(images, dtype=np.int64) // IMAGES_A_PERSON
    contents = rng.integers(0, 2**63, images, dtype=np.uint64)
    contents[1::1000] = contents[::1000][: len(contents[1::1000])]
    preferred = np.zeros(images, dtype=bool)

    def run() -> None:
        kept = keep_distinct(groups, contents, preferred)
        assert images - kept.sum() == len(contents[1::1000])

    return run


def prepare_choose(images: int) -> Callable[[], None]:
    """All frames ranked within their person."""
    from facepipe.dataset.selection import Frames, rank_frames

    rng = np.random.default_rng(0)
    frames = Frames(
        np.arange(images, dtype=np.int64) // IMAGES_A_PERSON,
        rng.random(images, dtype=np.float32) * 90,
        rng.random(images, dtype=np.float32) * 20,
        rng.random(images, dtype=np.float32),
        rng.random(images, dtype=np.float32) * 100,
        rng.random(images, dtype=np.float32),
    )

    def run() -> None:
        assert len(rank_frames(frames)) == images

    return run


STEPS = {
    "plan": prepare_plan,
    "subsets": prepare_subsets,
    "duplicates": prepare_duplicates,
    "choose": prepare_choose,
}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure_here(step: str, images: int) -> dict[str, float]:
    """One step in this process."""
    run = STEPS[step](images)
    cpu, wall = _cpu_s(), time.perf_counter()
    run()
    return {"cpu_s": _cpu_s() - cpu, "wall_s": time.perf_counter() - wall, "peak_bytes": _peak_bytes()}


def measure(step: str, images: int) -> dict[str, float]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--measure", step, str(images)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    """Prints a line a step and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="100000,1000000,10000000")
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--measure", nargs=2, metavar=("STEP", "IMAGES"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure_here(given.measure[0], int(given.measure[1]))))
        return
    print(f"{'step':<12}{'images':>13}{'CPU s':>9}{'µs an image':>13}{'peak MB':>9}{'bytes an image':>16}{'slope':>7}")
    for step in given.only.split(","):
        before: tuple[int, float] | None = None
        for size in map(int, given.sizes.split(",")):
            found = measure(step, size)
            cpu, peak = found["cpu_s"], found["peak_bytes"]
            slope = f"{math.log(cpu / before[1]) / math.log(size / before[0]):7.2f}" if before else ""
            print(
                f"{step:<12}{size:>13,}{cpu:>9.2f}{cpu / size * 1e6:>13.2f}{peak / 1e6:>9,.0f}{peak / size:>16,.0f}{slope}",
                flush=True,
            )
            before = (size, max(cpu, 1e-3))


if __name__ == "__main__":
    main()
