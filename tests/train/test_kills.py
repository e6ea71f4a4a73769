"""A kill at any moment of the first or the second checkpoint costs no more than the epoch under way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runfolders import arrays_of, rows_of

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
MOMENTS = 20
SIZES = {
    "autoencoder": ["input_size=16", "output_size=16", "encoder=[8,8]", "latent=8", "batch_size=8", "patience=0"],
    "gan": ["image_size=16", "g_conv_dim=8", "d_conv_dim=8", "z_size=8", "batch_size=16", "samples=4", "measured=8"],
}


def trained(kind, shards, folder, *words, kill_at=None):
    """The finished process of a run of two epochs."""
    folder.mkdir(exist_ok=True)
    options = ["--preset", {"autoencoder": "v4", "gan": "dcgan"}[kind], "--epochs", "2", "--deterministic"]
    options += [word for size in SIZES[kind] for word in ("--set", size)]
    start = [str(ROOT / "tests/train/killed.py"), str(folder), str(kill_at)] if kill_at is not None else ["-m", "train"]
    command = [sys.executable, "-W", "ignore", *start, kind, "--shards", str(shards), "-o", str(folder), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([*command, *words], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["autoencoder", "gan"])
def test_a_kill_at_any_moment_of_a_checkpoint_resumes(kind, pairs, make_faces, tmp_path):
    """Twenty moments between the first checkpoint's first file and the second's last: --resume ends with the weights,
    the log and the pictures of a run that nobody killed."""
    shards = pairs if kind == "autoencoder" else make_faces()
    whole = trained(kind, shards, tmp_path / "whole", kill_at=0)
    assert whole.returncode == 0, whole.stderr[-2000:]
    moments = int(whole.stdout.rpartition("moments ")[2])
    assert moments > 12
    for moment in sorted({1 + round(at) for at in np.linspace(0, moments - 1, MOMENTS)}):
        folder = tmp_path / str(moment)
        done = trained(kind, shards, folder, kill_at=moment)
        assert done.returncode == -signal.SIGKILL, moment
        resumed = trained(kind, shards, folder, "--resume")
        assert resumed.returncode == 0, (moment, resumed.stderr[-2000:])
        for name in ("last", "best"):
            first, second = arrays_of(folder, name), arrays_of(tmp_path / "whole", name)
            assert [key for key in second if not np.array_equal(first[key], second[key])] == [], (moment, name)
        assert [row["epoch"] for row in rows_of(folder)] == [row["epoch"] for row in rows_of(tmp_path / "whole")]
        grids = [sorted(p.name for p in (run / "grids").iterdir()) for run in (folder, tmp_path / "whole")]
        assert grids[0] == grids[1], moment
