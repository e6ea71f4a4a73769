"""A manifest: a table that names the images, one row an image or a person in it."""

from __future__ import annotations

import math
import posixpath
from typing import TYPE_CHECKING, Any

from facepipe.errors import InputError, UsageError
from facepipe.sources.labelfiles import nearest
from facepipe.sources.manifestrows import ManifestRows
from facepipe.sources.names import shown
from facepipe.sources.tables import read_table
from facepipe.storage import relative

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.records import Box
    from facepipe.sources.listing import Group

_BOX = ("x1", "y1", "x2", "y2")
_COLUMNS = ("path", "identity", "video", "frame_index", *_BOX)
_INT32, _INT64 = 2**31, 2**63


def read_manifest(uri: str, label: str, *, optional_label: bool) -> Iterator[Group]:
    """The sources that a manifest names, in order of identity, video, frame_index and path.

    Args:
        uri: CSV or Parquet, a local path or an object's URI.
        label: the column to carry through as an integer.
        optional_label: no error where there is no such column.

    Raises:
        UsageError: a column is missing, a value can't be meant, a path leads outside the input, or a row stands twice;
            with file and line.
    """
    where, names, lines = read_table(uri, "--manifest")
    columns = _find_columns(names, label, where, optional_label)
    rows = ManifestRows(where)
    for line, values in lines:
        _add_row(rows, values, columns, where, line)
    if not len(rows):
        raise UsageError(f"{where} names no image")
    yield from rows.groups()


def _find_columns(names: list[str], label: str, where: str, optional_label: bool) -> dict[str, int]:
    """Column -> its place; names are compared without regard to case."""
    lowered = [name.lower() for name in names]
    wanted = {*_COLUMNS, "label"}
    twice = next((name for name in lowered if name in wanted and lowered.count(name) > 1), "")
    if twice:
        raise UsageError(f"{where} has two columns {twice!r}")
    for name in ("path", "identity"):
        if name not in lowered:
            raise UsageError(f"{where} has no column {name!r}; {nearest(name, [shown(known) for known in names])}")
    columns = {name: lowered.index(name) for name in _COLUMNS if name in lowered}
    boxes = [name for name in _BOX if name in columns]
    if boxes and len(boxes) < 4:
        raise UsageError(f"{where} has {', '.join(boxes)} but not all of x1, y1, x2, y2")
    if label.lower() in lowered:
        columns["label"] = lowered.index(label.lower())
    elif not optional_label:
        raise UsageError(f"{where} has no column {label!r} for --label; {nearest(label, [shown(n) for n in names])}")
    return columns


def _add_row(rows: ManifestRows, values: list[Any], columns: dict[str, int], where: str, line: int) -> None:
    cells = {name: values[at] if at < len(values) else None for name, at in columns.items()}
    at = f"{where}, line {line}"
    path = _path(cells["path"], at)
    identity = _text(cells["identity"], at)
    if not identity:
        raise UsageError(f"{at}: the identity of {shown(path)!r} is empty")
    video = _text(cells.get("video"), at)
    frame = _whole(cells.get("frame_index"), at, "frame_index", 0, _INT32)
    label = _whole(cells.get("label"), at, "label", -_INT64, _INT64)
    rows.add(path, identity, video, -1 if frame is None else frame, _box(cells, at), label, line)


def _text(value: Any, at: str) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise UsageError(f"{at}: {value!r:.50} is no text")
    return str(value).strip()


def _path(value: Any, at: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{at}: the path is empty")
    try:
        path = relative(value)
    except InputError:
        path = ""
    if not path or ".." in value.split("/"):
        raise UsageError(f"{at}: the path {shown(value)[:200]!r} is not one inside the input; give it relative to that")
    return posixpath.normpath(path)


def _number(value: Any) -> float | None:
    """None where the cell is empty (Parquet's writers put NaN there); NaN where it is no number."""
    if (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    ):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _whole(value: Any, at: str, name: str, low: int, high: int) -> int | None:
    number = value if isinstance(value, int) else _number(value)
    if number is None:
        return None
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 30:
        number = int(value)  # a float would round what has more than 15 digits
    if not math.isfinite(number) or number != int(number) or not low <= number < high:
        rule = "; labels are whole numbers, such as 0, 1, 2" if name == "label" else f", not a whole number from {low}"
        raise UsageError(f"{at}: {name} is {shown(str(value))[:50]!r}{rule}")
    return int(number)


def _box(cells: dict[str, Any], at: str) -> Box | None:
    if "x1" not in cells:
        return None
    numbers = [_number(cells[name]) for name in _BOX]
    known = [number for number in numbers if number is not None]
    if not known:
        return None
    if len(known) < 4 or not all(math.isfinite(number) for number in known):
        raise UsageError(f"{at}: x1, y1, x2, y2 are not four numbers")
    x1, y1, x2, y2 = known
    if x2 <= x1 or y2 <= y1:
        raise UsageError(f"{at}: the box {x1:g}, {y1:g}, {x2:g}, {y2:g} is empty; expected x1 < x2 and y1 < y2")
    return x1, y1, x2, y2
