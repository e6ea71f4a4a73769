"""Inputs of a network that wait for others of their shape: some are run in one go sooner than one by one."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

MOST = 64
"""The oldest is forgotten, and run alone if it comes after all."""


class Input(Protocol):
    """What a network is shown; `found` is what it saw in it, None until it has looked."""

    @property
    def found(self) -> object:  # noqa: D102
        ...


AnyInput = TypeVar("AnyInput", bound=Input)


class Waiting(Generic[AnyInput]):
    """Inputs of one shape that have been announced, and not been run yet."""

    def __init__(self) -> None:
        self._inputs: deque[AnyInput] = deque(maxlen=MOST)

    def announce(self, one: AnyInput) -> None:
        """Says that an input will be run."""
        self._inputs.append(one)

    def group(self, first: AnyInput, most: int) -> list[AnyInput]:
        """An input that is wanted now, and up to `most - 1` others that will be."""
        group = [first]
        while self._inputs and len(group) < most:
            other = self._inputs.popleft()
            if other is not first and other.found is None:
                group.append(other)
        return group
