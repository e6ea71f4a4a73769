"""The rows of `targets.parquet`: each group's best frame, why it was taken, or why there is none."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from facepipe.dataset.selection import NEAR_DEG, first_of_groups
from facepipe.records import SURE_DEG
from facepipe.storage import parquet, tables
from facepipe.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facepipe.config import SelectConfig
    from facepipe.stages.frames import Groups


class Reason(StrEnum):
    """How the sentences in the column `reason` begin: so whoever reads the table tells one from another."""

    BY_HAND = "chosen by a person"
    NEAR_TIE = "within"
    MOST_FRONTAL = "the most frontal"
    UNSURE = "probably the most frontal"
    NO_FACE = "no usable face"
    NONE_LEFT = "none is left"
    FEW_FRAMES = "only"
    NO_POSE = "the pose can't be told"
    TURNED_AWAY = "its best frame is"


def make_targets(groups: Groups, ranked: NDArray[np.int64], config: SelectConfig) -> parquet.Table:
    """The table of targets, a row a group, sorted by identity and video."""
    best = _rows_by_group(groups, ranked, config.candidates)
    frames, faces = groups.count(groups.usable), groups.count(groups.usable | (groups.reason >= 0))
    images = np.bincount(groups.of, minlength=len(groups.names))
    unknown, left_out = _tell(groups, _badly_posed(groups, best)), _tell(groups, _left_out(groups))
    out: dict[str, list[Any]] = {name: [] for name in parquet.TARGETS.names}
    targets, runners = [], []
    for group, (identity, video) in enumerate(groups.names):
        found = Found(best.get(group, []), int(frames[group]), int(faces[group]), int(images[group]))
        rows, reason = _choose(groups, group, found, config)
        told = [*(unknown.get(group, []) if rows else []), *left_out.get(group, [])]
        reason += f" (left out: {' and '.join(told)})" if told else ""
        targets.append(rows[0] if rows else -1)
        runners.append(rows[1:])
        out["identity"].append(identity)
        out["video"].append(video)
        out["frames"].append(int(frames[group]))
        out["reason"].append(reason)
    _fill(out, groups, targets, runners)
    return tables.make_table(parquet.TARGETS, out)


def _rows_by_group(groups: Groups, ranked: NDArray[np.int64], count: int) -> dict[int, list[int]]:
    kept = first_of_groups(groups.of, ranked, count)
    found: dict[int, list[int]] = {}
    for group, row in zip(groups.of[kept].tolist(), kept.tolist(), strict=True):
        found.setdefault(group, []).append(row)
    return found


class Found(NamedTuple):
    """Of a group: its best rows, and how many usable frames, faces that could be usable, and rows it has."""

    best: list[int]
    frames: int
    faces: int
    images: int


def _choose(groups: Groups, group: int, found: Found, config: SelectConfig) -> tuple[list[int], str]:
    """The target's row and the runners-up, [] where there is no target; and why."""
    best = found.best
    if group in groups.chosen:
        row = groups.chosen[group]
        return [row, *(other for other in best if other != row)], f"{Reason.BY_HAND} (--overrides)"
    refusal = _refuse(groups, found, config)
    if refusal:
        return [], refusal
    angle = float(groups.angle[best[0]])
    of_all = f"of {counted(found.frames, 'usable frame')}"
    sure = [row for row in best if groups.error[row] <= SURE_DEG]
    if not sure:
        return best, f"{Reason.UNSURE} {of_all}, {angle:.1f} degrees: the pose of none of them is told well"
    if angle > min(groups.angle[row] for row in sure):
        return best, f"{Reason.NEAR_TIE} {NEAR_DEG:g} degrees of the most frontal {of_all}, and a better picture"
    return best, f"{Reason.MOST_FRONTAL} {of_all}, {angle:.1f} degrees"


