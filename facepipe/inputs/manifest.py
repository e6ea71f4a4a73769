"""A manifest: a table that names the images, one row an image or a person in it."""

from __future__ import annotations

import math
import posixpath
import unicodedata
from array import array
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import InputError, UsageError
from facepipe.inputs.labels import missing_column
from facepipe.inputs.listing import Group
from facepipe.inputs.names import natural_key
from facepipe.inputs.tables import read_table
from facepipe.storage import relative
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facepipe.records import Box

_BOX = ("x1", "y1", "x2", "y2")
_NO_BOX = (math.nan,) * 4
_COLUMNS = ("path", "identity", "video", "frame_index", *_BOX)
_INT32, _INT64 = 2**31, 2**63


def read_manifest(uri: str, label: str, is_video: Callable[[str], bool], *, optional_label: bool) -> Iterator[Group]:
    """The sources that a manifest names, in order of identity, video, frame_index and path.

    Args:
        uri: CSV or Parquet, a local path or an object's URI.
        label: the column to carry through as an integer.
        is_video: whether a path is a video's.
        optional_label: no error where there is no such column.

    Raises:
        UsageError: a column is missing, a value can't be meant, a path leads outside the input, or a row stands twice;
            with file and line.
    """
    where, names, lines = read_table(uri, "--manifest")
    columns = _find_columns(names, label, where, optional_label)
    rows = _Rows(where, is_video)
    for line, values in lines:
        rows.add(line, {name: values[at] if at < len(values) else None for name, at in columns.items()})
    if not rows.paths:
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
            raise missing_column(where, name, names)
    columns = {name: lowered.index(name) for name in _COLUMNS if name in lowered}
    boxes = [name for name in _BOX if name in columns]
    if boxes and len(boxes) < 4:
        raise UsageError(f"{where} has {', '.join(boxes)} but not all of x1, y1, x2, y2")
    if label.lower() in lowered:
        columns["label"] = lowered.index(label.lower())
    elif not optional_label:
        raise missing_column(where, label, names, " for --label")
    return columns


