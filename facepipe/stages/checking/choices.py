"""The targets and the pairs: of these faces, nobody twice, nobody in two subsets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import SUBSETS
from facepipe.dataset.splitting import SubsetRule
from facepipe.errors import AS_BEFORE, FacepipeError
from facepipe.records import Status
from facepipe.stages.checking.folder import Problem, check_folder, problem, read_or_tell, settings_or_empty
from facepipe.stages.faces import FaceColumns, open_faces, read_columns
from facepipe.stages.guard import IDENTITIES
from facepipe.stages.leftout import LEFT_OUT, Why
from facepipe.stages.overrides import people_of, read_corrections
from facepipe.stages.pairs import SUMMARY, read_summary
from facepipe.storage import parquet, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facepipe.storage import Place

TARGETS = "targets.parquet"


def read_faces(folder: Place | None, targets: Place | None) -> FaceColumns | None:
    """Key, status and, with the corrections that made the targets, identity; None where they are not there or whole."""
    if folder is None:
        return None
    try:
        people = people_of(read_corrections(targets)) if targets is not None else {}
        return read_columns(open_faces(folder.uri), ["key", "identity", "status"], people)
    except FacepipeError:
        return None


def check_targets(folder: Place, faces: FaceColumns | None, advance: Callable[[], None]) -> Iterator[Problem]:
    """Everything about a folder of targets."""
    yield from check_folder(folder, [TARGETS, *_left_out_there(folder), *_identities_of(folder)], "select")
    found: list[Problem] = []
    table = read_or_tell(folder, TARGETS, ["identity", "video", "target_key"], found)
    yield from found
    advance()
    if table is None:
        return
    rows = table.to_pylist()
    for (identity, video), count in Counter((row["identity"], row["video"]) for row in rows).items():
        if count > 1:
            yield problem(folder, TARGETS, f"{identity!r} {video!r} is there {count} times")
    if faces is not None:
        yield from _check_target_keys(folder, rows, faces)
    yield from _check_left_out(folder, {row["target_key"] for row in rows}, faces)
    yield from _check_identities(folder, {row["identity"] for row in rows})


def _identities_of(folder: Place) -> list[str]:
    """The table that `--guard` writes, where it was given."""
    return [IDENTITIES] if settings_or_empty(folder).get("guard") else []


def _check_identities(folder: Place, people: set[str]) -> Iterator[Problem]:
    """Everybody is judged once, and no face as alike as `--guard` asks for is left out by it."""
    found: list[Problem] = []
    for name in filter(folder.exists, _identities_of(folder)):
        judged = read_or_tell(folder, name, ["identity"], found)
        if judged is not None and sorted(judged.column("identity").to_pylist()) != sorted(people):
            found.append(problem(folder, name, f"its identities are not those of {TARGETS}"))
        left_out = read_or_tell(folder, LEFT_OUT, ["reason", "value"], found)
        limit = settings_or_empty(folder)["guard"]
        rows = left_out.to_pylist() if left_out is not None else []
        if any(row["reason"] == Why.GUARD and not row["value"] < limit for row in rows):
            found.append(
                problem(folder, LEFT_OUT, f"it leaves faces out that are as alike as --guard {limit:g} asks for")
            )
    yield from found


def _left_out_there(folder: Place) -> list[str]:
    return [LEFT_OUT] if folder.exists(LEFT_OUT) else []


def _check_left_out(folder: Place, taken: set[str], faces: FaceColumns | None) -> Iterator[Problem]:
    """What is left out is a usable face, for a reason that there is, and taken nowhere."""
    found: list[Problem] = []
    for name in _left_out_there(folder):
        table = read_or_tell(folder, name, ["key", "reason"], found)
        if table is None:
            continue
        keys = table.column("key").to_pylist()
        found += [problem(folder, name, f"{key!r} is left out and taken as well") for key in keys if key in taken]
        odd = sorted(set(table.column("reason").to_pylist()) - set(Why))
        found += [problem(folder, name, f"there is no reason {reason!r}") for reason in odd]
        if faces is not None and faces.table.num_rows:
            at = tables.find(faces.table, "key", keys)
            status = tables.take(faces.table.select(["status"]), np.maximum(at, 0)).column("status").to_pylist()
            usable = [row >= 0 and one == Status.OK for row, one in zip(at.tolist(), status, strict=True)]
            found += [
                problem(folder, name, f"{key!r} is no usable face")
                for key, ok in zip(keys, usable, strict=True)
                if not ok
            ]
    yield from found


def _check_target_keys(folder: Place, rows: list[dict[str, Any]], faces: FaceColumns) -> Iterator[Problem]:
    chosen = [row for row in rows if row["target_key"]]
    at = tables.find(faces.table, "key", [row["target_key"] for row in chosen])
    there = tables.take(faces.table, np.maximum(at, 0)).to_pylist() if len(at) and faces.table.num_rows else []
    for row, index, face in zip(chosen, at.tolist(), there, strict=True):
        if index < 0:
            yield problem(folder, TARGETS, f"the target {row['target_key']!r} is none of the faces")
        elif face["status"] != Status.OK or face["identity"] != row["identity"]:
            yield problem(folder, TARGETS, f"the target {row['target_key']!r} is no usable face of {row['identity']!r}")
    missing = set(tables.codes(faces.table, "identity")[1]) - {row["identity"] for row in rows}
    for identity in sorted(missing)[:3]:
        yield problem(folder, TARGETS, f"{identity!r} is among the faces and not listed")


def check_pairs(folder: Place, faces: FaceColumns | None, advance: Callable[[], None]) -> Iterator[Problem]:
    """Everything about a folder of pairs."""
    summary = _summary_or_none(folder)
    count = summary["parts"] if summary else len(parquet.part_names(folder))
    names = [parquet.part_name(number) for number in range(count)]
    yield from check_folder(folder, [SUMMARY, *names, *_left_out_there(folder)], "split")
    if summary is None and folder.exists(SUMMARY):
        yield problem(folder, SUMMARY, f"it is damaged; run `facepipe split` again {AS_BEFORE}")
    settings = settings_or_empty(folder)
    subset_of: dict[str, str] = {}
    counts: Counter[str] = Counter()
    keys: set[str] = set()
    targets: set[str] = set()
    for name in parquet.part_names(folder):
        found: list[Problem] = []
        table = read_or_tell(folder, name, parquet.PAIRS.names, found)
        if table is not None:
            counts.update(table.column("subset").to_pylist())
            found += _check_pair_rows(folder, name, table, subset_of, keys)
            targets.update(table.column("target_key").to_pylist())
            found += _check_places(folder, name, table, faces) if faces is not None else []
        yield from found
        advance()
    yield from _check_left_out(folder, keys | targets, faces)
    if settings:
        yield from _check_rule(folder, subset_of, settings, summary["published_subsets"] if summary else None)
    if summary is not None and {s: counts[s] for s in SUBSETS} != {s: summary["pairs"].get(s, 0) for s in SUBSETS}:
        yield problem(folder, SUMMARY, f"it declares {summary['pairs']}, the parts hold {dict(counts)}")


def _summary_or_none(folder: Place) -> dict[str, Any] | None:
    try:
        return read_summary(folder)
    except FacepipeError:
        return None


def _check_pair_rows(
    folder: Place, name: str, table: parquet.Table, subset_of: dict[str, str], keys: set[str]
) -> Iterator[Problem]:
    columns = (table.column(c).to_pylist() for c in ("key", "identity", "subset", "feature_key", "target_key"))
    for key, identity, subset, feature, target in zip(*columns, strict=True):
        if key in keys:
            yield problem(folder, name, f"the pair {key!r} is there twice")
        keys.add(key)
        if feature == target:
            yield problem(folder, name, f"{feature!r} is its own target")
        if subset_of.setdefault(identity, subset) != subset:
            yield problem(folder, name, f"{identity!r} is in two subsets, {subset_of[identity]} and {subset}")


def _check_places(folder: Place, name: str, table: parquet.Table, faces: FaceColumns) -> Iterator[Problem]:
    """Part and row lead to the faces with the pair's keys."""
    starts = dict(zip(*np.unique(faces.part, return_index=True), strict=True))
    for kind in ("feature", "target"):
        part, row = tables.numbers(table, f"{kind}_part"), tables.numbers(table, f"{kind}_row")
        at = np.array([starts.get(p, -1) for p in part.tolist()], dtype=np.int64) + row
        wrong = (at < 0) | (at >= len(faces.part)) | ~np.isin(part, faces.part)
        at = np.where(wrong, 0, at)
        wrong |= faces.part[at] != part if len(faces.part) else True
        keys = table.column(f"{kind}_key").to_pylist()
        there = tables.take(faces.table.select(["key"]), at).column("key").to_pylist() if len(faces.part) else keys
        bad = [key for key, other, off in zip(keys, there, wrong.tolist(), strict=True) if off or key != other]
        if bad:
            yield problem(folder, name, f"{len(bad):,} {kind}s do not lie where it says, such as {bad[0]!r}")


def _check_rule(
    folder: Place, subset_of: dict[str, str], settings: dict[str, Any], published: dict[str, str] | None
) -> Iterator[Problem]:
    rule = SubsetRule(settings.get("seed", 0), settings.get("validation", 0), settings.get("test", 0), published)
    for identity, subset in subset_of.items():
        if rule.choose(identity) != subset:
            yield problem(folder, "", f"{identity!r} is in {subset}, the settings put it elsewhere")
