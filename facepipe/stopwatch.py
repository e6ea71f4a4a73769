"""Seconds by step, for `run.json` and `facepipe bench`."""

from __future__ import annotations

import time
from collections import defaultdict


class Stopwatch:
    """Adds up the time each step takes, in seconds; a step inside another one is taken out of the outer one.

    Its own context manager, which a generator would be slower than: ten steps are entered a photograph.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._named = ""
        self._open: list[tuple[str, float, float]] = []
        """Of the steps that are under way, outermost first: name, what the one around it holds, start."""
        self._inner = 0.0

    def step(self, name: str) -> Stopwatch:
        """Times what happens inside `with watch.step(name):`."""
        self._named = name
        return self

    def __enter__(self) -> None:
        """Starts the step named last."""
        self._open.append((self._named, self._inner, time.perf_counter()))
        self._inner = 0.0

    def __exit__(self, *_raised: object) -> None:
        """Ends the innermost step."""
        name, outer, started = self._open.pop()
        elapsed = time.perf_counter() - started
        self.seconds[name] += elapsed - self._inner
        self._inner = outer + elapsed
