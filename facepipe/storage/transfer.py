"""How bytes come from a store: waited for in a way that signals end, whole, unaltered, and in pieces."""

from __future__ import annotations

import base64
import io
import os
import sys
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LOOK_UP_S = 0.5


class LargeObject(io.RawIOBase):
    """An object for random access, each read of which is one request: to be read through a buffer.

    Args:
        read_at: Gives bytes from an offset on, all that were asked for.
        size: In bytes.
        let_go: Is called when the file is closed.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], size: int, let_go: Callable[[], None]) -> None:
        self._read_at = read_at
        self._size = size
        self._let_go = let_go
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Where the next read begins."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """As much as there is and fits."""
        length = max(min(len(buffer), self._size - self._at), 0)
        buffer[:length] = self._read_at(self._at, length) if length else b""
        self._at += length
        return length

    def close(self) -> None:
        """Lets go of the object."""
        if not self.closed:
            self._let_go()
        super().close()


def waited_for(action: Callable[[], T]) -> T:
    """Does something that waits for a store. In the main thread a signal ends the waiting at once.

    Python's signal handlers run in the main thread, between Python's instructions: while that waits in a client, which
    may take minutes, none runs. So another thread waits, and is left to itself when a handler raises.
    """
    if threading.current_thread() is not threading.main_thread():
        return action()
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(action())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="store", daemon=True).start()
    while True:
        # A signal that comes just before this thread falls asleep would not wake it: it looks up now and then.
        if wait([outcome], _LOOK_UP_S).done:
            return outcome.result()


_told: set[str] = set()


def tell(message: str) -> None:
    """Each once a process: who waits for minutes is to know for what."""
    if message not in _told:
        _told.add(message)
        print(f"facepipe: {message}", file=sys.stderr, flush=True)


def complete(buffer: Any, size: int) -> bytes:
    """The bytes read, where none are missing; a store that closed the connection early is asked again."""
    data: bytes = bytes(buffer)
    if len(data) != size:
        raise OSError(f"{len(data)} of {size} bytes came")
    return data


def refuse_altered(found: Any, metadata: dict[str, bytes], seen: set[bytes]) -> None:
    """Whether the bytes that came have the MD5 that the store tells; altered on their way, they are asked for again.

    An S3 ETag is none where a key of the customer's encrypts: what comes twice alike is what lies there.

    Args:
        found: The MD5 of what came.
        metadata: The store's, of the object.
        seen: What came before; gets what came now.

    Raises:
        OSError: They have another one.
    """
    told = metadata.get("ETag", b"").strip(b'"').decode("ascii", "replace").lower()
    if md5 := metadata.get("md5Hash"):
        told = base64.b64decode(md5).hex()
    if len(told) == len(found.hexdigest()) and found.hexdigest() != told and found.digest() not in seen:
        seen.add(found.digest())
        raise OSError("the bytes were altered on their way")
