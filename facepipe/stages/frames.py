"""All rows of the faces by group, which of them may be target and feature, and why others may not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.dataset.selection import Frames, rank_frames
from facepipe.errors import UsageError
from facepipe.records import Status
from facepipe.stages.leftout import Why
from facepipe.stages.overrides import DROP, TARGET
from facepipe.storage import parquet, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facepipe.stages.faces import FaceColumns
    from facepipe.stages.overrides import Correction

COLUMNS = (
    "key", "path", "identity", "video", "status", "frontal_angle", "pose_error", "yaw", "pitch", "sharpness", "score",
    "bbox",
)  # fmt: skip
_WHY = list(Why)


@dataclass(eq=False)
class Groups:
    """All rows by group (identity, or identity and video).

    of: (n,) int64, each row's group. names: (identity, video) of each group, sorted. usable: (n,) bool, ok rows that
    are not left out. angle: (n,) float32, degrees, NaN where it can't be told. error: likewise, of the pose.
    chosen: group -> row that a person has chosen. kept: (n,) bool, rows that a person wants to stay.
    reason, value, repeats: (n,) of the rows left out: index in `Why` (-1: not left out), what was compared with the
    limit (float32), and the row that is kept in its place (-1: none).
    """

    columns: FaceColumns
    of: NDArray[np.int64]
    names: list[tuple[str, str]]
    usable: NDArray[np.bool_]
    angle: NDArray[np.float32]
    error: NDArray[np.float32]
    chosen: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is left out yet."""
        self.kept = np.zeros(len(self.of), dtype=bool)
        self.reason = np.full(len(self.of), -1, np.int8)
        self.value = np.full(len(self.of), np.nan, np.float32)
        self.repeats = np.full(len(self.of), -1, np.int64)

    def measure(self, what: str) -> NDArray[np.float32]:
        """(n,) float32 of every row: a column, or `size`, the longer side of the face's box in px of the image."""
        if what != "size":
            return tables.numbers(self.columns.table, what)
        box = tables.lists(self.columns.table, "bbox", 4)
        return np.asarray(np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]))

    def frames(self, rows: NDArray[np.int64]) -> Frames:
        """What the choice is made from."""
        table = tables.take(self.columns.table.select(["sharpness", "score", "bbox"]), rows)
        box = tables.lists(table, "bbox", 4)
        size = np.sqrt(np.abs((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])))
        sharpness, score = tables.numbers(table, "sharpness"), tables.numbers(table, "score")
        return Frames(self.of[rows], self.angle[rows], self.error[rows], sharpness, size, score)

    def ranked(self) -> NDArray[np.int64]:
        """All usable rows whose pose can be told, group by group, the best first."""
        rows = np.flatnonzero(self.usable & ~np.isnan(self.angle))
        return np.asarray(rows[rank_frames(self.frames(rows))])

    def leave_out(
        self,
        why: Why,
        rows: NDArray[np.bool_],
        value: NDArray[Any] | None = None,
        repeats: NDArray[np.int64] | None = None,
    ) -> None:
        """Leaves rows (n,) out, unless they are already or a person wants them to stay."""
        out = np.flatnonzero(rows & self.usable & ~self.kept)
        self.usable[out] = False
        self.reason[out] = _WHY.index(why)
        if value is not None:
            self.value[out] = value[out]
        if repeats is not None:
            self.repeats[out] = repeats[out]

    def take_up(self, table: parquet.Table) -> None:
        """Leaves out what a `left_out.parquet` names, for the reasons that it has."""
        keys = (table.column(name).to_pylist() for name in ("key", "kept_key"))
        at, repeats = (tables.find(self.columns.table, "key", some) for some in keys)
        self.usable[at] = False
        self.reason[at] = [_WHY.index(Why(reason)) for reason in table.column("reason").to_pylist()]
        self.value[at] = tables.numbers(table, "value")
        self.repeats[at] = repeats

    def count(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(groups,) how many of some rows (n,) each group has."""
        return np.bincount(self.of[rows], minlength=len(self.names))

    def left_out(self) -> dict[Why, NDArray[np.bool_]]:
        """The rows (n,) left out, by reason."""
        return {why: self.reason == number for number, why in enumerate(_WHY)}

    def left_out_table(self) -> parquet.Table:
        """The rows left out, in the order of the faces."""
        rows = np.flatnonzero(self.reason >= 0)
        table = self.columns.table.select(["key", "identity", "video"])
        found, keys = tables.take(table, rows), table.column("key")
        values = {name: found.column(name) for name in found.column_names}
        values["reason"] = [_WHY[number].value for number in self.reason[rows].tolist()]
        values["value"] = self.value[rows]
        values["kept_key"] = [keys[row].as_py() if row >= 0 else "" for row in self.repeats[rows].tolist()]
        return tables.make_table(parquet.LEFT_OUT, values)


def make_groups(columns: FaceColumns, per: str, overrides: Mapping[str, Correction]) -> Groups:
    """Groups the rows by identity, or by identity and video, and applies a person's corrections but to whose a face is.

    Raises:
        UsageError: a correction names no usable face, or two targets for one group.
    """
    of, names = tables.group_rows(columns.table, by_video=per == "video")
    ok = tables.equal(columns.table, "status", Status.OK)
    angle, error = (tables.numbers(columns.table, name) for name in ("frontal_angle", "pose_error"))
    groups = Groups(columns, of, names, ok, angle, error)
    _correct(groups, overrides)
    return groups


def _correct(groups: Groups, overrides: Mapping[str, Correction]) -> None:
    if not overrides:
        return
    dropped = np.zeros(len(groups.of), dtype=bool)
    keys = sorted(overrides)
    for key, row in zip(keys, tables.find(groups.columns.table, "key", keys).tolist(), strict=True):
        if row < 0 or not groups.usable[row]:
            raise UsageError(f"--overrides names {key!r}, which is no usable face here; remove that line")
        if overrides[key].action == TARGET and groups.chosen.setdefault(int(groups.of[row]), row) != row:
            raise UsageError(f"--overrides has two targets for {groups.names[groups.of[row]][0]!r}; leave one of them")
        dropped[row] = overrides[key].action == DROP
        groups.kept[row] = not dropped[row]
    groups.leave_out(Why.DROPPED, dropped)
