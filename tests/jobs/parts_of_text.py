"""Jobs for the tests of workers: parts of items whose text says what shall happen to the process.

They are imported by children, so they live in a module of their own, found through `sys.path`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facepipe.config import Execution
from facepipe.errors import OutputError
from facepipe.execution import Guard, PartReport, run_parts
from facepipe.storage import place

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD_THE_LOCK_S = 600


def meet(what: str) -> str:
    """Does what an item's text says; returns what there is to say about it."""
    name, _, value = what.partition(":")
    if name == "segfault":
        ctypes.string_at(0)
    elif name == "exit":
        os._exit(3)
    elif name == "abort":
        os.abort()
    elif name == "sleep":
        time.sleep(float(value))
    elif name == "hold":
        ctypes.PyDLL(None).sleep(HOLD_THE_LOCK_S)  # with the interpreter's lock: no thread of the child can run
    elif name == "raise":
        raise ValueError("a defect")
    elif name == "memory":
        raise MemoryError
    elif name == "full":
        raise OutputError("the disk is full")
    elif name == "once" and not os.path.exists(value):
        with open(value, "w"):
            os.kill(os.getpid(), signal.SIGKILL)
    elif name == "print":
        for descriptor in (1, 2):
            os.write(descriptor, b"Corrupt JPEG data: premature end of data segment\n" * 100_000)
    elif name == "pid":
        return f" {os.getpid()}"
    elif name == "parent":
        return f" {os.getppid()}"
    elif name == "time":
        return f" {time.monotonic()}"
    elif name == "environment":
        wanted = ("OMP_NUM_THREADS", "PYTHONUTF8")
        return "".join(f" {key}={os.environ[key]}" for key in wanted) + f" {sys.getfilesystemencoding()}"
    elif name == "variable":
        return f" {os.environ.get(value, 'unset')}"
    return ""


@dataclass(frozen=True)
class TextJob:
    """Part `number` is file `<number>.txt` of `source`, one item a line; writes what became of each line."""

    source: str
    output: str
    crash_at_write: bool = False
    same: bool = False
    """Every number stands for part 0."""

    def __call__(self, number: int, guard: Guard) -> PartReport:
        number = 0 if self.same else number
        rows = []
        for item, line in enumerate(place(self.source).read(f"{number}.txt").decode().splitlines()):
            guard.on(item)
            said = "" if item in guard.blamed else meet(line)
            rows.append(f"{line}{said} {guard.blamed.get(item, 'ok')}")
        guard.off()
        if self.crash_at_write:
            os._exit(1)
        data = "\n".join(rows).encode()
        place(self.output).write(f"{number}.out", data)
        counts = {status: sum(row.endswith(status) for row in rows) for status in ("ok", "worker_crash", "timeout")}
        return PartReport(counts, items=len(rows), files={f"{number}.out": hashlib.sha256(data).hexdigest()})


def children_of(pid: int) -> list[int]:
    """Living direct children, without zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


class Parts:
    """A folder of parts, one item a line, and what running those that are missing gave."""

    def __init__(self, folder: Path, *parts: list[str]) -> None:
        self.source, self.output = folder / "in", folder / "out"
        for made in (self.source, self.output):
            made.mkdir(parents=True, exist_ok=True)
        for number, lines in enumerate(parts):
            (self.source / f"{number}.txt").write_text("\n".join(lines))
        self.numbers = range(len(parts))
        self.done: list[int] = []
        self.counts: Counter[str] = Counter()

    def job(self, **options: bool) -> TextJob:
        return TextJob(str(self.source), str(self.output), **options)

    def missing(self) -> list[int]:
        return [number for number in self.numbers if not (self.output / f"{number}.out").exists()]

    def run(
        self,
        scheduler: str = "",
        workers: int = 2,
        timeout_s: float = 60.0,
        on_done: Callable[[int, PartReport], None] = lambda *_: None,
        **job: bool,
    ) -> list[str]:
        """Makes what is missing, on a Dask cluster where a scheduler is given; the text of each part."""

        def note(number: int, report: PartReport) -> None:
            self.done.append(number)
            self.counts.update(report.counts)
            on_done(number, report)

        execution = Execution(workers=workers, engine="dask" if scheduler else "local", scheduler=scheduler)
        run_parts(self.job(**job), self.missing(), execution=execution, timeout_s=timeout_s, on_done=note)
        return self.written()

    def written(self) -> list[str]:
        """Of the parts that are there."""
        files = [self.output / f"{number}.out" for number in self.numbers]
        return [file.read_text() for file in files if file.exists()]
