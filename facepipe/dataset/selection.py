"""Which frame of each group is the most frontal one, by what rule near-ties are decided, and which few show the most.

Frames are ranked by their frontal angle, those whose pose is told with a large error after all others. Frames within
`NEAR_DEG` of the group's best are as good as tied: among them the best picture wins, that is, the largest sum of
sharpness, face size and detector score, each divided by the largest among the tied frames (a missing value counts 0).
Then the smaller angle decides, then the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
        return ~(self.error <= SURE_DEG)  # one that is not told is as good as large


def rank_frames(frames: Frames) -> Rows:
    """(n,) int64: the frames' indexes group by group, in each group the best one first."""
    # Stable: equals stay in the order of the rows.
    order = np.lexsort((frames.angle, frames.unsure, frames.group))
    if not len(order):
        return order
    group, angle, unsure = frames.group[order], frames.angle[order], frames.unsure[order]
    starts, counts = _runs(group)
    near = angle <= np.repeat(angle[starts], counts) + np.float32(NEAR_DEG)
    near &= unsure == np.repeat(unsure[starts], counts)
    merit = _merit(frames.take(order), near, starts, counts)
    return order[np.lexsort((-merit, ~near, unsure, group))]


def rate_pictures(frames: Frames) -> NDArray[np.float64]:
    """(n,) float64, 0 to 3: the sum that decides between tied frames, each value divided by the group's largest."""
    order = np.argsort(frames.group, kind="stable")
    rated = np.zeros(len(order))
    if len(order):
        of = frames.take(order)
        rated[order] = _merit(of, np.ones(len(order), dtype=bool), *_runs(of.group))
    return rated


def _runs(*keys: NDArray[Any]) -> tuple[Rows, Rows]:
    """Start and length of each run of equal values in columns that are sorted; not of none."""
    changed = np.any([np.diff(key) != 0 for key in keys], axis=0)
    starts = np.flatnonzero(np.r_[True, changed])
    return starts, np.diff(np.r_[starts, len(keys[0])])


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
    return ranked[_places(groups[ranked]) < count]


def _places(*keys: NDArray[Any]) -> Rows:
    """(n,) int64: the place of each value in its run of equal ones."""
    if not len(keys[0]):
        return np.zeros(0, np.int64)
    starts, counts = _runs(*keys)
    return np.arange(len(keys[0])) - np.repeat(starts, counts)


def spread_frames(group: Rows, yaw: Floats, rating: NDArray[np.float64], first: NDArray[np.bool_], count: int) -> Rows:
    """At most `count` frames of each group, the best ones of all its yaws.

    Each group's yaws, from its least to its largest, are cut into `count` equal bands. The bands' best frames are
    taken, then their second best, and so on; frames of unknown yaw come last.

    Args:
        group: (n,) int64.
        yaw: (n,) float32, degrees, NaN where it can't be told.
        rating: (n,) float64, larger is better, as by `rate_pictures`.
        first: (n,) frames that are taken before all others.
        count: 1 or more.

    Returns:
        Their indexes, group by group.
    """
    names, of = np.unique(group, return_inverse=True)
    least, most = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.fmin.at(least, of, yaw)
    np.fmax.at(most, of, yaw)
    width = np.maximum(most - least, 1e-9)[of]
    unknown = np.isnan(yaw)
    band = np.where(unknown, count, np.minimum((np.nan_to_num(yaw) - least[of]) / width * count, count - 1)).astype(int)
    order = np.lexsort((-rating, ~first, band, of))
    turn = np.empty(len(order), np.int64)
    turn[order] = _places(of[order], band[order])
    return first_of_groups(group, np.lexsort((-rating, turn, unknown, ~first, of)), count)
