#!/usr/bin/env python3
"""Cost against size, from an eighth of YouTube Faces' 621,126 images to all of them: docs/figures/scale.{txt,svg}.

    python benchmarks/scale.py [--images 621126] [--faces FOLDER] [--shard]

Runs `plan.py` (a tree of real files: listing, planning, a rerun that finds everything done) and `choose.py` (`select`,
`split` and, if asked, `shard` over rows with real crops, those of `--faces`), and draws what they say on logarithmic
axes. The slope is that of a straight line through the four points: 1 is linear. What starting costs is taken out, as
measured by `facepipe extract --dry-run` over a hundred images and by each stage over a few thousand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
SMALL = 2_000
"""Images of the run that stands for starting."""


def run(script: str, *options: str) -> list[dict]:
    """One of the other benchmarks; gives its figures."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / script), *options, "--json", file.name],
            check=True,
            stdout=sys.stderr,
        )
        figures: list[dict] = json.loads(Path(file.name).read_text(encoding="utf-8"))
    return figures


def fit_slope(images: list[int], cpu_s: list[float]) -> float:
    """Of a straight line through the points on logarithmic axes."""
    return float(np.polyfit(np.log(images), np.log(cpu_s), 1)[0])


def tell(stages: dict[str, list[dict]]) -> list[str]:
    """The table, a line a stage and size."""
    lines = [f"{'stage':<16} {'images':>9}  {'CPU s':>7} {'wall s':>7} {'peak MB':>8}  slope"]
    for stage, rows in stages.items():
        slope = fit_slope([row["images"] for row in rows], [row["net_s"] for row in rows])
        for row in rows:
            end = f"  {slope:.2f}" if row is rows[-1] else ""
            figures = f"{row['cpu_s']:>7.1f} {row['wall_s']:>7.1f} {row['peak_mb']:>8.0f}"
            lines.append(f"{stage:<16} {row['images']:>9,}  {figures}{end}")
    return lines


def draw(stages: dict[str, list[dict]], file: Path) -> None:
    """CPU seconds against images, both axes logarithmic, with a line of slope 1 to compare."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "facepipe"
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for (stage, rows), marker in zip(stages.items(), "os^Dv", strict=False):
        images, seconds = [row["images"] for row in rows], [row["net_s"] for row in rows]
        axes.loglog(images, seconds, marker=marker, label=f"{stage}: slope {fit_slope(images, seconds):.2f}")
    first = next(iter(stages.values()))
    ends = [first[0]["images"], first[-1]["images"]]
    lowest = min(rows[0]["net_s"] for rows in stages.values()) / 2
    axes.loglog(ends, [lowest, lowest * ends[1] / ends[0]], color="gray", linestyle=":", label="slope 1")
    axes.set_xticks([row["images"] for row in first])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value):,}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("images")
    axes.set_ylabel("CPU seconds, start taken out")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Runs both, writes the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=621_126)
    parser.add_argument("--faces", default="", help="the output of an extract, whose crops are used")
    parser.add_argument("--shard", action="store_true", help="shard as well: some minutes and 50 GB")
    options = parser.parse_args()
    sizes = [options.images // share for share in (8, 4, 2, 1)]
    words = ["--faces", options.faces, *(["--shard"] if options.shard else [])]
    figures = run("plan.py", "--frames", str(options.images))
    figures += run("choose.py", "--sizes", ",".join(map(str, [SMALL, *sizes])), *words)
    figures.sort(key=lambda row: row["stage"])
    stages = {}
    for stage, group in groupby(figures, key=lambda row: row["stage"]):
        rows = sorted(group, key=lambda row: row["images"])
        start = next((row["cpu_s"] for row in rows if row["images"] == SMALL), 0.0)
        kept = [row for row in rows if row["images"] != SMALL]
        stages[stage] = [{**row, "net_s": row.get("net_s", row["cpu_s"] - start)} for row in kept]
    FIGURES.mkdir(parents=True, exist_ok=True)
    text = "\n".join(tell(stages)) + "\n"
    (FIGURES / "scale.txt").write_text(text, encoding="utf-8")
    draw(stages, FIGURES / "scale.svg")
    print(text, end="")


if __name__ == "__main__":
    main()
