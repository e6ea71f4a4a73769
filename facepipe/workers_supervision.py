"""Child processes that make parts, each watched by a supervisor that knows which item it is on.

A child that dies costs its part a new start, in a new child, and no other part anything. An item that ended its process
twice is blamed as `worker_crash`: a process killed from outside, or by a neighbour's hunger for memory, costs nothing
and leaves the same bytes. An item on which a child stayed longer than allowed is blamed as `timeout` at once. The time
is watched from outside, so that code which holds the interpreter's lock, or never returns, is ended as well.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from facepipe import errors
from facepipe.errors import FacepipeError, Interrupted
from facepipe.parts import PartReport
from facepipe.workers_child import NO_ITEM, NOTES_BYTES, Notes, read_frame, send_frame

if TYPE_CHECKING:
    from facepipe.parts import Job

DEATHS_OF_AN_ITEM = 2
DEATHS_OF_A_PART = 3
_POLL_S = 0.25
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
_START = "import sys; sys.path[:] = {path!r}; from facepipe.workers_child import main; main({arguments})"


class Died(Exception):
    """A child is gone. `item` is what it was on, `timed_out` whether it was ended for taking too long."""

    def __init__(self, item: int, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(item, reason)
        self.item = item
        self.reason = reason
        self.timed_out = timed_out


class Child:
    """One child process and the pipes to it."""

    def __init__(self, job: bytes, folder: str | None) -> None:
        self._notes_fd, self._log_fd = _scratch("notes"), _scratch("log")
        os.ftruncate(self._notes_fd, NOTES_BYTES)
        fcntl.fcntl(self._log_fd, fcntl.F_SETFL, os.O_APPEND)
        self._notes = Notes(self._notes_fd)
        self._notes.set(NO_ITEM)
        command_in, self._commands = os.pipe()
        self._reports, report_out = os.pipe()
        inherited = (command_in, report_out, self._notes_fd)
        try:
            arguments = ", ".join(str(number) for number in (*inherited, os.getpid()))
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START.format(path=sys.path, arguments=arguments)],
                stdin=subprocess.DEVNULL,
                stdout=self._log_fd,
                stderr=self._log_fd,
                pass_fds=inherited,
                cwd=folder,
                # Names of files must mean the same in every locale, and sets have the same order in every process.
                env={**os.environ, **_ONE_THREAD, "PYTHONUTF8": "1", "PYTHONHASHSEED": "0"},
            )
        finally:
            os.close(command_in)
            os.close(report_out)
        self._poll = select.poll()
        self._poll.register(self._reports, select.POLLIN)
        with suppress(OSError):  # it died at once: the first part finds out
            send_frame(self._commands, job)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def make(self, number: int, blamed: dict[int, str], timeout_s: float) -> dict[str, Any]:
        """Has the child make a part and waits for its answer.

        Raises:
            Died: it is gone.
        """
        with suppress(OSError):  # a dead child is noticed below
            send_frame(self._commands, pickle.dumps((number, blamed)))
        if self._outstays(timeout_s):
            self.kill()
            raise Died(self._notes.get()[0], "took too long", timed_out=True)
        answer = read_frame(self._reports)
        if answer is None:
            code = self._process.wait()
            raise Died(self._notes.get()[0], _reason(code) + self._last_words())
        found: dict[str, Any] = json.loads(answer)
        return found

    def _outstays(self, timeout_s: float) -> bool:
        """Waits for an answer; True where the child was on one item longer than `timeout_s`."""
        poll_s = min(_POLL_S, timeout_s / 4)
        seen, spent_s, last = self._notes.get(), 0.0, time.monotonic()
        while not self._poll.poll(poll_s * 1000):
            now, current = time.monotonic(), self._notes.get()
            # A pause of this process itself (a suspended machine, Ctrl-Z) is not the child's time.
            spent_s = spent_s + min(now - last, 4 * poll_s) if current == seen and current[0] != NO_ITEM else 0.0
            seen, last = current, now
            if spent_s > timeout_s:
                return True
        return False

    def _last_words(self) -> str:
        size = os.fstat(self._log_fd).st_size
        lines = os.pread(self._log_fd, 2000, max(0, size - 2000)).decode("utf-8", "replace").strip().splitlines()
        return f" ({lines[-1].strip()[:200]})" if lines else ""

    def kill(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends the process and gives everything back."""
        self.kill()
        for fd in (self._commands, self._reports, self._notes_fd, self._log_fd):
            os.close(fd)


class Crew:
    """Children for one job, as many as there are threads that call `make`; they run in `folder` (None: this one)."""

    def __init__(self, job: Job, timeout_s: float, folder: str | None = None) -> None:
        self._job = pickle.dumps(job)
        self._folder = folder
        self._timeout_s = timeout_s
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def make(self, number: int) -> PartReport:
        """Makes a part, however many children it costs.

        Raises:
            FacepipeError: the job's own, or one that names the part where it failed otherwise or its children died
                outside any item.
        """
        blamed: dict[int, str] = {}
        deaths: Counter[int] = Counter()
        while True:
            child = self._take()
            try:
                answer = child.make(number, blamed, self._timeout_s)
            except Died as death:
                self._drop(child)
                _judge(number, death, deaths, blamed)
                continue
            except BaseException:
                self._drop(child)
                raise
            self._give_back(child)
            return _read_answer(number, answer)

    def stop(self) -> None:
        """Ends all children at once; threads that wait for one get `Interrupted`."""
        with self._lock:
            self._stopped = True
            for child in self._busy:
                child.kill()
            for child in self._idle:
                child.close()
            self._idle.clear()

    def _take(self) -> Child:
        with self._lock:
            if self._stopped:
                raise Interrupted("the run was stopped")
            child = self._idle.pop() if self._idle else None
            if child is not None and not child.is_alive:
                child.close()
                child = None
            child = child or Child(self._job, self._folder)
            self._busy.add(child)
            return child

    def _give_back(self, child: Child) -> None:
        with self._lock:
            self._busy.discard(child)
            if self._stopped:
                child.close()
            else:
                self._idle.append(child)

    def _drop(self, child: Child) -> None:
        with self._lock:
            self._busy.discard(child)
            child.close()


def _judge(number: int, death: Died, deaths: Counter[int], blamed: dict[int, str]) -> None:
    """Blames an item for a child's death, or raises where there is none to blame."""
    item = NO_ITEM if death.item in blamed else death.item
    if death.timed_out and item != NO_ITEM:
        blamed[item] = "timeout"
        return
    deaths[item] += 1
    if item != NO_ITEM and deaths[item] >= DEATHS_OF_AN_ITEM:
        blamed[item] = "worker_crash"
    if deaths[NO_ITEM] >= DEATHS_OF_A_PART:
        raise FacepipeError(
            f"the worker of part {number} died {DEATHS_OF_A_PART} times outside any item: {death.reason}; "
            "if memory is short, give fewer --workers, then run the same command again"
        )


def _read_answer(number: int, answer: dict[str, Any]) -> PartReport:
    if "report" in answer:
        return PartReport(**answer["report"])
    kind = getattr(errors, answer["error"], None) if answer["error"] else None
    if isinstance(kind, type) and issubclass(kind, FacepipeError):
        raise kind(answer["text"])
    on = f", item {answer['item']}" if answer.get("item", NO_ITEM) != NO_ITEM else ""
    raise FacepipeError(f"part {number}{on} failed: {answer['text']}; this is a defect of facepipe: please report it")


def _reason(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    with suppress(ValueError):
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it was ended by signal {-code}"


def _scratch(name: str) -> int:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(f"facepipe-{name}")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
