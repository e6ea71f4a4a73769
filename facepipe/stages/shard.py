"""Pairs or single faces as shards: order, decode, add noise, write; the shuffle reaches across everything.

First all examples are ordered (`sharding.order`), then every crop is decoded once (`sharding.pixels`), then every shard
is written (`sharding.records`). A worker needs memory for one row group of the faces or one block of examples.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from facepipe.config import SUBSETS, join, settings_of
from facepipe.errors import DamagedFile
from facepipe.records import StageReport
from facepipe.stages.output import INPUTS, Output, Runner, foresee, open_output
from facepipe.stages.runfile import write_run_file
from facepipe.stages.sharding.datacard import CARD, encode_card
from facepipe.stages.sharding.inputs import Inputs, open_inputs
from facepipe.stages.sharding.order import Examples, identities_of
from facepipe.stages.sharding.pixels import NEEDED, PixelsJob, is_whole
from facepipe.stages.sharding.plan import ShardPlan, make_plan
from facepipe.stages.sharding.records import RecordsJob
from facepipe.storage import place
from facepipe.storage.formats import is_index, is_shard
from facepipe.storage.scratch import store
from facepipe.storage.settings import settings_or_empty
from facepipe.storage.tfds import FEATURES, INFO, VERSION, Split, encode_features, encode_info, read_info

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from facepipe.config import ShardConfig
    from facepipe.execution.progress import Progress
    from facepipe.stages.sharding.order import Shard
    from facepipe.storage import Place

STAGE = "shard"
TIMEOUT_S = 600.0
"""For one crop or one block: a machine that needs longer has stopped."""


def run(config: ShardConfig, progress: Progress) -> StageReport:
    """Makes `config.output`/<examples>/1.0.0: shards, `features.json`, `dataset_info.json`, settings, checksums.

    Raises:
        Incomplete: the pairs or faces are not finished.
        SettingsChanged: the shards were made with other settings.
        UsageError: noise that can't be meant.
    """
    started = time.monotonic()
    plan, inputs = make_plan(config), open_inputs(config)
    report = StageReport(f"{STAGE} {plan.examples}")
    folder = join(join(config.output, plan.examples), VERSION)
    settings = {"stage": STAGE, **settings_of(config), INPUTS: inputs.digests}
    if config.execution.dry_run:
        foresee(folder, settings, config.execution.overwrite)
        report.notes.append(f"dry run: would read {config.input} and {config.faces} and write {folder}")
        return report
    with open_output(folder, settings, config.execution.overwrite, is_own) as out:
        splits = _find_finished(out, plan)
        if splits is None:
            with _scratch(config, out) as scratch:
                splits = _make(config, plan, inputs, out, scratch, report, progress)
        else:
            report.done_before = sum(len(split.shard_lengths) for split in splits)
        layout = encode_features(plan.examples, plan.size, plan.channels, plan.encoding, flow=plan.flow)
        out.write(FEATURES, layout)
        out.write(INFO, encode_info(plan.examples, splits, plan.format))
        for name, index in plan.stored.indexes(plan.examples, splits).items():
            out.write(name, index)
        identities = inputs.identities if plan.examples == "pairs" else identities_of(plan, inputs)
        people = {subset: len(names) for subset, names in identities.items()}
        out.write(CARD, encode_card(plan.examples, splits, people, settings, plan.stored))
        out.finish()
        report.counts = {split.name: sum(split.shard_lengths) for split in splits if sum(split.shard_lengths)}
        report.outputs[plan.examples], report.wall_s = folder, time.monotonic() - started
        train = len(next((split.shard_lengths for split in splits if split.name == SUBSETS[0]), []))
        if 0 < train < plan.shards:
            report.notes.append(
                f"{train:,} training shards, not {plan.shards:,}: so few examples, and none is left empty"
            )
        if not report.counts:
            report.notes.append(f"no {plan.examples}: nothing could be written")
        write_run_file(out.place, config, report, _facts(inputs, identities, splits, report))
    return report


def is_own(path: str) -> bool:
    """Whether a file in the output is one of this stage's."""
    return is_shard(path) or is_index(path) or path in (FEATURES, INFO, CARD)


