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
from dataclasses import dataclass

from facepipe.errors import OutputError
from facepipe.parts import Guard, PartReport
from facepipe.storage import place

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
