"""The rows of a faces directory, by status and identity, as text or CSV."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Any

from facepipe.errors import UsageError
from facepipe.execution.progress import say
from facepipe.records import Status
from facepipe.stages.leftout import LEFT_OUT, Why
from facepipe.storage import parquet, place, schemas
from facepipe.storage.dataset import distinct, open_parts, select_rows
from facepipe.text import counted, nearest, printable, to_unicode

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = tuple(name for name, kind in schemas.FACES.items() if kind != "image" and not kind.startswith("list"))
"""Those that hold one value."""


def run(
    faces: str, statuses: Sequence[str], identities: Sequence[str], *, chosen: Sequence[str], as_csv: bool, quiet: bool
) -> None:
    """Prints the rows, and to standard error how many there are.

    By status, or by why a folder of those `chosen` (targets, pairs) leaves them out.

    Raises:
        UsageError: there is no such status or identity.
        InputError: there are no faces.
    """
    for status in statuses:
        if status not in (*Status, *Why):
            raise UsageError(f"--status is {status!r}; {nearest(status, [*Status, *Why])}")
    identities = [name if name.isprintable() else to_unicode(name) for name in identities]  # as rows have them
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if as_csv:
        writer.writerow(COLUMNS)
    parts, count, missing = open_parts(place(faces)), 0, set(identities)
    reasons = _read_reasons(chosen, statuses)
    # Faces that are left out are ok ones.
    more = [Status.OK] if set(statuses) & set(Why) and Status.OK not in statuses else []
    wanted = {"status": [*statuses, *more], "identity": identities}
    for found in select_rows(parts, COLUMNS, wanted):
        row = found | reasons.get(found["key"], {})
        if row["status"] in more:
            continue
        count += 1
        missing.discard(row["identity"])
        if as_csv:
            writer.writerow("" if value is None else value for value in row.values())
        else:
            # NaN is no JSON.
            say(_line(row), event="row", **{name: value if value == value else None for name, value in row.items()})  # noqa: PLR0124
    known = distinct(parts, "identity") if missing else []
    for name in sorted(missing.difference(known)):
        raise UsageError(f"{faces} has no row of the identity {name!r}; {nearest(name, known)}")
    if not quiet:
        say(counted(count, "row"), stream=sys.stderr)


def _read_reasons(chosen: Sequence[str], statuses: Sequence[str]) -> dict[str, dict[str, str]]:
    """Key -> status and error of the faces left out for one of the reasons asked for."""
    folders = [place(path) for path in chosen if set(statuses) & set(Why)]
    rows = [row for at in folders if at.exists(LEFT_OUT) for row in parquet.read_table(at, LEFT_OUT).to_pylist()]
    return {row["key"]: {"status": row["reason"], "error": _why(row)} for row in rows if row["reason"] in statuses}


def _why(row: dict[str, Any]) -> str:
    value = f" ({row['value']:.4g})" if row["value"] == row["value"] else ""
    instead = f", {row['kept_key']} is kept" if row["kept_key"] else ""
    return f"left out {Why(row['reason']).told}{value}{instead}"


def _line(row: dict[str, Any]) -> str:
    """`no_face  anna  anna/3.jpg  no face found`; of a face its pose and score in place of the reason."""
    known = row["yaw"] == row["yaw"]
    pose = f"yaw {row['yaw']:.1f}, pitch {row['pitch']:.1f}" if known else "pose unknown"
    told = row["error"] or (f"{pose}, score {row['score']:.2f}" if row["face_index"] >= 0 else "")
    return "  ".join(printable(text) for text in (f"{row['status']:<10}", row["identity"], row["key"], told) if text)
