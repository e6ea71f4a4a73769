"""Every option of a GAN, with every preset, alone and together, on TensorFlow and JAX; and both give the same."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runfolders import typed

from train.gan.config import ARCHITECTURES, LOSSES, GanConfig
from train.presets import resolve

RATE = 0.1
"""gan_rows.py's."""
ALL = ("color", "translation", "cutout")
PRESETS = ("dcgan64", "dcgan128", "dcgan256", "dcgan", "sagan", "resgan", "resgan128", "sngan64", "r3gan64")
OPTIONS = {
    "preset": PRESETS,
    "loss": LOSSES,
    "architecture": ARCHITECTURES,
    "spectral_norm": ("none", "discriminator", "both"),
    "attention": ((), (8,), (4, 8)),
    "residual": (False, True),
    "label_smoothing": (0.0, 0.1),
    "smoothing": ("one-sided", "two-sided"),
    "flip_labels": (0.0, 0.25),
    "d_learning_rate": (0.0, 4e-4),
    "z_size": (8, 5),
    "latent": ("uniform", "normal"),
    "d_conv_dim": (8, 4),
    "feature_matching": (0.0, 1.0),
    "minibatch_stddev": (False, True),
    "r1": (0.0, 1.0),
    "r2": (0.0, 1.0),
    "decay_steps": (0, 4),
    "ema": (0.0, 0.999),
    "d_steps": (1, 2),
    "class_labels": ((), (0, 1, 2)),
    "diff_augment": ((), ALL),
    "norm": ("auto", "batch", "layer", "none"),
    "g_norm": ("batch", "layer", "none"),
    "channels": (3, 1),
    "precision": ("float32", "bfloat16"),
}
TOGETHER = {
    "loss": "wasserstein-gp",
    "norm": "batch",
    "label_smoothing": 0.1,
    "smoothing": "two-sided",
    "flip_labels": 0.25,
    "attention": (8,),
    "spectral_norm": "both",
    "feature_matching": 1.0,
    "minibatch_stddev": True,
    "r1": 1.0,
    "d_steps": 2,
    "class_labels": (0, 1, 2),
    "diff_augment": ALL,
}
"""Everything at once."""
COMPARED = (
    {"preset": "dcgan64"},
    {"spectral_norm": "both", "attention": (8,)},
    {"preset": "resgan", "loss": "wasserstein-gp"},
    {"preset": "sngan64"},
    {
        "preset": "r3gan64",
        "class_labels": (0, 1, 2),
        "minibatch_stddev": True,
        "diff_augment": ALL,
        "flip_labels": 0.25,
    },
    TOGETHER,
)
"""Rows whose steps must agree between the backends."""


def pairs_of(row):
    return set(itertools.combinations(sorted((k, str(v)) for k, v in row.items()), 2))


def covering(options, seed=0):
    """Rows such that every two values of different options meet in one: the best of 30 random rows each time."""
    rng = np.random.default_rng(seed)
    wanted = {
        tuple(sorted([(a, str(x)), (b, str(y))]))
        for a, b in itertools.combinations(options, 2)
        for x, y in itertools.product(options[a], options[b])
    }
    rows = []
    while wanted:
        (a, x), (b, y) = min(wanted)
        tries = []
        for _ in range(30):
            row = {name: values[rng.integers(len(values))] for name, values in options.items()}
            row[a] = next(v for v in options[a] if str(v) == x)
            row[b] = next(v for v in options[b] if str(v) == y)
            tries.append(row)
        rows.append(max(tries, key=lambda row: len(wanted & pairs_of(row))))
        wanted -= pairs_of(rows[-1])
    return rows


