"""Runs numbered parts on a Dask cluster: the same jobs under the same supervisors, inside the cluster's workers.

Futures are handled here rather than by joblib's Dask backend: that one waits for ever for a task whose workers were
killed, and `n_jobs` is no cap there. A task's arguments stay under a kilobyte: part numbers and paths, never images.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from facepipe import __version__
from facepipe.cores import default_workers
from facepipe.errors import FacepipeError, MissingExtra
from facepipe.workers_crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from facepipe.config import Execution
    from facepipe.parts import Job, PartReport

CONNECT_S = 30
WORKERS_S = 60
"""How long to wait for a cluster's first worker."""

_ALONE = {
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""For a cluster of one worker in this process, which has nobody to steal from: a third of the idle CPU time."""

_crews: dict[str, Crew] = {}
"""In a cluster's worker: run -> its children."""
_crews_lock = threading.Lock()


def run_on_cluster(
    job: Job,
    numbers: Sequence[int],
    execution: Execution,
    timeout_s: float,
    on_done: Callable[[int, PartReport], None],
    note: Callable[[str], None] | None = None,
) -> None:
    """Makes the parts on `execution.scheduler`'s cluster, or on one started here for this run.

    On a cluster at most `execution.workers` parts are on their way at any time; without that number, as many as the
    workers have threads, twice, so that none waits for its next part and workers that join are used.

    Raises:
        MissingExtra: Dask is not installed.
        FacepipeError: the cluster can't be reached or is lost, or a part's own error.
    """
    if not numbers:
        return
    run = uuid.uuid4().hex
    if not execution.scheduler:
        # The children load what they need while this process loads Dask.
        _crews[run] = Crew(job, timeout_s)
        _crews[run].start(min(execution.workers or default_workers(), len(numbers)))
    cap = execution.workers if execution.scheduler else 0  # the cluster started here has as many threads
    try:
        with _connected(execution, note) as client:
            try:
                _dispatch(client, (job, timeout_s, run, os.getcwd(), __version__), numbers, cap, on_done)
            finally:
                if client.status == "running":
                    with suppress(Exception):  # a worker may be leaving
                        client.run(dismiss, run, on_error="ignore")
    finally:
        dismiss(run)
        gc.unfreeze()


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
        send()
        for future in done:
            number = waiting.pop(future)
            report = _result(client, future, number)
            send()
            on_done(number, report)
    finally:
        if client.status == "running":
            client.cancel(list(waiting))


def _result(client: Any, future: Any, number: int) -> PartReport:
    from distributed import CancelledError, KilledWorker
    from distributed.comm import CommClosedError

    try:
        report: PartReport = future.result()
    except FacepipeError:
        raise
    except (CancelledError, CommClosedError):
        raise FacepipeError(
            f"the Dask scheduler at {client.scheduler.address} was lost; what is finished is kept: start it and its "
            "workers again, then run the same command"
        ) from None
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
        raise FacepipeError(f"part {number} failed on the cluster: {type(error).__name__}: {error}") from None
    return report


@contextmanager
def _connected(execution: Execution, note: Callable[[str], None] | None) -> Iterator[Any]:
    """A client of the cluster; one that was started here ends with it."""
    try:
        with _uncollected():
            from distributed import Client
    except ImportError:
        raise MissingExtra("--engine dask needs Dask: pip install 'facepipe[dask]'") from None
    _silence()
    if not execution.scheduler:
        with (
            _own_cluster(execution.workers or default_workers()) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client
        return
    try:
        client = Client(execution.scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise FacepipeError(
            f"no Dask scheduler answers at {execution.scheduler}: {error}; start one with `dask scheduler`, or correct "
            "--scheduler"
        ) from None
    try:
        _await_workers(client, execution.scheduler, note)
        yield client
    finally:
        client.close(timeout=1)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Spares the garbage collector what is loaded here: hundreds of modules, no garbage, a seventh of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


@contextmanager
def _own_cluster(threads: int) -> Iterator[Any]:
    """A scheduler and one worker in this process; its threads each supervise a process of their own.

    `LocalCluster` would have both answer HTTP on all of the machine's addresses, one on a port that may be taken.
    """
    import dask
    from distributed import Scheduler, SpecCluster, Worker

    unseen = {"protocol": "inproc://", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    worker = {**unseen, "nthreads": threads, "memory_limit": 0}
    with (
        dask.config.set(_ALONE),
        SpecCluster(
            workers={0: {"cls": Worker, "options": worker}},
            scheduler={"cls": Scheduler, "options": unseen},
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def _silence() -> None:
    """What Dask logs about lost connections comes as an error of ours; its tracebacks help nobody."""
    for name in (
        "asyncio",
        "tornado",
        *(name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"),
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _await_workers(client: Any, address: str, note: Callable[[str], None] | None) -> None:
    if note is not None and not client.nthreads():
        note(f"the Dask scheduler at {address} has no worker yet; waiting {WORKERS_S} s for `dask worker {address}`")
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError:
        raise FacepipeError(
            f"the Dask scheduler at {address} has no worker; start some with `dask worker {address}`"
        ) from None


def make_part(
    number: int, job: Job, timeout_s: float, run: str, folder: str, version: str
) -> PartReport:  # what a task is
    """On a cluster's worker: makes a part in a child of this worker, in the folder where the run was started."""
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
    with _crews_lock:
        if run not in _crews:
            _crews[run] = Crew(job, timeout_s, folder)
        crew = _crews[run]
    return crew.make(number)


def dismiss(run: str) -> None:
    """On a cluster's worker: ends the children of a run."""
    with _crews_lock:
        crew = _crews.pop(run, None)
    if crew is not None:
        crew.stop()
