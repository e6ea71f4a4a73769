"""Keeps what libraries say on file descriptor 2 off the terminal.

libjpeg, libpng and libtiff inside OpenCV write warnings there, one line a damaged photograph: over a million
photographs that buries everything else. What they say is also the only sign that a JPEG's data ended early.
"""

from __future__ import annotations

import os
import sys
import tempfile

DECODERS = tuple(
    start.encode()
    for start in (
        *("Corrupt JPEG", "Premature end", "Invalid ", "Inconsistent ", "Unsupported ", "Unknown ", "Application "),
        *("JPEG ", "Obtained ", "Warning", "libpng ", "TIFF", "OpenCV", "[ WARN:", "[ERROR:", "[ INFO:", "[webp"),
    )
)


class _Sink:
    """A nameless file that stands in for descriptor 2; one a process, made anew after a fork."""

    pid = -1
    descriptor = -1

    @classmethod
    def open(cls) -> int:
        if cls.pid != os.getpid():
            cls.descriptor = _nameless_file()
            cls.pid = os.getpid()
        return cls.descriptor


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("facepipe-stderr")
    descriptor, name = tempfile.mkstemp()
    os.unlink(name)
    return descriptor


class captured_stderr:  # noqa: N801 (used as a function)
    """Collects what C libraries write to descriptor 2 meanwhile; the list is filled when the block ends.

    Lines that do not begin with one of `known` (another thread's) go on to the real descriptor 2. A few microseconds
    a use: a class takes less than a generator, and where the sink's next byte would go less than its size.
    """

    def __init__(self, known: tuple[bytes, ...] = DECODERS) -> None:
        self._known = known

    def __enter__(self) -> list[str]:
        """The list."""
        self._lines: list[str] = []
        self._sink = _Sink.open()
        try:
            self._terminal = os.dup(2)
        except OSError:  # closed, as under a daemon: nothing to keep clean
            self._terminal = -1
        else:
            _flush()
            os.dup2(self._sink, 2)
        return self._lines

    def __exit__(self, *_raised: object) -> None:
        """Gives descriptor 2 back."""
        if self._terminal < 0:
            return
        try:
            _flush()
            os.dup2(self._terminal, 2)
            if os.lseek(self._sink, 0, os.SEEK_CUR):
                self._drain()
        finally:
            os.close(self._terminal)

    def _drain(self) -> None:
        """Keeps the known lines and passes the others on."""
        os.lseek(self._sink, 0, os.SEEK_SET)
        text = os.read(self._sink, 1 << 20)
        os.ftruncate(self._sink, 0)
        os.lseek(self._sink, 0, os.SEEK_SET)
        for line in text.splitlines(keepends=True):
            if line.startswith(self._known) or (self._lines and line[:1] in (b" ", b">")):  # goes on
                self._lines.append(line.decode("utf-8", "replace").strip())
            elif line.strip():
                os.write(self._terminal, line)


def _flush() -> None:
    """What Python holds back belongs to the time before."""
    if sys.stderr is not None:
        sys.stderr.flush()
