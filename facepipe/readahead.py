"""Reading many files in order while others are already on their way."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from facepipe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from facepipe.objectstore import ObjectStore
    from facepipe.storage import Place

Item = TypeVar("Item")
Result = TypeVar("Result")
Outcome = bytes | InputError
"""A file's bytes, or the error that reading it gave."""


def read_plainly(root: Place, paths: Iterable[str], max_bytes: int) -> Iterator[tuple[str, Outcome]]:
    """One file after the other."""
    for path in paths:
        try:
            outcome: Outcome = root.read(path, max_bytes)
        except InputError as error:
            outcome = error
        yield path, outcome


def in_order(action: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Generator[Result, None, None]:
    """What an action gives for each item, in order, up to `ahead` of them under way at once in threads."""
    coming = iter(items)
    pool = ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="read-ahead")
    try:
        under_way = deque(pool.submit(action, item) for item in islice(coming, ahead))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(pool.submit(action, item) for item in islice(coming, 1))
            yield result
            del result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Budget:
    """Bytes that may be held, granted in the order of the files: so the file that is needed first never starves.

    Who waits is woken when its turn has come, and nobody else: of a hundred threads most would wake for nothing.
    """

    def __init__(self, bound_bytes: int) -> None:
        self._bound = bound_bytes
        self._held = 0
        self._turn = 0
        self._closed = False
        self._lock = threading.Lock()
        self._waiting: dict[int, threading.Condition] = {}

    def take(self, turn: int, size: int) -> bool:
        """Waits for its turn and for room; False when nobody wants the bytes any more."""
        with self._lock:
            self._wait(turn, lambda: not self._held or self._held + size <= self._bound)
            self._held += size
            self._end_turn(turn)
            return not self._closed

    def pass_by(self, turn: int) -> None:
        """Lets the next file have its turn, where this one has not had its own (it could not be opened)."""
        with self._lock:
            if turn >= self._turn:
                self._wait(turn, lambda: True)
                self._end_turn(turn)

    def give_back(self, size: int) -> None:
        """Room again."""
        with self._lock:
            self._held -= size
            self._wake()

    def close(self) -> None:
        """Wakes everyone who waits."""
        with self._lock:
            self._closed = True
            for condition in self._waiting.values():
                condition.notify()

    def _wait(self, turn: int, has_room: Callable[[], bool]) -> None:
        condition = self._waiting[turn] = threading.Condition(self._lock)
        condition.wait_for(lambda: self._closed or (turn == self._turn and has_room()))
        del self._waiting[turn]

    def _end_turn(self, turn: int) -> None:
        self._turn = max(self._turn, turn + 1)
        self._wake()

    def _wake(self) -> None:
        if condition := self._waiting.get(self._turn):
            condition.notify()


def read_concurrently(
    store: ObjectStore, paths: Iterable[str], ahead: int, bound_bytes: int, max_bytes: int
) -> Iterator[tuple[str, Outcome]]:
    """Up to `ahead` files on their way at once, at most `bound_bytes` held, handed out in order."""
    budget = _Budget(bound_bytes)

    def fetch(turn: int, path: str) -> tuple[str, Outcome, int]:
        taken = 0

        def admit(size: int) -> bool:
            nonlocal taken
            if turn_taken[0]:  # a retry: its room is still its own
                return True
            turn_taken[0] = True
            taken = size
            return budget.take(turn, size)

        turn_taken = [False]
        try:
            return path, store.read_admitted(path, max_bytes, admit), taken
        except InputError as error:
            return path, error, taken
        except BaseException:
            budget.close()  # nobody gives room back any more: what waits for some would wait for ever
            raise
        finally:
            budget.pass_by(turn)

    outcomes = in_order(lambda item: fetch(*item), enumerate(paths), ahead)
    try:
        for path, outcome, size in outcomes:
            yield path, outcome
            del outcome
            budget.give_back(size)
    finally:
        budget.close()  # first: what waits for room would be waited for
        outcomes.close()
