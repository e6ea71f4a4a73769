"""What training does on an accelerator, by JAX and Keras alone: steps and images a second, memory, the input's share.

    python benchmarks/accelerator.py [--shards DIR] [-o DIR] [--steps 100] [--presets v4 sngan64 ...] [--small]

For each preset, in float32 and bfloat16, each in a process of its own: `Model.fit` (or a GAN's step) on shards of random
pictures against the same on one batch that lies in memory, in turns; the peak of the device's memory (of the process, on
a CPU), and the device's utilisation as nvidia-smi tells it. Then, given the shards of real pairs and faces that `facepipe
run` wrote, frontal-2 (frontal-1, where there is none yet) and sngan64 learn on them to their end and are evaluated. DIR
gets accelerator.txt and both runs, with their grids and pages. `--small`: the same with tiny networks and few steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
PRECISIONS = ("float32", "bfloat16")
TINY = {
    "autoencoder": {
        "input_size": 16,
        "output_size": 16,
        "encoder": (8, 8),
        "decoder": (),
        "latent": 8,
        "batch_size": 8,
    },
    "gan": {
        "image_size": 16,
        "g_conv_dim": 8,
        "d_conv_dim": 8,
        "z_size": 8,
        "batch_size": 8,
        "measured": 16,
        "attention": (),
    },
}
HEAD = f"{'preset':<12}{'precision':<11}{'batch':>6}{'steps/s':>10}{'images/s':>11}{'shards / memory':>17}{'peak, MiB':>11}{'busy':>7}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", help="of pairs and faces; without, nothing is trained to its end")
    parser.add_argument("-o", "--output", type=Path, default=Path("accelerator"))
    parser.add_argument("--presets", nargs="+", default=["v4", "v12", frontal(), "dcgan256", "sngan64", "r3gan64"])
    parser.add_argument("--steps", type=int, default=100, help="a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of the trainings; the presets' own unless given")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.small:
        options.steps, options.turns, options.epochs = 2, 2, options.epochs or 1
    return options


def frontal():
    """The newest of the presets that turn faces."""
    from train.presets import tables

    return next(name for name in ("frontal-2", "frontal-1") if name in tables("autoencoder"))


def config_of(preset, precision, *, small):
    from train.config import AutoencoderConfig
    from train.gan.config import GanConfig
    from train.presets import resolve, tables

    section, kind = ("gan", GanConfig) if preset in tables("gan") else ("autoencoder", AutoencoderConfig)
    told = {
        "backend": "jax",
        "precision": precision,
        "devices": 1,
        **({"labels": "ignore"} if section == "gan" else {}),
    }
    return section, resolve(kind, section, preset, told | (TINY[section] if small else {}))


class Busy(threading.Thread):
    """How busy nvidia-smi says that the device is, in per cent, every half second; nothing where there is none."""

    def __init__(self):
        super().__init__(daemon=True)
        self.told, self.over = [], threading.Event()

    def run(self):
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while shutil.which(command[0]) and not self.over.wait(0.5):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            self.told += [int(line) for line in done.stdout.split() if line.isdecimal()]

    def median(self):
        self.over.set()
        return f"{statistics.median(self.told):.0f} %" if self.told else "-"


def random_pairs():
    """Of benchmarks/train.py, which has the package's name."""
    return runpy.run_path(str(ROOT / "benchmarks" / "train.py"))["random_pairs"]


def turns_of_autoencoder(config, folder, steps):
    """Functions that take `steps` steps: on the shards, and on one batch that lies ready."""
    from train.autoencoder import _assemble
    from train.data import view_of
    from train.feeds import open_feed
    from train.shards import find_shards

    side = max(config.input_size, config.output_size)
    made = random_pairs()(folder, 8 * config.batch_size, side, config.channels, config.examples)
    shards = find_shards(made, config.examples)
    feed = iter(open_feed(shards, "train", view_of(config), config))
    model, batch = _assemble(config, shards), next(feed)
    ready = (batch for _ in itertools.count())  # Keras takes a generator
    quiet = {"epochs": 1, "verbose": 0, "steps_per_epoch": steps, "shuffle": False}
    return lambda: model.fit(feed, **quiet), lambda: model.fit(ready, **quiet)


