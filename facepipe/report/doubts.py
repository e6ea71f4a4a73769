"""Which choices a person should look at first, and what is odd about a face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from facepipe.config import GUARD
from facepipe.dataset.outliers import OWN_BELOW
from facepipe.records import SURE_DEG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

TURNED_DEG = 10.0
NEAR_TIE_DEG = 0.5
NEARLY_FRONTAL_DEG = 5.0
"""Up to here one target is as good as another."""
BLURRED, SMALL_PX, UNSURE_SCORE = 0.1, 50.0, 0.8
RULE = f"below {GUARD:g} lie {OWN_BELOW} of a person's own faces at most"


class Everybody(Protocol):
    """What is looked at, as `People` has it."""

    numbers: dict[str, NDArray[np.float32]]
    of: NDArray[np.int64]
    counts: NDArray[np.int64]
    target: NDArray[np.int64]
    dropped: NDArray[np.bool_]
    doubt: NDArray[np.float32]
    by_hand: set[int]

    def rows(self, number: int) -> NDArray[np.int64]:
        """The faces of a person."""


def weigh(people: Everybody) -> NDArray[np.float32]:
    """(people,) float32, 0 for no doubt; worst is an untold pose, then somebody else's face, turned away, a tie."""
    target = np.maximum(people.target, 0)
    there, by_hand = people.target >= 0, np.zeros(len(people.target), dtype=bool)
    by_hand[list(people.by_hand)] = True
    angle = np.where(there, people.numbers["angle"][target], 0) if len(people.of) else np.zeros(len(target))
    unsure = there & ~by_hand & ~(people.numbers["error"][target] <= SURE_DEG)
    lead = np.abs(_runner_up(people) - angle)
    tied = there & ~by_hand & (lead < NEAR_TIE_DEG) & (angle > NEARLY_FRONTAL_DEG)
    found = np.where(tied, angle, 0) + np.where(there & (angle > TURNED_DEG), 200 + angle, 0)
    unlike = np.where(_least_alike(people) < GUARD, 500 - _least_alike(people), 0)
    return np.asarray(np.nan_to_num(np.where(unsure, 1000 + angle, np.maximum(found, unlike))), np.float32)


def _runner_up(people: Everybody) -> NDArray[np.float32]:
    """(people,) the smallest angle but the target's; inf where there is no other."""
    angles = people.numbers["angle"].copy()
    angles[people.target[people.target >= 0]] = np.nan
    angles[people.dropped] = np.nan
    return _smallest(people, angles, np.inf)


def _least_alike(people: Everybody) -> NDArray[np.float32]:
    """(people,) the least similarity of a face to the others of its person; 1 where it is not known."""
    if "similarity" not in people.numbers:
        return np.ones(len(people.target), np.float32)
    return _smallest(people, np.where(people.dropped, np.nan, people.numbers["similarity"]), 1.0)


def _smallest(people: Everybody, values: NDArray[np.float32], otherwise: float) -> NDArray[np.float32]:
    found = np.full(len(people.target), otherwise, np.float32)
    known = ~np.isnan(values)
    np.minimum.at(found, people.of[known], values[known].astype(np.float32))
    return found


def explain(people: Everybody, number: int) -> str:
    """Why to look at a person; empty for no doubt."""
    if not people.doubt[number]:
        return ""
    row = people.target[number]
    angle = float(people.numbers["angle"][row]) if row >= 0 else 0.0
    if people.doubt[number] >= 1000:
        return f"its pose is not told well, nor any other frame's; {angle:.1f}° as far as can be told"
    rows = people.rows(number)
    rows = rows[~people.dropped[rows]]
    if people.doubt[number] >= 400:
        least = np.nanmin(people.numbers["similarity"][rows])
        return f"a face is unlike the others: similarity {least:.3f}; {RULE}"
    others = people.numbers["angle"][rows[rows != row]]
    nearest = float(np.nanmin(others, initial=np.inf))
    if angle <= TURNED_DEG:
        return f"a near-tie: the runner-up is {_told(nearest - angle)}"
    if number not in people.by_hand:
        return f"turned away: even the most frontal frame is at {angle:.1f}°"
    other = f"{nearest:.1f}° was there" if nearest < angle else "no other is more frontal"
    return f"turned away by {angle:.1f}°: chosen by hand; {other}"


def _told(lead: float) -> str:
    if abs(lead) < 0.05:
        return "as frontal to a tenth of a degree"
    return f"only {lead:.1f}° behind" if lead > 0 else f"{-lead:.1f}° more frontal, but the poorer picture"


def flag(numbers: Mapping[str, float]) -> tuple[str, ...]:
    """What is odd about a face, in words."""
    odd = {
        "pose unknown": np.isnan(numbers["angle"]),
        "pose unsure": numbers["error"] > SURE_DEG,
        "unlike the others": numbers.get("similarity", 1.0) < GUARD,
        "blurred": numbers["sharpness"] < BLURRED,
        "small": numbers["size"] < SMALL_PX,
        "unsure face": numbers["score"] < UNSURE_SCORE,
    }
    return tuple(name for name, is_so in odd.items() if is_so)
