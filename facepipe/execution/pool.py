"""Processes that make parts, started anew when they end, and what is to blame for that.

Each worker is a process with a pipe of its own, so that one that dies costs its part a new start and no other part
anything. What a worker is on stands in memory that both sides share, and its time is measured here: code that holds the
interpreter's lock, or never returns, is ended as well.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Pipe, wait
from typing import TYPE_CHECKING, Self

from facepipe.errors import FacepipeError, Interrupted
from facepipe.execution.guard import NO_ITEM, STATE_BYTES, PartReport, SharedState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from facepipe.execution.guard import Job

CRASHES_OF_AN_ITEM, KILLS_OF_AN_ITEM = 2, 8
"""More kills than crashes: `kill -9` can come from anyone, and comes from the kernel when an image takes all memory."""
CRASHES_OF_A_PART, KILLS_OF_A_PART = 5, 20
"""Outside any item: while the worker starts, or while the part is written."""
_KILLS = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT}
_POLL_S = 0.25
_START = "import sys; sys.path[:] = {!r}; from facepipe.execution.guard import main; main({}, {}, {})"
_THREADED = ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMEXPR_NUM", "VECLIB_MAXIMUM")
_TRIM = ("MALLOC_TRIM_THRESHOLD_", "65536")
"""Dask's nanny sets it: every image's memory would go back to the system at once, for half as much CPU time again."""


def _environment() -> dict[str, str]:
    """The variables of a worker: one thread a library; names of files and the order of sets as in every process."""
    # Arrow's own choice asks for huge pages: where memory is in pieces, a part waits longer for them than for the disk.
    arrow = {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc"} if sys.platform == "linux" else {}
    # What many reading threads free would stay with each of them: of large photographs 100 MB and more.
    given = {**arrow, "MALLOC_ARENA_MAX": "1", **dict(os.environ.items() - {_TRIM})}
    one_thread = {f"{library}_THREADS": "1" for library in _THREADED}
    return {**given, **one_thread, "PYTHONUTF8": "1", "PYTHONHASHSEED": "0"}


@dataclass
class _Part:
    """A part that is being made, and the deaths that it has cost."""

    number: int
    blamed: dict[int, str] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)

    def judge(self, worker: _Worker) -> None:
        """Blames an item for the end of a worker, or raises where there is none to blame and too many have ended."""
        item, _ = worker.state.get()
        item = NO_ITEM if item in self.blamed else item
        if worker.was_slow and item != NO_ITEM:
            self.blamed[item] = "timeout"
            return
        killed = worker.process.returncode in _KILLS
        self.deaths[item] += 1
        if item != NO_ITEM and self.deaths[item] >= (KILLS_OF_AN_ITEM if killed else CRASHES_OF_AN_ITEM):
            self.blamed[item] = "worker_crash"
        if self.deaths[NO_ITEM] >= (KILLS_OF_A_PART if killed else CRASHES_OF_A_PART):
            raise FacepipeError(
                f"the worker of part {self.number} died {self.deaths[NO_ITEM]} times outside any item: "
                f"{worker.how_it_ended()}; if memory is short, give fewer --workers, then run the same command again"
            )


class _Worker:
    """A child process, the pipe to it, and the part it is making."""

    part: _Part | None = None
    """None: it waits for one."""

    def __init__(self, job: bytes, folder: str | None) -> None:
        state_fd, log_fd = _scratch("state"), _scratch("log")
        os.ftruncate(state_fd, STATE_BYTES)
        self.state, self._log = SharedState(state_fd), os.fdopen(log_fd, "rb", buffering=0)
        self.state.set(NO_ITEM)
        self.was_slow = False
        self._seen, self._spent_s = self.state.get(), 0.0
        self.pipe, pipe = Pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START.format(sys.path, pipe.fileno(), state_fd, os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(pipe.fileno(), state_fd),
                cwd=folder,
                env=_environment(),
            )
        finally:
            pipe.close()
            os.close(state_fd)
        with suppress(OSError):  # it died at once: its first part finds out
            self.pipe.send_bytes(job)

    def begin(self, part: _Part) -> None:
        """Gives it a part to make."""
        self.part = part
        self._spent_s = 0.0
        with suppress(OSError):  # a dead worker is noticed by who waits for it
            self.pipe.send((part.number, part.blamed))

    def answer(self) -> PartReport | FacepipeError | None:
        """What it says of its part, which it has no more; None where it is dead."""
        self.part = None
        try:
            said: PartReport | FacepipeError = self.pipe.recv()
        except (EOFError, OSError):
            self.process.kill()
            self.process.wait()
            return None
        return said

    def end_if_slow(self, passed_s: float, timeout_s: float) -> bool:
        """Counts the time on its item, of which `passed_s` more have passed; ends it after `timeout_s`."""
        seen = self.state.get()
        self._spent_s = self._spent_s + passed_s if seen == self._seen and seen[0] != NO_ITEM else 0.0
        self._seen = seen
        if self._spent_s > timeout_s:
            self.was_slow = True
            self.process.kill()
        return self.was_slow

    def how_it_ended(self) -> str:
        """For messages: the signal or exit code, and the last line that it printed."""
        code = self.process.returncode
        try:
            how = f"it was ended by {signal.Signals(-code).name}"
        except ValueError:
            how = f"it ended with exit code {code}"
        size = os.fstat(self._log.fileno()).st_size
        last = os.pread(self._log.fileno(), 2000, max(0, size - 2000)).decode("utf-8", "replace").strip()
        return f"{how} ({last.splitlines()[-1].strip()[:200]})" if last else how

    def close(self) -> None:
        """Ends the process, whatever it is doing, and gives everything back."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self._log.close()


