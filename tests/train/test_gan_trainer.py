"""Real runs: what is in their folder, exact resuming, and trouble that is named as it happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runfolders import arrays_of, rows_of, without_records

from facepipe.errors import DamagedFile, FacepipeError, InputError, OutputError, SettingsChanged, UsageError
from train.gan.config import GanConfig
from train.presets import resolve

pytestmark = pytest.mark.tensorflow
SMALL = {
    "preset": "dcgan",
    "image_size": 16,
    "g_conv_dim": 8,
    "d_conv_dim": 8,
    "z_size": 8,
    "batch_size": 16,
    "samples": 9,
    "measured": 16,
    "mirror": True,
    "diff_augment": ("color",),
}


@pytest.fixture(scope="module")
def shards(make_faces):
    return str(make_faces())


@pytest.fixture(scope="module")
def labelled(make_faces):
    return str(make_faces(labels=3))


def run(folder, shards, say=lambda _: None, **options):
    from train.gan.trainer import train

    return train(GanConfig(**{**SMALL, "shards": shards, "output": str(folder), **options}), say)


@pytest.fixture(scope="module")
def said():
    """What the finished run told."""
    return []


@pytest.fixture(scope="module")
def finished(shards, said, tmp_path_factory):
    """A run of three epochs, in a folder whose name has a space."""
    return run(tmp_path_factory.mktemp("gan") / "a run", shards, said.append, epochs=3).folder


def test_resuming_a_finished_run_says_that_nothing_is_left(finished, shards):
    """With the best epoch, and where the results are; the folder stays as it is, but for a page that a kill left out."""
    from train.checkpoints import load_state

    told = []
    (finished / "summary.html").unlink()
    run(finished, shards, lambda _: None, epochs=3, resume=True)
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    assert finished / "summary.html" in before
    run(finished, shards, told.append, epochs=3, resume=True)
    best = load_state(finished / "checkpoints" / "best.npz")["epoch"]
    assert told[0].startswith(f"nothing is left to do: the best was epoch {best} of 3; everything is in {finished}")
    assert any(f"python -m train evaluate '{finished}'" in line for line in told)
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


def assert_same(first, second):
    first, second = arrays_of(first), arrays_of(second)
    assert first.keys() == second.keys()
    assert [key for key in first if not np.array_equal(first[key], second[key])] == []


def test_the_end_says_where_the_results_are(finished, said):
    """The files it names are there, and the commands take this run."""
    (start,) = [number for number, line in enumerate(said) if "is trained; everything is in" in line]
    told = "\n".join(said[start:])
    assert f"python -m train sample '{finished}' --count 64 --grid" in told
    assert all(f"{finished}/{name}" in told and (finished / name).exists() for name in ("summary.html", "grids.gif"))


def test_folder_of_a_run(finished):
    """Configuration, both architectures, checkpoints, a grid an epoch and before the first, animation, plot, log, events."""
    from facepipe.storage.tfrecord import read_records

    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    grids = {f"grids/epoch-{epoch:04d}.png" for epoch in range(4)}
    kept = {"config.json", "model.json", "discriminator.json", "log.csv", "loss.png", "grids.gif"}
    assert kept | grids | {"checkpoints/last.npz", "checkpoints/best.npz"} <= names
    with Image.open(finished / "grids.gif") as gif:
        assert (gif.n_frames, gif.size) == (4, (3 * 18 + 2, 3 * 18 + 2))
    rows = rows_of(finished)
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "0"), ("1", "3"), ("2", "6"), ("3", "9")]
    for name in ("d_loss", "g_loss", "d_real", "d_fake"):
        assert all(np.isfinite(float(row[name])) for row in rows[1:])
    for name in ("swd", "swd_real", "swd_noise", "pairwise_distance", "ms_ssim"):
        assert all(np.isfinite(float(row[name])) for row in rows)
    with next((finished / "events").iterdir()).open("rb") as file:
        records = b"".join(read_records(file))
    assert all(name in records for name in (b"d_loss", b"d_fake", b"swd", b"samples", b"\x89PNG"))


def test_distance_stands_beside_real_and_noise(finished):
    """Each epoch's distance stands beside other real faces', who are nearer, and noise's; all of sets of one size."""
    rows = rows_of(finished)
    assert len({(row["swd_real"], row["swd_noise"]) for row in rows}) == 1
    for row in rows:
        assert float(row["swd_real"]) < min(float(row["swd"]), float(row["swd_noise"]))


