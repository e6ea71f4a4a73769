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
import io
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facepipe.errors import InputError, OutputError, SettingsChanged, UsageError
from facepipe.storage import place, share_lock
from train.config import to_json, what_differs
from train.files import NotWritten, reading_back, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from train.config import TrainConfig

CONFIG, MODEL, LOG = "config.json", "model.json", "log.csv"
REPORT = "evaluation.json"
CROPS = "crops.json"
"""How the faces were cut out that the run was taught on: options of `facepipe extract`."""
CHECKPOINTS = ("best", "last")
KINDS = ("autoencoder", "gan")
LONGEST = 100
"""Characters of other shards' path in a file's name."""
WRITTEN = (
    "checkpoints/*.npz", "events/events.*", "grids/epoch-*.png", "grids.gif", "loss.png", "log.csv",
    "summary.html", "nearest.png",
    "evaluation*.json", "model.json", "discriminator.json", "trained_people.json",
    CONFIG, CROPS,
)  # fmt: skip
"""What training and `evaluate` write: all that --overwrite drops."""


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
            with reading_back(path):
                content = json.loads(path.read_text(encoding="utf-8"))
                kind, settings = content["kind"], dict(content["settings"])
                named = all(isinstance(settings.get(name), str) for name in ("shards", "preset", "backend"))
                if kind not in KINDS or not named:
                    raise ValueError("it describes no run")
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{folder} is no run ({CONFIG} is missing); give the folder that training wrote") from None
        return cls(folder, kind, settings)

    @classmethod
    def of(cls, config: TrainConfig, kind: str) -> Run:
        """The run that a configuration describes; nothing is read or written."""
        return cls(config.run_folder, kind, to_json(config))

    def check(self, config: TrainConfig, ignoring: Sequence[str] = ()) -> None:
        """Whether the folder takes this run. What ended before its first epoch is in nobody's way.

        Differences of the fields in `ignoring`, which are not known yet, do not count.

        Raises:
            OutputError: There is a run already and neither `resume` nor `overwrite` was asked for.
            SettingsChanged: The run to resume had other settings.
            InputError: The run to resume has epochs in its log and no last checkpoint, or no config.json.
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
        known = {name: value for name, value in to_json(config).items() if name in ignoring}
        changed = what_differs({**old.settings, **known}, config)
        if old.kind != self.kind:
            changed = [f"kind: {old.kind} -> {self.kind}"]
        if changed:
            advice = "resume it with its own, or give -o FOLDER"
            if len(changed) == 1 and changed[0].startswith("--epochs"):
                advice = (
                    "its learning rate falls to nothing over --epochs (schedule cosine), so a run of more epochs is "
                    "another one from its first step on: give -o FOLDER without --resume"
                )
            raise SettingsChanged(f"{self.folder} was trained with other settings ({'; '.join(changed)}); {advice}")
        if not self.checkpoint("last").exists() and self.logged_epochs():
            raise InputError(
                f"{self.folder} has {self.logged_epochs()} epochs in {LOG} but no last.npz to go on from: "
                "give --overwrite to begin anew, or another -o"
            )

    def begin(self, config: TrainConfig) -> None:
        """Drops what an earlier run left, unless this one goes on with it, and writes config.json.

        To be called within `locked`, after `check`, and when nothing that the user gave can still be refused.
        """
        if config.overwrite or not self.checkpoint("last").exists():
            for pattern in WRITTEN:
                for path in self.folder.glob(pattern):
                    path.unlink()
        self.write_json(CONFIG, {"kind": self.kind, "settings": self.settings})

    def _has_epochs(self) -> bool:
        return any(self.checkpoint(name).exists() for name in CHECKPOINTS) or self.logged_epochs() > 0

    def logged_epochs(self) -> int:
        """Finished epochs in log.csv; a GAN's row 0 tells where it started from."""
        return sum(row["epoch"] != "0" for row in self.read_log())

    def read_log(self) -> list[dict[str, str]]:
        """The rows of log.csv, an epoch each, as text by column."""
        path = self.folder / LOG
        try:
            with reading_back(path):
                table = csv.DictReader(path.read_text(encoding="utf-8").splitlines(), strict=True)
                rows = list(table)
                if "epoch" not in (table.fieldnames or ["epoch"]) or any(None in row for row in rows):
                    raise ValueError("it is not a training's log")
                return rows
        except FileNotFoundError:
            return []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held while training: a second run into this folder is refused with an `OutputError`."""
        try:
            with share_lock(place(str(self.folder))):
                yield
        except NotWritten as error:
            raise OutputError(f"{error}, then go on with --resume") from error

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

    def write_report(
        self, name: str, report: Mapping[str, Any], lines: Iterable[str], say: Callable[[str], None]
    ) -> None:
        """Says an evaluation's lines, then writes it: a full disk must not cost what was measured."""
        for line in lines:
            say(line)
        self.write_json(name, report)
        if name != REPORT:
            say(f"written to {self.folder / name}; {REPORT} is that of the run's own validation by its best checkpoint")

    def checkpoint(self, name: str) -> Path:
        """The path of a checkpoint: `best` or `last`, else a `UsageError`."""
        if name not in CHECKPOINTS:
            raise UsageError(f"--checkpoint is {name!r}; it can be {' or '.join(CHECKPOINTS)}")
        return self.folder / "checkpoints" / f"{name}.npz"