def run_rows(backend, rows, folder):
    """The arrays that gan_rows.py wrote, from a process of its own: Keras has one backend a process."""
    listed, out = folder / f"{backend}.json", folder / f"{backend}.npz"
    listed.write_text(json.dumps(rows))
    script = Path(__file__).with_name("gan_rows.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(script), backend, str(listed), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as arrays:
        return dict(arrays)


def test_covering_table_holds_every_pair():
    """The table has each two values of different options in one row, with fewer than 60 rows."""
    rows = covering(OPTIONS)
    met = set().union(*(pairs_of(row) for row in rows))
    expected = {
        tuple(sorted([(a, str(x)), (b, str(y))]))
        for a, b in itertools.combinations(OPTIONS, 2)
        for x, y in itertools.product(OPTIONS[a], OPTIONS[b])
    }
    assert expected <= met
    assert len(rows) < 60


def words_of(row):
    """The row as words of the command line."""
    words = []
    for name, value in row.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            words += [f"--{flag}", ",".join(map(str, value)) or "none"]
        else:
            words += [f"--{flag}", str(value)]
    return words


def test_command_line_says_every_option():
    """Every row of the table can be typed behind `python -m train dcgan --preset ...` and means the same there."""
    found_in_shards = {"class_labels"}
    for row in covering(OPTIONS):
        fields = {name: value for name, value in row.items() if name not in {"preset", *found_in_shards}}
        given = resolve(GanConfig, "gan", row["preset"], typed("gan", words_of(fields)))
        assert given == resolve(GanConfig, "gan", row["preset"], fields)
        assert {name: getattr(given, name) for name in fields} == fields


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("compared", "slice_"),
    [
        (COMPARED[1:2], []),
        pytest.param(COMPARED, [{**row, "adam": True} for row in covering(OPTIONS)[::12]], marks=pytest.mark.slow),
    ],
    ids=["one", "all"],
)
def test_backends_take_the_same_steps(tmp_path, compared, slice_):
    """One step gives the same gradients on TensorFlow and JAX, second derivatives included (1e-4).

    Spectrally normalised kernels have norm 1 on both. In the same TensorFlow process, a slice of the covering table
    takes two steps with Adam, and everything is finite.
    """
    tensorflow = run_rows("tensorflow", [*compared, *slice_], tmp_path)
    jax = run_rows("jax", compared, tmp_path)
    for number, row in enumerate(compared):
        expected, actual = tensorflow[f"{number}/measures"], jax[f"{number}/measures"]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5, err_msg=str(row))
        expected, actual = tensorflow[f"{number}/weights"], jax[f"{number}/weights"]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=RATE * 1e-4, err_msg=str(row))
    assert check_norms(tensorflow, compared) == check_norms(jax, compared) > 0
    check_finite(tensorflow, slice_, len(compared))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.tensorflow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_two_options_meet(backend, tmp_path):
    """The whole covering table: two steps with each row's options, and everything is finite."""
    rows = [{**row, "adam": True} for row in [*covering(OPTIONS), {**TOGETHER, "jit": True}]]
    found = run_rows(backend, rows, tmp_path)
    check_finite(found, rows)
    assert check_norms(found, rows) > 0


@pytest.mark.slow
def test_two_devices_compute_what_one_does(tmp_path):
    """On JAX, a batch divided over two devices gives the step of the whole batch: statistics, deviations, all."""
    row = {"minibatch_stddev": True, "diff_augment": ALL, "class_labels": (0, 1), "d_steps": 2}
    found = run_rows("jax", [row, {**row, "devices": 2}], tmp_path)
    np.testing.assert_allclose(found["1/measures"], found["0/measures"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["1/weights"], found["0/weights"], rtol=1e-5, atol=1e-6)


def check_finite(found, rows, first=0):
    for number, row in enumerate(rows, first):
        assert np.isfinite(found[f"{number}/measures"]).all(), row
        assert np.isfinite(found[f"{number}/weights"]).all(), row


def check_norms(found, rows):
    """Every spectrally normalised kernel's largest singular value is 1 within 1 %; gives how many there are."""
    norms = np.concatenate([found[f"{number}/norms"] for number in range(len(rows))])
    np.testing.assert_allclose(norms, 1, rtol=0.01)
    return len(norms)
