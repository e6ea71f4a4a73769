"""A folder on a local disk (or a network file system mounted as one)."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from facepipe.errors import FacepipeError, InputError
from facepipe.storage.errors import input_error, output_error
from facepipe.storage.places import OWN_PREFIX, READ_LIMIT_BYTES, Entry, Place, relative
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_UNFINISHED = ".tmp"
_LEFT_S = 3600
"""Without locks, an unfinished file that was not written for so long is taken for a dead process's."""
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


def try_lock(fd: int) -> bool | None:
    """Takes the file's lock: False where another process holds it, None where the file system has no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in NO_LOCKS else False
    return True


class LocalFolder(Place):
    """A local folder; `root` is used as given, so messages show the path as the user wrote it.

    Its many methods are those of `Place`.
    """

    is_local = True

    def __init__(self, root: str) -> None:
        self.root = self.uri = root if root == "/" else root.rstrip("/")

    def local_path(self, path: str = "") -> str:
        """The path for functions that open files themselves."""
        inner = relative(path)
        return os.path.join(self.root, inner) if inner else self.root

    def join(self, *parts: str) -> LocalFolder:
        """A folder further down."""
        return LocalFolder(self.local_path("/".join(parts)))

    def read(self, path: str, max_bytes: int = READ_LIMIT_BYTES) -> bytes:
        """A whole regular file, as long as it was when it was opened (one that grows meanwhile is cut there)."""
        return self._read(path, 0, None, max_bytes)

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset` on."""
        return self._read(path, offset, length, length)

    def _read(self, path: str, offset: int, length: int | None, max_bytes: int) -> bytes:
        name = self.local_path(path)
        try:
            # Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                length = self._checked_size(fd, name, max_bytes) if length is None else length
                return _read_fully(fd, offset, length)
            finally:
                os.close(fd)
        except OSError as error:
            raise input_error(name, error) from None

    @staticmethod
    def _checked_size(fd: int, name: str, max_bytes: int) -> int:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"can't read {printable(name)}: it is no regular file")
        if found.st_size > max_bytes:
            raise InputError(f"can't read {printable(name)}: it has {found.st_size:,} bytes, {max_bytes:,} are allowed")
        return found.st_size

    def exists(self, path: str = "") -> bool:
        """Whether there is such a file or folder; a broken link is neither."""
        return os.path.exists(self.local_path(path))

    def size(self, path: str) -> int:
        """A file's size in bytes."""
        name = self.local_path(path)
        try:
            return os.stat(name).st_size
        except OSError as error:
            raise input_error(name, error) from None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every file that is no folder, sorted by path; links are followed, circles are not entered."""
        start = relative(prefix)
        if os.path.isdir(self.local_path(start)):
            yield from self._walk(start, ())

    def _walk(self, folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        name = self.local_path(folder)
        try:
            found = os.stat(name)
            here = (found.st_dev, found.st_ino)
            if here in above:
                return
            with os.scandir(name) as scan:
                # A folder sorts as `name/`: so the paths come sorted as a whole, as an object store lists them.
                entries = sorted((entry.name + "/" * is_folder(entry), entry) for entry in scan)
        except OSError as error:
            raise input_error(name, error) from None
        for key, entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if key.endswith("/"):
                yield from self._walk(path, (*above, here))
            elif not entry.name.startswith(OWN_PREFIX):
                yield Entry(path, _entry_size(entry))

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Writes beside the file under another name, then renames."""
        with self._replacement(path, durable) as file:
            file.write(data)

    def open_output(self, path: str) -> Any:
        """A file that takes its name when the block ends without an exception."""
        return self._replacement(path, durable=True)

    @contextmanager
    def _replacement(self, path: str, durable: bool) -> Iterator[BinaryIO]:
        name = self.local_path(path)
        try:
            unfinished, fd = _create_beside(name)
        except OSError as error:
            raise output_error(name, error) from None
        try:
            with os.fdopen(fd, "wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(fd)
                os.replace(unfinished, name)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(unfinished)
            if isinstance(error, OSError) and not isinstance(error, FacepipeError):
                raise output_error(name, error) from None
            raise

    def delete(self, path: str) -> None:
        """Removes a file; one that is not there is no error."""
        name = self.local_path(path)
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise output_error(name, error) from None

    def open_input(self, path: str) -> Any:
        """A `pyarrow.OSFile`."""
        import pyarrow as pa

        name = self.local_path(path)
        try:
            return pa.OSFile(os.fsencode(name))
        except OSError as error:
            raise input_error(name, error) from None

    def clean_leftovers(self) -> int:
        """Removes unfinished files whose writer is dead: the kernel has dropped their locks."""
        found = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                if name.startswith(OWN_PREFIX) and name.endswith(_UNFINISHED):
                    found += _remove_if_dead(os.path.join(folder, name))
        return found


def _read_fully(fd: int, offset: int, length: int) -> bytes:
    if offset:
        os.lseek(fd, offset, os.SEEK_SET)
    data = os.read(fd, length)
    if len(data) == length or not data:
        return data
    pieces, missing = [data], length - len(data)
    while missing and (piece := os.read(fd, missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False


def _entry_size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a broken or circular link: reading it tells
        return 0


def _create_beside(name: str) -> tuple[str, int]:
    """A new, locked, empty file in `name`'s folder, which is made where it is missing."""
    folder, made = os.path.dirname(name) or ".", False
    if os.path.basename(folder).startswith(OWN_PREFIX) and os.path.islink(folder):
        raise OSError(errno.ELOOP, "a symbolic link")
    while True:
        unfinished = os.path.join(folder, f"{OWN_PREFIX}{os.getpid()}-{secrets.token_hex(4)}{_UNFINISHED}")
        try:
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if made:  # a folder that takes no files, such as /proc
                raise
            os.makedirs(folder, exist_ok=True)
            made = True
            continue
        # A cleaner may have come between the two calls: then it has removed the file, and another one is made.
        if try_lock(fd) is not False and os.fstat(fd).st_nlink:
            return unfinished, fd
        os.close(fd)


def _remove_if_dead(name: str) -> bool:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        locked = try_lock(fd)
        if locked is False or (locked is None and time.time() - os.fstat(fd).st_mtime < _LEFT_S):
            return False
        os.unlink(name)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
