"""What happens at the end of an epoch: judge, cut the learning rate or stop, save, draw.

`Progress` is all that these decisions depend on; it is saved in the checkpoint, so a resumed run decides as an unbroken
one would.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import keras

from facepipe.errors import FacepipeError
from train import checkpoints
from train.backend import devices_in_use, filled
from train.config import TrainConfig
from train.events import EventFile
from train.pictures import grid, loss_plot, png
from train.presets import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.runs import Run

LOOK_EVERY = 20
"""Steps between two looks at the loss, at least: each look waits for the device."""
PLOT_EVERY_S = 20.0


class Diverged(FacepipeError):
    """The loss is no number any more."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        history: One row an epoch: epoch, loss, val_loss, ..., learning_rate, seconds.
        best: The lowest validation loss, reached at `best_epoch` (from 1; 0: none yet).
        since_cut: Epochs without a better loss since the learning rate was last cut.
        stopped: Whether patience ran out.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = 0
    since_cut: int = 0
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    def ended(self, config: AutoencoderConfig) -> bool:
        """Whether no epoch is left."""
        return self.stopped or self.epoch >= config.epochs

    def judge(self, row: dict[str, float], config: AutoencoderConfig) -> tuple[bool, bool]:
        """Takes an epoch's row; says whether it is the best so far, and whether to cut the learning rate."""
        self.history.append(row)
        watched = row.get("val_loss", row["loss"])
        better = watched < self.best
        if better:
            self.best, self.best_epoch, self.since_cut = watched, self.epoch, 0
            return True, False
        self.since_cut += 1
        self.stopped = bool(config.patience) and self.epoch - self.best_epoch >= config.patience
        cut = config.schedule == "plateau" and bool(config.plateau) and self.since_cut >= config.plateau
        if cut:
            self.since_cut = 0
        return False, cut


def groups_of(model: keras.Model) -> dict[str, list[Any]]:
    """What a checkpoint holds: weights, the generators of dropout, the optimizer with its slots and learning rate."""
    generators = [v for v in model.variables if "seed_generator" in v.path]
    return {"weights": model.weights, "generators": generators, "optimizer": model.optimizer.variables}


class Keeper(keras.callbacks.Callback):
    """Judges each epoch, saves `last` and `best`, and writes the log, the events, the grid and the plot."""

    def __init__(
        self,
        run: Run,
        config: AutoencoderConfig,
        progress: Progress,
        fixed: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        marks: Mapping[str, float],
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.run, self.config, self.progress, self.say = run, config, progress, say
        self.fixed, self.marks = fixed, marks
        self.events = EventFile(run.folder / "events")
        self.began = self.plotted = 0.0
        self.calls = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.began, self.calls = time.perf_counter(), 0
        if self.config.schedule == "cosine":
            share = (1 + math.cos(math.pi * epoch / self.config.epochs)) / 2
            self.model.optimizer.learning_rate = self.config.learning_rate * share

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        # `batch` is the last step of this execution: of several steps an execution it may never be a round number.
        if logs and self.calls % max(1, LOOK_EVERY // self.config.steps_per_execution) == 0:
            self._check_finite(float(logs["loss"]), self.progress.epoch + 1)
        self.calls += 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        rates = self.model.optimizer
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row |= {"learning_rate": float(rates.learning_rate), "seconds": round(time.perf_counter() - self.began, 3)}
        for name in ("loss", "val_loss"):
            self._check_finite(row.get(name, 0.0), epoch + 1)
        best, cut = self.progress.judge(row, self.config)
        if cut:
            self._cut_rate()
        self._save(best=best)
        self._record(row)
        if self.progress.stopped:
            self.say(f"stopped: no better validation loss in {self.config.patience} epochs")
            self.model.stop_training = True

    def _check_finite(self, value: float, epoch: int) -> None:
        if math.isfinite(value):
            return
        kept = (
            f"the checkpoints of epoch {self.progress.epoch} are kept"
            if self.progress.epoch
            else "nothing was saved yet"
        )
        own = tables("autoencoder").get(self.config.preset, {}).get("learning_rate", TrainConfig.learning_rate)
        lower = min(self.config.learning_rate / 10, own)
        precise = ", --precision float32" if self.config.precision != "float32" else ""
        raise Diverged(
            f"the loss is {value} in epoch {epoch}; {kept} in {self.run.folder}. "
            f"Try --learning-rate {lower:g}{precise}, or look for damaged pictures in the shards (`facepipe verify`)"
        )

    def _cut_rate(self) -> None:
        optimizer, config = self.model.optimizer, self.config
        rate = max(float(optimizer.learning_rate) * config.plateau_factor, config.minimum_learning_rate)
        if rate < float(optimizer.learning_rate):
            optimizer.learning_rate = rate
            self.say(f"no better validation loss in {config.plateau} epochs: learning rate {rate:g}")

    def _save(self, *, best: bool) -> None:
        """`last` after `best`: killed in between, the epoch is done again and both come out the same."""
        state = asdict(self.progress)
        if best:
            checkpoints.save(self.run.checkpoint("best"), {"weights": self.model.weights}, state)
        checkpoints.save(self.run.checkpoint("last"), groups_of(self.model), state)

    def catch_up(self) -> None:
        """Records the checkpoint's epoch, where that was cut short."""
        if self.run.logged_epochs() < self.progress.epoch:
            self._record(self.progress.history[-1])

    def _record(self, row: dict[str, float]) -> None:
        """The log comes last: what it tells of has its pictures."""
        epoch = int(row["epoch"])
        self.events.scalars({name: value for name, value in row.items() if name != "epoch"}, epoch)
        if self.fixed is not None:
            features, targets = self.fixed
            picture = grid([features, self._predict(features), targets])
            content = png(picture)
            self.run.write(f"grids/epoch-{epoch:04d}.png", content)
            self.events.image("feature, output, target", content, *picture.shape[:2], epoch)
        if self.progress.ended(self.config) or time.perf_counter() - self.plotted > PLOT_EVERY_S:
            self.plotted = time.perf_counter()
            self.run.write("loss.png", plot_of(self.progress, self.marks, self.config.preset))
        self.run.write_log(self.progress.history)

    def _predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = features * 255 if self.config.input_scale == "bytes" else features
        drawn = self.model.predict_on_batch(filled(scaled, devices_in_use()))
        return keras.ops.convert_to_numpy(drawn)[: len(features)]


def plot_of(progress: Progress, marks: Mapping[str, float], name: str) -> bytes:
    """The loss plot of a run so far."""
    curves = {"training": [row["loss"] for row in progress.history]}
    if progress.history and "val_loss" in progress.history[0]:
        curves["validation"] = [row["val_loss"] for row in progress.history]
    return loss_plot(curves, marks, name)