class _Rows:
    """Rows by columns, put in order when all are there: 621,126 of them take 250 MB less than as many records."""

    def __init__(self, where: str, is_video: Callable[[str], bool]) -> None:
        self._where = where
        self._is_video = is_video
        self.paths: list[str] = []
        self._identities: list[str] = []
        self._videos: list[str] = []
        self._frames = array("q")
        """-1 where the manifest gives none."""
        self._boxes = array("d")
        self._labels: list[int | None] = []
        self._lines = array("q")
        self._of_videos: dict[int, bool] = {}
        """Rows of video files: whether it is one of the frame's."""
        self._tracks: dict[int, list[float]] = {}
        """Row -> frame and box, one after the other, of all rows of its video file."""
        self._names: dict[str, str] = {}
        self._seen: dict[str, int] = {}

    def add(self, line: int, cells: dict[str, Any]) -> None:
        """Appends a row.

        Raises:
            UsageError: a cell can't be meant, or it is a row of one frame of a video file without the face's box.
        """
        at = f"{self._where}, line {line}"
        path = _path(cells["path"], at)
        identity = unicodedata.normalize("NFC", _text(cells["identity"], at))
        if not identity:
            raise UsageError(f"{at}: the identity of {printable(path)!r} is empty")
        video = _text(cells.get("video"), at)
        frame = _whole(cells.get("frame_index"), at, "frame_index", 0, _INT32)
        box = _box(cells, at)
        if self._is_video(path):
            self._of_videos[len(self.paths)] = box is not None and frame is not None
            if frame and box is None:
                raise self._taken_whole(path, line)
        self.paths.append(path)
        self._identities.append(self._names.setdefault(identity, identity))
        self._videos.append(self._names.setdefault(video, video))
        self._frames.append(-1 if frame is None else frame)
        self._boxes.extend(box or _NO_BOX)
        self._labels.append(_whole(cells.get("label"), at, "label", -_INT64, _INT64))
        self._lines.append(line)

    def _taken_whole(self, path: str, line: int) -> UsageError:
        return UsageError(
            f"{self._where}, line {line}: {printable(path)} is a video and taken whole: list it once, without "
            "frame_index, or each frame once with its box"
        )

    def groups(self) -> Iterator[Group]:
        """Runs of one identity and video, each in order of frame, path and box.

        Raises:
            UsageError: two rows name the same image, frame and box for the same person, or a video file twice.
        """
        self._refuse_videos_twice()
        rank = {name: i for i, name in enumerate(sorted(self._names, key=natural_key))}
        identities = np.fromiter((rank[name] for name in self._identities), np.int64, len(self.paths))
        videos = np.fromiter((rank[name] for name in self._videos), np.int64, len(self.paths))
        order = np.lexsort((videos, identities))
        change = np.flatnonzero((np.diff(identities[order]) != 0) | (np.diff(videos[order]) != 0)) + 1
        hashes = np.sort(np.fromiter(map(hash, self.paths), np.int64, len(self.paths)))
        repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        for run in np.split(order, change):
            rows = sorted(run.tolist(), key=self._order)
            self._refuse_doubles(rows)
            rows = self._join_frames(rows)
            yield from self._groups_of(rows, repeated)

    def _order(self, row: int) -> tuple[int, str, tuple[float, ...]]:
        return self._frames[row], natural_key(self.paths[row]), self._box(row) or ()

    def _box(self, row: int) -> tuple[float, ...] | None:
        if row in self._tracks:
            return tuple(self._tracks[row])
        x1, y1, x2, y2 = self._boxes[4 * row : 4 * row + 4]
        return None if math.isnan(x1) else (x1, y1, x2, y2)

    def _refuse_videos_twice(self) -> None:
        """For one person a video file may be listed whole, or by frames."""
        known: dict[tuple[str, str], set[int]] = {}
        for row, one_frame in self._of_videos.items():
            frame = self._frames[row] if one_frame else -1
            before = known.setdefault((self.paths[row], self._identities[row]), set())
            if frame in before or -1 in before or (before and frame < 0):
                raise self._taken_whole(self.paths[row], self._lines[row])
            before.add(frame)

    def _join_frames(self, rows: list[int]) -> list[int]:
        """Of the rows of a video file's frames the first, to which the boxes of all are noted."""
        first: dict[str, int] = {}
        kept = []
        for row in rows:
            if self._of_videos.get(row):
                one = first.setdefault(self.paths[row], row)
                numbers = self._frames[row], *self._boxes[4 * row : 4 * row + 4]
                self._tracks.setdefault(one, []).extend(numbers)
                if row != one:
                    continue
            kept.append(row)
        return kept

    def _refuse_doubles(self, rows: list[int]) -> None:
        told = [(self.paths[row], self._frames[row], self._box(row)) for row in rows]
        for (row, one), (other_row, other) in pairwise(zip(rows, told, strict=True)):
            if one == other:
                first, second = sorted((self._lines[row], self._lines[other_row]))
                raise UsageError(
                    f"{self._where}: lines {first} and {second} both name {printable(self.paths[row])!r} "
                    f"for {printable(self._identities[row])!r}"
                )

    def _groups_of(self, rows: list[int], repeated: set[int]) -> Iterator[Group]:
        """Stills and video files apart. Where a video's frames are not all numbered, they are counted."""
        video = self._videos[rows[0]]
        frames = [self._frames[row] for row in rows]
        if any(frame < 0 and row not in self._of_videos for row, frame in zip(rows, frames, strict=True)):
            frames = list(range(len(rows))) if video else [max(frame, 0) for frame in frames]
        place = dict(zip(rows, frames, strict=True))
        for is_video, run in groupby(rows, key=self._of_videos.__contains__):
            some = list(run)
            yield Group(
                self._identities[some[0]],
                [video or self.paths[row] for row in some] if is_video else video,
                "",
                [self.paths[row] for row in some],
                [0 if is_video else place[row] for row in some],
                [self._box(row) for row in some],
                [self._labels[row] for row in some],
                [self._repeat(self.paths[row], repeated) for row in some],
                is_video=is_video,
            )

    def _repeat(self, path: str, repeated: set[int]) -> int:
        if hash(path) not in repeated:
            return 0
        count = self._seen.get(path, 0)
        self._seen[path] = count + 1
        return count


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
        said = f"the path {printable(value)[:200]!r} is not one inside the input"
        raise UsageError(f"{at}: {said}; give it relative to that")
    return posixpath.normpath(path)


def _number(value: Any) -> float | None:
    """None where the cell is empty (Parquet's writers put NaN there); NaN where it is no number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str) and not value.strip():
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
        raise UsageError(f"{at}: {name} is {printable(str(value))[:50]!r}{rule}")
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
