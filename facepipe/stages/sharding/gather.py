"""The steps before the records: the order of all examples, the layout of the shards, the pixels."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe import parquet
from facepipe.config import SUBSETS
from facepipe.errors import DamagedFile
from facepipe.stages.scratch import load, map_array, store
from facepipe.stages.sharding.order import OrderJob, file_name, find_cuts, group_parts
from facepipe.stages.sharding.pixels import NEEDED, PixelsJob, is_whole
from facepipe.stages.sharding.plan import TRAIN, ShardPlan, block_ranks
from facepipe.stages.sharding.records import Layout, cuts_name
from facepipe.storage import place
from facepipe.workers import run_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.config import Execution
    from facepipe.parts import Job, PartReport
    from facepipe.progress import Progress
    from facepipe.stages.sharding.inputs import Inputs

SOURCE_ROWS = 65_536
TIMEOUT_S = 600.0
"""For one crop, one source or one block: a machine that needs longer has stopped."""


class Gatherer:
    """Makes what the records need, in the scratch folder; what an earlier run left there is used."""

    def __init__(self, plan: ShardPlan, inputs: Inputs, scratch: str, execution: Execution, progress: Progress) -> None:
        self.plan = plan
        self.scratch = scratch
        self.steps: Counter[str] = Counter()
        self.sources: tuple[tuple[int, ...], ...] = ()
        self._inputs = inputs
        self._execution = execution
        self._progress = progress
        self._rows: dict[int, int] = {}

    def order(self) -> dict[int, int]:
        """Sorts the examples of every source; gives how many each subset has."""
        faces = self._inputs.faces
        self._rows = {n: sum(parquet.count_rows(faces.place, parquet.part_name(n))) for n in faces.parts}
        if self.plan.examples == "pairs":
            self.sources = tuple((number,) for number in range(self._inputs.parts))
        else:
            self.sources = group_parts(self._rows, SOURCE_ROWS)
        missing = [number for number in range(len(self.sources)) if not self._is_ordered(number)]
        pairs, split = self._inputs.pairs.uri, self._inputs.split
        self._run(OrderJob(self.plan, pairs, faces.place.uri, self.scratch, split, self.sources), missing, "order")
        return {subset: sum(len(order) for order in self._orders(subset)) for subset in range(len(SUBSETS))}

    def _is_ordered(self, number: int) -> bool:
        folder = place(self.scratch)
        return all(folder.exists(file_name("refs", subset, number)) for subset in range(len(SUBSETS)))

    def _orders(self, subset: int) -> list[NDArray[np.uint64]]:
        names = [file_name("order", subset, number) for number in range(len(self.sources))]
        return [map_array(self.scratch, name) for name in names]

    def lay_out(self, examples: dict[int, int]) -> Layout:
        """How many shards each subset has."""
        counts = {s: self.plan.count_shards(n, examples[TRAIN]) for s, n in examples.items() if n}
        return Layout(tuple((subset, shard, count) for subset, count in counts.items() for shard in range(count)))

    def cut(self, layout: Layout, examples: dict[int, int], wanted: Sequence[int]) -> None:
        """Finds where the blocks of the wanted shards lie in each source."""
        orders = {subset: self._orders(subset) for subset in {layout.shards[number][0] for number in wanted}}
        for number in wanted:
            subset, shard, count = layout.shards[number]
            ranks = block_ranks(shard, count, examples[subset], self.plan.block)
            store(self.scratch, cuts_name(number), find_cuts(orders[subset], ranks))

    def pixels(self, layout: Layout, wanted: Sequence[int]) -> str:
        """Decodes every crop once; where few shards are wanted, only theirs. Gives the partial files' name."""
        partial = self._note_needed(layout, wanted) if len(wanted) < len(layout.shards) else ""
        scratch = place(self.scratch)
        parts = [n for n in self._rows if not is_whole(scratch, n, partial, self._rows[n], self.plan)]
        self._progress.start("shard", sum(self._rows[number] for number in parts), "crops")
        try:
            self._run(PixelsJob(self.plan, self._inputs.faces.place.uri, self.scratch, partial), parts, "pixels")
        finally:
            self._progress.finish()
        return partial

    def _note_needed(self, layout: Layout, wanted: Sequence[int]) -> str:
        places = [np.zeros((0, 2), dtype=np.int32)]
        for number in wanted:
            cuts = load(self.scratch, cuts_name(number))
            for source in range(len(self.sources)):
                refs = map_array(self.scratch, file_name("refs", layout.shards[number][0], source))
                found = refs[int(cuts[0, source]) : int(cuts[-1, source])]["places"]
                places.append(np.unique(found[:, : self.plan.pictures].reshape(-1, 2), axis=0))
        needed = np.unique(np.concatenate(places), axis=0)
        store(self.scratch, NEEDED, needed)
        return hashlib.sha256(needed.tobytes()).hexdigest()[:8]

    def _run(self, job: Job, numbers: Sequence[int], step: str) -> None:
        def on_done(_number: int, report: PartReport) -> None:
            self.steps.update(report.steps_s)
            if step == "pixels":
                self._progress.advance(report.items)

        note = self._progress.note
        run_parts(job, numbers, execution=self._execution, timeout_s=TIMEOUT_S, on_done=on_done, note=note)


def expected_length(cuts: NDArray[Any]) -> int:
    """Examples of a shard, from its cuts."""
    return int(cuts[-1].sum() - cuts[0].sum())


def shard_lengths(scratch: str, layout: Layout) -> list[int]:
    """Examples of every shard.

    Raises:
        DamagedFile: the scratch folder is not whole.
    """
    lengths = [expected_length(load(scratch, cuts_name(number))) for number in range(len(layout.shards))]
    if any(length < 0 for length in lengths):
        raise DamagedFile(f"{scratch} is damaged; remove it and run the same command again")
    return lengths
