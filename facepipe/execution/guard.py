"""What a part, its job and its guard are, and the child process that makes parts: the other side of `pool`.

Standard library only: what a job needs is imported when the job is unpickled.
"""

from __future__ import annotations

import faulthandler
import gc
import mmap
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from facepipe.errors import FacepipeError
from facepipe.execution.startup import leave_out_pandas

NO_ITEM = -1
STATE_BYTES = mmap.PAGESIZE
_WATCH_S = 0.5
_IDLE_S = 120.0
"""A child that is given nothing for so long ends: its parent may be a cluster's worker, which lives on."""


@dataclass(slots=True)
class PartReport:
    """What one part came to; small, made of plain values, sent from the worker."""

    counts: dict[str, int] = field(default_factory=dict)
    """Items by status."""
    steps_s: dict[str, float] = field(default_factory=dict)
    """Seconds by step."""
    items: int = 0
    files: dict[str, str] = field(default_factory=dict)
    """Path -> SHA-256 of what was written."""


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


class SharedState:
    """The item a child is on, in memory shared with its parent, who reads it when the child hangs or is dead."""

    def __init__(self, fd: int) -> None:
        # Eight aligned bytes are stored by one instruction: a reader never sees half of a number.
        self._cells = memoryview(mmap.mmap(fd, STATE_BYTES)).cast("q")

    def set(self, item: int) -> None:
        """The child turns to `item` (or to NO_ITEM)."""
        self._cells[0] = item
        self._cells[1] += 1

    def get(self) -> tuple[int, int]:
        """The item, and a number that changes whenever the child turns to an item."""
        return self._cells[0], self._cells[1]


@dataclass
class _SharingGuard:
    """The `Guard` that a job is given in a child."""

    state: SharedState
    blamed: dict[int, str]

    def on(self, item: int) -> None:
        self.state.set(item)

    def off(self) -> None:
        self.state.set(NO_ITEM)


def main(pipe_fd: int, state_fd: int, parent: int) -> None:
    """Is the child process: takes a job, then part numbers, and answers each, until the parent closes the pipe."""
    from multiprocessing.connection import Connection  # which the parts' own words, above, do without

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    faulthandler.enable()
    leave_out_pandas()
    waiting_since = [time.monotonic()]
    threading.Thread(target=_watch, args=(parent, waiting_since), daemon=True).start()
    pipe, state = Connection(pipe_fd), SharedState(state_fd)
    try:
        job: Job = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from our own parent
        gc.freeze()  # modules stay for good: they need not be looked through for garbage again and again
        while True:
            number, blamed = pipe.recv()
            waiting_since[0] = float("inf")
            os.lseek(sys.stderr.fileno(), 0, os.SEEK_SET)
            os.ftruncate(sys.stderr.fileno(), 0)  # what libraries print is kept for one part only
            answer = _make(job, number, _SharingGuard(state, blamed), state)
            state.set(NO_ITEM)
            pipe.send(answer)
            waiting_since[0] = time.monotonic()
    except (EOFError, ConnectionError):
        pass
    os._exit(0)  # libraries' exit handlers have nothing to save, and some hang


def _make(job: Job, number: int, guard: Guard, state: SharedState) -> PartReport | FacepipeError:
    guard.off()
    try:
        return job(number, guard)
    except MemoryError:
        os._exit(70)  # as if the system had ended it: the item is tried once more in a fresh process
    except FacepipeError as error:
        return error
    except Exception as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}" if frame else "?"
        item = state.get()[0]
        on = f", item {item}" if item != NO_ITEM else ""
        return FacepipeError(
            f"part {number}{on} failed: {type(error).__name__} at {where}: {error}; this is a defect of facepipe: "
            "please report it"
        )


def _watch(parent: int, waiting_since: list[float]) -> None:
    """Ends the process when its parent is gone, so that nothing goes on working after a `kill -9`."""
    while os.getppid() == parent and time.monotonic() - waiting_since[0] < _IDLE_S:
        time.sleep(_WATCH_S)
    os._exit(0)