def test_checkpoint_holds_everything(finished):
    """Both networks, the average, both optimizers with their moments, and where the random numbers stand."""
    from train.checkpoints import load_state
    from train.gan.assembly import assemble

    networks = assemble(GanConfig(**SMALL))
    expected = {f"{name}/{i:04d}" for name, group in networks.groups().items() for i in range(len(group))}
    assert set(arrays_of(finished)) == expected
    moments = sum("optimizer" in name for name in expected)
    trained = len(networks.generator.trainable_variables) + len(networks.discriminator.trainable_variables)
    assert moments >= 2 * trained
    state = load_state(finished / "checkpoints" / "last.npz")
    assert (state["epoch"], state["step"], state["seed"]) == (3, 9, 0)


def test_resumed_equals_unbroken(finished, shards, tmp_path):
    """One epoch and two more give the very weights, optimizers and average of three in one go."""
    run(tmp_path / "run", shards, epochs=1)
    run(tmp_path / "run", shards, epochs=3, resume=True)
    assert_same(finished, tmp_path / "run")
    assert len(rows_of(tmp_path / "run")) == 4
    for epoch in range(4):
        name = f"grids/epoch-{epoch:04d}.png"
        assert (finished / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["sngan64", "r3gan64"])
def test_newer_presets_resume(preset, shards, tmp_path):
    """The falling learning rate, the penalties and the pairs of scores go on as in a run that was never stopped."""
    from train.gan.trainer import train

    sizes = {name: value for name, value in SMALL.items() if name not in {"preset", "diff_augment"}}
    for name, epochs in (("broken", 1), ("broken", 2), ("whole", 2)):
        told = {
            **sizes,
            "d_steps": 2,
            "shards": shards,
            "output": str(tmp_path / name),
            "epochs": epochs,
            "resume": epochs == 2,
        }
        train(resolve(GanConfig, "gan", preset, told), lambda _: None)
    assert_same(tmp_path / "broken", tmp_path / "whole")
    assert all(np.isfinite(float(row["swd"])) for row in rows_of(tmp_path / "whole"))


def test_streamed_with_the_default_seed(shards, tmp_path):
    """Seed 0 with more faces than fit in memory: a resumed run is the same as an unbroken one."""
    for name, epochs, more in (("broken", 1, {}), ("broken", 2, {"resume": True}), ("whole", 2, {})):
        run(tmp_path / name, shards, epochs=epochs, cache_bytes=0, seed=0, **more)
    assert_same(tmp_path / "broken", tmp_path / "whole")


def command_line(shards, output, epochs, *more):
    words = ["dcgan", "--shards", shards, "-o", str(output), "--epochs", str(epochs)]
    for name, value in SMALL.items():
        if name not in {"mirror", "diff_augment"}:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return [sys.executable, "-m", "train", *words, "--mirror", "--diff-augment", "color", *more]


