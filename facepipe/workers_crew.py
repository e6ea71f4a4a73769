"""Child processes that make parts, started anew when they die, and who is to blame for that.

A child that dies costs its part a new start, in a new child, and no other part anything. An item on which a process
crashed twice, or was killed eight times, is blamed as `worker_crash`: a process killed from outside, or by another's
hunger for memory, costs nothing and leaves the same bytes. An item on which a child stayed longer than allowed is
blamed as `timeout` at once.
"""

from __future__ import annotations

import pickle
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from facepipe import errors
from facepipe.errors import FacepipeError, Interrupted
from facepipe.parts import PartReport
from facepipe.workers_child import NO_ITEM
from facepipe.workers_supervision import Child, Died

if TYPE_CHECKING:
    from facepipe.parts import Job

CRASHES_OF_AN_ITEM = 2
KILLS_OF_AN_ITEM = 8
"""More than crashes: `kill -9` can come from anyone, as well as from the kernel when an image takes all memory."""
CRASHES_OF_A_PART = 5
"""Outside any item: while the child starts, or while the part is written."""
KILLS_OF_A_PART = 20


class Crew:
    """Children for one job, as many as there are threads that call `make`; they run in `folder` (None: this one)."""

    def __init__(self, job: Job, timeout_s: float, folder: str | None = None) -> None:
        self._job = pickle.dumps(job)
        self._folder = folder
        self._timeout_s = timeout_s
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, children: int) -> None:
        """Starts children before there is work for them."""
        with self._lock:
            self._idle.extend(Child(self._job, self._folder) for _ in range(children))

    def make(self, number: int) -> PartReport:
        """Makes a part, however many children it costs.

        Raises:
            FacepipeError: the job's own, or one that names the part where it failed otherwise or its children died
                outside any item.
        """
        blamed: dict[int, str] = {}
        deaths: Counter[int] = Counter()
        while True:
            child = self._take()
            try:
                answer = child.make(number, blamed, self._timeout_s)
            except Died as death:
                self._drop(child)
                _judge(number, death, deaths, blamed)
                continue
            except BaseException:
                self._drop(child)
                raise
            self._give_back(child)
            return _read_answer(number, answer)

    def stop(self) -> None:
        """Ends all children at once; threads that wait for one get `Interrupted`."""
        with self._lock:
            self._stopped = True
            for child in self._busy:
                child.kill()
            for child in self._idle:
                child.close()
            self._idle.clear()

    def _take(self) -> Child:
        with self._lock:
            if self._stopped:
                raise Interrupted("the run was stopped")
            child = self._idle.pop() if self._idle else None
            if child is not None and not child.is_alive:
                child.close()
                child = None
            child = child or Child(self._job, self._folder)
            self._busy.add(child)
            return child

    def _give_back(self, child: Child) -> None:
        with self._lock:
            self._busy.discard(child)
            if self._stopped:
                child.close()
            else:
                self._idle.append(child)

    def _drop(self, child: Child) -> None:
        with self._lock:
            self._busy.discard(child)
            child.close()


def _judge(number: int, death: Died, deaths: Counter[int], blamed: dict[int, str]) -> None:
    """Blames an item for a child's death, or raises where there is none to blame."""
    item = NO_ITEM if death.item in blamed else death.item
    if death.code is None and item != NO_ITEM:
        blamed[item] = "timeout"
        return
    deaths[item] += 1
    if item != NO_ITEM and deaths[item] >= (KILLS_OF_AN_ITEM if death.was_killed else CRASHES_OF_AN_ITEM):
        blamed[item] = "worker_crash"
    if deaths[NO_ITEM] >= (KILLS_OF_A_PART if death.was_killed else CRASHES_OF_A_PART):
        raise FacepipeError(
            f"the worker of part {number} died {deaths[NO_ITEM]} times outside any item: {_reason(death)}; "
            "if memory is short, give fewer --workers, then run the same command again"
        )


def _read_answer(number: int, answer: dict[str, Any]) -> PartReport:
    if "report" in answer:
        return PartReport(**answer["report"])
    kind = getattr(errors, answer["error"], None) if answer["error"] else None
    if isinstance(kind, type) and issubclass(kind, FacepipeError):
        raise kind(answer["text"])
    on = f", item {answer['item']}" if answer.get("item", NO_ITEM) != NO_ITEM else ""
    raise FacepipeError(f"part {number}{on} failed: {answer['text']}; this is a defect of facepipe: please report it")


def _reason(death: Died) -> str:
    if death.code is None:
        return "it took too long"
    try:
        how = f"it was ended by {signal.Signals(-death.code).name}"
    except ValueError:
        how = f"it ended with exit code {death.code}"
    return f"{how} ({death.last_words})" if death.last_words else how
