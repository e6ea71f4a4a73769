"""Clients of object stores, and what their errors mean."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

OPTIONS = ("endpoint_override", "scheme", "region", "anonymous")
"""What may follow `?` in an object store's URI."""
CLIENT_ATTEMPTS = 6
CONNECTIONS = 64
"""At once and a process, to one store."""
_DENIED = re.compile(r"ACCESS_DENIED|HTTP status 40[13]|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|PERMISSION|UNAUTH")
_LASTING = re.compile(rf"{_DENIED.pattern}|NO_SUCH_BUCKET|NO_SUCH_KEY|HTTP status 40[04]|NOT_FOUND|INVALID_BUCKET")


def is_lasting(error: OSError) -> bool:
    """Whether trying again is no use."""
    return isinstance(error, FileNotFoundError) or bool(_LASTING.search(str(error)))


def explain(error: OSError, bucket: str, *, no_bucket: bool) -> str:
    """Half a sentence for a person. The store's words can hold request details: only an error's name is passed on."""
    text = str(error)
    if no_bucket or "NO_SUCH_BUCKET" in text:
        return f"there is no bucket {bucket!r}, or it is in another region"
    if isinstance(error, FileNotFoundError) or "NO_SUCH_KEY" in text:
        return "there is no such object"
    if _DENIED.search(text):
        return "access denied; check the credentials in the environment or the profile"
    said = re.search(r"HTTP status \d+", text) or re.search(r"AWS Error [A-Z0-9_]+", text)
    return f"{said[0] if said else 'the store does not answer'}; try again later"


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
        retry_time_limit=timedelta(seconds=60),
    )


def _connect_s3(root: str, options: dict[str, str], anonymous: bool) -> Any:
    import pyarrow as pa
    from pyarrow import fs

    # The client opens as many connections as Arrow has threads for input: 25 unless told otherwise.
    pa.set_io_thread_count(max(pa.io_thread_count(), CONNECTIONS))
    endpoint = options.get("endpoint_override") or os.environ.get("AWS_ENDPOINT_URL_S3")
    address = urlsplit(endpoint or os.environ.get("AWS_ENDPOINT_URL") or "")
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
