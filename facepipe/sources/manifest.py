"""A table that names the images: CSV or Parquet, one row an image or a person in it."""

from __future__ import annotations

import csv
import io
import math
import os
import posixpath
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from facepipe.errors import InputError, UsageError
from facepipe.sources.labelfiles import nearest
from facepipe.sources.listing import Group
from facepipe.sources.names import is_video, natural_key, shown
from facepipe.storage import place, relative

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.records import Box

_BOX = ("x1", "y1", "x2", "y2")
_COLUMNS = ("path", "identity", "video", "frame_index", *_BOX)
_INT32, _INT64 = 2**31, 2**63
_SEPARATORS = ",;\t|"


@dataclass(slots=True)
class _Row:
    """One line. `frame` is -1 where the manifest gives none."""

    path: str
    identity: str
    video: str
    frame: int
    box: Box | None
    label: int | None
    line: int


def read_manifest(uri: str, label: str, *, optional_label: bool) -> Iterator[Group]:
    """The sources that a manifest names, in order of identity, video, frame_index and path.

    Args:
        uri: a local path or an object's URI; Parquet is told by its first bytes. CSV may be separated by commas,
            semicolons, tabs or bars, and be UTF-8 (with or without a mark) or UTF-16.
        label: the column to carry through as an integer.
        optional_label: no error where there is no such column.

    Raises:
        UsageError: a column is missing, a value can't be meant, a path leads outside the input, or a row stands twice;
            with file and line.
    """
    data = _read(uri)
    where = shown(uri.rpartition("/")[2])
    names, lines = _parquet_lines(data, where) if data[:4] == b"PAR1" else _csv_lines(data, where)
    columns = _find_columns(names, label, where, optional_label)
    rows = [_read_row(values, columns, where, line) for line, values in lines]
    if not rows:
        raise UsageError(f"{where} names no image")
    yield from _groups(rows, where)


def _read(uri: str) -> bytes:
    if "://" in uri:
        folder, _, name = uri.rpartition("/")
        return place(folder).read(name)
    folder, name = os.path.split(uri)
    try:
        return place(folder or ".").read(name)
    except InputError as error:
        raise UsageError(f"--manifest: {error}") from None


def _csv_lines(data: bytes, where: str) -> tuple[list[str], Iterator[tuple[int, list[Any]]]]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    else:
        text = data.decode("utf-8-sig", "surrogateescape")  # as file names are
    first = text[: text.find("\n")] if "\n" in text else text
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    lines = _checked(reader, where)
    _, names = next(lines, (1, []))
    return [name.strip() for name in names], lines


def _checked(reader: Any, where: str) -> Iterator[tuple[int, list[Any]]]:
    """Rows with the number of the line each ends on."""
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise UsageError(f"{where}, line {reader.line_num}: {error}") from None
        if values is None:
            return
        if values:
            yield reader.line_num, values


def _parquet_lines(data: bytes, where: str) -> tuple[list[str], Iterator[tuple[int, list[Any]]]]:
    """Rows are numbered as lines are, from 2: the columns' names count as the first."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        names = list(file.schema_arrow.names)
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UsageError(f"{where} is no Parquet file that can be read: {reason}") from None

    def lines() -> Iterator[tuple[int, list[Any]]]:
        line = 1
        for batch in table.to_batches():
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                line += 1
                yield line, list(values)

    return names, lines()


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


def _read_row(values: list[Any], columns: dict[str, int], where: str, line: int) -> _Row:
    cells = {name: values[at] if at < len(values) else None for name, at in columns.items()}
    at = f"{where}, line {line}"
    path = _path(cells["path"], at)
    identity = _text(cells["identity"], at)
    if not identity:
        raise UsageError(f"{at}: the identity of {shown(path)!r} is empty")
    video = _text(cells.get("video"), at)
    frame = _whole(cells.get("frame_index"), at, "frame_index", 0, _INT32)
    label = _whole(cells.get("label"), at, "label", -_INT64, _INT64)
    return _Row(path, identity, video, -1 if frame is None else frame, _box(cells, at), label, line)


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
        raise UsageError(f"{at}: {name} is {shown(str(value))[:50]!r}, not a whole number from {low}")
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


def _groups(rows: list[_Row], where: str) -> Iterator[Group]:
    """Sorts the rows and cuts them into runs of one identity and video."""
    seen: dict[str, int] = {}
    rank = {name: natural_key(name) for name in {row.identity for row in rows} | {row.video for row in rows}}
    rows.sort(key=lambda row: (rank[row.identity], rank[row.video], row.frame, natural_key(row.path), row.box or ()))
    start = 0
    for end in range(1, len(rows) + 1):
        first = rows[start]
        if end == len(rows) or (rows[end].identity, rows[end].video) != (first.identity, first.video):
            yield from _group(rows[start:end], seen, where)
            start = end


def _group(rows: list[_Row], seen: dict[str, int], where: str) -> Iterator[Group]:
    for before, row in pairwise(rows):
        if (before.path, before.frame, before.box) == (row.path, row.frame, row.box):
            lines = sorted((before.line, row.line))
            raise UsageError(
                f"{where}: lines {lines[0]} and {lines[1]} both name {shown(row.path)!r} for {shown(row.identity)!r}"
            )
    repeats = []
    for row in rows:
        repeats.append(seen.get(row.path, 0))
        seen[row.path] = repeats[-1] + 1
    first = rows[0]
    numbered = all(row.frame >= 0 or is_video(row.path) for row in rows)
    for index, row in enumerate(rows):
        if is_video(row.path) or not (numbered or first.video):
            row.frame = 0
        elif not numbered:
            row.frame = index
    for videos, run in groupby(zip(rows, repeats, strict=True), key=lambda pair: is_video(pair[0].path)):
        some, counts = zip(*run, strict=True)
        yield Group(
            first.identity,
            [row.video or row.path for row in some] if videos else first.video,
            "",
            [row.path for row in some],
            [row.frame for row in some],
            [row.box for row in some],
            [row.label for row in some],
            counts,
            is_video=videos,
        )
