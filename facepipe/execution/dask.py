"""Makes numbered parts on a Dask cluster: the same jobs in the same pools, inside the cluster's workers.

Futures are handled here rather than by joblib's Dask backend: that one waits for ever for a task whose workers were
killed, and `n_jobs` is no cap there. A task's arguments stay under a kilobyte: part numbers and paths, never images.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from facepipe import __version__
from facepipe.errors import FacepipeError, MissingExtra
from facepipe.execution.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from facepipe.config import Execution
    from facepipe.execution.guard import Job, PartReport

CONNECT_S = 30
WORKERS_S = 60
"""How long to wait for a cluster's first worker."""

_pools: dict[tuple[str, int], Pool] = {}
"""In a cluster's worker: run and thread -> its child process."""
_pools_lock = threading.Lock()


def run_on_cluster(
    job: Job,
    numbers: Sequence[int],
    execution: Execution,
    timeout_s: float,
    on_done: Callable[[int, PartReport], None],
    note: Callable[[str], None] | None = None,
) -> None:
    """Makes the parts on `execution.scheduler`'s cluster.

    At most `execution.workers` parts are on their way at any time; without that number, as many as the cluster's
    workers have threads, twice, so that none waits for its next part and workers that join are used.

    Raises:
        MissingExtra: Dask is not installed.
        FacepipeError: the cluster can't be reached or is lost, or a part's own error.
    """
    run = uuid.uuid4().hex
    with _connected(execution.scheduler, note) as client:
        try:
            _dispatch(client, (job, timeout_s, run, os.getcwd(), __version__), numbers, execution.workers, on_done)
        finally:
            with suppress(Exception):  # a worker may be leaving, or the scheduler may be gone
                if client.status == "running":
                    client.run(dismiss, run, on_error="ignore")


def _dispatch(
    client: Any, order: tuple[Any, ...], numbers: Sequence[int], cap: int, on_done: Callable[[int, PartReport], None]
) -> None:
    from distributed import as_completed

    to_do = iter(numbers)
    waiting: dict[Any, int] = {}
    done = as_completed([], loop=client.loop)

    def send() -> None:
        limit = cap or 2 * max(1, sum(client.nthreads().values()))
        for number in islice(to_do, max(0, limit - len(waiting))):
            future = client.submit(make_part, number, *order, key=f"part-{order[2]}-{number}", pure=False)
            waiting[future] = number
            done.add(future)

    try:
        with _scheduler_is_there(client):
            send()
        while waiting:
            with _scheduler_is_there(client):
                future = next(done)
                number = waiting.pop(future)
                report = _result(future, number)
                send()
            on_done(number, report)
    finally:
        with suppress(Exception):
            if client.status == "running":
                client.cancel(list(waiting))


@contextmanager
def _scheduler_is_there(client: Any) -> Iterator[None]:
    """Says that the scheduler was lost, where it was."""
    from distributed import CancelledError

    try:
        yield
    except (CancelledError, OSError, TimeoutError, RuntimeError):
        raise FacepipeError(
            f"the Dask scheduler at {client.scheduler.address} was lost; what is finished is kept: start it and its "
            "workers again, then run the same command"
        ) from None


def _result(future: Any, number: int) -> PartReport:
    from distributed import CancelledError, KilledWorker

    try:
        report: PartReport = future.result()
    except (FacepipeError, CancelledError):
        raise
    except KilledWorker:
        raise FacepipeError(
            f"part {number} was given to several Dask workers and all of them were killed; if memory is short there, "
            "give them more, then run the same command again"
        ) from None
    except ImportError as error:
        raise FacepipeError(
            f"the Dask workers can't load facepipe ({error}); install facepipe {__version__} there"
        ) from None
    except Exception as error:
        if future.status == "error":
            raise FacepipeError(f"part {number} failed on the cluster: {type(error).__name__}: {error}") from None
        raise
    return report


@contextmanager
def _connected(address: str, note: Callable[[str], None] | None) -> Iterator[Any]:
    """A client of the cluster, which has a worker."""
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtra("--engine dask needs Dask: pip install 'facepipe[dask]'") from None
    # What Dask logs about lost connections comes as an error of ours; its tracebacks help nobody.
    loggers = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    for name in ("asyncio", "tornado", *loggers):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise FacepipeError(
            f"no Dask scheduler answers at {address}: {error}; start one with `dask scheduler`, or correct --scheduler"
        ) from None
    try:
        with _scheduler_is_there(client):
            _await_workers(client, address, note)
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=1)


def _await_workers(client: Any, address: str, note: Callable[[str], None] | None) -> None:
    if note is not None and not client.nthreads():
        note(f"the Dask scheduler at {address} has no worker yet; waiting {WORKERS_S} s for `dask worker {address}`")
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError:
        raise FacepipeError(
            f"the Dask scheduler at {address} has no worker; start some with `dask worker {address}`"
        ) from None


def make_part(number: int, job: Job, timeout_s: float, run: str, folder: str, version: str) -> PartReport:
    """Is a task: makes a part in a child of the cluster's worker, in the folder where the run was started."""
    if version != __version__:
        raise FacepipeError(
            f"the run has facepipe {version}, the Dask worker on {socket.gethostname()} has {__version__}; "
            "install the same there"
        )
    if not os.path.isdir(folder):
        raise FacepipeError(
            f"the folder {folder} is not there on {socket.gethostname()}; share it between the machines, or give "
            "object-store URIs and start from a folder that all of them have"
        )
    made: list[PartReport] = []
    key = run, threading.get_ident()
    with _pools_lock:
        pool = _pools[key] = _pools.get(key) or Pool(job, timeout_s, 1, folder)
    pool.make([number], lambda _, report: made.append(report))
    return made[0]


def dismiss(run: str) -> None:
    """On a cluster's worker: ends the children of a run."""
    with _pools_lock:
        pools = [_pools.pop(key) for key in list(_pools) if key[0] == run]
    for pool in pools:
        pool.stop()
