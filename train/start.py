"""What a command checks before a framework is loaded, so that a mistake is told at once; then the backend is chosen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from facepipe.errors import UsageError
from facepipe.execution.progress import say
from facepipe.storage import place
from train.config import FOUND

if TYPE_CHECKING:
    from train.config import TrainConfig
    from train.runs import Run


def train(kind: type[TrainConfig], section: str, preset: str, data: str, given: dict[str, Any]) -> None:
    """Puts the configuration together, refuses what can't be before a framework is loaded, and trains."""
    from train.presets import resolve

    assignments, workspace = given.pop("settings") or [], place(data)
    name = given["preset"] or preset
    given["shards"] = given["shards"] or workspace.join("shards").uri
    given["output"] = given["output"] or workspace.join("runs", name).uri
    config: Any = resolve(kind, section, name, given, assignments)

    from train.data import view_of
    from train.runs import Run
    from train.shards import find_shards, need

    shards = find_shards(config.shards, "faces" if section == "gan" else config.examples)
    need(shards, "train")
    shards.check_fits(view_of(config))
    # A GAN's labels are found in the shards, and its batch is no larger than they are.
    Run.of(config, section).check(config, ignoring=(*FOUND, "batch_size") if section == "gan" else ())

    from train import backend

    backend.prepare(config)
    if section == "gan":
        from train.gan.trainer import train as teach
    else:
        from train.autoencoder import train as teach
    teach(config, say)


def opened(folder: str, kind: str = "", checkpoint: str = "") -> Run:
    """A run that has what a command takes; no framework is loaded."""
    from train.checkpoints import check_there
    from train.runs import Run

    run = Run.open(folder)
    if kind and run.kind != kind:
        raise UsageError(f"{folder} is a run of kind {run.kind}; this command takes one of kind {kind}")
    if checkpoint:
        check_there(run.checkpoint(checkpoint))
    return run


def choose(run: Run, backend: str = "") -> None:
    """Keras on the backend that trained the run, unless another one is named."""
    from train import backend as backends

    backends.choose(backend or run.settings["backend"])


def workspace(run: Run) -> str:
    """The workspace that holds the shards that a run was trained on; `data` where their folder has another name."""
    found = re.match(r"(.*?/|)shards(/pairs(/[\d.]+)?)?/*$", run.settings["shards"])
    return (found[1].rstrip("/") or found[1] or ".") if found else "data"