@pytest.mark.slow
def test_resumed_equals_unbroken_on_jax(shards, tmp_path):
    """By the command line on JAX: one epoch and one more give the very weights and pictures of two in one go."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    for output, epochs, more in (("run", 1, ()), ("run", 2, ("--resume",)), ("whole", 2, ())):
        command = command_line(shards, tmp_path / output, epochs, "--backend", "jax", *more)
        done = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert_same(tmp_path / "run", tmp_path / "whole")
    last = [(tmp_path / output / "grids" / "epoch-0002.png").read_bytes() for output in ("run", "whole")]
    assert last[0] == last[1]


def test_killed_run_goes_on(shards, tmp_path):
    """After kill -9 in the middle, --resume gives the weights of a run that nobody killed."""
    from train.checkpoints import load_state

    command = command_line(shards, tmp_path / "killed", 100_000)
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not (tmp_path / "killed" / "log.csv").exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()[-2000:]
    epochs = load_state(tmp_path / "killed" / "checkpoints" / "last.npz")["epoch"] + 2
    run(tmp_path / "killed", shards, epochs=epochs, resume=True)
    run(tmp_path / "whole", shards, epochs=epochs)
    assert_same(tmp_path / "killed", tmp_path / "whole")
    assert [row["epoch"] for row in rows_of(tmp_path / "killed")] == [str(epoch) for epoch in range(epochs + 1)]


def test_an_epoch_that_ended_between_checkpoint_and_log(finished, shards, tmp_path):
    """--resume draws and logs the last epoch: the folder is that of an unbroken run."""
    run(tmp_path / "run", shards, epochs=2)
    obstacle = tmp_path / "run/grids/epoch-0003.png"
    obstacle.mkdir()
    with pytest.raises(OutputError, match="go on with --resume"):
        run(tmp_path / "run", shards, epochs=3, resume=True)
    obstacle.rmdir()
    run(tmp_path / "run", shards, epochs=3, resume=True)
    assert_same(tmp_path / "run", finished)
    logs = [
        [{**row, "seconds": "", "cpu_seconds": ""} for row in rows_of(folder)]
        for folder in (tmp_path / "run", finished)
    ]
    assert logs[0] == logs[1]
    for name in ("grids/epoch-0003.png", "grids.gif", "loss.png"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_runs_are_not_mixed_up(finished, shards):
    """Without --resume a finished run is left alone; with it, other settings are refused by name."""
    with pytest.raises(OutputError, match="--resume"):
        run(finished, shards)
    with pytest.raises(SettingsChanged, match="--z-size 8 -> 9"):
        run(finished, shards, epochs=4, z_size=9, resume=True)


def test_overwrite_drops_the_old_run_only_when_the_new_one_can_begin(finished, shards, make_faces):
    """Another process trains into the folder, there are fewer devices, no training records: the old run stays whole."""
    from train.runs import Run

    def contents():
        return {p: p.read_bytes() for p in finished.rglob("*") if p.is_file() and not p.name.endswith(".lock")}

    before = contents()
    with Run.open(finished).locked(), pytest.raises(OutputError, match=r"another run .* is writing"):
        run(finished, shards, overwrite=True)
    with pytest.raises(UsageError, match="--devices is 4"):
        run(finished, shards, overwrite=True, devices=4)
    with pytest.raises(InputError, match="no train records"):
        run(finished, str(make_faces(subsets={"validation": 16})), overwrite=True)
    assert contents() == before


def test_another_kind_of_run_is_not_gone_on_with(pairs, shards, tmp_path):
    """--resume of a GAN in an autoencoder's folder is refused by name."""
    from train.autoencoder import train
    from train.config import AutoencoderConfig

    sizes = {"input_size": 16, "output_size": 16, "encoder": (8, 8), "latent": 8, "batch_size": 8}
    output = str(tmp_path / "run")
    train(AutoencoderConfig(shards=str(pairs), output=output, epochs=1, preset="v4", **sizes), lambda _: None)
    with pytest.raises(SettingsChanged, match="kind: autoencoder -> gan"):
        run(output, shards, resume=True)


def test_the_best_is_the_best_of_the_trained_epochs(shards, tmp_path):
    """Also where each of them is farther from real faces than the generator was before it learned anything."""
    from train.checkpoints import load_state

    folder = run(tmp_path / "run", shards, epochs=3, g_learning_rate=0.5, ema=0.0).folder
    distances = [float(row["swd"]) for row in rows_of(folder)]
    assert distances[0] < min(distances[1:])
    best = load_state(folder / "checkpoints" / "best.npz")["epoch"]
    assert best == 1 + distances[1:].index(min(distances[1:]))


def test_labels_make_it_conditional(labelled, tmp_path):
    """With labels in the shards both networks know three classes, also after resuming; `ignore` knows none.

    The one takes the largest seed that there is.
    """
    from train.gan.sampling import open_run, sample

    run(tmp_path / "run", labelled, epochs=1, seed=2**32 - 1)
    run(tmp_path / "run", labelled, epochs=2, seed=2**32 - 1, resume=True)
    assert open_run(tmp_path / "run")[1].class_labels == (0, 1, 2)
    of_two = [sample(tmp_path / "run", count=2, label=label, seed=3)[0].read_bytes() for label in (0, 2)]
    assert of_two[0] != of_two[1]
    run(tmp_path / "plain", labelled, epochs=1, labels="ignore", ema=0.0)
    assert open_run(tmp_path / "plain")[1].class_labels == ()


