"""A person's corrections to the targets: keys to drop, and keys to make the target of their identity."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from facepipe.errors import AS_BEFORE, InputError, UsageError
from facepipe.storage import file_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facepipe.storage import Place

DROP, TARGET = "drop", "target"
NAME = "overrides.csv"
_LARGEST_BYTES = 1 << 28


def read_overrides(path: str) -> dict[str, str]:
    """Key -> `drop` or `target`, as `read_entries`; {} for no path."""
    return {key: action for _, key, action in read_entries(path)} if path else {}


def read_entries(path: str) -> list[tuple[str, str, str]]:
    """Where it stands, key, and `drop` or `target`, from a CSV file with these columns or a JSON list of such objects.

    Raises:
        InputError: there is no such file.
        UsageError: not such a file, an unknown action, or two actions for one key; names the line or entry.
    """
    folder, name = file_at(path)
    text = _decode(path, folder.read(name, _LARGEST_BYTES))
    entries = _from_json(path, text) if text.lstrip()[:1] in ("[", "{") else _from_csv(path, text)
    actions: dict[str, str] = {}
    for where, key, action in entries:
        if action not in (DROP, TARGET):
            raise UsageError(f"{where}: the action is {action!r}; it can be {DROP} or {TARGET}")
        if actions.setdefault(key, action) != action:
            raise UsageError(f"{where}: {key!r} is both dropped and a target")
    return entries


def _decode(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no UTF-8 text; give CSV or JSON with key and action") from None


def _from_csv(path: str, text: str) -> list[tuple[str, str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        missing = [name for name in ("key", "action") if name not in (reader.fieldnames or ())]
        if missing:
            raise UsageError(f"{path} has no column {missing[0]!r}; it needs key and action")
        return [(f"{path}, line {reader.line_num}", row["key"] or "", (row["action"] or "").strip()) for row in reader]
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}") from None


def _from_json(path: str, text: str) -> list[tuple[str, str, str]]:
    try:
        content: Any = json.loads(text)
        if isinstance(content, dict):
            content = [{"key": key, "action": action} for key, action in content.items()]
        return [(f"{path}, entry {i}", str(entry["key"]), str(entry["action"])) for i, entry in enumerate(content, 1)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON list of objects with key and action: {error}") from None


def encode_overrides(actions: Mapping[str, str]) -> bytes:
    """CSV, sorted by key."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "action"])
    writer.writerows(sorted(actions.items()))
    return text.getvalue().encode()


def read_dropped(targets: Place) -> list[str]:
    """The keys that `select` was told to drop, as it noted them beside its targets."""
    try:
        text = targets.read(NAME, _LARGEST_BYTES).decode()
    except InputError:
        if targets.exists(NAME):
            raise
        return []
    except UnicodeDecodeError:
        raise InputError(f"{targets}/{NAME} is damaged; run `facepipe select` again {AS_BEFORE}") from None
    return [key for _, key, action in _from_csv(f"{targets}/{NAME}", text) if action == DROP]
