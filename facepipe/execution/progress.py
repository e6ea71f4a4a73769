"""What a run tells while it goes: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress as RichBar
    from rich.progress import TaskID


_format = ["text"]


def set_log_format(name: str) -> None:
    """Chooses how this process speaks: `text` or `json`."""
    _format[0] = name


def say(*lines: str, event: str = "message", stream: TextIO | None = None, **facts: Any) -> None:
    """Prints lines for a person; with `--log-format json` one object, with `facts` in place of the text.

    Names in them come from anywhere: no control character reaches the terminal, and no name makes a line of its own.
    """
    if _format[0] == "json":
        lines = (json.dumps({"event": event, **(facts or {"text": "\n".join(lines)})}, default=str),)
    print("\n".join(map(printable, lines)), file=stream or sys.stdout, flush=True)


class Progress:
    """What a stage reports to; this one tells nobody."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """`total` pieces of `unit` (such as `images`) are about to be done."""

    def advance(self, n: int, counts: Mapping[str, int] | None = None) -> None:
        """`n` more are done; `counts` are the numbers by status so far."""

    def note(self, text: str) -> None:
        """One line that the user should see."""

    def finish(self) -> None:
        """The stage is over."""


def format_counts(counts: Mapping[str, int] | None) -> str:
    """`ok 1,203, no_face 12`, the largest first."""
    ordered = sorted((counts or {}).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {n:,}" for name, n in ordered if n)


def format_duration(seconds: float) -> str:
    """`47 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class QuietProgress(Progress):
    """Says nothing, for `--quiet` and for who uses the library."""


class PlainProgress(Progress):
    """A line every `every_s` seconds, for logs."""

    def __init__(self, stream: TextIO | None = None, every_s: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._stage, self._unit, self._total, self._done = "", "", 0, 0
        self._started = self._last = 0.0
        self._counts: dict[str, int] = {}

    def start(self, stage: str, total: int, unit: str) -> None:
        """Opens a stage."""
        self._stage, self._total, self._unit, self._done = stage, total, unit, 0
        self._counts = {}
        self._started = self._last = time.monotonic()

    def advance(self, n: int, counts: Mapping[str, int] | None = None) -> None:
        """Counts, and prints when the last line is old enough."""
        self._done += n
        self._counts = dict(counts or self._counts)
        if time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            self._line()

    def _line(self) -> None:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = self._done / seconds
        left = format_duration((self._total - self._done) / rate) if rate else "?"
        counts = format_counts(self._counts)
        text = f"{self._stage}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.1f} a second, {left} left"
        facts = {"stage": self._stage, "done": self._done, "total": self._total, "unit": self._unit}
        text = f"{text} ({counts})" if counts else text
        say(text, event="progress", stream=self._stream, **facts, per_second=round(rate, 2), counts=self._counts)

    def note(self, text: str) -> None:
        """Prints one line."""
        say(text, event="note", stream=self._stream)

    def finish(self) -> None:
        """Prints where the stage ended, unless it was over at once."""
        if self._done and self._last != self._started:
            self._line()


class BarProgress(Progress):
    """A bar with rate, time left and counts by status, drawn by rich."""

    def __init__(self) -> None:
        self._bar: RichBar | None = None
        self._task: TaskID | None = None

    def start(self, stage: str, total: int, unit: str) -> None:
        """Opens a bar."""
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("[bold]{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("[dim]{task.fields[counts]}"),
            console=Console(stderr=True),
        )
        self._unit, self._started = unit, time.monotonic()
        self._task = self._bar.add_task(stage, total=total, rate="", counts="")
        self._bar.start()

    def advance(self, n: int, counts: Mapping[str, int] | None = None) -> None:
        """Moves the bar."""
        if self._bar is None or self._task is None:
            return
        done = self._bar.tasks[self._task].completed + n
        rate = done / max(time.monotonic() - self._started, 1e-9)
        self._bar.update(
            self._task, advance=n, rate=f"{rate:,.0f} {self._unit}/s", counts=format_counts(counts).replace("[", r"\[")
        )

    def note(self, text: str) -> None:
        """Prints one line above the bar."""
        if self._bar is not None:
            self._bar.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
        else:
            say(text, event="note", stream=sys.stderr)

    def finish(self) -> None:
        """Closes the bar, which stays on the screen as it ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def make_progress(*, quiet: bool) -> Progress:
    """A bar where standard error is a terminal, plain lines where not, nothing where `quiet`."""
    if quiet:
        return QuietProgress()
    return BarProgress() if sys.stderr.isatty() and _format[0] == "text" else PlainProgress()
