"""The rows of `pairs/part-*.parquet`: every usable frame with its identity's target, duplicates once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import SUBSETS
from facepipe.dataset.splitting import keep_distinct
from facepipe.errors import AS_BEFORE, Incomplete
from facepipe.records import Status
from facepipe.storage import parquet, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from facepipe.dataset.splitting import SubsetRule
    from facepipe.stages.faces import FaceColumns

COLUMNS = ("key", "identity", "video", "status", "frontal_angle", "yaw", "label")
PART_ROWS = 65_536
_SLICE = 8_192


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which rows of the faces are features, and what belongs to each.

    feature, target: (n,) int64, indexes into `columns`. subset: (n,) int64, indexes into SUBSETS. target_angle: (n,)
    float32. identity, identities: every row's identity. duplicates: rows left out because another shows the same.
    """

    columns: FaceColumns
    feature: NDArray[np.int64]
    target: NDArray[np.int64]
    subset: NDArray[np.int64]
    target_angle: NDArray[np.float32]
    identity: NDArray[np.int64]
    identities: list[str]
    duplicates: int


def make_pairs(
    columns: FaceColumns,
    targets: parquet.Table,
    per: str,
    dropped: Sequence[str],
    contents: NDArray[np.uint64],
    rule: SubsetRule,
) -> Pairs:
    """Pairs every usable frame with its target.

    Args:
        columns: COLUMNS of every row.
        targets: what `select` wrote.
        per: `identity` or `video`: what it chose targets for.
        dropped: keys that a person took out.
        contents: (n,) uint64, a hash of every row's crop; 0 where there is none.
        rule: which subset an identity belongs to.
    """
    identity, identities = tables.codes(columns.table, "identity")
    usable = _usable(columns, contents, dropped)
    target_of, angle_of = _target_of_rows(columns, targets, per, identity, identities)
    is_target = np.zeros(len(usable), dtype=bool)
    is_target[target_of[target_of >= 0]] = True
    rows = np.flatnonzero(usable)
    distinct = np.zeros(len(usable), dtype=bool)
    distinct[rows] = keep_distinct(identity[rows], contents[rows], is_target[rows])
    feature = np.flatnonzero(distinct & (target_of >= 0) & (target_of != np.arange(len(usable))))
    target = target_of[feature]
    subset = np.array([SUBSETS.index(rule.choose(name)) for name in identities])
    return Pairs(
        columns,
        feature,
        target,
        subset[identity[feature]] if len(identities) else feature,
        angle_of[feature],
        identity,
        identities,
        int(usable.sum() - distinct.sum()),
    )


def _usable(columns: FaceColumns, contents: NDArray[np.uint64], dropped: Sequence[str]) -> NDArray[np.bool_]:
    status, statuses = tables.codes(columns.table, "status")
    usable = (status == (statuses.index(Status.OK) if Status.OK in statuses else -1)) & (contents != 0)
    rows = tables.find(columns.table, "key", dropped)
    usable[rows[rows >= 0]] = False
    return np.asarray(usable)


def _target_of_rows(
    columns: FaceColumns, targets: parquet.Table, per: str, identity: NDArray[np.int64], identities: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each row's target, as a row (-1: none) and its angle."""
    chosen = targets.select(["identity", "video", "target_key", "target_angle"]).to_pylist()
    chosen = [entry for entry in chosen if entry["target_key"]]
    rows = tables.find(columns.table, "key", [entry["target_key"] for entry in chosen])
    if (rows < 0).any():
        missing = chosen[int(np.flatnonzero(rows < 0)[0])]["target_key"]
        raise Incomplete(f"the target {missing!r} is none of the faces; run `facepipe select` again {AS_BEFORE}")
    video, videos = tables.codes(columns.table, "video")
    if per == "identity":
        video, videos = np.zeros_like(video), [""]
    groups = identity * len(videos) + video
    by_name = {name: i for i, name in enumerate(identities)}, {name: i for i, name in enumerate(videos)}
    wanted = {
        by_name[0][entry["identity"]] * len(videos) + by_name[1].get(entry["video"], 0): (row, entry["target_angle"])
        for entry, row in zip(chosen, rows.tolist(), strict=True)
    }
    distinct, inverse = np.unique(groups, return_inverse=True)
    pairs = [wanted.get(group, (-1, float("nan"))) for group in distinct.tolist()]
    return (
        np.array([row for row, _ in pairs], dtype=np.int64)[inverse],
        np.array([angle for _, angle in pairs], dtype=np.float32)[inverse],
    )


def pair_tables(pairs: Pairs) -> Iterator[parquet.Table]:
    """The pairs in the faces' order, PART_ROWS a table; one empty table where there are none."""
    for start in range(0, max(len(pairs.feature), 1), PART_ROWS):
        yield tables.concatenate(
            [
                _slice(pairs, slice(at, min(at + _SLICE, start + PART_ROWS)))
                for at in range(start, start + PART_ROWS, _SLICE)
            ]
        )


def _slice(pairs: Pairs, rows: slice) -> parquet.Table:
    feature, target = pairs.feature[rows], pairs.target[rows]
    of_feature, of_target = pairs.columns.take(feature), pairs.columns.take(target)
    table = of_feature.table
    values: dict[str, Any] = {name: table.column(name) for name in ("key", "identity", "video", "label")}
    values["subset"] = [SUBSETS[i] for i in pairs.subset[rows].tolist()]
    values["feature_key"], values["target_key"] = table.column("key"), of_target.table.column("key")
    values["feature_angle"], values["feature_yaw"] = table.column("frontal_angle"), table.column("yaw")
    values["target_angle"] = pairs.target_angle[rows]
    values["feature_part"], values["feature_row"] = of_feature.part, of_feature.row
    values["target_part"], values["target_row"] = of_target.part, of_target.row
    return tables.make_table(parquet.PAIRS, values)
