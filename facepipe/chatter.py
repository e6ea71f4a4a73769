"""Keeps the decoders' own messages off the terminal.

libjpeg, libpng and libtiff inside OpenCV write warnings to file descriptor 2, one line a damaged photograph: over a
million photographs that buries everything else. What they say is also the only sign that a JPEG's data ended early.
"""

from __future__ import annotations

import os
import tempfile

_KNOWN = tuple(
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
        return os.memfd_create("facepipe-chatter")
    descriptor, name = tempfile.mkstemp()
    os.unlink(name)
    return descriptor


class captured_chatter:  # noqa: N801 (used as a function)
    """Collects what C libraries write to descriptor 2 meanwhile; the list is filled when the block ends.

    Lines that no decoder writes (another thread's) go on to the real descriptor 2. A few microseconds a use: a class
    takes less than a generator, and where the sink's next byte would go less than its size.
    """

    def __enter__(self) -> list[str]:
        """The list."""
        self._lines: list[str] = []
        self._sink = _Sink.open()
        try:
            self._terminal = os.dup(2)
        except OSError:  # closed, as under a daemon: nothing to keep clean
            self._terminal = -1
        else:
            os.dup2(self._sink, 2)
        return self._lines

    def __exit__(self, *_raised: object) -> None:
        """Gives descriptor 2 back."""
        if self._terminal < 0:
            return
        try:
            os.dup2(self._terminal, 2)
            if os.lseek(self._sink, 0, os.SEEK_CUR):
                self._lines += _drain(self._sink, self._terminal)
        finally:
            os.close(self._terminal)


def _drain(sink: int, terminal: int) -> list[str]:
    """The decoders' lines; the others are passed on."""
    os.lseek(sink, 0, os.SEEK_SET)
    text = os.read(sink, 1 << 16)
    os.ftruncate(sink, 0)
    os.lseek(sink, 0, os.SEEK_SET)
    known: list[str] = []
    for line in text.splitlines(keepends=True):
        # The latter are FFmpeg's, which may go on in a line of their own.
        if line.startswith(_KNOWN) or (line.startswith(b"[") and b" @ 0x" in line) or (known and line[:1] == b" "):
            known.append(line.decode("utf-8", "replace").strip())
        elif line.strip():
            os.write(terminal, line)
    return known
