"""Runs numbered parts on this machine's processes or on a Dask cluster, and stops in good order.

A part is made by a `Job` in a child process that a supervisor watches (see `workers_crew`); threads of this
process hand out the numbers. On a cluster the same supervisors run inside its workers.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from facepipe.cores import default_workers
from facepipe.errors import Interrupted
from facepipe.parts import Guard, Job, PartReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from facepipe.config import Execution

_LOOK_UP_S = 0.5

__all__ = ["Guard", "Job", "PartReport", "interruptible", "run_parts"]


def run_parts(
    job: Job,
    numbers: Sequence[int],
    *,
    execution: Execution,
    timeout_s: float,
    on_done: Callable[[int, PartReport], None],
    note: Callable[[str], None] | None = None,
) -> None:
    """Makes the parts `numbers`; calls `on_done` for each in this thread, in the order in which they end.

    An exception (of a part, of `on_done`, or a signal's `Interrupted`) ends the run at once: children are killed,
    finished parts stay.

    Args:
        job: makes one part; sent to every worker once.
        numbers: the parts to make.
        execution: how many workers, on which engine.
        timeout_s: seconds that one item may take.
        on_done: is told of every finished part.
        note: is told, in a line, of what a person should know meanwhile.

    Raises:
        FacepipeError: a part's own error, or one that names the part whose worker failed.
    """
    if execution.engine == "dask":
        from facepipe.workers_dask import run_on_cluster

        run_on_cluster(job, numbers, execution, timeout_s, on_done, note)
    elif numbers:
        _run_locally(job, numbers, min(execution.workers or default_workers(), len(numbers)), timeout_s, on_done)


def _run_locally(
    job: Job, numbers: Sequence[int], workers: int, timeout_s: float, on_done: Callable[[int, PartReport], None]
) -> None:
    from facepipe.workers_crew import Crew

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="supervisor")
    crew = Crew(job, timeout_s)
    try:
        to_do = iter(numbers)
        # One more than there are workers, so that none waits while `on_done` runs.
        waiting = {pool.submit(crew.make, number): number for number in islice(to_do, workers + 1)}
        while waiting:
            # A signal that comes just before this thread falls asleep would not wake it: it looks up now and then.
            for done in wait(waiting, _LOOK_UP_S, FIRST_COMPLETED).done:
                on_done(waiting.pop(done), done.result())
                waiting |= {pool.submit(crew.make, number): number for number in islice(to_do, 1)}
    finally:
        crew.stop()
        pool.shutdown(cancel_futures=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turns SIGINT and SIGTERM into `Interrupted`, raised in the main thread; a second signal ends the process at once.

    Elsewhere than in the main thread it does nothing: only that one is told of signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[Interrupted] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if told:
            os._exit(Interrupted.exit_code)  # children see that their parent is gone, and end
        name = signal.Signals(number).name
        told.append(Interrupted(f"stopped by {name}; what is finished is kept: run the same command again to go on"))
        raise told[0]

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:
        # In the middle of an import, a compiled module makes an ImportError of whatever is raised.
        if told and error is not told[0]:
            raise told[0] from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
