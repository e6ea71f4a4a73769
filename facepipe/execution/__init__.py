"""Makes numbered parts in processes of this machine or of a Dask cluster, and stops in good order.

A part is made by a `Job` in a child process (`guard` is the child's side, `pool` its parent's, `dask` runs the same
pool inside a cluster's workers).
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from facepipe.errors import Interrupted
from facepipe.execution.cores import default_workers
from facepipe.execution.guard import Guard, Job, PartReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from facepipe.config import Execution

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
    if not numbers:
        return
    if execution.engine == "dask":
        from facepipe.execution.dask import run_on_cluster

        run_on_cluster(job, numbers, execution, timeout_s, on_done, note)
        return
    from facepipe.execution.pool import Pool

    with Pool(job, timeout_s, execution.workers or default_workers()) as pool:
        pool.make(numbers, on_done)


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
