"""Where a command's result goes: told before the work begins, and nothing that a user keeps there is lost."""

from __future__ import annotations

import os
from pathlib import Path

from facepipe.errors import OutputError, UsageError

SAVED_MODEL = "saved_model.pb"
OF_A_SAVED_MODEL = {SAVED_MODEL, "assets", "assets.extra", "variables", "fingerprint.pb", "keras_metadata.pb"}


def file_in(output: str, name: str) -> str:
    """The file that `output` means: itself, or `name` in it where it is a folder or ends as one; a path or URI."""
    return f"{output.rstrip('/') or '/'}/{name}" if output.endswith("/") or os.path.isdir(output) else output


def check_folder(target: Path) -> None:
    """A SavedModel may go to a folder that is not there, an empty one, or an earlier SavedModel's.

    Raises:
        UsageError: There is something else.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file, and a SavedModel is a folder; give another -o")
    if target.samefile(Path.cwd()):
        raise UsageError(f"{target} is the folder that you are in, which can't be replaced; give another -o")
    # A name that a user knows comes first.
    names = sorted((path.name for path in target.iterdir()), key=lambda name: (name.startswith("."), name))
    foreign = [name for name in names if name not in OF_A_SAVED_MODEL]
    if not foreign and not (target / SAVED_MODEL).is_file():
        foreign = names
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise UsageError(f"{target} holds {foreign[0]}{more}, which no export wrote; give another -o")


def put_folder(made: Path, target: Path, aside: Path) -> None:
    """Moves the folder `made` to `target`; an earlier one goes to `aside`, and back where the move fails.

    All three lie on one file system.
    """
    check_folder(target)
    target = target.resolve()
    try:
        if target.exists():
            target.rename(aside)
        made.rename(target)
    except OSError as error:
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise OutputError(f"{target} could not be written ({error.strerror}); give another -o") from error


def parent_of(target: Path) -> Path:
    """The folder that `target` goes into, made where it is missing."""
    parent = target.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{parent} could not be made ({error.strerror}); give another -o") from error
    return parent
