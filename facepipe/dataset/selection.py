"""Which frame of each group is the most frontal one, and by what rule near-ties are decided.

Frames are ranked by their frontal angle, those whose pose is told with a large error after all others. Frames within
`NEAR_DEG` of the group's best are as good as tied: among them the best picture wins, that is, the largest sum of
sharpness, face size and detector score, each divided by the largest among the tied frames (a missing value counts 0).
Then the smaller angle decides, then the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facepipe.records import SURE_DEG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int64]

NEAR_DEG = 0.5
"""Degrees: closer than the estimates can tell apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Columns of the frames that may be chosen, all of length n.

    group: int64, 0 or more. angle: float32, degrees, none of them NaN. error: float32, degrees, of the pose. sharpness,
    size (px), score: float32.
    """

    group: Rows
    angle: Floats
    error: Floats
    sharpness: Floats
    size: Floats
    score: Floats

    def take(self, rows: Rows) -> Frames:
        """Some of the frames."""
        return Frames(*(getattr(self, name)[rows] for name in self.__slots__))

    @property
    def unsure(self) -> NDArray[np.bool_]:
        """The frames of which another one, if there is any, is taken first."""
        return self.error > SURE_DEG


def rank_frames(frames: Frames) -> Rows:
    """(n,) int64: the frames' indexes group by group, in each group the best one first."""
    # Stable: equals stay in the order of the rows.
    order = np.lexsort((frames.angle, frames.unsure, frames.group))
    if not len(order):
        return order
    group, angle, unsure = frames.group[order], frames.angle[order], frames.unsure[order]
    starts = np.flatnonzero(np.r_[True, np.diff(group) != 0])
    counts = np.diff(np.r_[starts, len(order)])
    near = angle <= np.repeat(angle[starts], counts) + np.float32(NEAR_DEG)
    near &= unsure == np.repeat(unsure[starts], counts)
    merit = _merit(frames.take(order), near, starts, counts)
    return order[np.lexsort((-merit, ~near, unsure, group))]


def _merit(frames: Frames, near: NDArray[np.bool_], starts: Rows, counts: Rows) -> NDArray[np.float64]:
    """The sum that decides among tied frames; 0 for those that are not tied."""
    total = np.zeros(len(near))
    for values in (frames.sharpness, frames.size, frames.score):
        known = np.where(near, np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0.0).clip(min=0.0)
        largest = np.repeat(np.maximum.reduceat(known, starts), counts)
        total += np.divide(known, largest, out=np.zeros(len(near)), where=largest > 0)
    return total


def first_of_groups(groups: Rows, ranked: Rows, count: int) -> Rows:
    """At most `count` frames of each group, from a ranking, group by group."""
    group = groups[ranked]
    if not len(group):
        return ranked
    starts = np.flatnonzero(np.r_[True, np.diff(group) != 0])
    place = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
    return ranked[place < count]
