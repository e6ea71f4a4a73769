"""`run.json`: what a run did, how fast, with which versions. It may differ between runs that give the same bytes."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from facepipe import __version__
from facepipe.config import settings_of
from facepipe.errors import DamagedFile, FacepipeError
from facepipe.execution.cores import default_workers, usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facepipe.config import StageConfig
    from facepipe.records import StageReport
    from facepipe.storage import Place

RUN_FILE = "run.json"
_READ_BYTES = 2**28
PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "pyarrow",
    "joblib",
    "mtcnn",
    "ai-edge-litert",
    "av",
)


def write_run_file(place: Place, config: StageConfig, report: StageReport, facts: Mapping[str, Any]) -> None:
    """Writes `run.json` beside a stage's output: settings, versions, counts, times and the stage's own `facts`.

    It carries its own SHA-256: what may differ between two runs has no line in `checksums.sha256`, which may not.
    """
    content = {
        "stage": report.stage,
        "settings": settings_of(config),
        "versions": versions(),
        "counts": report.counts,
        **facts,
        "wall_s": round(report.wall_s, 3),
        "steps_s": {step: round(seconds, 3) for step, seconds in sorted(report.steps_s.items())},
        "workers": config.execution.workers or default_workers(),
        "machine": machine(),
        "notes": report.notes,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    content = {**json.loads(text), "sha256": _digest(json.loads(text))}
    place.write(RUN_FILE, (json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n").encode())


def read_run_file(folder: Place) -> dict[str, Any]:
    """What `run.json` says; {} where there is none.

    Raises:
        DamagedFile: it is not as it was written.
    """
    if not folder.exists(RUN_FILE):
        return {}
    try:
        content = dict(json.loads(folder.read(RUN_FILE, _READ_BYTES)))
        is_whole = content.pop("sha256", None) == _digest(content)
    except (ValueError, TypeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise DamagedFile(f"{folder}/{RUN_FILE} is damaged; run the command that makes it again")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def run_or_empty(folder: Place) -> dict[str, Any]:
    """What `run.json` says; {} where it is missing or damaged."""
    try:
        return read_run_file(folder)
    except FacepipeError:
        return {}


def machine() -> str:
    """Kind of processor, cores and system."""
    return f"{platform.machine()}, {usable_cores()} usable cores, {platform.system()}"


def versions() -> dict[str, str]:
    """Versions of facepipe, Python and the packages that decide the output's bytes."""
    found = {"facepipe": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found
