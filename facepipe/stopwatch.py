"""Seconds by step, for `run.json` and `facepipe bench`."""

from __future__ import annotations

import time
from collections import defaultdict


class Stopwatch:
    """Adds up the time each step takes, in seconds: every moment belongs to one step, the one turned to last.

    Its own context manager, which a generator would be slower than: steps are entered several times a photograph.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._now = ""
        """The step under way; empty: none, and its time belongs to none."""
        self._since = time.perf_counter()
        self._next = ""
        self._around: list[str] = []
        """Of the steps entered by `with`, what they interrupted, outermost first."""

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

    def step(self, name: str) -> Stopwatch:
        """`with watch.step(name):` turns to a step and, at the end, back to what it interrupted."""
        self._next = name
        return self

    def __enter__(self) -> None:
        """Turns to the step named last."""
        self._around.append(self._now)
        self.turn_to(self._next)

    def __exit__(self, *_raised: object) -> None:
        """Turns back to what the innermost step interrupted."""
        self.turn_to(self._around.pop())
