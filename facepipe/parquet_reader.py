"""Opens Parquet files that facepipe wrote, their footers checked; whatever is wrong with one is a `DamagedFile`."""

from __future__ import annotations

import hashlib
import os
import struct
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.errors import DamagedFile, InputError
from facepipe.parquet_writer import DIGEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.storage import Place

_TAIL = struct.Struct("<I4s")
_FETCHED_BYTES = 2**24
_READ_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError, struct.error)


@contextmanager
def opened(place: Place, path: str, *, held: bool = False) -> Iterator[pq.ParquetFile]:
    """A Parquet file to read, every page's checksum verified.

    Args:
        place: Where.
        path: The file, below it.
        held: Keeps it open for the next time: the footer of a plan of a thousand parts takes longer than a part of it.
            What is in an object store must not change meanwhile.

    Raises:
        DamagedFile: it is missing, cut or changed, or what is done with it in the `with` block does not go.
    """
    advice = "run the command that makes it again, only this piece is made anew"
    try:
        if held:
            yield _hold(place, path, _stamp(place, path))
        else:
            with place.open_input(path) as source:
                yield _checked(source)
    except InputError:
        if place.exists(path):
            raise
        raise DamagedFile(f"{place}/{path} is missing; {advice}") from None
    except _READ_ERRORS as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFile(f"{place}/{path} is damaged ({why}); {advice}") from error


@lru_cache(maxsize=1)
def _hold(place: Place, path: str, _stamp: tuple[int, ...]) -> pq.ParquetFile:
    """An open file, kept; from an object store its whole content, unless it is large."""
    fetched = not place.is_local and place.size(path) <= _FETCHED_BYTES
    return _checked(pa.BufferReader(place.read(path)) if fetched else place.open_input(path))


def _stamp(place: Place, path: str) -> tuple[int, ...]:
    """Tells a local file from the one that takes its name later."""
    if not place.is_local:
        return ()
    try:
        found = os.stat(place.local_path(path))
    except OSError:
        return ()  # opening it says why
    return found.st_ino, found.st_size, found.st_mtime_ns


def _checked(source: pa.NativeFile) -> pq.ParquetFile:
    """Page checksums do not cover the footer, which says what the pages mean."""
    size = source.size()
    length, magic = _TAIL.unpack(source.read_at(_TAIL.size, max(size - _TAIL.size, 0)))
    if magic != b"PAR1" or length + _TAIL.size + DIGEST_BYTES > size:
        raise ValueError("it does not end as a Parquet file does")
    end = source.read_at(DIGEST_BYTES + length + _TAIL.size, size - DIGEST_BYTES - length - _TAIL.size)
    if hashlib.sha256(end[DIGEST_BYTES:]).digest() != end[:DIGEST_BYTES]:
        raise ValueError("its footer has another checksum")
    return pq.ParquetFile(source, page_checksum_verification=True)
