"""Clients of object stores: `pyarrow.fs`, with the credentials and addresses of the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OPTIONS = ("endpoint_override", "scheme", "region", "anonymous")
"""What may follow `?` in an object store's URI."""
CONNECTIONS = 128
"""At once and a process, to one store: two calls of 50 ms an image, and a worker still gets a thousand a second."""
_SILENT_S = 10
"""For which a store may fall silent, or not take a connection: a busy one answers late, and later if asked again."""
_GS_RETRY_S = 1
"""For which Google's client tries again by itself."""


def _endpoint(options: Mapping[str, str]) -> str:
    """The address that was given for S3, where one was."""
    given = options.get("endpoint_override") or os.environ.get("AWS_ENDPOINT_URL_S3")
    return given or os.environ.get("AWS_ENDPOINT_URL") or ""


def host_of(options: Iterable[tuple[str, str]], scheme: str) -> str:
    """Where the store is, for messages: ` at HOST:PORT`, or nothing where no address was given."""
    given = dict(options).get("endpoint_override") or (_endpoint({}) if scheme == "s3" else "")
    host = urlsplit(given if "://" in given else f"//{given}").netloc.rpartition("@")[2]
    return f" at {host}" if host else ""


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
        request_timeout=_SILENT_S,
        connect_timeout=_SILENT_S,
        allow_delayed_open=True,  # small objects: one put instead of three requests
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),  # `cloud` tries again
    )
