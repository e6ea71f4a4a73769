"""Local folders and object stores behind one face.

`place(uri)` gives a `Place`: a root below which files are read, written, listed and deleted by posix paths relative to
it. A write is whole or not there at all. A path that leads outside the root is refused. Credentials come from the
environment's usual chain only, and never stand in a URI or a message.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from facepipe.errors import InputError
from facepipe.storage.local import LocalFolder
from facepipe.storage.locks import share_lock
from facepipe.storage.places import READ_LIMIT_BYTES, Entry, Place, relative
from facepipe.text import to_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Iterator

__all__ = ["Entry", "Place", "file_at", "in_order", "place", "read_ahead", "relative", "share_lock"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def place(uri_or_path: str | os.PathLike[str]) -> Place:
    """The place that a local path or a `file://`, `s3://` or `gs://` URI names. Nothing is opened or made yet.

    An object store's URI may end in `?endpoint_override=HOST:PORT&scheme=http&region=NAME&anonymous=true`; the
    endpoint is also taken from `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`.

    Raises:
        InputError: it is empty, of another scheme, or carries credentials.
        UsageError: it is neither a text nor a path.
    """
    uri_or_path = to_path("a folder", uri_or_path)
    if not uri_or_path:
        raise InputError("a path is empty; give a folder or a URI such as s3://bucket/folder")
    scheme, separator, rest = uri_or_path.partition("://")
    if not separator:
        return LocalFolder(uri_or_path)
    if scheme == "file":
        return LocalFolder(rest)
    if scheme in {"s3", "gs"}:
        from facepipe.storage.cloud import ObjectStore

        return ObjectStore.parse(uri_or_path)
    raise InputError(f"{scheme}:// is no storage that is known here; give a local path, s3:// or gs://")


def file_at(uri_or_path: str) -> tuple[Place, str]:
    """The place that a single file lies in, and its name there; options at a URI's end are the place's."""
    path, mark, options = uri_or_path.partition("?") if "://" in uri_or_path else (uri_or_path, "", "")
    name = path.rpartition("/")[2]
    return place((path.removesuffix(name) or ".") + mark + options), name


def in_order(action: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Generator[Result, None, None]:
    """What an action gives for each item, in order, up to `ahead` of them under way at once in threads."""
    coming = iter(items)
    pool = ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="in-order")
    try:
        under_way = deque(pool.submit(action, item) for item in islice(coming, ahead))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(pool.submit(action, item) for item in islice(coming, 1))
            yield result
            del result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def read_ahead(
    root: Place,
    paths: Iterable[str],
    ahead: int = 128,
    bound_bytes: int = 32 * 2**20,
    max_bytes: int = READ_LIMIT_BYTES,
) -> Iterator[tuple[str, bytes | InputError]]:
    """Reads files in order: each with its bytes or with the error that reading it gave.

    On an object store up to `ahead` files are opened or fetched at once, so that latency is hidden, while no more than
    `bound_bytes` are held (one file, where that alone is larger). Local files are read one after the other.
    """
    if root.is_local:
        return ((path, _read(root, path, max_bytes)) for path in paths)
    from facepipe.storage.cloud import ObjectStore, fetch_ahead

    return fetch_ahead(cast("ObjectStore", root), paths, ahead, bound_bytes, max_bytes)


def _read(root: Place, path: str, max_bytes: int) -> bytes | InputError:
    try:
        return root.read(path, max_bytes)
    except InputError as error:
        return error
