"""`make` finds a Python by itself, or says in one line what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


@pytest.fixture
def clone(tmp_path):
    """What `make setup` looks at, and an empty folder that stands for the whole PATH."""
    for name in ("Makefile", "pyproject.toml", "constraints-cpu.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(clone: Path, name: str, script: str) -> None:
    (clone / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (clone / "bin" / name).chmod(0o755)


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(clone / "bin"), "LANG": os.environ.get("LANG", "C")}
    command = [shutil.which("make"), *arguments]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


def test_the_first_python_that_fits_is_taken(clone):
    """A name behind which no Python is, and one that is too old or too new, are passed over."""
    program(clone, "python3.11", "exit 127")
    program(clone, "python3.12", "exit 1")
    program(clone, "python3", f'exec "{sys.executable}" "$@"')
    assert '"python3" -m venv --clear .venv' in make(clone, "-n", "setup").stdout


def test_a_python_that_is_named_wins(clone):
    """PYTHON= on the command line."""
    program(clone, "python3.11", f'exec "{sys.executable}" "$@"')
    assert '"/my/python" -m venv' in make(clone, "-n", "setup", "PYTHON=/my/python").stdout


@pytest.mark.parametrize("named", ["", "python3.9"])
def test_without_a_python_that_fits_it_says_so_in_one_line(clone, named):
    """And makes nothing."""
    done = make(clone, "setup", *([f"PYTHON={named}"] if named else []))
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode != 0
    assert (named or "none of python3.11 python3.12 python3.13 python3") in line
    assert "make PYTHON=/path/to/python3" in line
    assert not (clone / ".venv").exists()
