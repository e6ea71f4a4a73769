"""Ctrl-C and SIGTERM end a training wherever it is, say how to go on, and lose nothing that was finished."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runfolders import arrays_of, rows_of

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).parents[2]
SMALL = ("input_size=16", "output_size=16", "encoder=[8,8]", "latent=8", "batch_size=8", "seed=2")
SAID = "interrupted; every finished epoch is kept: the same command with --resume goes on"


def command(shards, folder, *words):
    settings = [word for setting in SMALL for word in ("--set", setting)]
    program = [sys.executable, "-W", "ignore", "-m", "train", "autoencoder", "--shards", str(shards)]
    return [*program, "-o", str(folder), *settings, *words]


def interrupted(words, number, delay_s, ready=lambda: True):
    """Starts a command, sends it a signal some time after it is ready; gives exit code, stderr and seconds to the end."""
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not ready() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(delay_s)
    sent = time.monotonic()
    child.send_signal(number)
    try:
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
    return child.returncode, said, time.monotonic() - sent


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=["SIGINT", "SIGTERM"]
)
def test_a_training_that_is_interrupted_says_how_to_go_on(pairs, tmp_path, number):
    log = tmp_path / "run" / "log.csv"
    words = command(pairs, tmp_path / "run", "--epochs", "500", "--set", "patience=0")
    code, said, seconds = interrupted(words, number, 0.2, log.exists)
    assert (code, said.splitlines()[-1]) == (130, SAID)
    assert seconds < 10
    assert rows_of(tmp_path / "run")
    arrays_of(tmp_path / "run")


@pytest.mark.slow
def test_a_command_that_can_t_go_on_does_not_say_so(pairs, tmp_path):
    run = tmp_path / "run"
    subprocess.run(command(pairs, run, "--epochs", "1"), cwd=ROOT, check=True, capture_output=True)
    evaluate = [sys.executable, "-m", "train", "evaluate", str(run)]
    code, said, _ = interrupted(evaluate, signal.SIGTERM, 1.5)
    assert (code, said.splitlines()[-1]) == (130, "interrupted")


@pytest.mark.slow
def test_no_moment_swallows_a_signal(pairs, tmp_path):
    """Destructors and callbacks of TensorFlow drop exceptions: twenty random moments, from loading to late epochs."""
    moments = random.Random(7)
    for attempt in range(20):
        words = command(pairs, tmp_path / str(attempt), "--epochs", "500", "--set", "patience=0")
        number = moments.choice([signal.SIGINT, signal.SIGTERM])
        code, said, _ = interrupted(words, number, moments.uniform(2.0, 12.0))
        assert code == 130, said
        assert said.splitlines()[-1] == SAID
