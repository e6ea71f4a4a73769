"""Does dcgan learn faces from few photographs on a CPU, and is a provoked collapse noticed? Writes docs/figures/learn_gan*.

    python benchmarks/learn_gan.py [--photographs ../shared/data/lfw ../shared/data/lfw_single] [--epochs 48]

Photographs of people, a folder each (LFW's layout), go through the real pipeline: extract, select, split, shard at 32 px.
`dcgan64` learns them, mirrored and with DiffAugment, on one thread. Kept: grids of the same latents at the start, a
quarter, half and the end (made-up faces, no photograph), the plot, and a table of distances. Then a run without any
remedy, its generator taught at a learning rate of 2e-3: what the watcher said is in the table too.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIDE, GAP = 32, 2
"""px: a face, and what is between two in a grid."""
FIGURES = ROOT / "docs" / "figures"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
ENCODER = "archived-3"
LEARN = ["--mirror", "--diff-augment", "color,translation,cutout"]
PROVOKE = ["--norm", "none", "--g-norm", "none", "--g-learning-rate", "0.002", "--d-learning-rate", "0.0001"]
SMALLER = ["--ema", "0", "--g-conv-dim", "32", "--d-conv-dim", "32"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [ROOT.parent / "shared" / "data" / name for name in ("lfw", "lfw_single")]
    parser.add_argument("--photographs", type=Path, nargs="+", default=default)
    parser.add_argument("--epochs", type=int, default=48)
    parser.add_argument("--provoked-epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, help="keep shards and runs here; what is finished there is used again")
    return parser.parse_args()


def call(*words):
    """One command of the project, its output shown."""
    environment = {**os.environ, **ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"}
    print("$", *words, flush=True)
    command = [sys.executable, "-W", "ignore", "-m", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-1500:], flush=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout


def make_shards(photographs, work, size=SIDE, kinds=("faces", "pairs")):
    """Links to all photographs in one folder, then the pipeline; gives the shards."""
    images = work / "images"
    for folder in photographs:
        for person in sorted(folder.resolve().iterdir()):
            (images / person.name).mkdir(parents=True, exist_ok=True)
            for photograph in person.iterdir():
                link = images / person.name / photograph.name
                if not link.exists():
                    link.symlink_to(photograph)
    data = ["--data", work, "--workers", "1", "--quiet"]
    call("facepipe", "extract", "-i", images, "--layout", "lfw", *data)
    call("facepipe", "select", *data[:2], "--quiet")
    call("facepipe", "split", *data[:2], "--quiet")
    for examples in kinds:
        call("facepipe", "shard", "--examples", examples, "--size", size, "--color", "rgb", *data)
    return work / "shards"


def learn(shards, output, epochs, *options):
    """Trains, or goes on, and gives the log's rows, the warnings and the seconds it took."""
    started = time.perf_counter()
    words = ["dcgan", "--preset", "dcgan64", "--shards", shards, "-o", output, "--epochs", epochs]
    resume = ["--resume"] if (output / "config.json").exists() else []
    call("train", *words, "--batch-size", "64", "--measured", "225", *options, *resume)
    with (output / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    with np.load(output / "checkpoints" / "last.npz") as file:
        troubles = json.loads(bytes(file["state"]))["troubles"]
    return rows, troubles, time.perf_counter() - started


def evaluate(shards, work):
    """The lines of `evaluate`, with features of an encoder that is taught on the same photographs' pairs."""
    encoder = work / ENCODER
    resume = ["--resume"] if (encoder / "config.json").exists() else []
    call("train", "autoencoder", "--preset", ENCODER, "--shards", shards, "-o", encoder, "--epochs", "5", *resume)
    title = f"on features of the encoder {encoder}"
    lines = call("train", "evaluate", work / "learned", "--encoder", encoder).splitlines()
    return [line.replace(f"{title:<44}", f"{f'on features of the encoder {ENCODER}':<44}") for line in lines]


def quarters(epochs):
    """The start, a quarter, half and the end."""
    return [0, epochs // 4, epochs // 2, epochs]


def strip(run, epochs, picture, faces=6):
    """The first faces of the epochs' grids side by side, doubled."""
    side = faces * (SIDE + GAP) - GAP
    grids = [Image.open(run / "grids" / f"epoch-{epoch:04d}.png").convert("RGB") for epoch in epochs]
    sheets = [np.asarray(grid)[:side, :side].repeat(2, 0).repeat(2, 1) for grid in grids]
    gap = np.full((2 * side, 24, 3), 255, np.uint8)
    row = np.concatenate([piece for sheet in sheets for piece in (sheet, gap)][:-1], axis=1)
    Image.fromarray(row).save(picture, optimize=True)


def main():
    options = arguments()
    missing = [str(folder) for folder in options.photographs if not folder.is_dir()]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: no such folder; give --photographs, folders with a folder a person")
    work = options.work or Path(tempfile.mkdtemp(prefix="learn_gan-"))
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    shards = make_shards(options.photographs, work)
    rows, troubles, seconds = learn(shards, work / "learned", options.epochs, *LEARN)
    FIGURES.mkdir(parents=True, exist_ok=True)
    epochs = quarters(options.epochs)
    strip(work / "learned", epochs, FIGURES / "learn_gan.png")
    shutil.copy(work / "learned" / "loss.png", FIGURES / "learn_gan_plot.png")
    table = evaluate(shards, work)
    provoked, named, _ = learn(shards, work / "provoked", options.provoked_epochs, *PROVOKE, *SMALLER)
    strip(work / "provoked", quarters(options.provoked_epochs), FIGURES / "learn_gan_collapse.png")
    distances = {int(row["epoch"]): float(row["swd"]) for row in rows}
    lines = [
        f"dcgan64, batch 64, {' '.join(LEARN)}; {rows[-1]['step']} steps, one thread",
        "",
        "sliced Wasserstein distance x 1000, 225 samples against 225 photographs held back",
        *(f"  epoch {epoch:3d} {distances[epoch]:6.1f}" for epoch in epochs),
        f"  real      {float(rows[-1]['swd_real']):6.1f}",
        f"  noise     {float(rows[-1]['swd_noise']):6.1f}",
        f"  end / start {distances[options.epochs] / distances[0]:.2f}",
        f"named while it learned: {', '.join(sorted({t['name'] for t in troubles})) or 'nothing'}",
        "",
        f"python -m train evaluate, {ENCODER} taught for 5 epochs",
        *table,
        "",
        f"without remedies: {' '.join(PROVOKE)}",
        f"distance {float(provoked[-1]['swd']):.1f} after {provoked[-1]['step']} steps; named:",
        *(trouble["text"] for trouble in named),
    ]
    text = "\n".join(lines) + "\n"
    (FIGURES / "learn_gan.txt").write_text(text)
    print(text, f"\n{seconds / 60:.0f} minutes of training, in {work}", sep="")
    if distances[options.epochs] >= distances[0] / 3:
        raise SystemExit("the distance did not fall to a third of its start")
    if "collapse" not in {trouble["name"] for trouble in named}:
        raise SystemExit("the provoked collapse was not noticed")


if __name__ == "__main__":
    main()
