"""What do `v4`, `frontal-1` and `frontal-2` learn on a CPU, beside answers that take no learning?

    python benchmarks/learn_autoencoder.py [--photographs ../shared/data] [--presets v4 frontal-1] [--epochs 14]
    python benchmarks/learn_autoencoder.py --presets frontal-1 --set seed=1

YouTube Faces frames (the folder `ytf`, boxes from ytf_labels.csv) and LFW photographs (the folder `lfw`) go through the real
pipeline: extract, select, split with a fifth of the people held back, shard with the default noise. Each preset learns on
one thread until early stopping or the last epoch, and is evaluated on the people held back. Writes
docs/figures/learn_autoencoder.txt and .png; neither shows a photograph. With `--set` they are printed only.

`--presets frontal-2` alone learns from turned faces of the folders `ytf`, `lfw`, `lfw_people` and `lfw_single`, and is measured on turned faces and on
real pairs of the people held back, and on nine of the folder `umist`, up to profiles; `--epochs` and `--steps` say how long.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
FIGURES = ROOT / "docs" / "figures"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
VALIDATION = "0.2"
PRESETS = ("v4", "frontal-1")
MOVING = "frontal-2"
FOLDERS = ("lfw",)
MORE_FOLDERS = ("lfw", "lfw_people", "lfw_single")
LARGE = ("--size", "128", "--color", "rgb", "--noise", "none")
TURNED = ("--examples", "turned", "--flow", "--turns", "3", "--turn-yaw", "uniform:80", *LARGE)
LEARN = {
    "v4": ("--epochs", "14", "--set", "patience=5", "--set", "plateau=2"),
    "frontal-1": ("--epochs", "8", "--steps-per-epoch", "50"),
}
"""Few people are soon learned by heart: v4 is stopped early, frontal-1 takes 400 steps in all, ever smaller ones."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--presets", nargs="+", choices=(*PRESETS, MOVING), default=PRESETS)
    parser.add_argument("--steps", type=int, default=0, help="of frontal-2, in each epoch [one pass]")
    parser.add_argument("--epochs", type=int, help="of v4, at most so many [14], and of frontal-2 [10]")
    parser.add_argument("--work", type=Path, help="keep shards and runs here; what is finished there is used again")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of all presets")
    return parser.parse_args()


