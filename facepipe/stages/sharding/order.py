"""The order of all examples, by a hash of key, copy and seed, found and kept in bounded memory.

Every source (a part of the pairs, or some parts of the faces) sorts its own examples by their number and keeps them in
files. Where the blocks of a shard begin in each of these files follows from counting, without ever holding them all:
a shard is the merge of one slice of each source, so that the shuffle reaches across everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facepipe import parquet, tables
from facepipe.config import SUBSETS
from facepipe.records import Status
from facepipe.seeding import mix_numbers, order_numbers
from facepipe.splitting import choose_subset
from facepipe.stages.scratch import store
from facepipe.storage import place
from facepipe.workers import Guard, PartReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.stages.sharding.plan import ShardPlan

REFERENCE = np.dtype(
    [
        ("text_at", "<u8"),
        ("key_bytes", "<u4"),
        ("identity_bytes", "<u4"),
        ("label", "<i8"),
        ("places", "<i4", (2, 2)),
        ("angles", "<f4", (3,)),
        ("copy", "<i4"),
    ]
)
"""An example: where its key and identity stand in the text file; part and row of its pictures; its angles."""
_PAIR_COLUMNS = (
    "key", "identity", "subset", "label", "feature_part", "feature_row", "target_part", "target_row",
    "feature_angle", "target_angle", "feature_yaw",
)  # fmt: skip
_FACE_COLUMNS = ("key", "identity", "status", "label", "yaw", "pitch", "crop.path")


@dataclass(frozen=True)
class Split:
    """How `split` chose subsets, for the single faces, and whom it left out."""

    seed: int
    validation: float
    test: float
    dropped: frozenset[str]


@dataclass(frozen=True)
class OrderJob:
    """Source number -> its examples, sorted, in the scratch folder: three files a subset."""

    plan: ShardPlan
    pairs: str
    faces: str
    scratch: str
    split: Split
    sources: tuple[tuple[int, ...], ...]

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Writes `order` (uint64), `refs` (REFERENCE) and `text` of the source's examples."""
        guard.on(0)
        pairs = self.plan.examples == "pairs"
        rows = [self._pairs(part) if pairs else self._faces(part) for part in self.sources[number]]
        keys, identities = ([text for row in rows for text in row[i]] for i in (0, 1))
        subset, refs = (np.concatenate([row[i] for row in rows]) for i in (2, 3))
        numbers = order_numbers(keys, self.plan.seed)
        counts = {}
        for index, name in enumerate(SUBSETS):
            members = np.flatnonzero(subset == index)
            counts[name] = self._write(number, index, members, numbers, refs, keys, identities)
        return PartReport(counts=counts, items=len(keys))

    def _pairs(self, part: int) -> tuple[list[str], list[str], NDArray[np.int64], NDArray[np.void]]:
        """Keys, identities, subsets and references of a part of the pairs."""
        table = parquet.read_table(place(self.pairs), parquet.part_name(part), _PAIR_COLUMNS)
        refs = np.zeros(table.num_rows, dtype=REFERENCE)
        refs["label"] = tables.numbers(table, "label")
        for i, kind in enumerate(("feature", "target")):
            for j, what in enumerate(("part", "row")):
                refs["places"][:, i, j] = tables.numbers(table, f"{kind}_{what}")
        for i, name in enumerate(("feature_angle", "target_angle", "feature_yaw")):
            refs["angles"][:, i] = tables.numbers(table, name)
        codes, names = tables.codes(table, "subset")
        subset = np.array([SUBSETS.index(name) for name in names], dtype=np.int64)
        return (
            table.column("key").to_pylist(),
            table.column("identity").to_pylist(),
            subset[codes] if len(names) else codes,
            refs,
        )

    def _faces(self, part: int) -> tuple[list[str], list[str], NDArray[np.int64], NDArray[np.void]]:
        """Keys, identities, subsets and references of the usable rows of a part of the faces."""
        table = parquet.read_table(place(self.faces), parquet.part_name(part), _FACE_COLUMNS)
        dropped = self.split.dropped
        usable = [
            status == Status.OK and crop is not None and key not in dropped
            for status, crop, key in zip(
                *(table.column(name).to_pylist() for name in ("status", "crop", "key")), strict=True
            )
        ]
        rows = np.flatnonzero(usable)
        table = tables.take(table, rows)
        refs = np.zeros(len(rows), dtype=REFERENCE)
        refs["label"] = tables.numbers(table, "label")
        refs["places"][:, 0, 0], refs["places"][:, 0, 1] = part, rows
        refs["angles"][:, 0], refs["angles"][:, 1] = tables.numbers(table, "yaw"), tables.numbers(table, "pitch")
        codes, names = tables.codes(table, "identity")
        rule = (self.split.seed, self.split.validation, self.split.test)
        subset = np.array([SUBSETS.index(choose_subset(name, *rule)) for name in names], dtype=np.int64)
        return (
            table.column("key").to_pylist(),
            [names[code] for code in codes.tolist()],
            subset[codes] if len(names) else codes,
            refs,
        )

    def _write(
        self,
        number: int,
        subset: int,
        members: NDArray[np.int64],
        numbers: NDArray[np.uint64],
        refs: NDArray[np.void],
        keys: Sequence[str],
        identities: Sequence[str],
    ) -> int:
        """Sorts and writes one subset's examples; gives how many."""
        copies = self.plan.copies_of(subset)
        order = np.concatenate([mix_numbers(numbers[members], copy) for copy in copies])
        rows = np.tile(members, len(copies))
        by_order = np.argsort(order, kind="stable")
        found = refs[rows[by_order]]
        found["copy"] = np.repeat(copies, len(members))[by_order]
        text = []
        for row in rows[by_order].tolist():
            text += [keys[row].encode("utf-8", "surrogatepass"), identities[row].encode("utf-8", "surrogatepass")]
        sizes = np.fromiter(map(len, text), dtype=np.int64, count=len(text)).reshape(-1, 2)
        found["key_bytes"], found["identity_bytes"] = sizes[:, 0], sizes[:, 1]
        found["text_at"] = np.cumsum(sizes.sum(axis=1)) - sizes.sum(axis=1)
        store(self.scratch, file_name("order", subset, number), order[by_order])
        place(self.scratch).write(file_name("text", subset, number), b"".join(text))
        # Last: a source whose references are there is done.
        store(self.scratch, file_name("refs", subset, number), found)
        return len(found)


