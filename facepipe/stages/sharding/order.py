"""The order of all examples: one sort by a hash of key, copy and seed, so that the shuffle reaches across everything.

For every example there are 16 bytes of memory while a subset is sorted, and for every pair or face about a hundred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import SUBSETS
from facepipe.dataset.seeding import Draws, mix_numbers, order_numbers
from facepipe.records import Status
from facepipe.stages.faces import rename
from facepipe.stages.sharding.plan import TRAIN
from facepipe.stages.sharding.turned import COLUMNS, is_turnable, name_view, turn_of
from facepipe.storage import parquet, place, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from facepipe.stages.sharding.inputs import Inputs
    from facepipe.stages.sharding.plan import ShardPlan

_FACE_COLUMNS = ("key", "identity", "status", "label", "yaw", "pitch", "crop.path")
_PLACES = (("feature_part", "feature_row"), ("target_part", "target_row"))
_ANGLES = ("feature_angle", "target_angle", "feature_yaw")
_PAIR_COLUMNS = ("key", "identity", "subset", "label", *_PLACES[0], *_PLACES[1], *_ANGLES)


@dataclass(frozen=True, eq=False)
class Shard:
    """One shard: its subset, its file's name, and the examples in it, in order.

    rows: (n,) int32, rows of the table of pairs or faces. copies: (n,) int8, which copy of it each is.
    """

    subset: str
    name: str
    rows: NDArray[np.int32]
    copies: NDArray[np.int8]

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.rows)


class Examples:
    """All pairs or faces, and the shards that their copies make."""

    def __init__(self, plan: ShardPlan, inputs: Inputs) -> None:
        read = list(_read(plan, inputs))
        self._plan = plan
        self._table: Any = tables.concatenate([table for table, _ in read]).combine_chunks() if read else None
        numbers = [order_numbers(table.column("key").to_pylist(), plan.seed) for table, _ in read]
        self.shards = _sorted(plan, numbers, [subset for _, subset in read]) if read else []

    def places(self, shards: Sequence[Shard]) -> NDArray[np.int32]:
        """Part and row of every picture of some shards: (n, 2) int32, distinct and sorted."""
        found = [np.zeros((0, 2), dtype=np.int32)]
        for shard in shards:
            table = tables.take(self._table, np.unique(shard.rows))
            found += [_columns(table, names) for names in _PLACES[: self._plan.pictures]]
        return np.unique(np.concatenate(found), axis=0)

    def keys(self, shard: Shard) -> list[tuple[str, int]]:
        """Key and copy of the examples of a shard, in order."""
        keys = tables.take(self._table.select(["key"]), shard.rows).column("key").to_pylist()
        return list(zip(keys, shard.copies.tolist(), strict=True))

    def write(self, scratch: str, shard: Shard) -> None:
        """Writes the examples of a shard, in order, to a table that `iterate_blocks` reads."""
        table = tables.take(self._table, shard.rows)
        columns = {name: table.column(name) for name in table.column_names} | {"copy": shard.copies}
        parquet.write_table(place(scratch), _table_name(shard.name), tables.make_table(parquet.EXAMPLES, columns))


@dataclass(eq=False)
class Block:
    """Examples in their order.

    keys; identities: UTF-8; copies: (n,) int32; labels: (n,) int64; places: (n, 2, 2) int32, part and row of feature
    and target; angles: (n, 3) float32, of feature and target, and the feature's yaw. Of single faces the first place,
    and yaw and pitch; of turned ones the feature's pitch in place of its angle.
    """

    keys: list[str]
    identities: list[bytes]
    copies: NDArray[np.int32]
    labels: NDArray[np.int64]
    places: NDArray[np.int32]
    angles: NDArray[np.float32]

    def __len__(self) -> int:
        """How many."""
        return len(self.keys)


def iterate_blocks(scratch: str, name: str, size: int) -> Iterator[Block]:
    """The examples of the shard `name`, at most `size` at a time."""
    for table in parquet.iterate_rows(place(scratch), _table_name(name), parquet.EXAMPLES.names, size):
        yield Block(
            table.column("key").to_pylist(),
            [identity.encode() for identity in table.column("identity").to_pylist()],
            tables.numbers(table, "copy"),
            tables.numbers(table, "label"),
            np.stack([_columns(table, names) for names in _PLACES], axis=1),
            _columns(table, _ANGLES),
        )


def _table_name(shard: str) -> str:
    return f"{shard}.parquet"


def _columns(table: parquet.Table, names: Sequence[str]) -> NDArray[Any]:
    return np.stack([tables.numbers(table, name) for name in names], axis=1)


def _sorted(plan: ShardPlan, numbers: list[NDArray[np.uint64]], subsets: list[NDArray[np.int64]]) -> list[Shard]:
    """The shards of all subsets: of the examples in the order of their numbers, each takes its share."""
    number, subset = np.concatenate(numbers), np.concatenate(subsets)
    shards: list[Shard] = []
    of_train = int((subset == TRAIN).sum()) * len(plan.copies_of(TRAIN))
    for index, name in enumerate(SUBSETS):
        members, copies = np.flatnonzero(subset == index), plan.copies_of(index)
        order = np.argsort(np.concatenate([mix_numbers(number[members], copy) for copy in copies]), kind="stable")
        count = plan.count_shards(len(order), of_train) if len(order) else 0
        for shard in range(count):  # their sizes differ by one at most
            mine = order[len(order) * shard // count : len(order) * (shard + 1) // count]
            copy, member = np.divmod(mine, len(members))
            file = plan.stored.shard_name(plan.examples, name, shard, count)
            shards.append(Shard(name, file, members[member].astype(np.int32), np.array(copies, np.int8)[copy]))
    return shards


def identities_of(plan: ShardPlan, inputs: Inputs) -> dict[str, list[str]]:
    """Who has examples, by subset."""
    people: dict[str, set[str]] = {subset: set() for subset in SUBSETS}
    for table, subsets in _read(plan, inputs):
        codes, names = tables.codes(table, "identity")
        for code, subset in set(zip(codes.tolist(), subsets.tolist(), strict=True)):
            people[SUBSETS[subset]].add(names[code])
    return {subset: sorted(names) for subset, names in people.items()}


def _read(plan: ShardPlan, inputs: Inputs) -> Iterator[tuple[parquet.Table, NDArray[np.int64]]]:
    """Part by part the examples of a plan, and the subset of each."""
    if plan.examples == "pairs":
        return _read_pairs(inputs)
    return _read_turned(plan, inputs) if plan.turns else _read_faces(inputs)


def _read_pairs(inputs: Inputs) -> Iterator[tuple[parquet.Table, NDArray[np.int64]]]:
    """Part by part the pairs, and the subset of each."""
    for _, table in parquet.iterate_parts(inputs.pairs, _PAIR_COLUMNS):
        codes, names = tables.codes(table, "subset")
        yield table.drop_columns("subset"), np.array([SUBSETS.index(name) for name in names], dtype=np.int64)[codes]


def _read_faces(inputs: Inputs) -> Iterator[tuple[parquet.Table, NDArray[np.int64]]]:
    """Part by part the usable faces, in the columns of pairs, and the subset of each."""
    rule = inputs.rule
    for part, table in parquet.iterate_parts(inputs.faces.place, _FACE_COLUMNS, inputs.faces.names):
        looked_at = zip(*(table.column(name).to_pylist() for name in ("status", "crop", "key")), strict=True)
        usable = [s == Status.OK and crop is not None and key not in rule.dropped for s, crop, key in looked_at]
        rows = np.flatnonzero(usable)
        found = rename(tables.take(table, rows), rule.people)
        codes, names = tables.codes(found, "identity")
        subsets = [SUBSETS.index(rule.subsets.choose(name)) for name in names]
        none = np.zeros(len(rows), dtype=np.int32)
        columns = {name: found.column(name) for name in ("key", "identity", "label")}
        columns |= {"feature_part": none + part, "feature_row": rows, "target_part": none, "target_row": none}
        columns |= {"feature_angle": found.column("yaw"), "target_angle": found.column("pitch"), "feature_yaw": none}
        columns["copy"] = none
        yield tables.make_table(parquet.EXAMPLES, columns), np.array(subsets, dtype=np.int64)[codes]


def _read_turned(plan: ShardPlan, inputs: Inputs) -> Iterator[tuple[parquet.Table, NDArray[np.int64]]]:
    """Part by part the views of frontal faces, in the columns of pairs, and the subset of each."""
    draws, rule = Draws(), inputs.rule
    columns = [*COLUMNS, "identity", "status", "label", "crop.path"]
    for part, table in parquet.iterate_parts(inputs.faces.place, columns, inputs.faces.names):
        found: dict[str, list[Any]] = {name: [] for name in parquet.EXAMPLES.names}
        subsets = []
        for number, row in enumerate(rename(table, rule.people).to_pylist()):
            if not is_turnable(row) or row["crop"] is None or row["key"] in rule.dropped:
                continue
            for turn in range(plan.turns):
                angles = turn_of(plan, draws, row["key"], turn)
                values = {"key": name_view(row["key"], turn), "feature_angle": angles.pitch, "feature_yaw": angles.yaw}
                values |= {"feature_part": part, "feature_row": number * plan.places + plan.place_of(turn)}
                values |= {"target_part": part, "target_row": number * plan.places, "copy": 0}
                values |= {"target_angle": row["frontal_angle"], "identity": row["identity"], "label": row["label"]}
                for name, value in values.items():
                    found[name].append(value)
                subsets.append(SUBSETS.index(rule.subsets.choose(row["identity"])))
        yield tables.make_table(parquet.EXAMPLES, found), np.array(subsets, dtype=np.int64)
