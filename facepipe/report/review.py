"""What a person does in a review: look through everybody in some order, correct faces, and take that back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import UsageError
from facepipe.report.corrections import Corrections, wanted
from facepipe.report.people import People
from facepipe.stages.overrides import DROP, KEEP, PERSON, TARGET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SORTS = ("doubt", "similarity", "angle", "sharpness", "size", "score", "frames", "name")
SHOWS = {"all": "everybody", "doubtful": "to look at", "corrected": "corrected", "targetless": "without a target"}
_TOLD = {TARGET: "is the target", DROP: "dropped", KEEP: "kept", "restore": "as found", PERSON: "of"}
_KEPT_ORDERS = 16


class Review:
    """People, corrections, and the orders they are looked through in. Hold `lock` while you read what it holds.

    told, keys: what the last action did, to which faces, for the page that follows it.
    """

    def __init__(self, data: str, path: str, *, read_only: bool) -> None:
        self.corrections = Corrections(path)
        self.people = People(data, self.corrections.now)
        self.read_only = read_only
        self.told, self.keys = "", list[str]()
        self._lower = [" / ".join(filter(None, name)).lower() for name in self.people.names]
        self._orders: dict[tuple[str, str, str], NDArray[np.int64]] = {}
        self.lock = threading.RLock()

    @property
    def sorts(self) -> list[str]:
        """What people can be sorted by here."""
        return [name for name in SORTS if name != "similarity" or "similarity" in self.people.numbers]

    def order(self, query: Mapping[str, str], *, anew: bool = False) -> NDArray[np.int64]:
        """The numbers of the people asked for: the same while a person goes through them, until asked for anew."""
        asked = (query["sort"], query["show"], query["q"].lower())
        with self.lock:
            if anew or asked not in self._orders:
                self._orders.pop(asked, None)
                self._orders[asked] = self._filter(self.people.order(asked[0]), *asked[1:])
                while len(self._orders) > _KEPT_ORDERS:
                    self._orders.pop(next(iter(self._orders)))
            return self._orders[asked]

    def _filter(self, numbers: NDArray[np.int64], show: str, text: str) -> NDArray[np.int64]:
        people = self.people
        self._lower += [" / ".join(filter(None, name)).lower() for name in people.names[len(self._lower) :]]
        if show == "doubtful":
            numbers = numbers[people.doubt[numbers] > 0]
        elif show == "targetless":
            numbers = numbers[people.target[numbers] < 0]
        elif show == "corrected":
            numbers = numbers[np.isin(numbers, list(people.corrected))]
        if not text:
            return numbers
        return np.array([number for number in numbers.tolist() if text in self._lower[number]], dtype=np.int64)

    def act(self, number: int, keys: list[str], action: str, identity: str) -> None:
        """Corrects faces of a person, or takes the last correction back; notes what was done, or why it was not.

        Raises:
            OutputError: it can't be saved.
        """
        with self.lock:
            self.keys = keys
            try:
                if action == "undo":
                    self.keys = self.corrections.undo()
                    self.told = f"undone: {_count(self.keys)}" if self.keys else "there is nothing to undo"
                else:
                    self.corrections.change(self._wanted(number, keys, action, identity))
                    self.told = f"{_count(keys)} {_TOLD[action]}{f' {identity}' if action == PERSON else ''}"
                self.people.correct(self.corrections.now)
            except UsageError as error:
                self.told = str(error)

    def _wanted(self, number: int, keys: list[str], action: str, identity: str) -> dict[str, Any]:
        if action not in _TOLD:
            raise UsageError(f"there is no action {action!r}")
        if not keys:
            raise UsageError("choose a face first: click it, or move to it with the arrow keys")
        if action == TARGET and len(keys) > 1:
            raise UsageError("choose one face: a person has one target")
        if action == PERSON and not identity:
            raise UsageError("whose face is it? Write the name first")
        return wanted(self.people, number, keys, action, identity)


def _count(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys):,} faces"