def _find_finished(out: Output, plan: ShardPlan) -> list[Split] | None:
    """What an earlier run made, if all of it is whole."""
    if not out.has(INFO):
        return None
    try:
        splits = read_info(out.place).splits
    except DamagedFile:
        return None
    whole = all(
        out.has(plan.stored.shard_name(plan.examples, split.name, number, len(split.shard_lengths)))
        for split in splits
        for number in range(len(split.shard_lengths))
    )
    return splits if whole else None


@contextmanager
def _scratch(config: ShardConfig, out: Output) -> Iterator[str]:
    """Where the pixels wait: beside the shards, or on this machine's disk where the shards go to an object store.

    A cluster's workers share no disk, so there they wait in the object store.
    """
    if out.place.is_local or config.execution.engine == "dask":
        yield out.scratch.uri
        return
    with tempfile.TemporaryDirectory(prefix="facepipe-") as folder:
        yield folder


def _make(
    config: ShardConfig,
    plan: ShardPlan,
    inputs: Inputs,
    out: Output,
    scratch: str,
    report: StageReport,
    progress: Progress,
) -> list[Split]:
    """Orders the examples, decodes their crops and writes the shards that are not whole."""
    examples = Examples(plan, inputs)
    shards = examples.shards
    names = {shard.name for shard in shards}
    for entry in list(out.place.list()):
        if is_shard(entry.path) and entry.path not in names:
            out.place.delete(entry.path)
    wanted = [number for number, shard in enumerate(shards) if not out.has(shard.name)]
    report.done_before = len(shards) - len(wanted)
    run = Runner(report.stage, out, config.execution, TIMEOUT_S, progress)
    if wanted:
        chosen = [shards[number] for number in wanted]
        for shard in chosen:
            examples.write(scratch, shard)
        needed = examples.places(chosen) if len(wanted) < len(shards) else None
        partial = _decode(plan, inputs, scratch, needed, run)
        job = RecordsJob(plan, tuple(shard.name for shard in shards), scratch, out.place.uri, partial)
        run(job, wanted, sum(map(len, chosen)), "examples")
    report.steps_s = dict(run.steps)
    frame = plan.stored.frame_bytes
    return [_measure(out.place, name, [shard for shard in shards if shard.subset == name], frame) for name in SUBSETS]


def _decode(plan: ShardPlan, inputs: Inputs, scratch: str, needed: NDArray[np.int32] | None, run: Runner) -> str:
    """Decodes every crop once, or of (n, 2) part and row those `needed`; gives the partial files' name."""
    partial = ""
    if needed is not None:
        store(scratch, NEEDED, needed)
        partial = hashlib.sha256(needed.tobytes()).hexdigest()[:8]
    faces = inputs.faces
    rows = {number: faces.count_rows(number) for number in faces.parts}
    missing = [n for n in faces.parts if not is_whole(place(scratch), n, partial, rows[n], plan)]
    run(PixelsJob(plan, faces.place.uri, scratch, partial), missing, sum(rows[n] for n in missing), "crops")
    return partial


def _measure(folder: Place, name: str, shards: list[Shard], frame_bytes: int) -> Split:
    """Lengths and bytes of a subset."""
    counts = [len(shard) for shard in shards]
    return Split(name, counts, sum(folder.size(shard.name) for shard in shards) - frame_bytes * sum(counts))


def _facts(
    inputs: Inputs, identities: dict[str, list[str]], splits: list[Split], report: StageReport
) -> dict[str, Any]:
    """What `run.json` says beside the usual; `crops`: how the faces were cut out, for who draws others like them."""
    made = sum(report.counts.values())
    cut = settings_or_empty(inputs.faces.place)
    return {
        "crops": {name: cut[name] for name in ("margin", "cropped", "align") if name in cut},
        "identities": identities,
        "lengths": {split.name: list(split.shard_lengths) for split in splits},
        "examples_per_second": round(made / max(report.wall_s, 1e-9), 1),
    }
