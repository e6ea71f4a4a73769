"""Images and videos in, one row a face out: list, cut into parts, make the parts that are missing, count."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from facepipe import parquet
from facepipe.checksums import Journal
from facepipe.config import settings_of
from facepipe.errors import InputError
from facepipe.execution import run_parts
from facepipe.locks import share_lock
from facepipe.records import StageReport, Status
from facepipe.settings import encode_settings
from facepipe.sources import describe, list_sources
from facepipe.sources.plan import Plan, make_plan
from facepipe.stages.extract_output import fitting_parts, foresee, missing_parts, prepare, resized_notes
from facepipe.stages.extract_part import ExtractJob
from facepipe.stages.runfile import RUN_FILE, add_up, join_shares, run_or_empty, write_run_file
from facepipe.stages.tally import Tally
from facepipe.storage import place

if TYPE_CHECKING:
    from typing import Any

    from facepipe.config import ExtractConfig
    from facepipe.execution import PartReport
    from facepipe.execution.progress import Progress
    from facepipe.sources import Listing
    from facepipe.storage import Place

STAGE = "extract"


def run(config: ExtractConfig, progress: Progress) -> StageReport:
    """Makes `config.output`: `part-*.parquet`, `plan.pq`, `settings.json`, `checksums.sha256`, `run.json`.

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
        notes += resized_notes(foresee(config, out, settings, plan, listing.layout, Journal(out)))
        return _dry_report(config, out, plan, notes)
    with share_lock(out, config.part_of.k, config.part_of.n):
        journal = Journal(out, config.part_of.k, config.part_of.n)
        notes += resized_notes(prepare(config, out, settings, plan, listing.layout, journal))
        missing = missing_parts(config, out, plan, journal)
        tally = Tally(config, plan, missing)
        owned = _owned(config, plan)
        kept = sorted(set(owned) - set(missing))
        tally.read(out, kept)
        again = _failed_before(config, tally, kept, notes)
        missing, kept = sorted([*missing, *again]), [number for number in kept if number not in again]
        journal.forget(map(parquet.part_name, missing))
        steps = _make_parts(config, settings, plan, missing, journal, tally, progress)
        there = parquet.list_parts(out)
        complete = len(there) == len(plan)
        tally.read(out, there if complete else owned)
        tally.refuse_failures()
        counts = tally.count()
        report = StageReport(
            STAGE, {s.value: counts[s] for s in Status if counts[s]}, done_before=len(kept), notes=notes
        )
        journal.finish(complete=complete)
        report.steps_s, report.wall_s = steps, time.monotonic() - started
        _write_run_files(config, out, plan, listing.layout, report, missing, complete)
    _tell(config, plan, report, complete)
    return report


def chosen_settings(config: ExtractConfig) -> dict[str, Any]:
    """What decides the rows of a given file; which files there are, and whose, says the plan."""
    return {name: value for name, value in settings_of(config).items() if name not in ("limit", "layout")}


def plan_parts(config: ExtractConfig, listing: Listing, settings: dict[str, Any]) -> Plan:
    """Cuts what was listed into parts.

    Raises:
        InputError: there is no image.
    """
    if not len(listing):
        said = "".join(f"; {note}" for note in listing.notes[:1])
        raise InputError(f"{config.input} holds no image or video; give another folder{said}")
    groups = [len(rows) for rows in listing.parts(config.part_size)]
    return make_plan(listing.to_arrow(), groups, _settings_hash(settings))


def _settings_hash(settings: dict[str, Any]) -> str:
    return hashlib.sha256(encode_settings(settings)).hexdigest()


def _owned(config: ExtractConfig, plan: Plan) -> list[int]:
    return [number for number in range(len(plan)) if config.part_of.owns(number)]


def _failed_before(config: ExtractConfig, tally: Tally, kept: list[int], notes: list[str]) -> set[int]:
    """The finished parts that `--retry-failed` makes again; without it, a note says what it would do."""
    failed = tally.failed_in(kept)
    if config.execution.retry_failed:
        for number in failed:
            tally.reopen(number)
        return set(failed)
    if failed:
        notes.append(
            f"{sum(failed.values()):,} images that failed in an earlier run are kept as failed; --retry-failed reads "
            "them again"
        )
    return set()


def _make_parts(
    config: ExtractConfig,
    settings: dict[str, Any],
    plan: Plan,
    missing: list[int],
    journal: Journal,
    tally: Tally,
    progress: Progress,
) -> dict[str, float]:
    """Runs the job over the missing parts; gives the seconds by step, added up over all workers."""
    total = sum(plan.groups[number] for number in missing)
    counts: Counter[str] = Counter()
    steps: Counter[str] = Counter()

    def on_done(number: int, part: PartReport) -> None:
        for name, digest in part.files.items():
            journal.add(name, digest)
        counts.update(part.counts)
        steps.update(part.steps_s)
        progress.advance(part.items, counts)
        tally.add_made(number, part.counts)
        tally.refuse_failures()

    if missing:
        progress.start(STAGE, total, "images")
        try:
            run_parts(
                ExtractJob(config, _settings_hash(settings)),
                missing,
                execution=config.execution,
                timeout_s=config.timeout_s,
                on_done=on_done,
                note=progress.note,
            )
        finally:
            progress.finish()
        place(config.output).clean_leftovers()  # of workers that were killed
    return dict(steps)


def _write_run_files(
    config: ExtractConfig,
    out: Place,
    plan: Plan,
    layout: str,
    report: StageReport,
    missing: list[int],
    complete: bool,
) -> None:
    """What this run did, with what earlier runs of the same share did; once all is there, all shares together."""
    facts = {"plan": plan.hash, "layout": layout, "images": plan.sources, "parts": len(plan)}
    images = sum(plan.groups[number] for number in missing)
    made = {"parts_made": len(missing), "images_made": images, "wall_s": report.wall_s, "steps_s": report.steps_s}

    def write(name: str, work: dict[str, Any]) -> None:
        told = replace(report, wall_s=work.pop("wall_s"), steps_s=work.pop("steps_s"))
        write_run_file(out, config, told, facts | work, name)

    shared = config.part_of.n > 1
    own = f"run.{config.part_of.k}-of-{config.part_of.n}.json" if shared else RUN_FILE
    before = run_or_empty(out, own)
    write(own, add_up([before, made] if before.get("plan") == plan.hash else [made]))
    if shared and complete:
        write(RUN_FILE, join_shares(out, plan.hash))


def _tell(config: ExtractConfig, plan: Plan, report: StageReport, complete: bool) -> None:
    report.outputs["faces"] = config.output
    if config.part_of.n == 1:
        return
    parts, own = f"{len(plan):,} part{'s' * (len(plan) != 1)}", len(_owned(config, plan))
    if not own:
        report.notes.append(f"share {config.part_of} is empty: the input makes {parts} only")
    elif not complete:
        report.notes.append(f"share {config.part_of} is done, {own:,} of {parts}: the counts are of this share alone")
    report.notes.append(
        f"all shares are done: the counts are of all {parts}" if complete else "other shares' parts are still missing"
    )


def _dry_report(config: ExtractConfig, out: Place, plan: Plan, notes: list[str]) -> StageReport:
    """Parts are taken for what they say of themselves; a run looks at every byte of them."""
    owned = _owned(config, plan)
    lying = fitting_parts(config, out, plan)
    there = set(lying.values()) & set(owned)
    if config.execution.retry_failed:
        tally = Tally(config, plan, [])
        in_place = sorted(number for number in there if lying.get(number) == number)
        tally.read(out, in_place)
        there -= _failed_before(config, tally, in_place, notes)
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