def call(*words):
    """One command of the project; its output is shown as it comes."""
    print("$", *words, flush=True)
    command = [sys.executable, "-W", "ignore", "-m", *map(str, words)]
    environment = {**os.environ, **ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise SystemExit(f"stopped: {' '.join(map(str, words))}")


def write_manifest(photographs, path, folders=FOLDERS):
    """A row a picture: YouTube Faces with the boxes that are known, then LFW."""
    with (photographs / "ytf_labels.csv").open(newline="") as file:
        known = {row["path"]: row for row in csv.DictReader(file)}
    names = ["path", "identity", "video", "frame_index", "x1", "y1", "x2", "y2"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", extrasaction="ignore")
        writer.writeheader()
        for frame in sorted((photographs / "ytf").glob("*/*/*.jpg")):
            name = frame.relative_to(photographs / "ytf").as_posix()
            person, video, file_name = name.split("/")
            row = {"identity": person, "video": video, "frame_index": file_name.split(".")[1], **known.get(name, {})}
            writer.writerow({**row, "path": f"ytf/{name}"})
        for photograph in sorted(file for folder in folders for file in (photographs / folder).glob("*/*.jpg")):
            path_in = photograph.relative_to(photographs).as_posix()
            writer.writerow({"path": path_in, "identity": photograph.parent.name})


def make_shards(photographs, work, folders=FOLDERS, how=()):
    """The pipeline; gives the shards."""
    write_manifest(photographs, work / "photographs.csv", folders)
    data = ["--data", work / "data", "--workers", "1", "--quiet"]
    call("facepipe", "extract", "-i", photographs, "--manifest", work / "photographs.csv", *data)
    call("facepipe", "select", *data)
    call("facepipe", "split", "--validation", VALIDATION, *data)
    call("facepipe", "shard", *data, *how)
    return work / "data" / "shards"


def learn(preset, shards, output, *more):
    """Trains, or goes on, evaluates; gives the log's rows, the evaluation and the number of training pairs."""
    resume = ["--resume"] if (output / "config.json").exists() else []
    words = ["autoencoder", "--preset", preset, "--shards", shards, "-o", output]
    call("train", *words, *LEARN[preset], *more, *resume)
    with (output / "log.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return rows, json.loads((output / "evaluation.json").read_text())


def learn_to_move(photographs, work, epochs, steps, changed):
    """Teaches frontal-2 on turned faces; prints how long, and whose faces it draws from turned ones and from real pairs."""
    shards, run = make_shards(photographs, work, MORE_FOLDERS, LARGE), work / "-".join([MOVING, *changed[1::2]])
    call("facepipe", "shard", "--data", work / "data", "--workers", "1", "--quiet", *TURNED)
    length = ["--epochs", epochs or 10, *(["--steps-per-epoch", steps] if steps else [])]
    resume = ["--resume"] if (run / "config.json").exists() else []
    call("train", "autoencoder", "--preset", MOVING, "--shards", shards, "-o", run, *length, *changed, *resume)
    call("train", "evaluate", run, "--shards", shards / "pairs")
    profiles = ["--data", work / "profiles", "--workers", "1", "--quiet"]
    call("facepipe", "extract", "-i", photographs / "umist", *profiles)
    call("facepipe", "select", *profiles)
    call("facepipe", "split", "--validation", "0.9", *profiles)
    call("facepipe", "shard", *profiles, *LARGE)
    call("train", "evaluate", run, "--shards", work / "profiles" / "shards" / "pairs")


def shared_targets(features, targets, people, yaws, share):
    """Each target mixed with the mean of the person's nearly frontal features: what `swap` shows over many passes."""
    from train.order import find_companions

    able = find_companions(people, np.zeros(len(people)), yaws, share, 0)
    mixed = targets.copy()
    for at in np.flatnonzero(able.held):
        theirs = features[able.able[able.first[at] :][: able.held[at]]]
        mixed[at] = (1 - share) * targets[at] + share * theirs.mean(axis=0)
    return mixed


def linear(folder, swap=0.0, mirror=False):
    """What a straight line learns: ridge regression of the targets on the clean features, by yaw band.

    How much it is held down is chosen on a fifth of the people trained on. `swap` and `mirror` as in `AutoencoderConfig`.
    """
    from train.data import load_arrays, read_columns
    from train.metrics.images import bands_of, by_band, measures
    from train.shards import ImageView, View, find_shards

    shards = find_shards(str(folder), "pairs")
    view = View((ImageView("feature", 64, 1), ImageView("target", 64, 1)))
    taught, held_back = (load_arrays(shards, subset, view) for subset in ("train", "validation"))
    columns = {name: np.array(c) for name, c in read_columns(shards, "train", ("copy", "feature_yaw")).items()}
    clean = columns["copy"] == 0
    features, targets = (stack[clean].reshape(clean.sum(), -1) / 255 for stack in taught.images)
    people = np.unique(taught.identities[clean], return_inverse=True)[1]
    tried = people % 5 == 0
    lessons = shared_targets(features, targets, people, columns["feature_yaw"][clean], swap)

    def answers(chosen, asked, weight):
        x, y = features[chosen], lessons[chosen]
        if mirror:
            x, y = (np.concatenate([a, a.reshape(-1, 64, 64)[:, :, ::-1].reshape(a.shape)]) for a in (x, y))
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        x = x - mean_x
        mixed = np.linalg.solve(x @ x.T + weight * np.eye(len(x)), y - mean_y)
        return np.clip(mean_y + (asked - mean_x) @ x.T @ mixed, 0, 1)

    weights = [10.0**power for power in (2, 2.5, 3, 3.5, 4, 4.5)]
    errors = [np.mean((answers(~tried, features[tried], w) - targets[tried]) ** 2) for w in weights]
    asked, wanted = (stack.reshape(len(stack), -1) / 255 for stack in held_back.images)
    drawn = answers(np.ones(len(people), bool), asked, weights[int(np.argmin(errors))])
    pictures = [values.astype(np.float32).reshape(-1, 64, 64, 1) for values in (wanted, drawn)]
    yaws = read_columns(shards, "validation", ("feature_yaw",))["feature_yaw"]
    return by_band(measures(*pictures), bands_of(np.array(yaws)))


def verdict(report):
    """Whether the model is below both baselines by MSE and above both by SSIM, on everybody held back."""
    model, *baselines = (table["all"] for table in report["reconstruction"].values())
    return all(model["mse"] < b["mse"] and model["ssim"] > b["ssim"] for b in baselines)


def story_of(preset, rows, report):
    """How the run went, in two lines."""
    minutes = sum(row["seconds"] for row in rows) / 60
    gains = []
    model, *_ = report["reconstruction"].values()
    for name in ("mean target", "feature resized"):
        other = report["reconstruction"][name]["all"]
        less = 100 * (1 - model["all"]["mse"] / other["mse"])
        gains.append(f"MSE {less:.1f} % under and SSIM {model['all']['ssim'] - other['ssim']:+.3f} over the {name}")
    won = "beats both baselines" if verdict(report) else "does not beat both baselines"
    yield f"{preset}: {len(rows)} epochs, the best was {report['epoch']}, {minutes:.0f} minutes by the clock; {won}"
    yield f"  {'; '.join(gains)}"
    at = rows[int(report["epoch"]) - 1]
    mse, val_mse = at.get("mse", at["loss"]), at.get("val_mse", at["val_loss"])
    last = rows[-1].get("mse", rows[-1]["loss"])
    yield f"  MSE at the best epoch: training {mse:.4f}, validation {val_mse:.4f}; training at the end {last:.4f}"


def tables_of(learned, lines):
    """The measures by yaw band, then those of identity; each baseline once."""
    first = next(iter(learned.values()))[1]
    answers = {name: report["reconstruction"]["model"] for name, (_, report) in learned.items()}
    answers |= lines
    answers |= {name: table for name, table in first["reconstruction"].items() if name != "model"}
    yield f"{'':<27} {'|yaw|':>6} {'images':>6} {'MSE':>8} {'MAE':>7} {'PSNR dB':>8} {'SSIM':>7}"
    for name, table in answers.items():
        for band, row in table.items():
            figures = f"{row['mse']:8.5f} {row['mae']:7.4f} {row['psnr']:8.2f} {row['ssim']:7.4f}"
            yield f"{name:<27} {band:>6} {row['images']:>6} {figures}"
    yield ""
    yield f"{'':<27} {'|yaw|':>6} {'probes':>6} {'rank-1':>8} {'AUC':>7}"
    vectors = {f"{name} fingerprints": report["identity"]["fingerprints"] for name, (_, report) in learned.items()}
    vectors |= {"raw pixels": first["identity"]["raw pixels"]}
    vectors |= {f"PCA, as for {name}": report["identity"]["PCA"] for name, (_, report) in learned.items()}
    for name, table in vectors.items():
        for band, row in table.items():
            if isinstance(row, dict):
                title = f"{name} ({table['dimension']})"
                yield f"{title:<27} {band:>6} {row['probes']:>6} {row['rank1']:8.3f} {row['auc']:7.3f}"


def draw(learned, path):
    """Training and validation MSE of every run over its epochs, and the baselines as level lines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (rows, report)) in enumerate(learned.items()):
        epochs = [row["epoch"] for row in rows]
        training = [row.get("mse", row["loss"]) for row in rows]
        validation = [row.get("val_mse", row["val_loss"]) for row in rows]
        axes.plot(epochs, validation, "o-", color=f"C{number}", label=f"{name}, validation")
        axes.plot(epochs, training, ".--", color=f"C{number}", alpha=0.6, label=f"{name}, training")
        best = int(report["epoch"]) - 1
        axes.plot(epochs[best], validation[best], "o", markersize=11, fillstyle="none", color=f"C{number}")
    baselines = next(iter(learned.values()))[1]["reconstruction"]
    for style, name in ((":", "mean target"), ("-.", "feature resized")):
        level = baselines[name]["all"]["mse"]
        axes.axhline(level, linestyle=style, color="gray", label=f"{name} {level:.4f}")
    axes.set(xlabel="epoch", ylabel="MSE", title="People held back, and people trained on (ring: the epoch kept)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    with path.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)


def main():
    options = arguments()
    if not (options.photographs / "ytf_labels.csv").is_file():
        raise SystemExit(
            f"{options.photographs} has no ytf_labels.csv; give --photographs, the folder with ytf and lfw"
        )
    work = (options.work or Path(tempfile.mkdtemp(prefix="learn_autoencoder-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    changed = [word for setting in options.set for word in ("--set", setting)]
    if MOVING in options.presets:
        learn_to_move(options.photographs.resolve(), work, options.epochs, options.steps, changed)
        return
    shards = make_shards(options.photographs.resolve(), work)
    fewer = {"v4": ["--epochs", options.epochs]} if options.epochs else {}
    learned = {
        name: learn(name, shards, work / "-".join([name, *options.set]), *fewer.get(name, []), *changed)
        for name in options.presets
    }
    first = next(iter(learned.values()))[1]
    pairs = sum(json.loads(next(shards.glob("pairs/*/run.json")).read_text())["lengths"]["train"])
    straight = {"ridge": linear(shards), "ridge, mirrored, swapped": linear(shards, swap=0.6, mirror=True)}
    of = f"{first['pairs']} validation pairs of {first['identities']} people not trained on"
    lines = [
        f"{pairs:,} training pairs (noisy copies counted), {of}; 64 px, one thread",
        *(line for name, (rows, report) in learned.items() for line in story_of(name, rows, report)),
        "",
        *tables_of(learned, straight),
    ]
    print(*lines, sep="\n")
    if not options.set:
        FIGURES.mkdir(parents=True, exist_ok=True)
        (FIGURES / "learn_autoencoder.txt").write_text("\n".join(lines) + "\n")
        draw(learned, FIGURES / "learn_autoencoder.png")
    if not any(verdict(report) for _, report in learned.values()):
        raise SystemExit("no preset beats both baselines")


if __name__ == "__main__":
    main()
