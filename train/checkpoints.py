"""Checkpoints: every variable of a run in one .npz, with what else it takes to go on exactly where it stopped.

Names are numbered within a group, so a file written on one backend is read on the other.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import DamagedFile, InputError
from train.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import keras

    Groups = Mapping[str, Sequence[keras.Variable]]

STATE = "state"
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("epoch", "step", "best_epoch", "since_cut"), (int,)),
    **dict.fromkeys(("history", "rows", "troubles"), (list,)),
    "best": (float, int),
    "stopped": (bool,),
}
"""What runs write into a state."""
_UNREADABLE: tuple[type[Exception], ...] = (KeyError, ValueError, OSError, EOFError, NotImplementedError, MemoryError)
_UNREADABLE += (zipfile.BadZipFile, zlib.error)
"""What zip and numpy raise of damaged archives."""


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
        try:
            state = dict(json.loads(bytes(_read(archive, STATE, path))))
        except (ValueError, TypeError, RecursionError) as error:
            raise damaged(path, error) from error
    for name, kinds in _KINDS.items():
        if name in state and not (type(state[name]) in kinds and _is_sound(state[name])):
            raise damaged(path, f"its {name} is none that a run writes")
    return state


def _is_sound(value: Any) -> bool:
    """Whether a whole number counts something, and a list holds rows."""
    if isinstance(value, list):
        return all(isinstance(row, dict) for row in value)
    return not isinstance(value, int) or value >= 0


def load_state(path: Path) -> dict[str, Any]:
    """Only the state."""
    return load(path, {})


def check_there(path: Path) -> None:
    """Raises an `InputError` where there is no checkpoint; it says what there is."""
    if not path.exists():
        other = _other(path)
        left = f"give --checkpoint {other}" if other else "the run has not finished an epoch"
        raise InputError(f"there is no checkpoint {path}; {left}")


def _name(group: str, number: int) -> str:
    return f"{group}/{number:04d}"


def _opened(path: Path) -> Any:
    check_there(path)
    try:
        archive = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise damaged(path, "one array and no checkpoint")
    return archive


def _read(archive: Any, name: str, path: Path) -> np.ndarray:
    """One array; zip's own checksum finds flipped bits."""
    try:
        return archive[name]
    except _UNREADABLE as error:
        raise damaged(path, error) from error


def damaged(path: Path, why: Exception | str) -> DamagedFile:
    """The error for a checkpoint that can't be read; it advises only what the folder has."""
    other = _other(path)
    look = f", or look at the other one: `evaluate` and the like take --checkpoint {other}" if other else ""
    said = str(why).partition("\n")[0] or type(why).__name__
    return DamagedFile(f"{path} does not read back ({said}); train again with --overwrite{look}")


def _other(path: Path) -> str:
    """`best` beside a last.npz, `last` beside a best.npz, where it is there."""
    name = "last" if path.stem == "best" else "best"
    return name if path.with_name(f"{name}.npz").exists() else ""
