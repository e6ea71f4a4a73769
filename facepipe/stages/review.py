"""A person's corrections, checked against the faces, as the overrides that `select` honours."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from facepipe.config import join
from facepipe.errors import InputError, UsageError
from facepipe.records import Status
from facepipe.stages.overrides import ACTIONS, NAME, TARGET, encode_overrides, read_entries
from facepipe.storage import file_at, parquet, place, tables
from facepipe.storage.settings import settings_or_empty

if TYPE_CHECKING:
    from facepipe.storage import Place

Group = tuple[str, str]
"""Identity, and where every video has its own target, video: whose target is chosen."""


def run(corrections: str, workspace: str, output: str = "") -> str:
    """Writes overrides (CSV: key, action) sorted by key, so that the same corrections give the same bytes.

    Args:
        corrections: CSV with the columns `key` (as in the faces' column of that name) and `action`: `drop` takes a face
            out of its identity, `keep` keeps it whatever a filter says, `target` makes it its identity's whatever
            its angle, `person` makes it a face of the column `identity`.
        workspace: With the faces.
        output: Where the overrides go; empty: into the workspace.

    Returns:
        A line that says what was written.

    Raises:
        InputError: there is no such file, or there are no faces.
        UsageError: an unknown key or action, two targets for one identity (or video, where each has its own), or no
            such columns; names the line.
    """
    entries = read_entries(corrections)
    faces, output = place(join(workspace, "faces")), output or join(workspace, NAME)
    made = settings_or_empty(place(join(workspace, "targets")))
    known = _known_faces(faces, by_video=made.get("per") == "video")
    targets: dict[Group, str] = {}
    for where, key, one in entries:
        if key not in known:
            raise UsageError(f"{where}: there is no face {key!r} in {faces}{_nearest(key, known)}")
        group = (one.identity or known[key][0], known[key][1])
        if one.action == TARGET and targets.setdefault(group, key) != key:
            whose = " ".join(filter(None, group))
            raise UsageError(f"{where}: {whose!r} has two targets, {targets[group]!r} and {key!r}")
    chosen = {key: one for _, key, one in entries}
    folder, name = file_at(output)
    folder.write(name, encode_overrides(chosen))
    counts = Counter(one.action for one in chosen.values())
    told = ", ".join(f"{counts[action]:,} {action}" for action in ACTIONS if counts[action])
    return (
        f"{output}: {told or 'no corrections'}; "
        "now run `facepipe run` again as before (or select, split and shard): what depends on them is made anew"
    )


def _known_faces(faces: Place, *, by_video: bool) -> dict[str, Group]:
    """Key -> group of every face that may be corrected."""
    known: dict[str, Group] = {}
    for _, table in parquet.iterate_parts(faces, ["key", "identity", "video", "status"]):
        usable = tables.take(table, np.flatnonzero(tables.equal(table, "status", Status.OK)))
        of, names = tables.group_rows(usable, by_video=by_video)
        known |= {key: names[group] for key, group in zip(usable.column("key").to_pylist(), of.tolist(), strict=True)}
    if not known:
        raise InputError(f"{faces} holds no faces; run `facepipe extract` first, or give another --data")
    return known


def _nearest(key: str, known: dict[str, Group]) -> str:
    nearest = difflib.get_close_matches(key, list(known)[:20_000], n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
