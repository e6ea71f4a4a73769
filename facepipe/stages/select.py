"""The most frontal frame of every identity (or video)."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from facepipe.config import EMBED, settings_of
from facepipe.errors import SettingsChanged
from facepipe.execution.stopwatch import Stopwatch
from facepipe.records import StageReport
from facepipe.stages import overrides as corrections
from facepipe.stages.faces import open_faces, read_columns
from facepipe.stages.filters import apply_limits, asks_to_leave_out, keep_best, leave_out_repeats
from facepipe.stages.frames import COLUMNS, make_groups
from facepipe.stages.guard import IDENTITIES, apply_guard, network, tell_identities
from facepipe.stages.leftout import LEFT_OUT, Why, count_left_out
from facepipe.stages.output import INPUTS, foresee, open_output
from facepipe.stages.overrides import people_of
from facepipe.stages.runfile import write_run_file
from facepipe.stages.scan import scan_faces
from facepipe.stages.targets import count_targets, make_targets
from facepipe.storage import parquet, place
from facepipe.storage.settings import settings_or_empty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facepipe.config import SelectConfig
    from facepipe.execution.progress import Progress
    from facepipe.stages.faces import Faces
    from facepipe.stages.output import Output
    from facepipe.stages.overrides import Correction
    from facepipe.storage import Place

STAGE = "select"
TARGETS = "targets.parquet"
OVERRIDES = "overrides"
"""The input that the corrections are."""
_LISTED = 5


def run(config: SelectConfig, progress: Progress) -> StageReport:
    """Makes `config.output`: `targets.parquet`, `settings.json`, `checksums.sha256`, `run.json`.

    Where a filter or a person may leave faces out also `left_out.parquet`, with `--guard` also `identities.parquet`.

    Raises:
        Incomplete: parts of the faces are missing.
        SettingsChanged: the targets were made with other settings, or with corrections that are not given now.
        UsageError: the overrides can't be meant.
    """
    started = time.monotonic()
    faces = open_faces(config.input)
    overrides = corrections.read_overrides(config.overrides)
    report = StageReport(STAGE, outputs={"targets": config.output})
    if overrides:
        report.notes.append(f"corrections by {config.overrides}: {len(overrides):,}")
    settings = _settings(config, faces, overrides)
    if not config.overrides and not config.execution.overwrite:
        _refuse_lost_corrections(place(config.output))
    if config.execution.dry_run:
        foresee(config.output, settings, config.execution.overwrite)
        report.notes.append(f"dry run: would read {len(faces.parts):,} parts of {config.input}")
        return report
    with open_output(config.output, settings, config.execution.overwrite, _is_own) as out:
        leaves_out = asks_to_leave_out(config) or any(one.action == corrections.DROP for one in overrides.values())
        others = [LEFT_OUT] * leaves_out + [IDENTITIES] * bool(config.guard)
        if all(map(out.has, [TARGETS, *others])):
            report.done_before = 1
        else:
            report.steps_s = _make(config, faces, overrides, out, progress)
        out.finish()
        table = parquet.read_table(out.place, TARGETS)
        left_out = count_left_out(out.place)
        report.counts = count_targets(table) | {f"left out {Why(why).told}": n for why, n in left_out.items()}
        report.wall_s = time.monotonic() - started
        report.notes += _explain(table) + tell_identities(out.place)
        facts = {INPUTS: faces.digest, "overrides": len(overrides), "left_out": left_out}
        write_run_file(out.place, config, report, facts)
    return report


def _settings(config: SelectConfig, faces: Faces, overrides: Mapping[str, Correction]) -> dict[str, Any]:
    """What decides the targets. The overrides are an input: of them the content counts, not the file's name."""
    inputs = {"faces": faces.digest}
    if overrides:
        inputs[OVERRIDES] = hashlib.sha256(corrections.encode_overrides(overrides)).hexdigest()
    if config.guard:
        inputs[EMBED] = network()
    return {"stage": STAGE, **settings_of(config), INPUTS: inputs}


def _refuse_lost_corrections(out: Place) -> None:
    """A person's work is not undone because an option was left out."""
    if OVERRIDES in settings_or_empty(out).get(INPUTS, {}):
        raise SettingsChanged(
            f"{out} was made with a person's corrections; give them again with --overrides (a copy is "
            f"{out}/{corrections.NAME}), or --overwrite to do without"
        )


def _is_own(path: str) -> bool:
    return path in (TARGETS, LEFT_OUT, IDENTITIES, corrections.NAME)


def _make(
    config: SelectConfig, faces: Faces, overrides: Mapping[str, Correction], out: Output, progress: Progress
) -> dict[str, float]:
    """Reads, leaves out, ranks, writes; gives the seconds by step."""
    watch = Stopwatch()
    with watch.step("read"):
        groups = make_groups(read_columns(faces, COLUMNS, people_of(overrides)), config.per, overrides)
    with watch.step("filter"):
        apply_limits(groups, config)
        identities = apply_guard(groups, faces, config.embeddings, config.guard) if config.guard else None
        if config.thin:
            leave_out_repeats(groups, scan_faces(faces, out, config.execution, progress)[0], config.thin)
    with watch.step("rank"):
        ranked = groups.ranked()
        if config.max_frames:
            keep_best(groups, ranked, config.max_frames)
            ranked = ranked[groups.usable[ranked]]
    with watch.step("write"):
        if overrides:
            out.write(corrections.NAME, corrections.encode_overrides(overrides))
        if (groups.reason >= 0).any() or asks_to_leave_out(config):
            out.note(LEFT_OUT, parquet.write_table(out.place, LEFT_OUT, groups.left_out_table()))
        if identities is not None:
            out.note(IDENTITIES, parquet.write_table(out.place, IDENTITIES, identities))
        out.note(TARGETS, parquet.write_table(out.place, TARGETS, make_targets(groups, ranked, config)))
    return watch.seconds


def _explain(table: parquet.Table) -> list[str]:
    """Why there is no target, for the first few identities without one."""
    rows = table.select(["identity", "video", "target_key", "reason"]).to_pylist()
    without = [row for row in rows if not row["target_key"]]
    lines = [f"no target for {' '.join(filter(None, (r['identity'], r['video'])))!r}: {r['reason']}" for r in without]
    more = len(lines) - _LISTED
    return lines[:_LISTED] + ([f"... and {more:,} more; {TARGETS} lists them, with why"] if more > 0 else [])
