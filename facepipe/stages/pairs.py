"""The rows of `pairs/part-*.parquet`: every usable frame with its identity's target, duplicates once."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import SUBSETS
from facepipe.dataset.duplicates import COPY_BITS, COPY_SHIFT, count_bits
from facepipe.dataset.splitting import keep_distinct
from facepipe.errors import AS_BEFORE, DamagedFile, Incomplete
from facepipe.records import Status
from facepipe.stages.faces import read_rows
from facepipe.storage import parquet, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from facepipe.dataset.splitting import SubsetRule
    from facepipe.stages.faces import FaceColumns, Faces
    from facepipe.storage import Place

COLUMNS = ("key", "identity", "video", "status", "frontal_angle", "yaw", "label")
SUMMARY = "summary.json"
"""Pairs, people and duplicates by number, and the pictures that lie under two identities."""
PART_ROWS = 65_536
_SLICE = 8_192


def read_summary(folder: Place) -> dict[str, Any]:
    """What `summary.json` says of a folder of pairs; with `parts`, `pairs` and `identities` in any case.

    Raises:
        InputError: it can't be read.
        DamagedFile: it is not as it was written.
    """
    try:
        found: dict[str, Any] = {"published_subsets": None, **json.loads(folder.read(SUMMARY))}
        found["parts"] = int(found["parts"])
        found |= {name: dict(found[name]) for name in ("pairs", "identities")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{folder}/{SUMMARY} is damaged ({error}); run `facepipe split` again {AS_BEFORE}") from error
    return found


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
    left_out: Sequence[str],
    contents: NDArray[np.uint64],
    rule: SubsetRule,
) -> Pairs:
    """Pairs every usable frame with its target.

    Args:
        columns: COLUMNS of every row.
        targets: what `select` wrote.
        per: `identity` or `video`: what it chose targets for.
        left_out: keys that `select` left out.
        contents: (n,) uint64, a hash of every row's crop; 0 where there is none.
        rule: which subset an identity belongs to.
    """
    identity, identities = tables.codes(columns.table, "identity")
    usable = _usable(columns, contents, left_out)
    target_of, angle_of = _target_of_rows(columns, targets, by_video=per == "video")
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


def drop_copies(pairs: Pairs, prints: NDArray[np.void], faces: Faces) -> Pairs:
    """Leaves out features that are their target's picture in another encoding: its size, its face in the same place."""
    fine = prints["fine"]
    alike = count_bits(fine[pairs.feature], fine[pairs.target]) <= COPY_BITS
    at = np.flatnonzero(alike & (prints["coarse"][pairs.feature] != 0))
    if not len(at):
        return pairs
    feature, target = (_read_places(faces, pairs.columns.take(rows[at])) for rows in (pairs.feature, pairs.target))
    face = (target[:, 4:6] - target[:, 2:4]).max(axis=1, keepdims=True)
    shift = np.abs(feature[:, 6:] - target[:, 6:]).max(axis=1, keepdims=True)
    same = (feature[:, :2] == target[:, :2]).all(axis=1) & (shift <= COPY_SHIFT * face)[:, 0]
    kept = np.ones(len(pairs.feature), dtype=bool)
    kept[at[same]] = False
    columns = {name: getattr(pairs, name)[kept] for name in ("feature", "target", "subset", "target_angle")}
    return replace(pairs, **columns, duplicates=pairs.duplicates + int(same.sum()))


def _read_places(faces: Faces, rows: FaceColumns) -> NDArray[np.float32]:
    """(n, 16) float32: the picture's width and height, the face's box and landmarks, px."""
    table = read_rows(faces, rows, ["width", "height", "bbox", "landmarks"])
    size = [tables.numbers(table, name).astype(np.float32) for name in ("width", "height")]
    return np.column_stack([*size, tables.lists(table, "bbox", 4), tables.lists(table, "landmarks", 10)])


def _usable(columns: FaceColumns, contents: NDArray[np.uint64], left_out: Sequence[str]) -> NDArray[np.bool_]:
    usable = tables.equal(columns.table, "status", Status.OK) & (contents != 0)
    rows = tables.find(columns.table, "key", left_out)
    usable[rows[rows >= 0]] = False
    return np.asarray(usable)


def _target_of_rows(
    columns: FaceColumns, targets: parquet.Table, *, by_video: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each row's target, as a row (-1: none) and its angle."""
    chosen = targets.select(["identity", "video", "target_key", "target_angle"]).to_pylist()
    chosen = [entry for entry in chosen if entry["target_key"]]
    rows = tables.find(columns.table, "key", [entry["target_key"] for entry in chosen])
    if (rows < 0).any():
        missing = chosen[int(np.flatnonzero(rows < 0)[0])]["target_key"]
        raise Incomplete(f"the target {missing!r} is none of the faces; run `facepipe select` again {AS_BEFORE}")
    of, names = tables.group_rows(columns.table, by_video=by_video)
    number = {name: i for i, name in enumerate(names)}
    target, angle = np.full(len(names), -1, dtype=np.int64), np.full(len(names), np.nan, dtype=np.float32)
    for entry, row in zip(chosen, rows.tolist(), strict=True):
        group = number[entry["identity"], entry["video"] if by_video else ""]
        target[group], angle[group] = row, entry["target_angle"]
    return target[of], angle[of]


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
