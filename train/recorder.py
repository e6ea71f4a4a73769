"""What is kept of a run after each epoch, and what is shown while it trains, of autoencoders and GANs alike.

The order of writing lets a kill at any moment cost no more than the epoch under way. `best` comes before `last`: killed
between the two, the epoch is done again and both come out the same. The log comes last, so that what it tells of has
its pictures; a checkpoint that it lacks is recorded when the run goes on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from train import checkpoints
from train.files import NotWritten
from train.pictures import png

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from train.checkpoints import Groups
    from train.runs import Run

PLOT_EVERY_S = 20.0
FIRST_LINE_S, LINE_EVERY_S = 10.0, 60.0
"""Where no terminal shows the bar."""


class Recorder:
    """Writes one run's files, epoch by epoch.

    Args:
        run: Where they go.
        epochs: At the last of them everything is drawn.
        caption: Of the grids.
        draw_grid: Gives the picture (h, w, 3) uint8 RGB of the present weights, or None.
        draw_run: Gives the files that show the whole run, by name, from the log's rows.
    """

    def __init__(
        self,
        run: Run,
        epochs: int,
        caption: str,
        draw_grid: Callable[[], NDArray[np.uint8] | None],
        draw_run: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, bytes]],
    ) -> None:
        self.run, self.epochs, self.caption = run, epochs, caption
        self._draw_grid, self._draw_run = draw_grid, draw_run
        self._drawn = 0.0
        self.by_step = {"epoch", "step"}
        """Columns of the log that TensorBoard does not get from here."""
        self.events = Events(run.folder / "events")

    def save(self, groups: Groups, state: Mapping[str, Any], best: Groups | None) -> None:
        """The last checkpoint, before it `best` where the epoch is the best so far."""
        if best is not None:
            checkpoints.save(self.run.checkpoint("best"), best, state)
        checkpoints.save(self.run.checkpoint("last"), groups, state)

    def record(self, rows: Sequence[Mapping[str, Any]], step: int, *, last: bool = False) -> None:
        """The epoch of the last of the log's rows; `step` is its place in TensorBoard's curves."""
        epoch = int(rows[-1]["epoch"])
        self.events.scalars({name: value for name, value in rows[-1].items() if name not in self.by_step}, step)
        self.draw_grid(epoch, step)
        if last or epoch >= self.epochs or time.perf_counter() - self._drawn > PLOT_EVERY_S:
            for name, content in self._draw_run(rows).items():
                self.run.write(name, content)
            self._drawn = time.perf_counter()
        self.run.write_log(rows)

    def catch_up(self, rows: Sequence[Mapping[str, Any]], step: int, *, last: bool = False) -> None:
        """Records the last checkpoint's epoch, where a kill came between it and its log."""
        if rows and self.run.logged_epochs() < rows[-1]["epoch"]:
            self.record(rows, step, last=last)

    def draw_grid(self, epoch: int, step: int) -> None:
        picture = self._draw_grid()
        if picture is not None:
            content = png(picture)
            self.run.write(f"grids/epoch-{epoch:04d}.png", content)
            self.events.image(self.caption, content, *picture.shape[:2], step)


class Events:
    """TensorBoard's file in `folder`; a resumed run adds another, and TensorBoard shows them as one.

    All raise a `NotWritten` where the disk is full or the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each named curve."""
        self._add([{"tag": name, "simple_value": value} for name, value in values.items()], step)

    def image(self, name: str, content: bytes, height: int, width: int, step: int) -> None:
        """One picture, RGB, as PNG bytes."""
        picture = {"height": height, "width": width, "colorspace": 3, "encoded_image_string": content}
        self._add([{"tag": name, "image": picture}], step)

    def _add(self, values: list[dict[str, Any]], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        try:
            self._writer = self._writer or EventFileWriter(str(self.folder))
            summary = Summary(value=[Summary.Value(**value) for value in values])
            self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
            self._writer.flush()
        except Exception as error:  # TensorFlow's own kinds as well
            raise NotWritten(self.folder, error) from error


class Bar:
    """How far a run is and how long it will take: a bar on a terminal, from the first step on; else a line a minute.

    Args:
        epochs: Of the whole run.
        steps: Of an epoch.
        done: Epochs that are finished already.
        say: Takes each line where there is no terminal.
    """

    def __init__(self, epochs: int, steps: int, done: int, say: Callable[[str], None]) -> None:
        console = Console()
        self._epochs, self._steps, self._first, self._say = epochs, steps, done * steps, say
        self._terminal, self._began = console.is_terminal, time.monotonic()
        self._next_line, self._measures = self._began + FIRST_LINE_S, ""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[measures]}"))
        self._bar = Progress(*columns, *times, console=console, disable=not self._terminal, speed_estimate_period=600)
        self._task = self._bar.add_task(f"epoch {done + 1}/{epochs}", total=epochs * steps, completed=0, measures="")
        self._bar.update(self._task, completed=self._first)

    def __enter__(self) -> Self:
        """Shows the bar until the block ends."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def at(self, epoch: int, step: int, measures: Mapping[str, float] | None = None) -> None:
        """`step` steps of `epoch` (from 0) are done; `measures` are shown beside them."""
        if measures:
            self._measures = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
        done = epoch * self._steps + step
        described = f"epoch {epoch + 1}/{self._epochs}"
        self._bar.update(self._task, completed=done, description=described, measures=self._measures)
        now = time.monotonic()
        if self._terminal or now < self._next_line or done == self._first:
            return
        self._next_line = now + LINE_EVERY_S
        left = (now - self._began) / (done - self._first) * (self._epochs * self._steps - done)
        self._say(f"{described}: step {step:,} of {self._steps:,}, {self._measures}, {_length(left)} left at most")


def _length(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
