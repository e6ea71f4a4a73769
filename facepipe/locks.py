"""One run at a time for a share of an output folder.

The lock is the kernel's (`flock`): it ends with its process, however that ends, so a dead run is never in the way.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from facepipe.errors import OutputError
from facepipe.folders import OWN_PREFIX, try_lock
from facepipe.systemerrors import output_error, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.storage import Place


@contextmanager
def share_lock(root: Place, k: int = 1, n: int = 1) -> Iterator[None]:
    """Holds share `k` of `n` of a local output folder; on an object store it does nothing.

    There two runs of one share write the same bytes, each file in one put.

    Raises:
        OutputError: another process holds it (named with its machine), or the folder can't be written.
    """
    if not root.is_local:
        yield
        return
    name = root.local_path(f"{OWN_PREFIX}{k}-of-{n}.lock")
    try:
        os.makedirs(root.local_path(), exist_ok=True)
        fd = _take(name, str(root))
    except OSError as error:
        raise output_error(root.local_path(), error) from None
    try:
        yield
    finally:
        with suppress(FileNotFoundError):  # somebody has removed the folder
            os.unlink(name)
        os.close(fd)


def _take(name: str, folder: str) -> int:
    while True:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not try_lock(fd):
            holder = os.read(fd, 500).decode("utf-8", "replace").strip() or "unknown"
            os.close(fd)
            raise OutputError(
                f"another run ({holder}) is writing {shown(folder)}; wait until it ends, or give another output"
            )
        if _is_still_there(fd, name):
            os.ftruncate(fd, 0)
            os.write(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            return fd
        os.close(fd)


def _is_still_there(fd: int, name: str) -> bool:
    """Whether the locked file is the one of that name: its last holder removes it at the end."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(name))
    except FileNotFoundError:
        return False
