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
from train.backend import devices_in_use, filled
from train.config import TrainConfig
from train.pictures import curves_of, grid, plot
from train.presets import tables
from train.recorder import Bar, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.runs import Run

LOOK_EVERY = 20
"""Steps between two looks at the loss, at least: each look waits for the device."""


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
    """Judges each epoch, cuts the learning rate or stops, and hands what there is to keep to the recorder."""

    def __init__(
        self,
        run: Run,
        config: AutoencoderConfig,
        progress: Progress,
        fixed: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        levels: Mapping[str, float],
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.config, self.progress, self.fixed, self.levels, self.say = config, progress, fixed, levels, say
        self.recorder = Recorder(run, config.epochs, "feature, output, target", self._grid, self._plots)
        self.bar: Bar | None = None
        self.began, self.calls = 0.0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.began, self.calls = time.perf_counter(), 0
        if self.config.schedule == "cosine":
            share = (1 + math.cos(math.pi * epoch / self.config.epochs)) / 2
            self.model.optimizer.learning_rate = self.config.learning_rate * share

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # `batch` is the last step of this execution: of several steps an execution it may never be a round number.
        shown = {}
        if logs and self.calls % max(1, LOOK_EVERY // self.config.steps_per_execution) == 0:
            shown = {"loss": float(logs["loss"])}
            self._check_finite(shown["loss"], self.progress.epoch + 1)
        if self.bar:
            self.bar.at(self.progress.epoch, batch + 1, shown)
        self.calls += 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        measures = {name: float(value) for name, value in (logs or {}).items()}
        row = {"epoch": epoch + 1, **measures, "learning_rate": float(optimizer.learning_rate)}
        row["seconds"] = round(time.perf_counter() - self.began, 3)
        for name in ("loss", "val_loss"):
            self._check_finite(row.get(name, 0.0), epoch + 1)
        best, cut = self.progress.judge(row, self.config)
        if cut:
            self._cut_rate()
        groups = groups_of(self.model)
        self.recorder.save(groups, asdict(self.progress), {"weights": groups["weights"]} if best else None)
        self.recorder.record(self.progress.history, epoch + 1, last=self.progress.stopped)
        told = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
        self.say(f"epoch {epoch + 1}/{self.config.epochs}: {told}, {row['seconds']:.1f} s")
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
            f"the loss is {value} in epoch {epoch}; {kept} in {self.recorder.run.folder}. "
            f"Try --learning-rate {lower:g}{precise}, or look for damaged pictures in the shards (`facepipe verify`)"
        )

    def _cut_rate(self) -> None:
        optimizer, config = self.model.optimizer, self.config
        rate = max(float(optimizer.learning_rate) * config.plateau_factor, config.minimum_learning_rate)
        if rate < float(optimizer.learning_rate):
            optimizer.learning_rate = rate
            self.say(f"no better validation loss in {config.plateau} epochs: learning rate {rate:g}")

    def _grid(self) -> NDArray[np.uint8] | None:
        """The fixed faces as the model sees them: rows of features, outputs and targets."""
        if self.fixed is None:
            return None
        features, targets = self.fixed
        scaled = features * 255 if self.config.input_scale == "bytes" else features
        drawn = self.model.predict_on_batch(filled(scaled, devices_in_use()))
        pictures = keras.ops.convert_to_numpy(drawn)[: len(features), ..., : targets.shape[3]]
        return grid([features, pictures, targets])

    def _plots(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
        curves = curves_of(rows, {"loss": "training", "val_loss": "validation"})
        return {"loss.png": plot({"loss": curves}, self.levels, self.config.preset)}
