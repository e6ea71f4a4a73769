"""The options that leave frames out: each notes its reason, and the first one counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.dataset.duplicates import count_bits, find_repeats
from facepipe.dataset.selection import first_of_groups, rate_pictures, spread_frames
from facepipe.options import options_of
from facepipe.stages.leftout import Why
from facepipe.storage import tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.config import Filters, SplitConfig
    from facepipe.stages.frames import Groups
    from facepipe.storage.parquet import Table


def asks_to_leave_out(config: Filters) -> bool:
    """Whether any option may leave a frame out."""
    known = options_of(type(config))
    return any(getattr(config, why) != known[why].default for why in Why if why in known)


def leave_out_features(
    groups: Groups, config: SplitConfig, targets: Table, before: Table | None, hashes: NDArray[np.void]
) -> None:
    """All filters of `split`, over what `select` left out before; its targets stay. hashes: (n,) of dtype HASHES."""
    rows = tables.find(groups.columns.table, "key", targets.column("target_key").to_pylist())
    groups.kept[rows[rows >= 0]] = True
    if before is not None:
        groups.take_up(before)
    apply_limits(groups, config)
    if config.thin:
        leave_out_repeats(groups, hashes, config.thin)
    if config.max_frames:
        keep_best(groups, groups.ranked(), config.max_frames)
    few = groups.count(groups.usable) < config.min_frames
    few[list(groups.chosen)] = False
    groups.kept[:] = False
    groups.leave_out(Why.MIN_FRAMES, few[groups.of])


def apply_limits(groups: Groups, config: Filters) -> None:
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