def _badly_posed(groups: Groups, best: Mapping[int, list[int]]) -> dict[str, NDArray[np.bool_]]:
    """The rows that could not be the target, for their pose is not known well enough."""
    first = np.full(len(groups.names), np.nan, np.float32)
    first[list(best)] = groups.angle[[rows[0] for rows in best.values()]]
    unsure = groups.usable & (groups.error > SURE_DEG) & (groups.angle < first[groups.of])
    return {"of unknown pose": groups.usable & np.isnan(groups.angle), "with a large pose error": unsure}


def _left_out(groups: Groups) -> dict[str, NDArray[np.bool_]]:
    return {why.told: rows for why, rows in groups.left_out().items()}


def _tell(groups: Groups, kinds: Mapping[str, NDArray[np.bool_]]) -> dict[int, list[str]]:
    """Group -> how many rows it has of each kind."""
    told: dict[int, list[str]] = {}
    for what, rows in kinds.items():
        counts = groups.count(rows)
        for group in np.flatnonzero(counts).tolist():
            told.setdefault(group, []).append(f"{counts[group]:,} {what}")
    return told


def _refuse(groups: Groups, found: Found, config: SelectConfig) -> str:
    """Why a group gets no target; empty where it gets one."""
    best, frames, faces, images = found
    if faces and not frames:
        return f"{Reason.NONE_LEFT} of its {counted(faces, 'usable face')}"
    if not frames:
        return f"{Reason.NO_FACE} in its {counted(images, 'row')}: their status says why"
    if frames < config.min_frames:
        return f"{Reason.FEW_FRAMES} {counted(frames, 'usable frame')}; --min-frames asks for {config.min_frames}"
    if not best:
        return f"{Reason.NO_POSE} in any of its {counted(frames, 'usable frame')}"
    angle = float(groups.angle[best[0]])
    if config.max_angle and angle > config.max_angle:
        return f"{Reason.TURNED_AWAY} {angle:.1f} degrees from frontal; --max-angle allows {config.max_angle:g}"
    return ""


def tell_refusals(table: parquet.Table, min_frames: int, max_angle: float | None) -> list[str]:
    """How many groups have no target for which reason: `9 with fewer usable frames than --min-frames 10`."""
    told = {
        Reason.NO_FACE: "without a usable face",
        Reason.NONE_LEFT: "with every usable face left out",
        Reason.FEW_FRAMES: f"with fewer usable frames than --min-frames {min_frames}",
        Reason.NO_POSE: "without a pose that can be told",
        Reason.TURNED_AWAY: f"with none within --max-angle {max_angle or 0:g}",
    }
    rows = table.select(["target_key", "reason"]).to_pylist()
    refusals = [row["reason"] for row in rows if not row["target_key"]]
    found = Counter(what for refusal in refusals for start, what in told.items() if refusal.startswith(start))
    return [f"{count:,} {what}" for what, count in found.most_common()]


def _fill(out: dict[str, list[Any]], groups: Groups, targets: list[int], runners: list[list[int]]) -> None:
    """Keys, paths and angles of the chosen rows, read from the table at once."""
    wanted = sorted({row for row in targets if row >= 0} | {row for rows in runners for row in rows})
    found = tables.take(groups.columns.table.select(["key", "path"]), np.array(wanted, dtype=np.int64))
    key = dict(zip(wanted, found.column("key").to_pylist(), strict=True))
    path = dict(zip(wanted, found.column("path").to_pylist(), strict=True))
    out["target_key"] = [key.get(row, "") for row in targets]
    out["target_path"] = [path.get(row, "") for row in targets]
    out["target_angle"] = [float(groups.angle[row]) if row >= 0 else float("nan") for row in targets]
    out["runner_up_keys"] = [[key[row] for row in rows] for rows in runners]
    out["runner_up_angles"] = [[float(groups.angle[row]) for row in rows] for rows in runners]


def count_targets(table: parquet.Table) -> dict[str, int]:
    """How many groups have a target, and how many have none."""
    found = Counter(bool(key) for key in table.column("target_key").to_pylist())
    return {"targets": found[True], "without a target": found[False]}
