"""Ctrl-C and SIGTERM end a command at once, wherever it is.

An exception would not do: Python drops it where it is raised in a destructor or a callback, as TensorFlow and JAX have
many, and the handler that raises it waits for a step in C++ to end. Python writes the signal's number to a pipe right
away; a thread reads it and ends the process. Files are written whole, so nothing is lost but the epoch under way.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

EXIT_CODE = 130


def end_when_interrupted(message: str) -> None:
    """From here on SIGINT and SIGTERM print a line to stderr and end the process with 130. For the main thread."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    terminal = os.dup(2)  # descriptor 2 is elsewhere while libraries that chatter are loaded
    threading.Thread(target=_wait, args=(reader, terminal, message), name="interruption", daemon=True).start()


def _wait(reader: int, terminal: int, message: str) -> None:
    ours = {signal.SIGINT, signal.SIGTERM}
    while not ours.intersection(os.read(reader, 64)):
        pass
    with suppress(OSError):
        os.write(terminal, f"{message}\n".encode())
    os._exit(EXIT_CODE)
