"""A person's corrections, checked against the faces, as the overrides that `select` honours."""

from __future__ import annotations

import csv
import difflib
import io
from typing import TYPE_CHECKING

from facepipe import parquet
from facepipe.errors import InputError, UsageError
from facepipe.records import Status
from facepipe.storage import place

if TYPE_CHECKING:
    from facepipe.storage import Place

ACTIONS = ("drop", "target")


def run(corrections: str, faces: str, output: str) -> str:
    """Writes overrides (CSV: key, action) sorted by key, so that the same corrections give the same bytes.

    Args:
        corrections: CSV with the columns `key` (as in the faces' column of that name) and `action`: `drop` takes a face
            out of its identity, `target` makes it the identity's target whatever its angle.
        faces: What `extract` wrote.
        output: Where the overrides go.

    Returns:
        A line that says what was written.

    Raises:
        UsageError: an unknown key or action, two targets for one identity, or no such columns; names the line.
    """
    rows = _read(corrections)
    known = _known_faces(place(faces))
    chosen: dict[str, str] = {}
    targets: dict[str, str] = {}
    for line, key, action in rows:
        where = f"{corrections}, line {line}"
        if action not in ACTIONS:
            raise UsageError(f"{where}: action is {action!r}; it can be {' or '.join(ACTIONS)}")
        if key not in known:
            raise UsageError(f"{where}: there is no face {key!r} in {faces}{_nearest(key, known)}")
        if chosen.setdefault(key, action) != action:
            raise UsageError(f"{where}: {key!r} is both dropped and a target")
        if action == "target" and targets.setdefault(known[key], key) != key:
            raise UsageError(f"{where}: {known[key]!r} has two targets, {targets[known[key]]!r} and {key!r}")
    _write(output, chosen)
    drops = sum(action == "drop" for action in chosen.values())
    return (
        f"{output}: {drops} faces to drop, {len(chosen) - drops} targets; "
        "now run `facepipe run` again as before (or select, split and shard): what depends on them is made anew"
    )


def _read(corrections: str) -> list[tuple[int, str, str]]:
    try:
        with open(corrections, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"key", "action"} - set(reader.fieldnames or ())
            if missing:
                raise UsageError(f"{corrections} has no column {min(missing)!r}; it needs key and action")
            return [(reader.line_num, row["key"] or "", (row["action"] or "").strip()) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{corrections} can't be read ({why}); give a CSV file with the columns key and action"
        ) from None


def _known_faces(faces: Place) -> dict[str, str]:
    """Key -> identity of every face that may be corrected."""
    known: dict[str, str] = {}
    for _, table in parquet.iterate_parts(faces, ["key", "identity", "status"]):
        columns = table.to_pydict()
        rows = zip(columns["key"], columns["identity"], columns["status"], strict=True)
        known.update((key, identity) for key, identity, status in rows if status == Status.OK)
    if not known:
        raise InputError(f"{faces} holds no faces; run `facepipe extract` first, or give another --data")
    return known


def _nearest(key: str, known: dict[str, str]) -> str:
    nearest = difflib.get_close_matches(key, list(known)[:20_000], n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _write(output: str, chosen: dict[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "action"])
    writer.writerows(sorted(chosen.items()))
    folder, _, name = output.rpartition("/")
    place(folder or ("/" if output.startswith("/") else ".")).write(name, text.getvalue().encode())