def test_labels_are_learned(make_faces, tmp_path):
    """Where faces of label 0 are dark and those of 1 bright, samples of the labels become so too."""
    from train.gan.sampling import sample

    shards = str(make_faces(labels=2, shaded=True))
    options = {"diff_augment": (), "learning_rate": 1e-3, "ema": 0.9}
    run(tmp_path / "run", shards, epochs=1, steps_per_epoch=200, **options)
    shades = []
    for label in (0, 1):
        paths = sample(tmp_path / "run", count=16, label=label)
        shades.append(np.mean([np.asarray(Image.open(path)) for path in paths]))
    assert shades[1] > shades[0] + 50


def test_labels_that_are_missing(shards, tmp_path):
    """`--labels use` says how many faces have none."""
    with pytest.raises(InputError, match="48 faces have none"):
        run(tmp_path / "run", shards, labels="use")


@pytest.mark.parametrize("cache_bytes", [0, 2**31])
def test_missing_records(shards, tmp_path, cache_bytes):
    """Files that lost records, in memory or streamed: the run stops and says where."""
    cut = without_records(shards, tmp_path / "shards", "train", 20)
    with pytest.raises(DamagedFile, match=r"train shards in .* hold 20 of the 48 .*facepipe shard --examples faces"):
        run(tmp_path / "run", str(cut), epochs=1, cache_bytes=cache_bytes)


def named(lines):
    return [line for line in lines if line.startswith("warning: ")]


def test_saturation_and_collapse_are_named_in_a_real_run(shards, tmp_path):
    """A generator that hardly learns loses to its discriminator, and makes one picture from all latents."""
    lines = []
    options = {"d_learning_rate": 1e-3, "g_learning_rate": 1e-12, "diff_augment": (), "epochs": 1}
    run(tmp_path / "run", shards, lines.append, **options, steps_per_epoch=300)
    assert any("discriminator saturation" in line and "try --diff-augment" in line for line in named(lines))
    assert any("mode collapse" in line and "try --minibatch-stddev" in line for line in named(lines))


def test_divergence_is_named_in_a_real_run(shards, tmp_path):
    """A Wasserstein critic without its penalty runs away."""
    lines = []
    options = {"loss": "wasserstein-gp", "gp_weight": 0.0, "norm": "none", "diff_augment": (), "epochs": 1}
    rates = {"d_learning_rate": 2e-3, "g_learning_rate": 1e-12}
    run(tmp_path / "run", shards, lines.append, **options, **rates, steps_per_epoch=400)
    assert any("diverging" in line and "--d-learning-rate 0.0002" in line for line in named(lines))


def test_broken_numbers_end_the_run(finished, shards, tmp_path):
    """Weights that become NaN end the run with advice; the last good checkpoint stays as it was."""
    import shutil

    from train.checkpoints import load_state
    from train.data import view_of
    from train.feeds import open_feed
    from train.gan import batches
    from train.gan.trainer import Training
    from train.runs import Run
    from train.shards import find_shards

    shutil.copytree(finished, tmp_path / "run")
    config = GanConfig(**{**SMALL, "shards": shards, "output": str(tmp_path / "run"), "epochs": 5})
    folder = Run(tmp_path / "run", "gan", {})
    state = load_state(folder.checkpoint("last"))
    real = np.zeros((16, 16, 16, 3), np.uint8)
    training = Training(config, folder, real, real, state, lambda _: None)
    training.networks.generator.variables[0].assign(training.networks.generator.variables[0] * np.nan)
    feed = open_feed(find_shards(shards, "faces"), "train", view_of(config), config, start_step=9)
    with pytest.raises(FacepipeError, match=r"no finite number at step \d+; try .*; the checkpoint of epoch 3 stands"):
        training.go(batches.step_batches(config, feed, None, 9), 3)
    assert_same(finished, tmp_path / "run")
