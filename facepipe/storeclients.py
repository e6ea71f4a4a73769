"""Clients of object stores, and what their errors mean."""

from __future__ import annotations

import io
import os
import re
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")

OPTIONS = ("endpoint_override", "scheme", "region", "anonymous")
"""What may follow `?` in an object store's URI."""
CLIENT_ATTEMPTS = 6
CONNECTIONS = 128
"""At once and a process, to one store: two calls of 50 ms an image, and a worker still gets a thousand a second."""
_DENIED = re.compile(r"ACCESS_DENIED|HTTP status 40[13]|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|PERMISSION|UNAUTH")
_ABSENT = re.compile(r"NO_SUCH_BUCKET|NO_SUCH_KEY|HTTP status 404|NOT_FOUND")
_REFUSED = {
    r"ExpiredToken|EXPIRED": "the credentials have expired; renew them",
    r"SKEWED": "this machine's clock differs from the store's; set it right",
    r"HTTP status 301": "the bucket is in another region; set AWS_REGION to it",
    _DENIED.pattern: "access denied; check the credentials in the environment or the profile",
    r"HTTP status 400": "the store refuses the request (HTTP status 400); renew credentials that may have expired, "
    "or set AWS_REGION to the bucket's region",
}
"""What trying again does not help: in a store's words, and in ours. The first that is found counts."""
_LASTING = re.compile("|".join([*_REFUSED, _ABSENT.pattern, "INVALID_BUCKET"]))
_LOOK_UP_S = 0.5
_GS_RETRY_S = 15
"""For which Google's client tries again by itself."""


def is_lasting(error: OSError) -> bool:
    """Whether trying again is no use."""
    return isinstance(error, FileNotFoundError) or bool(_LASTING.search(_words(error)))


def is_absent(error: OSError) -> bool:
    """Whether the store says that there is no such object or bucket."""
    return isinstance(error, FileNotFoundError) or bool(_ABSENT.search(_words(error)))


def _words(error: OSError) -> str:
    """What the store said, without the key before it, which may hold any word."""
    text = str(error)
    return text[max(text.find("AWS Error"), 0) :]


def call(action: Callable[[], T]) -> T:
    """Does something that waits for a store. In the main thread a signal ends the waiting at once.

    Python's signal handlers run in the main thread, between Python's instructions: while that waits in a client, which
    may try again for minutes, none runs. So another thread waits, and is left to itself when a handler raises.
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


def _endpoint(options: Mapping[str, str]) -> str:
    """The address that was given for S3, where one was."""
    given = options.get("endpoint_override") or os.environ.get("AWS_ENDPOINT_URL_S3")
    return given or os.environ.get("AWS_ENDPOINT_URL") or ""


def at(options: Iterable[tuple[str, str]], scheme: str) -> str:
    """Where the store is, for messages: ` at HOST:PORT`, or nothing where no address was given."""
    given = dict(options).get("endpoint_override") or (_endpoint({}) if scheme == "s3" else "")
    host = urlsplit(given if "://" in given else f"//{given}").netloc.rpartition("@")[2]
    return f" at {host}" if host else ""


def explain(error: OSError, bucket: str, where: str, *, no_bucket: bool) -> str:
    """Half a sentence for a person. The store's words can hold request details: only an error's name is passed on."""
    text = _words(error)
    if no_bucket or "NO_SUCH_BUCKET" in text:
        return f"there is no bucket {bucket!r}, or it is in another region"
    if isinstance(error, FileNotFoundError) or "NO_SUCH_KEY" in text:
        return "there is no such object"
    for words, meaning in _REFUSED.items():
        if re.search(words, text):
            return meaning
    if said := _said(error):
        return f"{said}; try again later"
    what = "the network and the address" if where else "the network"
    return f"the store does not answer{where}; check {what}, or try again later"


def explain_pause(error: OSError, where: str) -> str:
    """What happened that will be tried again."""
    return f"{_said(error) or f'the store does not answer{where}'}; trying again"


def _said(error: OSError) -> str:
    text = _words(error)
    found = re.search(r"HTTP status \d+", text) or re.search(r"AWS Error (?!NETWORK_CONNECTION)[A-Z0-9_]+", text)
    return found[0] if found else ""


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


_clients: dict[tuple[Any, ...], Any] = {}
"""Process, bucket, options and what the environment says of stores -> client. Forked processes connect anew."""


def connect(scheme: str, root: str, options: dict[str, str]) -> Any:
    """The `pyarrow.fs.FileSystem` for a bucket, with the credentials of the environment's usual chain.

    One for all parts that a process makes: connecting anew would cost each of them several calls.
    """
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "GOOGLE_"))))
    key = (os.getpid(), scheme, root.partition("/")[0], tuple(sorted(options.items())), environment)
    if key not in _clients:
        anonymous = options.get("anonymous", "").lower() in {"1", "true", "yes"}
        _clients[key] = _connect_gs(options, anonymous) if scheme == "gs" else _connect_s3(root, options, anonymous)
    return _clients[key]


def _connect_gs(options: dict[str, str], anonymous: bool) -> Any:
    from datetime import timedelta

    from pyarrow import fs

    return fs.GcsFileSystem(
        anonymous=anonymous,
        endpoint_override=options.get("endpoint_override"),
        scheme=options.get("scheme"),
        retry_time_limit=timedelta(seconds=_GS_RETRY_S),
    )


def _connect_s3(root: str, options: dict[str, str], anonymous: bool) -> Any:
    import pyarrow as pa
    from pyarrow import fs

    # The client opens as many connections as Arrow has threads for input: 25 unless told otherwise.
    pa.set_io_thread_count(max(pa.io_thread_count(), CONNECTIONS))
    address = urlsplit(_endpoint(options))
    if address.netloc:
        options = {"scheme": address.scheme, **options, "endpoint_override": address.netloc}
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        # Otherwise the client asks the EC2 metadata service, and waits for it on machines that have none.
        region = "us-east-1" if "endpoint_override" in options else fs.resolve_s3_region(root.partition("/")[0])
    return fs.S3FileSystem(
        anonymous=anonymous,
        region=region,
        scheme=options.get("scheme"),
        endpoint_override=options.get("endpoint_override"),
        allow_delayed_open=True,  # small objects: one put instead of three requests
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=CLIENT_ATTEMPTS),
    )
