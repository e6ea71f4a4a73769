"""What a piece of work is to the processes that run it: a numbered part, its items, and a small report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class PartReport:
    """What one part came to; small, made of plain values, sent from the worker as JSON."""

    counts: dict[str, int] = field(default_factory=dict)
    """Items by status."""
    steps_s: dict[str, float] = field(default_factory=dict)
    """Seconds by step."""
    items: int = 0
    files: dict[str, str] = field(default_factory=dict)
    """Path -> SHA-256 of what was written."""
    peak_memory_bytes: int = 0
    """The worker's largest resident size so far; filled in by the worker."""


class Guard(Protocol):
    """What a job tells about itself while it runs, so that a crash or a hang costs one item and not the run."""

    blamed: dict[int, str]
    """Item -> `worker_crash` or `timeout`: items that ended a process, to become a row without being touched."""

    def on(self, item: int) -> None:
        """Item `item` (0 or more, within the part) is about to be touched; its time starts now."""

    def off(self) -> None:
        """The items are done: what follows (such as writing the part) is nobody's fault and has no time limit."""


class Job(Protocol):
    """Makes numbered parts. Picklable, and importable in another process: no lambda, nothing of `__main__`."""

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Makes part `number` whole: reads its inputs, writes its own output atomically.

        The same number always gives the same bytes. A `FacepipeError` ends the run with its own line.
        """
