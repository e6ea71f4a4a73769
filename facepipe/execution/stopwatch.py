"""Seconds by step, for `run.json` and `facepipe bench`."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stopwatch:
    """Adds up the time each step takes, in seconds: every moment belongs to one step, the one turned to last."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._now = ""
        """The step under way; empty: none, and its time belongs to none."""
        self._since = time.perf_counter()

    @property
    def seconds(self) -> dict[str, float]:
        """Step -> seconds so far."""
        self.turn_to(self._now)
        return {name: seconds for name, seconds in self._seconds.items() if name}

    def turn_to(self, name: str) -> None:
        """From here on the time is this step's, until another one is turned to; an empty name: no step's."""
        now = time.perf_counter()
        self._seconds[self._now] += now - self._since
        self._now, self._since = name, now

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Turns to a step and, at the end, back to what it interrupted."""
        interrupted = self._now
        self.turn_to(name)
        try:
            yield
        finally:
            self.turn_to(interrupted)
