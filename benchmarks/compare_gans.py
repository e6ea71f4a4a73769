"""Which GAN comes nearest to faces at equal CPU time? Writes docs/figures/compare_gans.txt and .png.

    python benchmarks/compare_gans.py [--minutes 60] [--presets dcgan sagan sngan64 r3gan64] [--photographs DIR...]

Photographs of people, a folder each (LFW's layout), go through the real pipeline to shards of 64 px. Each preset learns on
one thread until its training steps have had their minutes of CPU time; then `python -m train evaluate` measures it
on people held back, and `python -m train compare` sets the runs side by side. Started again, it goes on. `--narrow N`:
networks N times as narrow as the presets', all of them, for a machine on which the presets' own take minutes a step.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

# The package `train` before benchmarks/train.py.
sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from learn_gan import FIGURES, ONE_THREAD, ROOT, call, make_shards

SIZE = 64
PRESETS = ("dcgan", "sagan", "sngan64", "r3gan64")
FEW = ["--mirror", "--diff-augment", "color,translation,cutout"]
"""For some thousand photographs, on every preset."""
POLL_S = 1.0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [ROOT.parent / "shared" / "data" / name for name in ("lfw", "lfw_single", "lfw_people")]
    parser.add_argument("--photographs", type=Path, nargs="+", default=default)
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--minutes", type=float, default=60, help="of CPU time, each preset")
    parser.add_argument("--narrow", type=int, default=1)
    parser.add_argument("--steps-per-epoch", type=int, default=20)
    parser.add_argument(
        "--work", type=Path, default=Path("compare_gans"), help="shards and runs; what is there is used again"
    )
    return parser.parse_args()


def rows_of(run):
    """The finished epochs of a run's log, the start left out."""
    if not (run / "log.csv").exists():
        return []
    with (run / "log.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["epoch"] != "0"]


def spent(run):
    """Minutes of CPU time."""
    return sum(float(row["cpu_seconds"]) for row in rows_of(run)) / 60


def widths(preset, narrow):
    from train.gan.config import GanConfig
    from train.presets import resolve

    config = resolve(GanConfig, "gan", preset, {})
    return ["--g-conv-dim", config.g_conv_dim // narrow, "--d-conv-dim", config.d_conv_dim // narrow]


def learn(preset, shards, run, options):
    """Trains until the time is spent: an epoch under way is dropped, as every epoch is kept whole."""
    words = ["train", "gan", "--preset", preset, "--shards", shards, "-o", run, "--epochs", 100_000, *FEW]
    words += ["--steps-per-epoch", options.steps_per_epoch, *widths(preset, options.narrow), "--resume"]
    environment = {**os.environ, **ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", "-m", *map(str, words)]
    if spent(run) >= options.minutes:
        return
    with (options.work / f"{preset}.log").open("a") as log:
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        while child.poll() is None and spent(run) < options.minutes:
            time.sleep(POLL_S)
        child.terminate()
        child.wait()
    if not rows_of(run):
        raise SystemExit(
            f"{preset} finished no epoch: look at {options.work / f'{preset}.log'}, or give more --minutes"
        )


def main():
    options = arguments()
    missing = [str(folder) for folder in options.photographs if not folder.is_dir()]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: no such folder; give --photographs, folders with a folder a person")
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    shards = options.work / "shards"
    if not (shards / "faces").is_dir():
        make_shards(options.photographs, options.work, SIZE, ("faces",))
    runs = [options.work / preset for preset in options.presets]
    for preset, run in zip(options.presets, runs, strict=True):
        learn(preset, shards, run, options)
        call("train", "evaluate", run)
    FIGURES.mkdir(parents=True, exist_ok=True)
    table = call("train", "compare", *runs, "-o", FIGURES / "compare_gans.png")
    counts = json.loads(next((shards / "faces").rglob("dataset_info.json")).read_text())["splits"]
    faces = {split["name"]: sum(map(int, split["shardLengths"])) for split in counts}
    narrow = f", networks {options.narrow} times as narrow as the presets'" if options.narrow > 1 else ""
    lines = [
        f"{faces['train']:,} photographs of {SIZE} px, {faces['validation']:,} held back; {options.minutes:g} minutes of CPU time each, one thread{narrow}",
        f"{' '.join(FEW)}; each run stopped after the epoch ({options.steps_per_epoch} steps) in which its time was over",
        "",
        *(line.replace(f"{options.work}/", "") for line in table.splitlines() if not line.endswith(".png")),
        "",
        *(f"{run.name}: {verdict(run)}" for run in runs),
    ]
    (FIGURES / "compare_gans.txt").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


def verdict(run):
    """What the run's page says of it."""
    from train.summary import gan_verdict

    return gan_verdict(json.loads((run / "evaluation.json").read_text()))


if __name__ == "__main__":
    main()
