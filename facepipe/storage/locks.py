"""One run at a time for a share of an output folder."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from facepipe.errors import OutputError
from facepipe.storage.errors import output_error
from facepipe.storage.local import NO_LOCKS
from facepipe.storage.places import OWN_PREFIX
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import BaseFileLock

    from facepipe.storage.places import Place

_WAIT_S = 0.2
"""For a run that is just ending."""


@contextmanager
def share_lock(root: Place, k: int = 1, n: int = 1) -> Iterator[None]:
    """Holds share `k` of `n` of a local output folder; on an object store it does nothing.

    There two runs of one share write the same bytes, each file in one put. The lock is the kernel's: it ends with its
    process, however that ends. Where the file system has none, a file that names its process takes its place.

    Raises:
        OutputError: another process holds it (named with its machine), or the folder can't be written.
    """
    if not root.is_local:
        yield
        return
    from filelock import FileLock, SoftFileLock, Timeout

    name = root.local_path(f"{OWN_PREFIX}{k}-of-{n}.lock")
    lock: BaseFileLock = FileLock(name, timeout=_WAIT_S, fallback_to_soft=False)
    advice = "wait until it ends, or give another output"
    try:
        os.makedirs(root.local_path(), exist_ok=True)
        try:
            lock.acquire()
            _sign(name)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            os.unlink(name)
            name = root.local_path(f"{OWN_PREFIX}{k}-of-{n}.held")
            advice += f"; if no such process runs, remove {printable(name)} (this file system has no locks)"
            lock = SoftFileLock(name, timeout=_WAIT_S)
            lock.acquire()
    except Timeout:
        raise OutputError(f"another run ({_signature(name)}) is writing {printable(str(root))}; {advice}") from None
    except OSError as error:
        raise output_error(name if error.errno == errno.ELOOP else root.local_path(), error) from None
    try:
        yield
    finally:
        if isinstance(lock, FileLock):
            with suppress(FileNotFoundError):  # somebody has removed the folder
                os.unlink(name)
        lock.release()


def _sign(name: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.write(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    os.close(fd)


def _signature(name: str) -> str:
    """Who holds a lock."""
    try:
        with open(name, "rb") as file:
            return " ".join(file.read(500).decode("utf-8", "replace").split()) or "unknown"
    except OSError:
        return "unknown"
