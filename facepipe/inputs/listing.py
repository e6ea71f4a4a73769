"""What is to be read, in its one order, by columns: 621,126 files take 90 MB, not the 250 of as many records."""

from __future__ import annotations

import operator
import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from facepipe.inputs.cuts import cut
from facepipe.storage.parquet import PLAN, table_to_sources
from facepipe.storage.schemas import UNKNOWN_SIZE
from facepipe.text import to_unicode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from facepipe.records import Source

Sizes: TypeAlias = "Callable[[Sequence[str]], list[int]]"
"""Gives the sizes, bytes, of files by their names relative to the input; `UNKNOWN_SIZE` of what is no file."""
_CHUNK_ROWS = 1 << 13
_LIKE_KEY = re.compile(r"[~@][0-9]+$")
VIDEO_WEIGHT = 200
"""A video file counts as this many images when parts are cut: a part with one is neither tiny nor endless."""


@dataclass(slots=True)
class Group:
    """Consecutive sources of one identity and video, or, where those are sequences, of many: one a file.

    files: names as the file system has them, in `folder` ("": they are paths relative to the input). frames, boxes,
    labels, repeats: one a file, or empty (frames: then 0, 1, ... in a video, and 0 for a still). is_video: these are
    video files; otherwise none is.
    """

    identity: str | Sequence[str]
    video: str | Sequence[str]
    folder: str
    files: Sequence[str]
    frames: Sequence[int] = ()
    boxes: Sequence[tuple[float, ...] | None] = ()
    labels: Sequence[int | None] = ()
    repeats: Sequence[int] = ()
    is_video: bool = False

    def cut(self, count: int) -> Group:
        """The first `count` files."""
        if count >= len(self.files):
            return self
        identity = self.identity if isinstance(self.identity, str) else self.identity[:count]
        video = self.video if isinstance(self.video, str) else self.video[:count]
        return replace(
            self,
            identity=identity,
            video=video,
            files=self.files[:count],
            frames=self.frames[:count],
            boxes=self.boxes[:count],
            labels=self.labels[:count],
            repeats=self.repeats[:count],
        )


class Listing:
    """Sources in their one order. `layout`: how the input was read. `notes`: what the user should know."""

    def __init__(self, table: Any, groups: list[tuple[int, int]], layout: str, notes: list[str]) -> None:
        self._table = table
        self._groups = groups
        self.layout = layout
        self.notes = notes

    def __len__(self) -> int:
        """How many files are to be read."""
        return int(self._table.num_rows)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table` of the schema PLAN."""
        return self._table

    def sources(self, rows: range | None = None) -> list[Source]:
        """Some of the sources, or all, as records."""
        rows = range(len(self)) if rows is None else rows
        return table_to_sources(self._table.slice(rows.start, len(rows)))

    def parts(self, part_size: int) -> list[range]:
        """Cuts the rows into parts of about `part_size` images; the frames of one video stay together."""
        counts, weights = np.array(self._groups, np.int64).reshape(-1, 2).T
        may_part = weights > 0
        units = np.where(may_part, counts, 1)
        unit_rows = np.repeat(np.where(may_part, 1, counts), units)
        unit_weights = np.repeat(np.where(may_part, weights, counts), units)
        return cut(self._table.column("path"), unit_rows, unit_weights, part_size)


@dataclass
class ListingBuilder:
    """Collects groups in order, up to `limit` files (0: all)."""

    limit: int = 0
    sizes: Sizes | None = None
    """Where those are to be known."""
    rows: int = 0
    _groups: list[tuple[int, int]] = field(default_factory=list)
    """Rows, and the weight of each when parts are cut; 0: they stay together."""
    _columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in PLAN.names})
    _chunks: list[Any] = field(default_factory=list)

    def extend(self, groups: Iterable[Group]) -> None:
        """Adds groups until the limit is reached."""
        for group in groups:
            self.add(group)
            if 0 < self.limit <= self.rows:
                break

    def add(self, group: Group) -> None:
        """Appends a group's sources."""
        group = group.cut(self.limit - self.rows) if self.limit else group
        count = len(group.files)
        files = [f"{group.folder}/{name}" for name in group.files] if group.folder else list(group.files)
        columns = self._columns
        columns["file"] += files
        columns["path"] += map(to_unicode, files)
        columns["identity"] += _for_each(group.identity, count)
        columns["video"] += _for_each(group.video, count)
        columns["frame_index"] += group.frames or (range(count) if group.video and not group.is_video else [0] * count)
        columns["box"] += group.boxes or [None] * count
        columns["label"] += group.labels or [None] * count
        columns["repeat"] += _repeats(files, group.repeats)
        columns["is_video"] += [group.is_video] * count
        self.rows += count
        self._groups.append((count, VIDEO_WEIGHT if group.is_video else 0 if group.video else 1))
        if len(columns["file"]) >= _CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = self._columns
        files = columns["file"]
        columns["size"] = self.sizes(files) if self.sizes else [UNKNOWN_SIZE] * len(files)
        same = columns["path"] == files
        arrays = {
            name: _texts(columns[name])
            if PLAN.field(name).type == pa.string()
            else pa.array(columns[name], PLAN.field(name).type)
            for name in PLAN.names
            if name != "file"
        }
        # Nearly always the same characters: then both columns are the same memory.
        arrays["file"] = arrays["path"].view(pa.binary()) if same else pa.array(map(os.fsencode, files), pa.binary())
        self._chunks.append(pa.table(arrays, schema=PLAN))
        self._columns = {name: [] for name in PLAN.names}

    def finish(self, layout: str, notes: list[str]) -> Listing:
        """The listing."""
        self._flush()
        return Listing(pa.concat_tables(self._chunks), self._groups, layout, notes)


def _texts(texts: list[str]) -> Any:
    """A string array without slack: pyarrow's own builder leaves four times as much memory behind."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _for_each(names: str | Sequence[str], count: int) -> list[str]:
    return [to_unicode(names)] * count if isinstance(names, str) else list(map(to_unicode, names))


def _repeats(files: list[str], repeats: Sequence[int]) -> Iterable[int]:
    """Raised by one for files called `x~1` or `x@1`: keys say so of the first repeat and frame of `x`."""
    alike = [bool(_LIKE_KEY.search(file)) if file[-1:].isdigit() else False for file in files]
    if not any(alike):
        return repeats or [0] * len(files)
    return map(operator.add, repeats or [0] * len(files), alike)