def turns_of_gan(config, folder, steps):
    from train_gan import random_shards

    from train.data import view_of
    from train.feeds import open_feed
    from train.gan.assembly import assemble, make_step
    from train.gan.batches import step_batches
    from train.shards import find_shards

    count = 8 * config.batch_size * config.d_steps
    shards = find_shards(random_shards(folder, count, config.image_size), "faces")
    batches = step_batches(config, open_feed(shards, "train", view_of(config), config), None, 0)
    step, ready = make_step(config, assemble(config)), itertools.repeat(next(batches))

    def take(source):
        for batch in itertools.islice(source, steps):
            measures = step(batch)
        return {name: float(value) for name, value in measures.items()}  # waits for the device

    return lambda: take(batches), lambda: take(ready)


def seconds_of(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def measure(options, preset, precision):
    """A line of the table."""
    from train import backend

    section, config = config_of(preset, precision, small=options.small)
    backend.prepare(config)
    import jax

    turns = {"autoencoder": turns_of_autoencoder, "gan": turns_of_gan}[section]
    with tempfile.TemporaryDirectory() as folder:
        fed, ready = turns(config, folder, options.steps)
        fed(), ready()
        busy = Busy()
        busy.start()
        found = [(seconds_of(fed), seconds_of(ready)) for _ in range(options.turns)]
    rate = options.steps / statistics.median(pair[0] for pair in found)
    ratio = statistics.median(first / second for first, second in found)
    held = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    peak = held / 2**20 if held else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    images = rate * config.batch_size * getattr(config, "d_steps", 1)
    print(
        f"{preset:<12}{precision:<11}{config.batch_size:>6}{rate:>10.2f}{images:>11.1f}{ratio:>17.3f}{peak:>11.0f}{busy.median():>7}"
    )


def learn(options, preset):
    """Trains to the end and evaluates, as anybody would; gives the run's last line of the log."""
    section, config = config_of(preset, "float32", small=options.small)
    run = options.output / preset
    words = [section, "--preset", preset, "--backend", "jax", "--shards", options.shards, "-o", run]
    words += ["--epochs", options.epochs] if options.epochs else []
    if options.small:
        words += [word for name in TINY[section] for word in ("--set", f"{name}={json.dumps(getattr(config, name))}")]
    call(*words, *(["--resume"] if (run / "config.json").exists() else []))
    if section == "gan":
        call("evaluate", run)
    return (
        f"{preset}: {(run / 'log.csv').read_text().splitlines()[-1].partition(',')[0]} epochs, {run / 'summary.html'}"
    )


def call(*words):
    print("$ python -m train", *words, flush=True)
    subprocess.run([sys.executable, "-m", "train", *map(str, words)], cwd=Path.cwd(), env=environment(), check=True)


def environment():
    return {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def device():
    code = (
        "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, len(jax.devices()), 'JAX', jax.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main():
    options = arguments()
    if options.alone:
        measure(options, *options.alone)
        return
    options.output.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{device()}; {options.steps} steps a turn, medians of {options.turns} turns{', small' * options.small}",
        "",
        HEAD,
    ]
    print(*lines, sep="\n", flush=True)
    for preset, precision in itertools.product(options.presets, PRECISIONS):
        words = ["--alone", preset, precision, "--steps", options.steps, "--turns", options.turns]
        words += ["--small"] * options.small
        command = [sys.executable, "-W", "ignore", __file__, *map(str, words)]
        done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
        lines.append(done.stdout.splitlines()[-1])
        print(lines[-1], flush=True)
    if options.shards:
        lines += ["", *(learn(options, preset) for preset in (frontal(), "sngan64"))]
    (options.output / "accelerator.txt").write_text("\n".join(lines) + "\n")
    print(*lines[-2:], sep="\n")


if __name__ == "__main__":
    main()
