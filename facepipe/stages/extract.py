"""Images and videos in, one row a face out: list, cut into parts, make the parts that are missing, count."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from facepipe.config import EmbedConfig, beside, settings_of
from facepipe.errors import InputError
from facepipe.execution import run_parts
from facepipe.inputs import describe, list_sources
from facepipe.inputs.plan import INPUT_KEYS, Plan, make_plan, settings_hash
from facepipe.records import StageReport, Status
from facepipe.stages.extraction.output import finish, finished_parts, foresee, listed_parts, prepare, unfinish
from facepipe.stages.extraction.part import ExtractJob
from facepipe.stages.extraction.tally import Tally
from facepipe.stages.runfile import run_or_empty, write_run_file
from facepipe.storage import place, share_lock
from facepipe.storage.partlist import IMAGES, Part
from facepipe.storage.settings import check_settings
from facepipe.text import counted, to_unicode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from facepipe.config import ExtractConfig
    from facepipe.execution import PartReport
    from facepipe.execution.progress import Progress
    from facepipe.inputs import Listing
    from facepipe.storage import Place

STAGE = "extract"


def run(config: ExtractConfig, progress: Progress) -> StageReport:
    """As `extract_faces`; with `identity` also the embeddings, beside the faces.

    Raises:
        FacepipeError: what that and `embed` raise.
    """
    report = extract_faces(config, progress)
    if config.identity == "check" and not config.execution.dry_run:
        from facepipe.stages import embed

        execution = replace(config.execution, retry_failed=False)
        made = embed.run(EmbedConfig(config.output, beside(config.output, "embeddings"), execution), progress)
        report.outputs |= made.outputs
        report.steps_s |= {f"embeddings: {step}": seconds for step, seconds in made.steps_s.items()}
        report.wall_s += made.wall_s
    return report


def extract_faces(config: ExtractConfig, progress: Progress) -> StageReport:
    """Makes `config.output`: parts, `parts.parquet`, `plan.pq`, `settings.json`, `checksums.sha256`, `run.json`.

    A rerun makes only the parts that are missing, damaged, or whose inputs have changed; with `retry_failed` those too
    that hold images that failed.

    Raises:
        InputError: there is no image.
        SettingsChanged: the output was made with other settings, or images have gone since.
        OutputError: the output can't be written, another run is writing it, or it holds other programs' files.
        TooManyFailed: more images failed than `max_failed` allows (all parts are kept).
    """
    started = time.monotonic()
    out = place(config.output)
    settings = chosen_settings(config)
    listing = list_sources(place(config.input), config)
    plan = plan_parts(config, listing, settings)
    notes = describe(listing, config)
    if config.execution.dry_run:
        return _dry_report(config, out, plan, notes + foresee(config, out, settings, plan, listing.layout))
    with share_lock(out, config.part_of.k, config.part_of.n):
        notes += foresee(config, out, settings, plan, listing.layout)
        listed = prepare(out, settings, plan, listing.layout)
        kept = finished_parts(out, plan, _owned(config, plan), listed)
        for number in _failed_before(config, kept, notes):
            del kept[number]
        missing = sorted(set(_owned(config, plan)) - kept.keys())
        if missing:
            unfinish(out)
        parts, steps = _make_parts(config, settings, plan, kept, missing, progress)
        complete = set(plan.names) <= {entry.path for entry in out.list()}
        if complete:
            others = [number for number in range(len(plan)) if number not in parts]
            parts |= finished_parts(out, plan, others, listed)
            complete = len(parts) == len(plan)
        report = _report(parts, len(kept), notes, steps, time.monotonic() - started)
        if complete:
            finish(out, plan, parts)
            _write_run_file(config, out, plan, listing.layout, report, missing)
    _tell(config, plan, report, complete)
    return report


def chosen_settings(config: ExtractConfig) -> dict[str, Any]:
    """What decides the rows of a given file; which files there are, and whose, says the plan."""
    chosen = {name: value for name, value in settings_of(config).items() if name not in ("limit", "layout")}
    return {"stage": STAGE, **chosen}


def refuse_other_settings(config: ExtractConfig) -> None:
    """Refuses an output of other settings before anything is listed.

    Raises:
        SettingsChanged, OutputError: as `extract_faces`.
    """
    out, settings = place(config.output), chosen_settings(config)
    check_settings(out, settings, config.execution.overwrite, ignore=INPUT_KEYS)


def plan_parts(config: ExtractConfig, listing: Listing, settings: dict[str, Any]) -> Plan:
    """Cuts what was listed into parts.

    Raises:
        InputError: there is no image.
    """
    if not len(listing):
        said = "".join(f"; {note}" for note in listing.notes[:1])
        raise InputError(f"{config.input} holds no image or video; give another folder{said}")
    groups = [len(rows) for rows in listing.parts(config.part_size)]
    return make_plan(listing.to_arrow(), groups, settings_hash(settings))


def _owned(config: ExtractConfig, plan: Plan) -> list[int]:
    return [number for number in range(len(plan)) if config.part_of.owns(number)]


def _failed_before(config: ExtractConfig, kept: Mapping[int, Part], notes: list[str]) -> list[int]:
    """The finished parts that `--retry-failed` makes again; without it, a note says what it would do."""
    failed = {number: part.failed for number, part in kept.items() if part.failed}
    if config.execution.retry_failed:
        return list(failed)
    if failed:
        notes.append(
            f"{sum(failed.values()):,} images that failed in an earlier run are kept as failed; --retry-failed reads "
            "them again"
        )
    return []


def _make_parts(
    config: ExtractConfig,
    settings: dict[str, Any],
    plan: Plan,
    kept: Mapping[int, Part],
    missing: list[int],
    progress: Progress,
) -> tuple[dict[int, Part], dict[str, float]]:
    """Runs the job over the missing parts; gives all parts of the share, and the seconds by step over all workers."""
    parts, tally = dict(kept), Tally(config, plan, kept, missing)
    counts: Counter[str] = Counter()
    steps: Counter[str] = Counter()

    def on_done(number: int, made: PartReport) -> None:
        images = made.counts.pop(IMAGES)
        counts.update(made.counts)
        steps.update(made.steps_s)
        progress.advance(made.items, counts)
        for name, sha256 in made.files.items():
            parts[number] = Part(name, Counter(made.counts), images, sha256)
        tally.add(number, parts[number])
        tally.refuse_failures()

    tally.refuse_failures()
    if missing:
        job = ExtractJob(config, settings_hash(settings))
        progress.start(STAGE, sum(plan.groups[number] for number in missing), "images")
        try:
            run_parts(
                job,
                missing,
                execution=config.execution,
                timeout_s=config.timeout_s,
                on_done=on_done,
                note=progress.note,
            )
        finally:
            progress.finish()
        place(config.output).clean_leftovers()  # of workers that were killed
    return parts, dict(steps)


def _report(
    parts: Mapping[int, Part], kept: int, notes: list[str], steps: dict[str, float], wall_s: float
) -> StageReport:
    counts: Counter[str] = sum((part.counts for part in parts.values()), Counter())
    by_status = {status.value: counts[status] for status in Status if counts[status]}
    return StageReport(STAGE, by_status, steps, wall_s, kept, notes)


def _write_run_file(
    config: ExtractConfig, out: Place, plan: Plan, layout: str, report: StageReport, missing: list[int]
) -> None:
    """What this run made and how fast; one that found all parts there leaves what the last one wrote."""
    if not missing and run_or_empty(out).get("plan") == plan.hash:
        return
    images = sum(plan.groups[number] for number in missing)
    facts = {"plan": plan.hash, "layout": layout, "images": plan.sources, "parts": len(plan)}
    facts |= {"parts_made": len(missing), "images_made": images}
    facts["images_per_second"] = round(images / max(report.wall_s, 1e-9), 2)
    inputs = place(config.input)
    facts["input"] = to_unicode(os.path.abspath(inputs.local_path())) if inputs.is_local else inputs.uri
    write_run_file(out, config, report, facts)


def _tell(config: ExtractConfig, plan: Plan, report: StageReport, complete: bool) -> None:
    report.outputs["faces"] = config.output
    if config.part_of.n == 1:
        return
    parts, own = counted(len(plan), "part"), len(_owned(config, plan))
    if not own:
        report.notes.append(f"share {config.part_of} is empty: the input makes {parts} only")
    elif not complete:
        report.notes.append(f"share {config.part_of} is done, {own:,} of {parts}: the counts are of this share alone")
    report.notes.append(
        f"all shares are done: the counts are of all {parts}" if complete else "other shares' parts are still missing"
    )


def _dry_report(config: ExtractConfig, out: Place, plan: Plan, notes: list[str]) -> StageReport:
    """Parts that are there are taken for whole; a run looks at every byte of them."""
    owned, listed = _owned(config, plan), listed_parts(out)
    lying = {entry.path for entry in out.list()} if out.exists() else set()
    there = {number for number in owned if plan.names[number] in lying}
    if config.execution.retry_failed:
        there -= set(_failed_before(config, finished_parts(out, plan, sorted(there), listed), notes))
    missing = sorted(set(owned) - there)
    counts = {
        "images": plan.sources,
        "parts": len(plan),
        "parts there": len(there),
        "parts to make": len(missing),
        "images to read": sum(plan.groups[number] for number in missing),
    }
    share = f", share {config.part_of} alone" if config.part_of.n > 1 else ""
    notes.append(f"dry run{share}: would read {config.input} and write {config.output}")
    return StageReport(STAGE, counts=counts, notes=notes)
