"""The rows of `targets.parquet`: each group's best frame, why it was taken, or why there is none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.dataset.selection import NEAR_DEG, Frames, first_of_groups, rank_frames
from facepipe.errors import UsageError
from facepipe.records import SURE_DEG, Status
from facepipe.stages.overrides import DROP, TARGET
from facepipe.storage import parquet, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facepipe.config import SelectConfig
    from facepipe.stages.faces import FaceColumns
    from facepipe.stages.overrides import Correction

COLUMNS = (
    "key", "path", "identity", "video", "status", "frontal_angle", "pose_error", "sharpness", "score", "bbox",
)  # fmt: skip


class Reason(StrEnum):
    """How the sentences in the column `reason` begin: so whoever reads the table tells one from another."""

    BY_HAND = "chosen by a person"
    NEAR_TIE = "within"
    MOST_FRONTAL = "the most frontal"
    UNSURE = "probably the most frontal"
    NO_FACE = "no usable face"
    FEW_FRAMES = "only"
    NO_POSE = "the pose can't be told"
    TURNED_AWAY = "its best frame is"


@dataclass(eq=False)
class Groups:
    """All rows by group (identity, or identity and video).

    of: (n,) int64, each row's group. names: (identity, video) of each group, sorted. usable: (n,) bool, ok rows that
    were not dropped. angle: (n,) float32, degrees, NaN where it can't be told. error: likewise, of the pose.
    chosen: group -> row that a person has chosen.
    """

    columns: FaceColumns
    of: NDArray[np.int64]
    names: list[tuple[str, str]]
    usable: NDArray[np.bool_]
    angle: NDArray[np.float32]
    error: NDArray[np.float32]
    chosen: dict[int, int]

    def frames(self, rows: NDArray[np.int64]) -> Frames:
        """What the choice is made from."""
        table = tables.take(self.columns.table.select(["sharpness", "score", "bbox"]), rows)
        box = tables.lists(table, "bbox", 4)
        size = np.sqrt(np.abs((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])))
        sharpness, score = tables.numbers(table, "sharpness"), tables.numbers(table, "score")
        return Frames(self.of[rows], self.angle[rows], self.error[rows], sharpness, size, score)

    def rank(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows group by group, the best first."""
        return np.asarray(rows[rank_frames(self.frames(rows))])

    def ranked(self) -> NDArray[np.int64]:
        """All usable rows whose pose can be told, ranked."""
        return self.rank(np.flatnonzero(self.usable & ~np.isnan(self.angle)))