def file_name(kind: str, subset: int, number: int) -> str:
    """A file of a source in the scratch folder."""
    return f"{kind}-{SUBSETS[subset]}-{number:05d}.npy"


def group_parts(counts: dict[int, int], rows: int) -> tuple[tuple[int, ...], ...]:
    """Parts (number -> rows) put together, in order, into sources of about `rows` rows."""
    groups: list[list[int]] = []
    filled = rows
    for number in sorted(counts):
        if filled + counts[number] > rows:
            groups.append([])
            filled = 0
        groups[-1].append(number)
        filled += counts[number]
    return tuple(tuple(group) for group in groups)


def find_cuts(orders: Sequence[NDArray[np.uint64]], ranks: Sequence[int]) -> NDArray[np.int64]:
    """Where each source is cut so that `rank` examples of all sources together lie before.

    Args:
        orders: sorted numbers of each source; memory-mapped ones stay on disk.
        ranks: ascending.

    Returns:
        (len(ranks), len(orders)) int64. Equal numbers fall on one side.
    """
    total = sum(len(order) for order in orders)
    return np.array([_cut(orders, rank, total) for rank in ranks], dtype=np.int64).reshape(len(ranks), len(orders))


def _cut(orders: Sequence[NDArray[np.uint64]], rank: int, total: int) -> list[int]:
    if rank >= total:
        return [len(order) for order in orders]
    # Numbers are spread evenly, so the cut lies near its share; the bracket grows where it does not.
    low, high, width = 0, 2**64 - 1, 8 * int(total**0.5) + 8
    guess = rank * 2**64 // max(total, 1)
    reach = width * (2**64 // max(total, 1))
    for bound in (max(guess - reach, 0), min(guess + reach, 2**64 - 1)):
        counts = _count_below(orders, bound)
        if sum(counts) <= rank:
            low = max(low, bound)
        else:
            high = min(high, bound)
    while True:
        middle = (low + high) // 2
        counts = _count_below(orders, middle)
        before = sum(counts)
        if before == rank or high - low <= 1:
            return counts
        low, high = (middle, high) if before < rank else (low, middle)


def _count_below(orders: Sequence[NDArray[np.uint64]], number: int) -> list[int]:
    return [int(np.searchsorted(order, np.uint64(number))) for order in orders]
