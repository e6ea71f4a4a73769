"""One child process, seen from its parent: started, given parts, watched while it makes them.

What the child is on stands in memory that both share, so it can be read when the child is dead; and its time is
measured here, so that code which holds the interpreter's lock, or never returns, is ended as well.
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
import time
from contextlib import suppress
from typing import Any

from facepipe.workers_child import NO_ITEM, NOTES_BYTES, Notes, read_frame, send_frame

_POLL_S = 0.25
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
_TRIM = ("MALLOC_TRIM_THRESHOLD_", "65536")
"""Dask's nanny sets it: every image's memory would go back to the system at once, for half as much CPU time again."""
_ARROW_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc"} if sys.platform == "linux" else {}
"""Arrow's own choice asks for huge pages: where memory is in pieces, a part waits longer for them than for the disk."""
_ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
"""What many reading threads free would stay with each of them: of large photographs 100 MB and more."""
_START = "import sys; sys.path[:] = {path!r}; from facepipe.workers_child import main; main({arguments})"


class Died(Exception):
    """A child is gone. `item` is what it was on; `code` is its exit code, None where it was ended for being slow."""

    def __init__(self, item: int, code: int | None, last_words: str = "") -> None:
        super().__init__(item, code, last_words)
        self.item = item
        self.code = code
        self.last_words = last_words

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it that processes don't send themselves."""
        return self.code in {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT}


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
                env={
                    **_ARROW_MEMORY,
                    **_ONE_ARENA,
                    **dict(os.environ.items() - {_TRIM}),
                    **_ONE_THREAD,
                    "PYTHONUTF8": "1",
                    "PYTHONHASHSEED": "0",
                },
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
            raise Died(self._notes.get()[0], None)
        answer = read_frame(self._reports)
        if answer is None:
            code = self._process.wait()
            raise Died(self._notes.get()[0], code, self._last_words())
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
        return lines[-1].strip()[:200] if lines else ""

    def kill(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends the process and gives everything back."""
        self.kill()
        for fd in (self._commands, self._reports, self._notes_fd, self._log_fd):
            os.close(fd)


def _scratch(name: str) -> int:
    """A file without a name, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(f"facepipe-{name}")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
