"""A person's corrections: faces to drop, to keep whatever a filter says, to make the target, and somebody else's."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from facepipe.errors import AS_BEFORE, InputError, UsageError
from facepipe.storage import file_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from facepipe.storage import Place

DROP, KEEP, TARGET, PERSON = ACTIONS = ("drop", "keep", "target", "person")
NAME = "overrides.csv"
COLUMNS = ("key", "action", "identity")
_LARGEST_BYTES = 1 << 28


class Correction(NamedTuple):
    """What is to be done with a face. identity: whose it is, where that is somebody else than its folder says."""

    action: str
    identity: str = ""


def people_of(corrections: Mapping[str, Correction]) -> dict[str, str]:
    """Key -> identity of the faces that are somebody else's."""
    return {key: one.identity for key, one in corrections.items() if one.identity}


def read_overrides(path: str) -> dict[str, Correction]:
    """Key -> correction, as `read_entries`; {} for no path."""
    return {key: one for _, key, one in read_entries(path)} if path else {}


def read_entries(path: str) -> list[tuple[str, str, Correction]]:
    """Where it stands, key, and correction, from a CSV file with these columns or a JSON list of such objects.

    The column `identity` says whose the face is of a `person`, and may say it of a `target`.

    Raises:
        InputError: there is no such file.
        UsageError: not such a file, an unknown action, or two actions for one key; names the line or entry.
    """
    folder, name = file_at(path)
    text = _decode(path, folder.read(name, _LARGEST_BYTES))
    return _check(_from_json(path, text) if text.lstrip()[:1] in ("[", "{") else _from_csv(path, text))


def _check(entries: Iterable[tuple[str, str, str, str]]) -> list[tuple[str, str, Correction]]:
    found: dict[str, Correction] = {}
    checked = []
    for where, key, action, identity in entries:
        if action not in ACTIONS:
            raise UsageError(f"{where}: the action is {action!r}; it can be {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}")
        if action == PERSON and not identity:
            raise UsageError(f"{where}: it does not say whose face it is; put the name into the column identity")
        one = Correction(action, "" if action == DROP else identity)
        if (before := found.setdefault(key, one)) != one:
            told = "both dropped and a target" if {before.action, action} == {DROP, TARGET} else "there twice"
            raise UsageError(f"{where}: {key!r} is {told}")
        checked.append((where, key, one))
    return checked


def _decode(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text; give CSV or JSON with key and action") from None


def _from_csv(path: str, text: str) -> list[tuple[str, str, str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        missing = [name for name in ("key", "action") if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{path} has no column {missing[0]!r}; it needs key and action")
        rows = ((reader.line_num, [row.get(name) or "" for name in COLUMNS]) for row in reader)
        return [(f"{path}, line {line}", key, action.strip(), name.strip()) for line, (key, action, name) in rows]
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None


def _from_json(path: str, text: str) -> list[tuple[str, str, str, str]]:
    try:
        content: Any = json.loads(text)
        if isinstance(content, dict):
            content = [{"key": key, "action": action} for key, action in content.items()]
        return [
            (f"{path}, entry {i}", str(entry["key"]), str(entry["action"]), str(entry.get("identity", "")))
            for i, entry in enumerate(content, 1)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON list of objects with key and action: {error}") from None


def encode_overrides(corrections: Mapping[str, Correction]) -> bytes:
    """CSV, sorted by key; with whose a face is where one is somebody else's."""
    columns = COLUMNS if people_of(corrections) else COLUMNS[:2]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows((key, *one)[: len(columns)] for key, one in sorted(corrections.items()))
    return text.getvalue().encode()


def read_corrections(made: Place) -> dict[str, Correction]:
    """The corrections that a stage was given, as it noted them beside what it made."""
    try:
        text = made.read(NAME, _LARGEST_BYTES).decode()
        return {key: one for _, key, one in _check(_from_csv(f"{made}/{NAME}", text))}
    except InputError:
        if made.exists(NAME):
            raise
        return {}
    except (UnicodeDecodeError, UsageError):
        raise InputError(f"{made}/{NAME} is damaged; run `facepipe select` again {AS_BEFORE}") from None
