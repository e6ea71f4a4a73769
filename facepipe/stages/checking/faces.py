"""The faces: every part there and whole, every input in exactly one status."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from facepipe.errors import AS_BEFORE, FacepipeError
from facepipe.inputs.plan import PLAN_FILE, planned_names
from facepipe.records import Status
from facepipe.stages.checking.folder import Problem, check_folder, problem, read_or_tell, settings_or_empty
from facepipe.stages.runfile import run_or_empty
from facepipe.storage import parquet
from facepipe.storage.partlist import read_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facepipe.storage import Place

STAGE = "extract"
_COLUMNS = ("key", "path", "frame_index", "face_index", "status", "crop.path", "label")
_OF_FACES = frozenset({Status.OK, Status.OTHER_FACE, Status.SMALL_FACE, Status.LOW_SCORE})
"""Statuses that several rows of one picture may have; the others stand alone."""


def check_faces(folder: Place, advance: Callable[[], None]) -> Iterator[Problem]:
    """Everything about a folder of faces."""
    settings = settings_or_empty(folder)
    every_face = settings.get("face") == "all"
    names = parquet.part_names(folder)
    plan = [PLAN_FILE] if "plan" in settings or folder.exists(PLAN_FILE) else []
    yield from check_folder(folder, [parquet.PART_LIST, *plan, *names], STAGE)
    planned = _read_plan(folder)
    if planned is None and folder.exists(PLAN_FILE):
        yield problem(folder, PLAN_FILE, f"it is damaged; run `facepipe {STAGE}` again {AS_BEFORE}")
    elif planned is not None and "plan" in settings and planned_names(folder, settings) != names:
        yield problem(folder, PLAN_FILE, f"its parts are not those of {parquet.PART_LIST}")
    keys: set[str] = set()
    counts: Counter[str] = Counter()
    for number, name in enumerate(names):
        found: list[Problem] = []
        table = read_or_tell(folder, name, _COLUMNS, found)
        if table is not None:
            counts.update(table.column("status").to_pylist())
            found += _check_rows(folder, name, table, keys, every_face)
            if planned is not None and number < len(planned):
                found += _check_against_plan(folder, name, table, planned[number])
        yield from found
        advance()
    for entry in folder.list():
        if parquet.is_part(entry.path) and entry.path not in names:
            yield problem(folder, entry.path, f"{parquet.PART_LIST} does not list it; remove it")
    yield from _check_list(folder, counts)
    yield from _check_counts(folder, counts)


def _check_list(folder: Place, counts: Counter[str]) -> Iterator[Problem]:
    try:
        listed: Counter[str] = sum((part.counts for part in read_list(folder)), Counter())
    except FacepipeError as error:
        if folder.exists(parquet.PART_LIST):
            yield problem(folder, parquet.PART_LIST, str(error))
        return
    if listed != counts:
        said = f"it counts {dict(sorted(listed.items()))}, the parts hold {dict(sorted(counts.items()))}"
        yield problem(folder, parquet.PART_LIST, said)


def _read_plan(folder: Place) -> list[Counter[str]] | None:
    """The paths of every part; None where the plan does not read."""
    try:
        groups = len(parquet.count_rows(folder, PLAN_FILE))
        return [
            Counter(parquet.read_table(folder, PLAN_FILE, group=number).column("path").to_pylist())
            for number in range(groups)
        ]
    except FacepipeError:
        return None


def _check_rows(folder: Place, name: str, table: parquet.Table, keys: set[str], every_face: bool) -> Iterator[Problem]:
    """Unique keys, known statuses, one status an input, a crop for every usable face."""
    rows = table.to_pydict()
    known = {status.value for status in Status}
    statuses: dict[str, tuple[str, list[str]]] = {}
    for key, path, frame, status, crop in zip(
        rows["key"], rows["path"], rows["frame_index"], rows["status"], rows["crop"], strict=True
    ):
        if status not in known:
            yield problem(folder, name, f"{path} has the status {status!r}, which there is not")
        if key in keys:
            yield problem(folder, name, f"the key {key!r} is there twice")
        keys.add(key)
        if status == Status.OK and crop is None:
            yield problem(folder, name, f"{key!r} is ok and has no crop")
        # A manifest may list a picture once for each person in it: without the face's number, a key is one input's.
        statuses.setdefault(key.rpartition("#")[0], (f"{path}, frame {frame},", []))[1].append(status)
    for picture, found in statuses.values():
        if len(found) > 1 and not _OF_FACES.issuperset(found):
            yield problem(folder, name, f"{picture} has more than one status: {', '.join(found)}")
        elif found.count(Status.OK) > 1 and not every_face:
            yield problem(folder, name, f"{picture} has {found.count(Status.OK)} faces of its identity")


def _check_against_plan(folder: Place, name: str, table: parquet.Table, planned: Counter[str]) -> Iterator[Problem]:
    found = set(table.column("path").to_pylist())
    for path in sorted(planned.keys() - found)[:3]:
        yield problem(folder, name, f"there is no row for {path}, which the plan names")
    for path in sorted(found - planned.keys())[:3]:
        yield problem(folder, name, f"there is a row for {path}, which the plan does not name")


def _check_counts(folder: Place, counts: Counter[str]) -> Iterator[Problem]:
    declared = run_or_empty(folder).get("counts")
    if isinstance(declared, dict) and declared != {status: n for status, n in counts.items() if n}:
        yield problem(folder, "run.json", f"it declares {declared}, the parts hold {dict(sorted(counts.items()))}")
