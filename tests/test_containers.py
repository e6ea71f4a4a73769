"""The files that images are made from: linted, and every package in them fixed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
LOCKS = sorted((ROOT / "docker").glob("*.lock"))
SCRIPTS = sorted([*(ROOT / "docker").glob("*.sh"), *(ROOT / "docs").rglob("*.sh"), ROOT / "tests" / "browser.sh"])


def tool(name: str) -> str:
    return shutil.which(name, path=str(BIN)) or shutil.which(name) or pytest.skip(f"{name} is not installed")


def test_hadolint_has_nothing_to_say():
    """The Dockerfile keeps its rules."""
    done = subprocess.run([tool("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    """Every shell script keeps its rules."""
    done = subprocess.run([tool("shellcheck"), str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_fixed_by_version_and_hash(lock):
    """Each line of a lock names one version, and at least one hash follows."""
    text = re.sub(r"^#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    lines = text.splitlines()
    assert len(lines) > 3
    assert [
        line for line in lines if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ] == []


def test_the_images_install_from_the_locks_alone():
    """Each `pip install` of a lock asks for hashes; what comes beside is the wheel of this repository, without dependencies."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"(?:pip|facepipe/bin/python) install ([^&\n]*)", dockerfile)
    assert len(installs) == 5
    assert [line for line in installs if "--no-deps" not in line] == []
    assert [line for line in installs if "--require-hashes" not in line and "dist/*.whl" not in line] == []


def test_the_slim_lock_holds_no_tensorflow():
    """The image for everything but training holds what that needs alone."""
    names = set(re.findall(r"^([\w.-]+)==", (ROOT / "docker" / "facepipe.lock").read_text(), re.MULTILINE))
    assert {"onnxruntime", "mtcnn", "ai-edge-litert", "distributed", "jinja2"} <= names
    assert not {"tensorflow", "tensorflow-cpu", "keras", "torch"} & names
