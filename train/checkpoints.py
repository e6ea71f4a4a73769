"""Checkpoints: every variable of a run in one .npz, with what else it takes to go on exactly where it stopped.

Names are numbered within a group, so a file written on one backend is read on the other.
"""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import DamagedFile, InputError
from train.runs import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import keras

    Groups = Mapping[str, Sequence[keras.Variable]]

STATE = "state"


def save(path: Path, groups: Groups, state: Mapping[str, Any]) -> None:
    """Writes the groups' variables and `state` (JSON-ready: epoch, history, counters of callbacks).

    Raises:
        OutputError: The disk is full; the earlier checkpoint still stands.
    """
    import keras

    arrays = {_name(g, i): keras.ops.convert_to_numpy(v) for g, vs in groups.items() for i, v in enumerate(vs)}
    arrays[STATE] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with whole_file(path) as file:
        np.savez(file, **arrays)


def load(path: Path, groups: Groups) -> dict[str, Any]:
    """Sets the groups' variables (of optimizers: built ones) and gives the state. Groups not named are left out.

    Raises:
        InputError: There is no checkpoint, or it is another model's.
        DamagedFile: It does not read back.
    """
    with _opened(path) as archive:
        for group, variables in groups.items():
            held = sum(name.startswith(f"{group}/") for name in archive.files)
            if held != len(variables):
                raise InputError(
                    f"{path} holds {held} variables of {group}, the model has {len(variables)}: not its checkpoint"
                )
            for number, variable in enumerate(variables):
                value = _read(archive, _name(group, number), path)
                if value.shape != tuple(variable.shape):
                    raise InputError(
                        f"{path}: {variable.path} has shape {value.shape}, the model wants {tuple(variable.shape)}"
                    )
                variable.assign(value)
        return json.loads(bytes(_read(archive, STATE, path)))


def load_state(path: Path) -> dict[str, Any]:
    """Only the state."""
    return load(path, {})


def _name(group: str, number: int) -> str:
    return f"{group}/{number:04d}"


def _opened(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        other = _other(path)
        left = f"give --checkpoint {other}" if other else "the run has not finished an epoch"
        raise InputError(f"there is no checkpoint {path}; {left}") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedFile(f"{path} does not read back ({error}); {_way_out(path)}") from error


def _read(archive: Any, name: str, path: Path) -> np.ndarray:
    """One array; zip's own checksum finds flipped bits."""
    try:
        return archive[name]
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise DamagedFile(f"{path} is damaged ({error}); {_way_out(path)}") from error


def _way_out(path: Path) -> str:
    """What to do without this checkpoint: only what the folder has."""
    anew = "train again with --overwrite"
    other = _other(path)
    return f"{anew}, or look at the other one: `evaluate` and the like take --checkpoint {other}" if other else anew


def _other(path: Path) -> str:
    """`best` beside a last.npz, `last` beside a best.npz, where it is there."""
    name = "last" if path.stem == "best" else "best"
    return name if path.with_name(f"{name}.npz").exists() else ""