def make_groups(columns: FaceColumns, per: str, overrides: Mapping[str, Correction]) -> Groups:
    """Groups the rows by identity, or by identity and video, and applies a person's corrections but to whose a face is.

    Raises:
        UsageError: a correction names no usable face, or two targets for one group.
    """
    identity, identities = tables.codes(columns.table, "identity")
    video, videos = tables.codes(columns.table, "video")
    if per == "identity":
        video, videos = np.zeros_like(video), [""]
    pairs, of = np.unique(identity * len(videos) + video, return_inverse=True)
    names = [(identities[pair // len(videos)], videos[pair % len(videos)]) for pair in pairs.tolist()]
    status, statuses = tables.codes(columns.table, "status")
    ok = status == (statuses.index(Status.OK) if Status.OK in statuses else -1)
    angle, error = (tables.numbers(columns.table, name) for name in ("frontal_angle", "pose_error"))
    groups = Groups(columns, of, names, ok, angle, error, {})
    _correct(groups, overrides)
    return groups


def _correct(groups: Groups, overrides: Mapping[str, Correction]) -> None:
    if not overrides:
        return
    rows = tables.find(groups.columns.table, "key", sorted(overrides))
    for key, row in zip(sorted(overrides), rows.tolist(), strict=True):
        if row < 0 or not groups.usable[row]:
            raise UsageError(f"--overrides names {key!r}, which is no usable face here; remove that line")
        if overrides[key].action == TARGET and groups.chosen.setdefault(int(groups.of[row]), row) != row:
            raise UsageError(f"--overrides has two targets for {groups.names[groups.of[row]][0]!r}; leave one of them")
    dropped = [overrides[key].action == DROP for key in sorted(overrides)]
    groups.usable[rows[dropped]] = False


def make_targets(groups: Groups, ranked: NDArray[np.int64], config: SelectConfig) -> parquet.Table:
    """The table of targets, a row a group, sorted by identity and video."""
    best = _rows_by_group(groups, ranked, config.candidates)
    frames = np.bincount(groups.of[groups.usable], minlength=len(groups.names))
    images = np.bincount(groups.of, minlength=len(groups.names))
    left_out = _left_out(groups, best)
    out: dict[str, list[Any]] = {name: [] for name in parquet.TARGETS.names}
    targets, runners = [], []
    for group, (identity, video) in enumerate(groups.names):
        rows, reason = _choose(groups, group, best.get(group, []), int(frames[group]), int(images[group]), config)
        reason += left_out.get(group, "") if rows else ""
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


def _choose(
    groups: Groups, group: int, best: list[int], frames: int, images: int, config: SelectConfig
) -> tuple[list[int], str]:
    """The target's row and the runners-up, [] where there is no target; and why."""
    if group in groups.chosen:
        row = groups.chosen[group]
        return [row, *(other for other in best if other != row)], f"{Reason.BY_HAND} (--overrides)"
    refusal = _refuse(groups, best, frames, images, config)
    if refusal:
        return [], refusal
    angle = float(groups.angle[best[0]])
    of_all = f"of {_count(frames, 'usable frame')}"
    sure = [row for row in best if groups.error[row] <= SURE_DEG]
    if not sure:
        return best, f"{Reason.UNSURE} {of_all}, {angle:.1f} degrees: the pose of none of them is told well"
    if angle > min(groups.angle[row] for row in sure):
        return best, f"{Reason.NEAR_TIE} {NEAR_DEG:g} degrees of the most frontal {of_all}, and a better picture"
    return best, f"{Reason.MOST_FRONTAL} {of_all}, {angle:.1f} degrees"


def _left_out(groups: Groups, best: Mapping[int, list[int]]) -> dict[int, str]:
    """Group -> how many frames could not be the target, for their pose is not known well enough."""
    first = np.full(len(groups.names), np.nan, np.float32)
    first[list(best)] = groups.angle[[rows[0] for rows in best.values()]]
    unsure = groups.usable & (groups.error > SURE_DEG) & (groups.angle < first[groups.of])
    kinds = {"of unknown pose": groups.usable & np.isnan(groups.angle), "with a large pose error": unsure}
    told: dict[int, list[str]] = {}
    for what, rows in kinds.items():
        counts = np.bincount(groups.of[rows], minlength=len(groups.names))
        for group in np.flatnonzero(counts).tolist():
            told.setdefault(group, []).append(f"{counts[group]:,} {what}")
    return {group: f" (left out: {' and '.join(parts)})" for group, parts in told.items()}


def _refuse(groups: Groups, best: list[int], frames: int, images: int, config: SelectConfig) -> str:
    """Why a group gets no target; empty where it gets one."""
    if not frames:
        return f"{Reason.NO_FACE} in its {_count(images, 'row')}: their status says why"
    if frames < config.min_frames:
        return f"{Reason.FEW_FRAMES} {_count(frames, 'usable frame')}; --min-frames asks for {config.min_frames}"
    if not best:
        return f"{Reason.NO_POSE} in any of its {_count(frames, 'usable frame')}"
    angle = float(groups.angle[best[0]])
    if config.max_angle and angle > config.max_angle:
        return f"{Reason.TURNED_AWAY} {angle:.1f} degrees from frontal; --max-angle allows {config.max_angle:g}"
    return ""


def tell_refusals(table: parquet.Table, min_frames: int, max_angle: float | None) -> list[str]:
    """How many groups have no target for which reason: `9 with fewer usable frames than --min-frames 10`."""
    told = {
        Reason.NO_FACE: "without a usable face",
        Reason.FEW_FRAMES: f"with fewer usable frames than --min-frames {min_frames}",
        Reason.NO_POSE: "without a pose that can be told",
        Reason.TURNED_AWAY: f"with none within --max-angle {max_angle or 0:g}",
    }
    rows = table.select(["target_key", "reason"]).to_pylist()
    refusals = [row["reason"] for row in rows if not row["target_key"]]
    found = Counter(what for refusal in refusals for start, what in told.items() if refusal.startswith(start))
    return [f"{count:,} {what}" for what, count in found.most_common()]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


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
