"""The output folder of `extract`: ours, of these settings; what of it is finished; what makes it whole."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from facepipe.errors import DamagedFile, SettingsChanged
from facepipe.execution.cores import usable_cores
from facepipe.inputs.plan import INPUT_KEYS, PLAN_FILE, Changes, changes_since, write_plan
from facepipe.stages.output import refuse_foreign
from facepipe.stages.runfile import RUN_FILE
from facepipe.storage import in_order, parquet
from facepipe.storage.checksums import CHECKSUMS, file_sha256, write_checksums
from facepipe.storage.partlist import Part, describe, read_list, write_list
from facepipe.storage.settings import NAME, check_settings, digest_settings, is_older, settings_or_empty, write_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from facepipe.config import ExtractConfig
    from facepipe.inputs.plan import Plan
    from facepipe.storage import Place

_OF_OLD = re.compile(r"(run\.|checksums-)\d+-of-\d+\.\w+")
"""What shares wrote for themselves in older versions."""


def foresee(config: ExtractConfig, out: Place, chosen: dict[str, Any], plan: Plan, layout: str) -> list[str]:
    """What is told of a folder that is about to be written to, or refused; nothing is written.

    Raises:
        OutputError: there are files of other programs that would be mistaken for ours.
        SettingsChanged: the output was made with other settings, from an input that was taken for something else, or
            images have gone since.
    """
    # Spark, Hugging Face and others name their files as parts too.
    refuse_foreign(out, _is_called_part, lambda: out.exists(PLAN_FILE) or _has_part(out))
    check_settings(out, chosen, config.execution.overwrite, ignore=INPUT_KEYS)
    changes = changes_since(out, plan)
    if not config.execution.overwrite:
        _refuse_another_layout(config, out, layout)
        _refuse_fewer_images(config, changes)
    if is_older(out):
        return [f"{config.output} was written by an older version of facepipe: its parts are made anew, this once"]
    if changes.resized:
        return [f"files of another size than before: {changes.resized:,}; their parts are made again"]
    return []


def _is_called_part(path: str) -> bool:
    return fnmatchcase(path, "part-*.parquet")


def _has_part(out: Place) -> bool:
    """Whether a part lies there that holds faces."""
    for name in parquet.part_names(out):
        try:
            return bool(parquet.read_table(out, name, ["key", "face_index"]).num_columns)
        except DamagedFile:
            continue
    return False


def _refuse_another_layout(config: ExtractConfig, out: Place, layout: str) -> None:
    """A file more can make a folder look like another data set: its people would be others without a word."""
    before = settings_or_empty(out).get("layout", layout)
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


def prepare(out: Place, chosen: dict[str, Any], plan: Plan, layout: str) -> list[Part]:
    """Writes what is to be made; a folder of other parts is not finished any more.

    Returns:
        The parts that were listed.
    """
    listed = listed_parts(out)
    settings = chosen | {"layout": layout, "parts": len(plan), "images": plan.sources, "plan": plan.hash}
    before = settings_or_empty(out)
    if tuple(part.name for part in listed) != plan.names or digest_settings(before) != digest_settings(settings):
        unfinish(out)
        out.delete(RUN_FILE)  # it counts what another plan came to
    out.clean_leftovers()
    write_settings(out, settings)
    write_plan(out, plan)
    return listed


def listed_parts(out: Place) -> list[Part]:
    """The parts of a finished folder; none where it is not finished."""
    try:
        return read_list(out)
    except DamagedFile:
        return []


def unfinish(out: Place) -> None:
    """From now on the folder is not finished, whatever is killed."""
    out.delete(parquet.PART_LIST)
    out.delete(CHECKSUMS)


def finished_parts(out: Place, plan: Plan, numbers: Sequence[int], listed: Sequence[Part]) -> dict[int, Part]:
    """Those of the plan's parts `numbers` that are there; what a list tells of them must hold."""
    there = {entry.path for entry in out.list()}
    known = {part.name: part for part in listed}

    def look(number: int) -> Part | None:
        name = plan.names[number]
        part = known.get(name)
        try:
            if part is None:
                return describe(out, name)
            return part if file_sha256(out, name) == part.sha256 else None
        except DamagedFile:
            return None

    wanted = [number for number in numbers if plan.names[number] in there]
    # Of a store's parts more than there are cores: what each takes is waiting.
    looked = in_order(look, wanted, usable_cores() if out.is_local else parquet.PARTS_AHEAD)
    return {number: part for number, part in zip(wanted, looked, strict=True) if part}


def finish(out: Place, plan: Plan, parts: Mapping[int, Part]) -> None:
    """All parts are there: what does not belong to them goes, the list and the checksums are written."""
    names = set(plan.names)
    for entry in list(out.list()):
        if (parquet.is_part(entry.path) and entry.path not in names) or _OF_OLD.fullmatch(entry.path):
            out.delete(entry.path)
    ordered = [parts[number] for number in range(len(plan))]
    known = {part.name: part.sha256 for part in ordered}
    known |= {name: file_sha256(out, name) for name in (PLAN_FILE, NAME)}
    write_checksums(out, known | {parquet.PART_LIST: write_list(out, ordered)})
