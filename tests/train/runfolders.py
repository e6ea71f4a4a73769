"""What a run left in its folder, as tests read it; and shards that have lost records."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np


def arrays_of(folder, name="last"):
    """Every array of a checkpoint but the state of training, by its name."""
    with np.load(Path(folder) / "checkpoints" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files if key != "state"}


def rows_of(folder):
    """The rows of log.csv, as text by column."""
    with (Path(folder) / "log.csv").open() as file:
        return list(csv.DictReader(file))


def typed(command, words):
    """What a command of `python -m train` makes of its words: every option that was given, by its field."""
    import typer

    from train.__main__ import app

    context = typer.main.get_command(app).commands[command].make_context(command, list(words))
    return {
        name: value
        for name, value in context.params.items()
        if value not in (None, [], ()) and name not in {"data", "settings"}
    }


def without_records(shards, folder, subset, kept):
    """A copy of shards in `folder` whose files of a subset hold their first `kept` records together, each file whole."""
    from facepipe.storage.tfrecord import read_records, write_records

    shutil.copytree(shards, folder, dirs_exist_ok=True)
    for path in sorted(folder.rglob(f"*-{subset}.tfrecord-*")):
        with path.open("rb") as file:
            records = list(read_records(file))[:kept]
        with path.open("wb") as file:
            kept -= write_records(file, records)
    return folder
