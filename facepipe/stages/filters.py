"""The options of `select` that leave frames out: each notes its reason, and the first one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.dataset.duplicates import count_bits, find_repeats
from facepipe.dataset.selection import first_of_groups, rate_pictures, spread_frames
from facepipe.stages.leftout import Why

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.config import SelectConfig
    from facepipe.stages.frames import Groups


def asks_to_leave_out(config: SelectConfig) -> bool:
    """Whether any option may leave a frame out."""
    return any(getattr(config, why, None) for why in Why)


def apply_limits(groups: Groups, config: SelectConfig) -> None:
    """Leaves out what lies beyond a limit; what is not known lies beyond it."""
    for why in (Why.MIN_SHARPNESS, Why.MIN_SIZE, Why.MAX_YAW, Why.MAX_PITCH):
        if limit := getattr(config, why):
            values = groups.measure(why.partition("_")[2])
            within = values >= limit if why.startswith("min") else np.abs(values) <= limit
            groups.leave_out(why, ~within, values)


def leave_out_repeats(groups: Groups, hashes: NDArray[np.void], distance: int) -> None:
    """Of near-duplicates of a group keeps the best picture. hashes: (n,) of dtype HASHES."""
    rows = np.flatnonzero(groups.usable)
    order = np.lexsort((-rate_pictures(groups.frames(rows)), ~groups.kept[rows]))
    found = find_repeats(hashes[rows], groups.of[rows], order, distance)
    repeats = np.full(len(groups.of), -1, np.int64)
    repeats[rows] = np.where(found >= 0, rows[found], -1)
    bits = count_bits(hashes["fine"], hashes["fine"][repeats])
    groups.leave_out(Why.THIN, repeats >= 0, bits, repeats)


def keep_best(groups: Groups, ranked: NDArray[np.int64], count: int) -> None:
    """Keeps at most `count` frames of a group, spread over yaw; its most frontal one and what a person chose first."""
    first = groups.kept.copy()
    first[first_of_groups(groups.of, ranked, 1)] = True
    rows = np.flatnonzero(groups.usable)
    rating = rate_pictures(groups.frames(rows))
    kept = rows[spread_frames(groups.of[rows], groups.measure("yaw")[rows], rating, first[rows], count)]
    others = groups.usable.copy()
    others[kept] = False
    groups.leave_out(Why.MAX_FRAMES, others)