class Pool:
    """At most `workers` processes for one job; they stay for further calls of `make`, and run in `folder`."""

    def __init__(self, job: Job, timeout_s: float, workers: int, folder: str | None = None) -> None:
        self._job = pickle.dumps(job)
        self._timeout_s = timeout_s
        self._most = workers
        self._folder = folder
        self._workers: list[_Worker] = []
        self._looked_s = time.monotonic()
        self._stopped = False
        self._making = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def make(self, numbers: Iterable[int], on_done: Callable[[int, PartReport], None]) -> None:
        """Makes parts, however many processes they cost; `on_done` is told of each when it is made.

        Raises:
            FacepipeError: the job's own, or one that names the part where it failed otherwise or its workers died
                outside any item.
            Interrupted: another thread has called `stop`.
        """
        with self._making:
            to_do = map(_Part, numbers)
            for part in islice(to_do, self._most):
                self._begin(part)
            while busy := {worker: worker.part for worker in self._workers if worker.part}:
                done = []
                for worker in self._wait(list(busy)):
                    answer = worker.answer()
                    if isinstance(answer, FacepipeError):
                        raise answer
                    if answer is None:
                        busy[worker].judge(worker)
                        self._begin(busy[worker])
                        continue
                    done.append((busy[worker].number, answer))
                    for part in islice(to_do, 1):
                        self._begin(part)
                for number, report in done:
                    on_done(number, report)

    def _begin(self, part: _Part) -> None:
        """Gives a part to a worker that has none, or to a new one."""
        for worker in [worker for worker in self._workers if not worker.part]:
            if worker.process.poll() is None:
                break
            self._workers.remove(worker)
            worker.close()
        else:
            worker = _Worker(self._job, self._folder)
            self._workers.append(worker)
        worker.begin(part)

    def _wait(self, busy: list[_Worker]) -> list[_Worker]:
        """Those that have answered, are dead, or were ended for being slow, after a moment at most."""
        poll_s = min(_POLL_S, self._timeout_s / 4)
        ready = wait([worker.pipe for worker in busy], poll_s)
        if self._stopped:
            raise Interrupted("the run was stopped")
        now_s = time.monotonic()
        # A pause of this process itself (a suspended machine, Ctrl-Z) is not the workers' time.
        passed_s, self._looked_s = min(now_s - self._looked_s, 2 * poll_s), now_s
        return [worker for worker in busy if worker.pipe in ready or worker.end_if_slow(passed_s, self._timeout_s)]

    def stop(self) -> None:
        """Ends all processes at once; a thread that is in `make` gets `Interrupted`."""
        self._stopped = True
        for worker in list(self._workers):
            worker.process.kill()
        with self._making:
            for worker in self._workers:
                worker.close()
            self._workers = []


def _scratch(name: str) -> int:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(f"facepipe-{name}")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
