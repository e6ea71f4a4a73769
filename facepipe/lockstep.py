"""Several pictures on their way at once, each step done for all of them before the next one.

Networks, decoder and encoder each fill a core's caches with their own code and weights. Where every picture goes
through all of them on its own, each finds that the others have taken its place: all steps of a 250x250 photograph
together take a fifth longer so (`benchmarks/batches.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Result = TypeVar("Result")
Steps: TypeAlias = Generator[int, None, Result]
"""The work on one picture: a `yield` ends each step but the last; the first one says how many bytes it holds."""

MOST_PICTURES = 32
MOST_BYTES = 8 * 2**20
"""Together, held by the pictures that are on their way: more would not stay in a core's share of the last cache."""


def at_once(result: Result) -> Steps[Result]:
    """The work on what is known already."""
    yield 0
    return result


def in_lockstep(works: Iterable[tuple[int, Steps[Result]]], on: Callable[[int], None]) -> Iterator[Result]:
    """What the works return, in their order.

    Works go through their steps in groups, each step in the order of the works: what one of them is to know of those
    before it, from the same step or an earlier one, is there.

    Args:
        works: (item, its steps). The next one is asked for when the first step of the one before is done.
        on: told the item before each of its steps.
    """
    coming = iter(works)
    while group := _start(coming, on):
        going = group
        while going := [work for work in going if not work.results]:
            for work in going:
                work.advance(on)
        for work in group:
            yield from work.results


class _Work(Generic[Result]):
    """A work and, at its end, what it returned."""

    __slots__ = ("_item", "_steps", "results")

    def __init__(self, item: int, steps: Steps[Result]) -> None:
        self._item = item
        self._steps = steps
        self.results: list[Result] = []

    def advance(self, on: Callable[[int], None]) -> int:
        """Does the next step; gives what it yields, 0 at the end."""
        on(self._item)
        try:
            return next(self._steps)
        except StopIteration as end:
            self.results.append(end.value)
            return 0


def _start(coming: Iterator[tuple[int, Steps[Result]]], on: Callable[[int], None]) -> list[_Work[Result]]:
    """The next group, its first steps done."""
    group: list[_Work[Result]] = []
    held = 0
    for item, steps in coming:
        group.append(_Work(item, steps))
        held += group[-1].advance(on)
        if len(group) == MOST_PICTURES or held >= MOST_BYTES:
            break
    return group
