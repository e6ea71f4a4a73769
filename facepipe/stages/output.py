"""A stage's output folder while a run has it: locked, of these settings only, filled by jobs, whole at the end."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facepipe.errors import DamagedFile, OutputError
from facepipe.execution import PartReport, run_parts
from facepipe.stages.runfile import RUN_FILE
from facepipe.storage import place, share_lock
from facepipe.storage.checksums import CHECKSUMS, file_sha256, read_checksums, write_checksums
from facepipe.storage.settings import NAME, check_settings, digest_settings, read_settings, write_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from facepipe.config import Execution
    from facepipe.execution import Job
    from facepipe.execution.progress import Progress
    from facepipe.storage import Place

INPUTS = "inputs"
"""The setting that says what the output was made from: when it changes the output is made anew, without asking."""
SCRATCH = ".facepipe-scratch"
"""The folder for what a run leaves to itself; it goes when the stage is done."""


class Output:
    """What the stage writes to, and which of its files are whole already."""

    def __init__(self, root: Place, is_own: Callable[[str], bool], known: Mapping[str, str], begun: bool) -> None:
        self.place = root
        self.scratch = root.join(SCRATCH)
        self._is_own = is_own
        self._known = known
        self._begun = begun
        self._whole: dict[str, str] = {}

    def has(self, path: str) -> bool:
        """Whether a file is there: files are written whole, so all that can be wrong is a checksum that differs."""
        if not self._begun or not self.place.exists(path):
            return False
        if path in self._whole:
            return True
        digest = file_sha256(self.place, path)
        if self._known.get(path, digest) != digest:
            return False
        self.note(path, digest)
        return True

    def note(self, path: str, sha256: str) -> None:
        """A file is finished."""
        self._whole[path] = sha256

    def write(self, path: str, content: bytes) -> None:
        """Writes a small file whole."""
        self.place.write(path, content)
        self.note(path, hashlib.sha256(content).hexdigest())

    def finish(self) -> None:
        """Everything is there: the scratch folder goes, the checksums are written."""
        delete_all(self.scratch)
        self.place.clean_leftovers()  # of workers that were killed
        names = {entry.path for entry in self.place.list() if self._is_own(entry.path)} | {NAME}
        missing = names - self._whole.keys()
        whole = self._whole | {name: file_sha256(self.place, name) for name in missing}
        write_checksums(self.place, {name: whole[name] for name in names})


@dataclass(frozen=True)
class Runner:
    """Runs a stage's jobs, shows how far they are, and notes the seconds by step and the files that they made.

    timeout_s: seconds that one item of a job may take.
    """

    stage: str
    out: Output
    execution: Execution
    timeout_s: float
    progress: Progress
    steps: Counter[str] = field(default_factory=Counter)

    def __call__(self, job: Job, numbers: Sequence[int], total: int, unit: str) -> None:
        """Runs a job over some numbers, which are `total` pieces of `unit` (such as `crops`)."""

        def on_done(_number: int, part: PartReport) -> None:
            for name, digest in part.files.items():
                self.out.note(name, digest)
            self.steps.update(part.steps_s)
            self.progress.advance(part.items)

        self.progress.start(self.stage, total, unit)
        try:
            run_parts(
                job,
                numbers,
                execution=self.execution,
                timeout_s=self.timeout_s,
                on_done=on_done,
                note=self.progress.note,
            )
        finally:
            self.progress.finish()


@contextmanager
def open_output(
    uri: str, settings: Mapping[str, Any], overwrite: bool, is_own: Callable[[str], bool]
) -> Iterator[Output]:
    """Takes an output folder for a run.

    What was made with other settings (`overwrite`) or from other inputs is removed before `settings.json` says
    otherwise, so that a run that is killed here leaves nothing that could be taken for something else.

    Args:
        uri: the folder.
        settings: with the key `inputs`.
        overwrite: whether other settings are allowed.
        is_own: whether a path is one of this stage's files.

    Raises:
        SettingsChanged: made with other settings.
        OutputError: another run holds the folder, it can't be written, or what lies there is somebody else's.
    """
    root = place(uri)
    with share_lock(root):
        refuse_foreign(root, is_own)
        root.clean_leftovers()
        check_settings(root, settings, overwrite, ignore=(INPUTS,))
        known = read_checksums(root)
        begun = _is_of(root, settings, known)
        if root.is_local and os.path.islink(root.local_path(SCRATCH)):
            root.delete(SCRATCH)  # nothing is written through a link
        if not begun:
            for entry in list(root.list()):
                if is_own(entry.path):
                    root.delete(entry.path)
            delete_all(root.join(SCRATCH))
            root.delete(CHECKSUMS)
            root.delete(RUN_FILE)
            known = {}
        write_settings(root, settings)
        yield Output(root, is_own, known, begun)


def foresee(uri: str, settings: Mapping[str, Any], overwrite: bool) -> None:
    """What `open_output` would refuse of the settings, for a dry run: nothing is written.

    Raises:
        SettingsChanged, OutputError: as `open_output`.
    """
    check_settings(place(uri), settings, overwrite, ignore=(INPUTS,))


def refuse_foreign(root: Place, is_own: Callable[[str], bool], was_here: Callable[[], bool] = bool) -> None:
    """Refuses a folder that no stage has written to and that holds files by the names of this stage's.

    Where facepipe has been, there are its settings, or where these are damaged, the line about them in the checksums.

    Args:
        root: The folder.
        is_own: Whether a path is one of this stage's files.
        was_here: Looks for the stage's other signs, where these two are missing.

    Raises:
        OutputError: names the first such file.
    """
    if not root.exists():
        return
    try:
        read_settings(root)
    except DamagedFile:
        if NAME in read_checksums(root) or was_here():
            return
        for entry in root.list():
            if entry.path in (NAME, CHECKSUMS) or is_own(entry.path):
                raise OutputError(
                    f"{root} holds {entry.path}, which facepipe did not write there; give another output"
                ) from None


def _is_of(root: Place, settings: Mapping[str, Any], known: Mapping[str, str]) -> bool:
    """Whether what lies there is of these very settings and inputs.

    `settings.json` says so; where it is damaged, the line about it in the checksums does.
    """
    try:
        return digest_settings(read_settings(root)) == digest_settings(settings)
    except DamagedFile:
        return known.get(NAME) == digest_settings(settings)


def delete_all(folder: Place) -> None:
    """Removes a folder with all that is in it; links in it go, and what they lead to stays."""
    if folder.is_local:
        import shutil

        shutil.rmtree(folder.local_path(), ignore_errors=True)
        return
    for entry in list(folder.list()):
        folder.delete(entry.path)
