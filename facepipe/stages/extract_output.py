"""The output folder of `extract` before parts are made: ours, of these settings, and what of it is finished."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from facepipe import parquet, settings
from facepipe.checksums import file_sha256
from facepipe.errors import DamagedFile, SettingsChanged
from facepipe.execution.cores import usable_cores
from facepipe.readahead import in_order
from facepipe.sources.plan import PLAN_FILE, Changes, Plan, changes_since, is_plan, write_plan
from facepipe.stages.extract_part import FINGERPRINT
from facepipe.stages.output import refuse_foreign
from facepipe.stages.runfile import RUN_FILE
from facepipe.systemerrors import output_error

if TYPE_CHECKING:
    from typing import Any

    from facepipe.checksums import Journal
    from facepipe.config import ExtractConfig
    from facepipe.storage import Place

INPUT_KEYS = ("layout", "parts", "images", "plan")
"""What `settings.json` says of the input: for its readers; images that were added are no change of settings."""


def prepare(
    config: ExtractConfig, out: Place, chosen: dict[str, Any], plan: Plan, layout: str, journal: Journal
) -> Changes:
    """Leaves the output holding nothing that doesn't belong to these settings and this input.

    Returns:
        What the plan changed.

    Raises:
        OutputError: there are files of other programs that would be written over.
        SettingsChanged: the output was made with other settings, from an input that was taken for something else, or
            images have gone since.
    """
    changes = foresee(config, out, chosen, plan, layout, journal)
    shown = chosen | {"layout": layout, "parts": len(plan), "images": plan.sources, "plan": plan.hash}
    if config.execution.overwrite or not changes.same:
        _keep_fitting(config, out, plan, journal)
    if not changes.same:
        out.delete(RUN_FILE)  # it counts what another plan came to
        journal.forget([PLAN_FILE])
    out.clean_leftovers()
    known = journal.known().get(PLAN_FILE)
    digest = write_plan(out, plan, known, same=changes.same)
    if digest != known:
        journal.add(PLAN_FILE, digest)
    settings.write_settings(out, shown)
    for number in parquet.list_parts(out):
        if number >= len(plan):
            out.delete(parquet.part_name(number))
    return changes


def foresee(
    config: ExtractConfig, out: Place, chosen: dict[str, Any], plan: Plan, layout: str, journal: Journal
) -> Changes:
    """What `prepare` would change, and refuse; nothing is written.

    Raises:
        OutputError, SettingsChanged: as `prepare`.
    """
    # Spark, Hugging Face and others name their files as parts too.
    refuse_foreign(out, lambda path: parquet.part_number(path) is not None, lambda: _was_here(out, journal))
    settings.check_settings(out, chosen, config.execution.overwrite, ignore=INPUT_KEYS)
    changes = changes_since(out, plan)
    if not config.execution.overwrite:
        _refuse_another_layout(config, out, layout)
        _refuse_fewer_images(config, changes)
    return changes


def _was_here(out: Place, journal: Journal) -> bool:
    """Whether `extract` has been here: one sign is enough, because the others may be damaged."""
    if PLAN_FILE in journal.known() or is_plan(out):
        return True
    return any(_made_from(out, number) for number in parquet.list_parts(out))


def _refuse_another_layout(config: ExtractConfig, out: Place, layout: str) -> None:
    """A file more can make a folder look like another data set: its people would be others without a word."""
    try:
        before = settings.read_settings(out).get("layout")
    except DamagedFile:
        return
    if before != layout:
        raise SettingsChanged(
            f"{config.input} was listed as {before} when {config.output} was made, now as {layout}: give --layout "
            f"{before}, another --output, or --overwrite to go on with {layout}"
        )


def _refuse_fewer_images(config: ExtractConfig, changes: Changes) -> None:
    """A mount that is missing must not cost what was made from it."""
    if changes.removed and 0 < config.limit < changes.before:
        raise SettingsChanged(
            f"--limit {config.limit} takes fewer images than {config.output} was made from ({changes.before:,}): leave "
            "it out, or give another --output"
        )
    if changes.removed:
        new = f" (and has {changes.added:,} new ones: a folder renamed?)" if changes.added else ""
        raise SettingsChanged(
            f"{config.input} has lost {changes.removed:,} images that {config.output} was made from{new}; bring them "
            "back, give another --output, or --overwrite to go on with those that are there"
        )


def resized_notes(changes: Changes) -> list[str]:
    """A note about files that lie there under their old names and are others, where there are any."""
    if not changes.resized:
        return []
    return [f"files of another size than before: {changes.resized:,}; their parts are made again"]


def _keep_fitting(config: ExtractConfig, out: Place, plan: Plan, journal: Journal) -> None:
    """Removes the parts that fit no more and gives those that do their numbers.

    Before `settings.json` says otherwise: a run that is killed leaves no rows of other settings or images.
    """
    kept = fitting_parts(config, out, plan)
    for number in parquet.list_parts(out):
        if number not in kept:
            out.delete(parquet.part_name(number))
    known = journal.known()
    # Their order stays, so these never meet one that is still to move.
    down = [number for number in sorted(kept) if kept[number] < number]
    up = [number for number in sorted(kept, reverse=True) if kept[number] > number]
    for number in (*down, *up):
        old, new = parquet.part_name(number), parquet.part_name(kept[number])
        if old in known:
            journal.add(new, known[old])
        try:
            os.rename(out.local_path(old), out.local_path(new))
        except OSError as error:
            raise output_error(out.local_path(new), error) from None


def fitting_parts(config: ExtractConfig, out: Place, plan: Plan) -> dict[int, int]:
    """The parts that lie there and say that they were made from this plan, by number, and their numbers in the plan.

    Their rows are not read. A part that has another number than before is found again by whole runs on local disks
    alone: nothing keeps shares from each other's parts, nor two runs on an object store.
    """
    there = parquet.list_parts(out)
    made_from = in_order(lambda number: _made_from(out, number), there, _at_once(out))
    may_move = out.is_local and config.part_of.n == 1
    numbers = {fingerprint: number for number, fingerprint in enumerate(plan.fingerprints)}
    found: dict[int, int] = {}
    last = -1
    for number, fingerprint in zip(there, made_from, strict=True):
        wanted = numbers.get(fingerprint, -1)
        if wanted > last and (may_move or wanted == number):
            found[number] = last = wanted
    return found


def _made_from(out: Place, number: int) -> str:
    """The fingerprint of what a part that is there was made from; empty where it does not tell."""
    try:
        return parquet.read_metadata(out, parquet.part_name(number)).get(FINGERPRINT, "")
    except DamagedFile:
        return ""


def _at_once(out: Place) -> int:
    """Of a store's parts more than there are cores: what each takes is waiting."""
    return usable_cores() if out.is_local else parquet.PARTS_AHEAD


def missing_parts(config: ExtractConfig, out: Place, plan: Plan, journal: Journal) -> list[int]:
    """This share's parts that are not there, not of this plan, or not as they were written."""
    known = journal.known()
    there = set(parquet.list_parts(out))

    def is_missing(number: int) -> bool:
        if number not in there or _made_from(out, number) != plan.fingerprints[number]:
            return True
        name = parquet.part_name(number)
        try:
            if name in known:
                return file_sha256(out, name) != known[name]
            parquet.read_table(out, name)  # every page's checksum
            journal.add(name, file_sha256(out, name))
        except DamagedFile:
            return True
        return False

    owned = [number for number in range(len(plan)) if config.part_of.owns(number)]
    checked = in_order(is_missing, owned, _at_once(out))
    return [number for number, missing in zip(owned, checked, strict=True) if missing]
