"""What every output folder must have: intact settings, checksums that hold, a `run.json` that reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.errors import AS_BEFORE, DamagedFile, FacepipeError
from facepipe.stages.runfile import RUN_FILE, read_run_file
from facepipe.storage import parquet
from facepipe.storage.checksums import CHECKSUMS, read_checksums, verify_files
from facepipe.storage.settings import NAME as SETTINGS
from facepipe.storage.settings import read_settings, settings_or_empty

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facepipe.storage import Place

__all__ = ["Problem", "check_folder", "problem", "read_or_tell", "settings_or_empty"]

_LINE = re.compile(rb"\\?[0-9a-f]{64} [ *].+")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong: the file or folder, and a sentence."""

    path: str
    message: str

    def __str__(self) -> str:
        """One line; the file's name is in it."""
        return self.message if self.path in self.message else f"{self.path}: {self.message}"


def problem(folder: Place, name: str, message: str) -> Problem:
    """Something about a file of a folder."""
    return Problem(f"{folder}/{name}" if name else str(folder), message)


def check_folder(folder: Place, expected: Sequence[str], stage: str) -> Iterator[Problem]:
    """Settings, checksums and `run.json`. `expected` are the files that must be there, with a checksum each."""
    try:
        read_settings(folder)
    except DamagedFile as error:
        yield problem(folder, SETTINGS, str(error))
    yield from _check_lines(folder, stage)
    known = read_checksums(folder)
    for name in expected:
        if not folder.exists(name):
            if name not in known:  # else the checksums miss it
                yield problem(folder, name, f"it is missing; run `facepipe {stage}` again {AS_BEFORE}")
        elif name not in known:
            yield problem(folder, name, f"{CHECKSUMS} does not list it; run `facepipe {stage}` again {AS_BEFORE}")
    for damage in verify_files(folder):
        # Which of the two is damaged, the file or the line about it, can't be told from here.
        yield Problem(str(folder), f"{damage} (by {CHECKSUMS})")
    yield from _check_run_file(folder, stage)


def _check_lines(folder: Place, stage: str) -> Iterator[Problem]:
    if not folder.exists(CHECKSUMS):
        yield problem(folder, CHECKSUMS, f"it is missing; run `facepipe {stage}` again {AS_BEFORE}")
        return
    content = folder.read(CHECKSUMS)
    if not content.endswith(b"\n") or not all(_LINE.fullmatch(line) for line in content.split(b"\n")[:-1]):
        yield problem(folder, CHECKSUMS, f"it is damaged; run `facepipe {stage}` again {AS_BEFORE}")


def _check_run_file(folder: Place, stage: str) -> Iterator[Problem]:
    if not folder.exists(RUN_FILE):
        yield problem(folder, RUN_FILE, f"it is missing: `facepipe {stage}` has not ended; run it again {AS_BEFORE}")
    try:
        read_run_file(folder)
    except FacepipeError as error:
        yield problem(folder, RUN_FILE, str(error))


def read_or_tell(folder: Place, name: str, columns: Sequence[str], found: list[Problem]) -> parquet.Table | None:
    """A table's columns; None, and a problem, where it does not read."""
    try:
        return parquet.read_table(folder, name, columns)
    except FacepipeError as error:
        found.append(problem(folder, name, str(error)))
        return None
