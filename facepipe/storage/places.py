"""What a place is: a root below which files are read, written, listed and deleted, local or in an object store."""

from __future__ import annotations

import posixpath
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facepipe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO

OWN_PREFIX = ".facepipe-"
"""How the names of unfinished files and locks begin; listings leave them out."""
READ_LIMIT_BYTES = 2**31
"""`Place.read` refuses larger files unless told otherwise: what is larger is read through `open_input`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a listing: `path` is posix and relative to the place, `size` in bytes (0 where it can't be told)."""

    path: str
    size: int


def relative(path: str) -> str:
    """`path` without `.` and doubled slashes; the place itself is "".

    Raises:
        InputError: the path is absolute or leads outside.
    """
    if not path:
        return ""
    clean = posixpath.normpath(path)
    if clean.startswith(("/", "../")) or clean == ".." or "\0" in clean:
        raise InputError(f"{path!r} leads outside its folder; give a path relative to it, without `..`")
    return "" if clean == "." else clean


class Place(ABC):
    """A root for reading and writing. Small, picklable, and free of open connections until it is used.

    It has as many methods as there are things that are done with files: each of them differs between disk and store.

    Names that are not UTF-8 are carried with surrogate escapes. Every method that reads raises `InputError`, every
    method that writes `OutputError`, each with one line that names the file and says what to do.
    """

    uri: str
    """What `place` takes to make this place again."""
    is_local: bool

    @abstractmethod
    def read(self, path: str, max_bytes: int = READ_LIMIT_BYTES) -> bytes:
        """A whole file; an `InputError` where it is larger than `max_bytes` or no regular file."""

    @abstractmethod
    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset` on (fewer at the file's end)."""

    @abstractmethod
    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """A whole file at once: readers see the old bytes or the new ones, never a mixture.

        `durable` also waits for the disk, so that a machine that loses power keeps the file; leave it out for
        thousands of small files that are easily made again.
        """

    @abstractmethod
    def exists(self, path: str = "") -> bool:
        """Whether there is such a file or folder."""

    @abstractmethod
    def size(self, path: str) -> int:
        """A file's size in bytes."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every file in the folder `prefix` and below, sorted by path; nothing where there is no such folder."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Removes a file; one that is not there is no error."""

    @abstractmethod
    def open_input(self, path: str) -> Any:
        """A `pyarrow.NativeFile` for random access; close it, or use it in a `with`."""

    def copy_to(self, path: str, local: BinaryIO) -> None:
        """Writes a file, which may be large, into a local one.

        Raises:
            OSError: the local file can't be written.
        """
        with self.open_input(path) as source:
            shutil.copyfileobj(source, local)

    @abstractmethod
    def open_output(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to write in a `with`: it appears, whole, when the block ends without an exception."""

    @abstractmethod
    def join(self, *parts: str) -> Place:
        """A place further down. Never further up."""

    @abstractmethod
    def local_path(self, path: str = "") -> str:
        """The path for functions that open files themselves; an `InputError` on an object store."""

    @abstractmethod
    def clean_leftovers(self) -> int:
        """Removes unfinished files of dead processes anywhere below, and returns how many: call it at a run's start."""

    def __str__(self) -> str:
        """For messages: where it is, without connection options."""
        return self.uri.partition("?")[0] if not self.is_local else self.uri

    def __repr__(self) -> str:
        """`place('s3://bucket/faces')`."""
        return f"place({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """Two places are equal where their URIs are."""
        return isinstance(other, Place) and self.uri == other.uri

    def __hash__(self) -> int:
        """By URI."""
        return hash(self.uri)
