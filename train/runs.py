"""A run's folder: its lock, its configuration, its log and its checkpoints, every file whole or not there.

config.json         the resolved configuration, `kind` and versions
model.json          the architecture (Keras)
trained_people.json hashes of whom it was trained on
checkpoints/last.npz, best.npz
log.csv             one row an epoch
events/             TensorBoard
grids/, loss.png, summary.html
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from facepipe.errors import DamagedFile, InputError, OutputError, SettingsChanged, UsageError
from train.config import TrainConfig, to_json, what_differs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CONFIG, MODEL, LOG = "config.json", "model.json", "log.csv"
REPORT = "evaluation.json"
CROPS = "crops.json"
"""How the faces were cut out that the run was taught on: options of `facepipe extract`."""
CHECKPOINTS = ("best", "last")
LONGEST = 100
"""Characters of other shards' path in a file's name."""
WRITTEN = (
    "checkpoints/*.npz", "events/events.*", "grids/epoch-*.png", "grids.gif", "loss.png", "log.csv", "summary.html",
    "evaluation*.json", "model.json", "discriminator.json", "trained_people.json",
    CONFIG, CROPS,
)  # fmt: skip
"""What training and `evaluate` write: all that --overwrite drops."""


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
        with waiting.open("wb") as file:
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


class Run:
    """One run's folder.

    Attributes:
        folder: Where it is.
        kind: `autoencoder` or `gan`.
        settings: config.json as it was read, or written by `start`.
    """

    def __init__(self, folder: str | Path, kind: str, settings: dict[str, Any]) -> None:
        self.folder, self.kind, self.settings = Path(folder), kind, settings

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A run that exists; an `InputError` or `DamagedFile` says what is wrong with it."""
        path = Path(folder) / CONFIG
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(folder, content.pop("kind"), content.pop("settings"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{folder} is no run ({CONFIG} is missing); give the folder that training wrote") from None
        except OSError as error:
            raise InputError(f"can't read {path}: {str(error.strerror).lower()}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedFile(f"{path} does not read back ({error}); train again with --overwrite") from error

    @classmethod
    def of(cls, config: TrainConfig, kind: str) -> Run:
        """The run that a configuration describes; nothing is read or written."""
        return cls(config.run_folder, kind, to_json(config))

    def check(self, config: TrainConfig) -> None:
        """Whether the folder takes this run. What ended before its first epoch is in nobody's way.

        Raises:
            OutputError: There is a run already and neither `resume` nor `overwrite` was asked for.
            SettingsChanged: The run to resume had other settings.
            InputError: The run to resume has no last checkpoint, or no config.json.
            DamagedFile: config.json is no run's.
        """
        if config.overwrite:
            return
        if not self._has_epochs():
            if (self.folder / CONFIG).exists():
                self.open(self.folder)  # refuses another program's config.json
            return
        if not config.resume:
            raise OutputError(
                f"{self.folder} holds a run already; add --resume to go on with it, --overwrite, or -o FOLDER"
            )
        old = self.open(self.folder)
        changed = what_differs(old.settings, config) if old.kind == self.kind else [f"kind: {old.kind} -> {self.kind}"]
        if changed:
            raise SettingsChanged(
                f"{self.folder} was trained with other settings ({'; '.join(changed)}); "
                "resume it with its own, or give -o FOLDER"
            )
        if not self.checkpoint("last").exists():
            raise InputError(
                f"{self.folder} has {self._told()} but no last.npz to go on from: "
                "give --overwrite to begin anew, or another -o"
            )

    def begin(self, config: TrainConfig) -> None:
        """Drops what an earlier run left, unless this one goes on with it, and writes config.json.

        To be called within `locked`, after `check`, and when nothing that the user gave can still be refused.
        """
        if config.overwrite or not self._has_epochs():
            for pattern in WRITTEN:
                for path in self.folder.glob(pattern):
                    path.unlink()
        self.write_json(CONFIG, {"kind": self.kind, "settings": self.settings})

    def _told(self) -> str:
        """What is left of the run, for a line."""
        left = ["best.npz"] if self.checkpoint("best").exists() else []
        if epochs := self.logged_epochs():
            left.append(f"{epochs} epoch{'s' * (epochs != 1)} in {LOG}")
        return " and ".join(left)

    def _has_epochs(self) -> bool:
        return any(self.checkpoint(name).exists() for name in CHECKPOINTS) or self.logged_epochs() > 0

    def logged_epochs(self) -> int:
        """Finished epochs in log.csv; a GAN's row 0 tells where it started from."""
        try:
            lines = (self.folder / LOG).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return 0
        return sum(row.get("epoch") != "0" for row in csv.DictReader(lines))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held while training: a second run into this folder is refused with an `OutputError`."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise OutputError(
                f"another process is training into {self.folder}; wait for it, or give -o FOLDER"
            ) from None
        except OSError as error:
            raise NotWritten(self.folder, error) from error
        try:
            yield
        except NotWritten as error:
            raise OutputError(f"{error}, then go on with --resume") from error
        finally:
            lock.release()

    def write(self, name: str, content: bytes | str) -> None:
        """One whole file in the run's folder."""
        with whole_file(self.folder / name) as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """As `write`, indented."""
        self.write(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def write_log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """log.csv from all epochs so far: a resumed run leaves no doubled rows."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write(LOG, text.getvalue())

    def report(self, shards: str, subset: str, checkpoint: str) -> str:
        """The name of an evaluation's file.

        evaluation.json is what the run's page shows: its own shards' validation by its best checkpoint. Every other
        one's name says what is other: evaluation-test.json, evaluation-last.json, evaluation-data2-shards-test.json.
        """
        own = str(self.settings.get("shards", ""))
        what = []
        if shards != own and os.path.realpath(shards) != os.path.realpath(own):
            what.append(re.sub(r"[^\w.]+", "-", shards).strip("-.")[-LONGEST:])
        what += [subset] * (subset != "validation") + [checkpoint] * (checkpoint != "best")
        return f"{'-'.join(['evaluation', *what])}.json"

    def checkpoint(self, name: str) -> Path:
        """The path of a checkpoint: `best` or `last`, else a `UsageError`."""
        if name not in CHECKPOINTS:
            raise UsageError(f"--checkpoint is {name!r}; it can be {' or '.join(CHECKPOINTS)}")
        return self.folder / "checkpoints" / f"{name}.npz"
