"""Keeps the decoders' own messages off the terminal.

libjpeg, libpng and libtiff inside OpenCV write warnings to file descriptor 2, one line a damaged photograph: over a
million photographs that buries everything else. What they say is also the only sign that a JPEG's data ended early.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextmanager
def captured_chatter() -> Iterator[list[str]]:
    """Collects what C libraries write to descriptor 2 meanwhile; the list is filled when the block ends.

    Lines that no decoder writes (another thread's) go on to the real descriptor 2. A few microseconds a use.
    """
    lines: list[str] = []
    sink = _Sink.open()
    try:
        terminal = os.dup(2)
    except OSError:  # closed, as under a daemon: nothing to keep clean
        yield lines
        return
    try:
        os.dup2(sink, 2)
        try:
            yield lines
        finally:
            os.dup2(terminal, 2)
            if os.fstat(sink).st_size:
                lines += _drain(sink, terminal)
    finally:
        os.close(terminal)


def _drain(sink: int, terminal: int) -> list[str]:
    """The decoders' lines; the others are passed on."""
    os.lseek(sink, 0, os.SEEK_SET)
    text = os.read(sink, 1 << 16)
    os.ftruncate(sink, 0)
    os.lseek(sink, 0, os.SEEK_SET)
    known = []
    for line in text.splitlines(keepends=True):
        if line.startswith(_KNOWN) or (line.startswith(b"[") and b" @ 0x" in line):  # the latter are FFmpeg's
            known.append(line.decode("utf-8", "replace").strip())
        elif line.strip():
            os.write(terminal, line)
    return known
