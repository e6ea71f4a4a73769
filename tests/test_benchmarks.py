"""The scripts in `benchmarks/` run: in small, since what they measure is not looked at here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def run(script, *options):
    """What a benchmark prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "options", "printed"),
    [
        ("plan.py", ["--frames", 1600], "| 1,600 |"),
        ("review.py", ["--people", 100], "| its 120 crops |"),
        ("choose.py", ["--sizes", "1600,3200", "--shard"], "3,200"),
        ("simulate_scale.py", ["--sizes", "2000,4000"], "4,000"),
        ("shard.py", ["--frames", 500, "--runs", 1], "facepipe shard"),
        ("formats.py", ["--frames", 200, "--runs", 1], "read webdataset.WebDataset"),
        ("accelerator.py", ["--small", "--presets", "frontal-2", "r3gan64", "-o", "{}"], "r3gan64     bfloat16"),
    ],
)
def test_benchmarks_that_need_no_labelled_faces(script, options, printed, tmp_path):
    """They make what they measure."""
    assert printed in run(script, *(str(option).format(tmp_path) for option in options))


@pytest.mark.parametrize(
    ("script", "folder", "options", "printed"),
    [
        ("batches.py", "lfw", ["--runs", 1], "| 32 |"),
        ("identity.py", "", ["ytf"], "| ytf | 40 |"),
        ("identity.py", "", ["ytf", "--group"], "| ytf | 658 | 40 |"),
        ("video.py", "video/one_face_320x240.avi", ["--runs", 1], "| 12 |"),
    ],
)
def test_benchmarks_on_real_faces(shared_data, script, folder, options, printed):
    """They are told where those lie."""
    assert printed in run(script, shared_data / folder, *options)
