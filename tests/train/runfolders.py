"""What a run left in its folder, as tests read it."""

from __future__ import annotations

import csv
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
