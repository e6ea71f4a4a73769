"""A folder in an object store: S3 and what speaks its protocol, or Google Cloud Storage, through `pyarrow.fs`.

Each request is tried again with growing pauses on 500, 503, lost connections, stalled and altered transfers. A write is
one put (a multipart upload where it is large): atomic by nature.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import random
import tempfile
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from facepipe.errors import FacepipeError, InputError, OutputError, StorageDown
from facepipe.storage.clients import OPTIONS, connect, host_of
from facepipe.storage.errors import answer_of
from facepipe.storage.places import OWN_PREFIX, READ_LIMIT_BYTES, Entry, Place, relative
from facepipe.storage.transfer import LargeObject, complete, refuse_altered, tell, waited_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from typing import BinaryIO

T = TypeVar("T")

_SPOOL_BYTES = 32 * 2**20
"""What an unfinished output keeps in memory before it goes to a temporary file."""
_WHOLE_BYTES = 8 * 2**20
"""A file for random access up to this size, such as a part, is fetched at once: each column and footer of it would be a
request of its own, and a few of those take longer to come than so many bytes."""
_PIECE_BYTES = 2 * 2**20
"""Of a larger file so much is fetched at once: records are read by some bytes, and columns lie beside each other."""
_PAUSES_S = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0)


class ObjectStore(Place):
    """A bucket, or a folder in it. Connects when it is first used; pickles without its connection.

    Its many methods are those of `Place`, and what they share.
    """

    is_local = False

    def __init__(self, scheme: str, root: str, options: tuple[tuple[str, str], ...] = ()) -> None:
        self.scheme = scheme
        self.root = root
        self.options = options
        query = "&".join(f"{name}={value}" for name, value in options)
        self.uri = f"{scheme}://{root}" + (f"?{query}" if query else "")
        self._client: Any = None

    @classmethod
    def parse(cls, uri: str) -> ObjectStore:
        """Reads `s3://bucket/folder?endpoint_override=...`.

        Raises:
            InputError: it names no bucket, carries credentials, leads outside, or has an unknown option.
        """
        scheme, _, rest = uri.partition("://")
        path, _, query = rest.partition("?")
        bucket, _, folder = path.partition("/")
        if "@" in bucket or ":" in bucket:
            raise InputError(
                f"this {scheme}:// URI carries credentials; put them into the environment or a profile instead"
            )
        if not bucket:
            raise InputError(f"{scheme}:// names no bucket; give {scheme}://bucket/folder")
        options = tuple(parse_qsl(query, keep_blank_values=True))
        for name, _value in options:
            if name not in OPTIONS:
                raise InputError(
                    f"this {scheme}:// URI can't have the option {name!r}; it can have {', '.join(OPTIONS)}"
                )
        inner = relative(folder.strip("/"))
        return cls(scheme, f"{bucket}/{inner}" if inner else bucket, options)

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str, str, tuple[tuple[str, str], ...]]]:
        """Connections stay behind."""
        return ObjectStore, (self.scheme, self.root, self.options)

    @property
    def client(self) -> Any:
        """The `pyarrow.fs.FileSystem`."""
        if self._client is None:
            self._client = self._attempt("", InputError, lambda: connect(self.scheme, self.root, dict(self.options)))
        return self._client

    def key(self, path: str) -> str:
        """Bucket and key of `path`."""
        inner = relative(path)
        return f"{self.root}/{inner}" if inner else self.root

    def _attempt(self, path: str, kind: type[FacepipeError], action: Callable[[], T]) -> T:
        """Does something that may fail for a while; a lasting failure becomes one line."""
        self.key(path)  # refuses a path that leads outside before anything is connected
        if "//" in path or "/./" in path:  # listed as it is; cleaned, it would be another object's
            where = f"{self.scheme}://{self.root}/{path}"
            raise kind(f"can't read {where}: a key with `//` or `/./` in it can't be asked for; rename the object")
        bucket, at = self.root.partition("/")[0], host_of(self.options, self.scheme)
        for number, pause_s in enumerate((*_PAUSES_S, None)):
            try:
                return waited_for(action)
            except OSError as error:
                answer = answer_of(error, bucket, at)
                if pause_s is None or answer.lasting:
                    raise self._explained(path, kind, error) from None
                if number and threading.current_thread() is threading.main_thread():
                    tell(f"{self}: {answer.text}; trying again")
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all come back at once
        raise AssertionError

    def _explained(self, path: str, kind: type[FacepipeError], error: OSError) -> FacepipeError:
        bucket, at = self.root.partition("/")[0], host_of(self.options, self.scheme)
        no_bucket = isinstance(error, FileNotFoundError) and not self._has_bucket(bucket)
        answer = answer_of(error, bucket, at, no_bucket=no_bucket)
        verb = "write" if kind is OutputError else "read"
        if kind is InputError and not answer.absent:
            kind = StorageDown
        advice = "" if answer.lasting else "; check the network and the address, or try again later"
        return kind(f"can't {verb} {self.scheme}://{self.key(path)}: {answer.text}{advice}")

    def _has_bucket(self, bucket: str) -> bool:
        from pyarrow import fs

        try:
            return bool(self.client.get_file_info([bucket])[0].type != fs.FileType.NotFound)
        except OSError:
            return True

    def open(self, path: str) -> Any:
        """The client's own file, whose size is known."""
        return self._attempt(path, InputError, lambda: self.client.open_input_file(self.key(path)))

    def read(self, path: str, max_bytes: int = READ_LIMIT_BYTES, opened: Any = None) -> bytes:
        """A whole object; `opened` is what `open` gave, where that was called before."""
        first, seen = [opened or self.open(path)], set[bytes]()

        def action() -> bytes:
            with first.pop() if first else self.client.open_input_file(self.key(path)) as file:
                size = file.size()
                if size > max_bytes:
                    where = f"{self.scheme}://{self.key(path)}"
                    raise InputError(f"can't read {where}: it has {size:,} bytes, {max_bytes:,} are allowed")
                data = complete(file.read(), size)
                refuse_altered(hashlib.md5(data, usedforsecurity=False), file.metadata(), seen)
                return data

        return self._attempt(path, InputError, action)

    def copy_to(self, path: str, local: BinaryIO) -> None:
        """Writes a large object into a local file, a piece after the other.

        Raises:
            OSError: the local file can't be written.
        """
        seen = set[bytes]()

        def action() -> OSError | None:
            local.seek(0)
            local.truncate()
            with self.client.open_input_file(self.key(path)) as file:
                size, found = file.size(), hashlib.md5(usedforsecurity=False)
                for offset in range(0, size, _PIECE_BYTES):
                    piece = self._read_at(path, file, offset, min(_PIECE_BYTES, size - offset))
                    found.update(piece)
                    try:
                        local.write(piece)
                    except OSError as error:  # the local disk's, which no request is tried again for
                        return error
                refuse_altered(found, file.metadata(), seen)
            return None

        if (error := self._attempt(path, InputError, action)) is not None:
            raise error

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset` on."""

        def action() -> bytes:
            with self.client.open_input_file(self.key(path)) as file:
                wanted = max(0, min(length, file.size() - offset))
                return complete(file.read_at(wanted, offset), wanted) if wanted else b""

        return self._attempt(path, InputError, action)

    def _read_at(self, path: str, file: Any, offset: int, length: int) -> bytes:
        """Bytes of an object that is open."""
        return self._attempt(path, InputError, lambda: complete(file.read_at(length, offset), length))

    def exists(self, path: str = "") -> bool:
        """Whether there is such an object, or any object below such a folder."""
        from pyarrow import fs

        info = self._attempt(path, InputError, lambda: self.client.get_file_info([self.key(path)])[0])
        return bool(info.type != fs.FileType.NotFound)

    def size(self, path: str) -> int:
        """An object's size in bytes."""
        with self.open(path) as file:
            return int(file.size())

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object in the folder `prefix` and below, sorted; fetched in pages of 1,000."""
        from pyarrow import fs

        selector = fs.FileSelector(self.key(prefix), recursive=True, allow_not_found=True)
        found = self._attempt(prefix, InputError, lambda: self.client.get_file_info(selector))
        if not found and not self._has_bucket(self.root.partition("/")[0]):
            raise self._explained(prefix, InputError, FileNotFoundError())
        start = len(self.root) + 1
        entries = [Entry(info.path[start:], info.size) for info in found if info.type == fs.FileType.File]
        shown = [entry for entry in entries if not entry.path.rpartition("/")[2].startswith(OWN_PREFIX)]
        yield from sorted(shown, key=lambda entry: entry.path)

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002 - a put is always durable
        """One put."""
        self._put(path, data)

    def _put(self, path: str, data: bytes | mmap.mmap) -> None:
        def action() -> None:
            # One call for all bytes: pyarrow finishes the upload of a stream that is dropped, so an exception between
            # two writes would publish half an object.
            with self.client.open_output_stream(self.key(path)) as file:
                file.write(data)

        self._attempt(path, OutputError, action)

    @contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        """Collects the bytes (in memory, then in a temporary file) and puts them when the block ends well."""
        try:
            with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
                yield spool  # type: ignore[misc]  # a BinaryIO in all but name
                size = spool.seek(0, os.SEEK_END)
                spool.seek(0)
                if size <= _SPOOL_BYTES:
                    self._put(path, spool.read())
                    return
                with mmap.mmap(spool.fileno(), size, access=mmap.ACCESS_READ) as whole:
                    self._put(path, whole)
        except OSError as error:
            raise OutputError(
                f"can't gather {self.scheme}://{self.key(path)} in {tempfile.gettempdir()}: {error.strerror}; "
                "set TMPDIR to a folder with room"
            ) from None

    def delete(self, path: str) -> None:
        """Removes an object; one that is not there is no error."""

        def action() -> None:
            try:
                self.client.delete_file(self.key(path))
            except FileNotFoundError:
                return

        self._attempt(path, OutputError, action)

    def open_input(self, path: str) -> Any:
        """A file for random access: a small object is fetched at once, a larger one in pieces."""
        import pyarrow as pa

        file = self.open(path)
        if file.size() <= _WHOLE_BYTES:
            return pa.BufferReader(self.read(path, opened=file))
        large = LargeObject(partial(self._read_at, path, file), file.size(), file.close)
        return pa.PythonFile(io.BufferedReader(large, _PIECE_BYTES), mode="r")

    def join(self, *parts: str) -> ObjectStore:
        """A folder further down."""
        return ObjectStore(self.scheme, self.key("/".join(parts)), self.options)

    def local_path(self, path: str = "") -> str:
        """There is none."""
        raise InputError(f"{self.scheme}://{self.key(path)} is no local file; copy it to a local disk first")

    def clean_leftovers(self) -> int:
        """Nothing to do: what was not put whole is not there."""
        return 0


def fetch_ahead(
    store: ObjectStore, paths: Iterable[str], ahead: int, bound_bytes: int, max_bytes: int
) -> Iterator[tuple[str, bytes | InputError]]:
    """See `read_ahead`. A file is opened, which tells its size, and fetched when there is room for so many bytes."""
    pool = ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="read-ahead")
    coming = iter(paths)
    opening: deque[tuple[str, Future[Any]]] = deque()
    fetching: deque[tuple[str, int, Future[bytes | InputError]]] = deque()
    held = 0
    try:
        while True:
            for path in islice(coming, ahead - len(opening) - len(fetching)):
                opening.append((path, pool.submit(_outcome, store.open, path)))
            while opening and (not fetching or opening[0][1].done()):
                path, file = opening[0][0], opening[0][1].result()
                size = 0 if isinstance(file, InputError) else file.size()
                if fetching and held + size > bound_bytes:
                    break
                opening.popleft()
                held += size
                fetching.append((path, size, pool.submit(_fetch, store, path, file, max_bytes)))
                del file
            if not fetching:
                return
            path, size, fetched = fetching.popleft()
            yield path, fetched.result()
            del fetched
            held -= size
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _fetch(store: ObjectStore, path: str, file: Any, max_bytes: int) -> bytes | InputError:
    return file if isinstance(file, InputError) else _outcome(store.read, path, max_bytes, file)


def _outcome(action: Callable[..., T], *given: Any) -> T | InputError:
    try:
        return action(*given)
    except InputError as error:
        return error
