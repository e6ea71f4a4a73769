"""Runs of one kind side by side: a table, and a plot of how near each came against what it had cost."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facepipe.errors import InputError, UsageError
from train.files import file_in, reading_back, whole_file
from train.runs import REPORT, Run
from train.summary import EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Row = dict[str, str]

PICTURE = "compare.png"
WATCHED = {"autoencoder": ("val_mse", "mse"), "gan": ("swd",)}
"""By kind: the column of the log that is compared, the first that all runs have."""
REPORTED: dict[str, dict[str, tuple[str, ...]]] = {
    "autoencoder": {
        "MSE": ("reconstruction", "model", "all", "mse"),
        "SSIM": ("reconstruction", "model", "all", "ssim"),
        "sharpness": ("reconstruction", "model", "all", "sharpness"),
        "rank-1": ("recognition", "model", "all", "rank1"),
    },
    "gan": {
        "Fréchet": (EMBEDDING, "samples", "frechet distance"),
        "(real)": (EMBEDDING, "real faces", "frechet distance"),
        "precision": (EMBEDDING, "samples", "precision"),
        "recall": (EMBEDDING, "samples", "recall"),
    },
}
"""By kind: columns of the table and where `evaluate` wrote them."""
COSTS = {"images": ("images seen", 1.0), "cpu_seconds": ("CPU hours", 3600.0), "seconds": ("hours", 3600.0)}
"""Columns of the log that tell of cost, their name and how many of them make one; those that all runs have."""


def compare(folders: Sequence[str], output: str, say: Callable[[str], None]) -> Path:
    """Says the table and writes the plot; gives its path.

    Args:
        folders: Runs of one kind.
        output: The plot's file or folder; empty: beside the first run.
        say: Takes each line.

    Raises:
        UsageError: Runs of different kinds.
        InputError: A run has no finished epoch.
    """
    # `data/runs/*` names the plot of an earlier comparison too.
    runs = [Run.open(folder) for folder in folders if Path(folder).name != PICTURE]
    if len({run.kind for run in runs}) > 1:
        raise UsageError(
            f"{', '.join(f'{run.folder} is of kind {run.kind}' for run in runs)}: compare runs of one kind"
        )
    logs = [_log_of(run) for run in runs]
    for run, log in zip(runs, logs, strict=True):
        if not log:
            raise InputError(f"{run.folder} has no finished epoch to compare")
    watched = next((name for name in WATCHED[runs[0].kind] if _in_all(logs, name)), "epoch")
    costs = [name for name in COSTS if _in_all(logs, name)][:2]
    for line in _lines(runs, logs, watched, costs):
        say(line)
    path = Path(file_in(output or str(runs[0].folder.resolve().parent), PICTURE))
    with whole_file(path) as file:
        file.write(_plot(runs, logs, watched, costs))
    say(str(path))
    return path


def _log_of(run: Run) -> list[Row]:
    """The finished epochs; a loss that is a squared error stands in the column of that name too."""
    rows = [row for row in run.read_log() if row["epoch"] != "0"]
    if run.settings.get("loss") == "mse":
        rows = [{**row, "mse": row.get("loss", ""), "val_mse": row.get("val_loss", "")} for row in rows]
    return rows


def _in_all(logs: Sequence[Sequence[Row]], name: str) -> bool:
    return all(row.get(name) for log in logs for row in log)


def _spent(log: Sequence[Row], name: str) -> list[float]:
    """What each epoch had cost by its end; `images` are counted from the start already."""
    values = [float(row[name]) / COSTS[name][1] for row in log]
    return values if name == "images" else list(itertools.accumulate(values))


def _lines(runs: Sequence[Run], logs: Sequence[Sequence[Row]], watched: str, costs: Sequence[str]) -> list[str]:
    reported = REPORTED[runs[0].kind]
    rows = [("run", "epochs", *(COSTS[name][0] for name in costs), f"best {watched}", *reported)]
    for run, log in zip(runs, logs, strict=True):
        with reading_back(run.folder / REPORT, "run `python -m train evaluate` again"):
            path = run.folder / REPORT
            report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            figures = [_shown(_at(report, places)) for places in reported.values()]
        spent = [f"{_spent(log, name)[-1]:,.4g}" if name != "images" else f"{int(log[-1][name]):,}" for name in costs]
        best = min(float(row[watched]) for row in log)
        rows.append((str(run.folder), log[-1]["epoch"], *spent, f"{best:.4g}", *figures))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        lines.append(
            "  ".join([first.ljust(widths[0]), *(text.rjust(w) for text, w in zip(others, widths[1:], strict=True))])
        )
    if any("-" in row[-len(reported) :] for row in rows[1:]):
        lines.append("-: `python -m train evaluate RUN` has not measured it")
    return lines


def _at(report: Any, places: Sequence[str]) -> Any:
    for name in places:
        report = report.get(name) if isinstance(report, dict) else None
    return report


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"


def _plot(runs: Sequence[Run], logs: Sequence[Sequence[Row]], watched: str, costs: Sequence[str]) -> bytes:
    """A PNG: the compared column over each cost, or over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * max(1, len(costs)), 4), dpi=100, layout="constrained")
    panels = figure.subplots(1, max(1, len(costs)), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, costs or ["epoch"], strict=True):
        for run, log in zip(runs, logs, strict=True):
            spent = _spent(log, name) if name in COSTS else [float(row["epoch"]) for row in log]
            reached = [float(row[watched]) for row in log]
            axes.plot(spent, reached, marker="." if len(log) < 40 else "", label=run.folder.name)
        axes.set_xlabel(COSTS[name][0] if name in COSTS else name)
        axes.grid(alpha=0.3)
    if _in_all(logs, "swd_real"):
        for axes in panels:
            axes.axhline(float(logs[0][-1]["swd_real"]), linestyle="--", color="gray", label="real faces")
    panels[0].set_ylabel("SW distance x 1000" if watched == "swd" else watched)
    panels[0].legend(fontsize="small")
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()
