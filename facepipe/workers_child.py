"""The child process of a supervisor: takes a job, then part numbers, and answers each with a report.

Standard library only: what a job needs is imported when the job is unpickled. Started by `workers_supervision`.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import mmap
import os
import pickle
import resource
import signal
import struct
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from facepipe.errors import FacepipeError
from facepipe.startup import leave_out_pandas

if TYPE_CHECKING:
    from facepipe.parts import Job

NOTES_BYTES = mmap.PAGESIZE
NO_ITEM = -1
_LENGTH = struct.Struct("=Q")
_WATCH_S = 0.5
IDLE_S = 120.0
"""A child that is given nothing for so long ends: its supervisor may live on in a cluster's worker."""


def send_frame(fd: int, data: bytes) -> None:
    """Writes one message to a pipe."""
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while view:
        view = view[os.write(fd, view) :]


def read_frame(fd: int) -> bytes | None:
    """Reads one message from a pipe; None where the other side is gone."""
    head = _read(fd, _LENGTH.size)
    return None if head is None else _read(fd, _LENGTH.unpack(head)[0])


def _read(fd: int, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        piece = os.read(fd, min(length - len(data), 2**20))
        if not piece:
            return None
        data += piece
    return bytes(data)


class Notes:
    """What a child is doing, in memory shared with its supervisor: it can be read when the child is dead."""

    def __init__(self, fd: int) -> None:
        # Eight aligned bytes are stored by one instruction: a reader never sees half of a number.
        self._cells = memoryview(mmap.mmap(fd, NOTES_BYTES)).cast("q")

    def set(self, item: int) -> None:
        """The child turns to `item` (or to NO_ITEM)."""
        self._cells[0] = item
        self._cells[1] += 1

    def get(self) -> tuple[int, int]:
        """The item, and a number that changes whenever the child turns to an item."""
        return self._cells[0], self._cells[1]


class ItemGuard:
    """The `Guard` a job is given in a child."""

    def __init__(self, notes: Notes, blamed: dict[int, str]) -> None:
        self._notes = notes
        self.blamed = blamed

    def on(self, item: int) -> None:
        """Notes the item; its time starts now."""
        self._notes.set(item)

    def off(self) -> None:
        """No item is being touched any more."""
        self._notes.set(NO_ITEM)


def main(commands: int, reports: int, notes_fd: int, parent: int) -> None:
    """Serves until the supervisor closes its pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    faulthandler.enable()
    leave_out_pandas()
    waiting_since = [time.monotonic()]
    threading.Thread(target=_watch, args=(parent, waiting_since), daemon=True).start()
    notes = Notes(notes_fd)
    notes.set(NO_ITEM)
    first = read_frame(commands)
    if first is not None:
        _serve(pickle.loads(first), commands, reports, notes, waiting_since)  # noqa: S301 - from our own parent
    os._exit(0)  # libraries' exit handlers have nothing to save, and some hang


def _serve(job: Job, commands: int, reports: int, notes: Notes, waiting_since: list[float]) -> None:
    gc.freeze()  # modules stay for good: they need not be looked through for garbage again and again
    first = True
    while (command := read_frame(commands)) is not None:
        waiting_since[0] = float("inf")
        number, blamed = pickle.loads(command)  # noqa: S301 - from our own parent
        os.ftruncate(sys.stderr.fileno(), 0)  # what libraries print is kept for one part only
        guard = ItemGuard(notes, blamed)
        answer = _answer(job, number, guard, notes)
        guard.off()
        if first:
            gc.collect()
            gc.freeze()
            first = False
        send_frame(reports, json.dumps(answer).encode())
        waiting_since[0] = time.monotonic()


def _answer(job: Job, number: int, guard: ItemGuard, notes: Notes) -> dict[str, Any]:
    guard.off()
    try:
        report = job(number, guard)
    except MemoryError:
        os._exit(70)  # as if the system had ended it: the item is tried once more in a fresh process
    except FacepipeError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except Exception as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}" if frame else "?"
        sys.excepthook(type(error), error, error.__traceback__)
        item = notes.get()[0]
        return {"error": "", "text": f"{type(error).__name__} at {where}: {error}", "item": item}
    scale = 1 if sys.platform == "darwin" else 1024
    report.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return {"report": asdict(report)}


def _watch(parent: int, waiting_since: list[float]) -> None:
    """Ends the process when its parent is gone, so that nothing goes on working after a `kill -9`."""
    while os.getppid() == parent and time.monotonic() - waiting_since[0] < IDLE_S:
        time.sleep(_WATCH_S)
    os._exit(0)
