"""Files whole or not there, read back or named; and where a command's result goes."""

from __future__ import annotations

import csv
import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from facepipe.errors import DamagedFile, InputError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = {"keras": "model.keras", "saved-model": "saved_model", "tflite": "model.tflite", "onnx": "model.onnx"}
SAVED_MODEL = "saved_model.pb"
OF_A_SAVED_MODEL = {SAVED_MODEL, "assets", "assets.extra", "variables", "fingerprint.pb", "keras_metadata.pb"}


@contextmanager
def reading_back(path: Any, advice: str = "train again with --overwrite") -> Iterator[None]:
    """Within it, whatever a malformed file raises becomes a `DamagedFile` of one line.

    Where there is no such file, that error passes.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise InputError(f"can't read {path}: {str(error.strerror).lower()}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        is_told = isinstance(error, (ValueError, csv.Error))
        said = str(error).partition("\n")[0] if is_told else "it holds something else"
        raise DamagedFile(f"{path} does not read back ({said}); {advice}") from error


class NotWritten(OutputError):
    """A file or folder that can't be written; a training's `Run.locked` adds how to go on."""

    def __init__(self, path: Path, error: Exception) -> None:
        full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or is_full(error)
        said = getattr(error, "strerror", None) or (
            os.strerror(errno.ENOSPC) if full else str(error).partition("\n")[0]
        )
        advice = "free some space" if full else "check the folder and its permissions"
        super().__init__(f"{path} could not be written ({said}); {advice}")


def is_full(error: Exception) -> bool:
    """Whether an error speaks of a full disk: HDF5's and TensorFlow's carry no number."""
    return os.strerror(errno.ENOSPC) in str(error)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears at `path`, on the disk, when the block ends without an exception.

    Raises:
        NotWritten: The disk is full or can't be written; what stood at `path` before still stands.
    """
    waiting = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        waiting.unlink(missing_ok=True)  # a killed run's, or a link, through which nothing is written
        with waiting.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(path)
    except OSError as error:
        with suppress(OSError):  # of a folder that can't be made
            waiting.unlink(missing_ok=True)
        raise NotWritten(path, error) from error
    except BaseException:
        waiting.unlink(missing_ok=True)
        raise


def file_in(output: str, name: str) -> str:
    """The file that `output` means: itself, or `name` in it where it is a folder or ends as one; a path or URI."""
    return f"{output.rstrip('/') or '/'}/{name}" if output.endswith("/") or os.path.isdir(output) else output


def target_of(folder: Path, to: str, output: str) -> Path:
    """Where an export of the run in `folder` goes: `output` or the run's folder, checked before the model is read.

    Raises:
        UsageError: An unknown format, or a folder that holds something else than an export.
    """
    if to not in FORMATS:
        raise UsageError(f"--format is {to!r}; it can be {', '.join(FORMATS)}")
    if to != "saved-model":
        return Path(file_in(output or str(folder), FORMATS[to]))
    target = Path(output or folder / FORMATS[to])
    check_folder(target)
    return target


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
