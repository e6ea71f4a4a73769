"""The tables facepipe writes: their columns, and Parquet files that are read back whole or not at all.

Every page carries a checksum, and the footer's SHA-256 stands before it, where other Parquet readers do not look;
every read verifies both. Text is compressed with zstd, crops (compressed already) are stored as they are. The same
table gives the same bytes. All of it goes through a `storage.Place`.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from facepipe import schemas
from facepipe.parquet_reader import opened
from facepipe.parquet_writer import Writer
from facepipe.readahead import in_order
from facepipe.records import FaceRow, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from facepipe.storage import Place

Table: TypeAlias = pa.Table
"""What the readers give and the writer takes: a `pyarrow.Table`."""

_TYPES = {
    "string": pa.string(),
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "list<string>": pa.list_(pa.string()),
    "list<float32>": pa.list_(pa.float32()),
    "list<float64>": pa.list_(pa.float64()),
    "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
}


def _schema(columns: Mapping[str, str], metadata: Mapping[str, str] | None = None) -> pa.Schema:
    return pa.schema({name: _TYPES[kind] for name, kind in columns.items()}, metadata=metadata)


# Hugging Face's `datasets` shows a column as pictures where the schema's metadata says so.
FACES = _schema(schemas.FACES, {"huggingface": json.dumps({"info": {"features": {"crop": {"_type": "Image"}}}})})
TARGETS = _schema(schemas.TARGETS)
PAIRS = _schema(schemas.PAIRS)
EXAMPLES = _schema(schemas.EXAMPLES)
PLAN = _schema(schemas.PLAN)

_GROUP_BYTES = 2**23
"""Crops of a row group: a long video has many."""
PARTS_AHEAD = 8
"""Of an object store's parts, fetched at once."""
_PART = re.compile(r"part-(\d{5,})\.parquet")


def part_name(number: int) -> str:
    """12 -> `part-00012.parquet`."""
    return f"part-{number:05d}.parquet"


def part_number(name: str) -> int | None:
    """`part-00012.parquet` -> 12; None for any other name."""
    match = _PART.fullmatch(name)
    return int(match[1]) if match else None


def list_parts(place: Place) -> list[int]:
    """Numbers of the parts that lie in a folder, ascending."""
    numbers = (part_number(entry.path) for entry in place.list())
    return sorted(number for number in numbers if number is not None)


def write_table(
    place: Place,
    path: str,
    table: Table,
    metadata: Mapping[str, str] | None = None,
    groups: Sequence[int] | None = None,
) -> str:
    """Writes a table whole or not at all; gives the SHA-256 (hex) of the file.

    Args:
        place: Where.
        path: The file, below it.
        table: Its own schema metadata is kept.
        metadata: More entries for the schema metadata, such as the settings' hash.
        groups: Rows of each row group, in order; one group holds everything where it is left out.
    """
    with place.open_output(path) as file:
        writer = Writer(file, table.schema, metadata or {})
        start = 0
        for rows in groups if groups is not None else [table.num_rows]:
            writer.add(table.slice(start, rows))
            start += rows
        return writer.finish()


def write_faces(
    place: Place,
    path: str,
    rows: Iterable[FaceRow],
    metadata: Mapping[str, str],
    during: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> str:
    """Writes face rows as they come, whole or not at all; gives the SHA-256 (hex) of the file.

    Args:
        place: Where.
        path: The file, below it.
        rows: In memory there are no more than a row group's.
        metadata: For the schema, such as the settings' hash.
        during: Gives what is entered while something is written ("write") or waited for until it is on the disk or in
            the store ("sync"), and left while a row is asked for.
    """
    groups = _groups(rows)
    group = next(groups, None)
    # Opened no sooner: a process that is killed leaves an unfinished file.
    with ExitStack() as stack:
        with during("write"):
            writer = Writer(stack.enter_context(place.open_output(path)), FACES, metadata)
        while group:
            with during("write"):
                writer.add(rows_to_table(group))
            group = next(groups, None)
        with during("write"):
            digest = writer.finish()
        with during("sync"):
            stack.close()
    return digest


def _groups(rows: Iterable[FaceRow]) -> Iterator[list[FaceRow]]:
    group: list[FaceRow] = []
    held = 0
    for row in rows:
        group.append(row)
        held += len(row.crop or b"")
        if held >= _GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def read_table(
    place: Place, path: str, columns: Sequence[str] | None = None, group: int | None = None, *, held: bool = False
) -> Table:
    """A table, or some of its columns, or one row group; every page's checksum is verified.

    `crop.bytes` reads the pictures without their names. `held` is for a file that this process reads again and again:
    it stays open, and from an object store, where nobody may change it meanwhile, it is fetched once.

    Raises:
        DamagedFile: the file is missing, cut, changed, or has not these columns.
    """
    with opened(place, path, held=held) as file:
        names = set(file.schema_arrow.names)
        wanted = None if columns is None else list(columns)
        missing = [name for name in wanted or () if name.split(".")[0] not in names]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
        if group is None:
            return file.read(columns=wanted, use_threads=False)
        return file.read_row_group(group, columns=wanted, use_threads=False)


def read_metadata(place: Place, path: str) -> dict[str, str]:
    """The schema metadata of a file, without its rows."""
    with opened(place, path) as file:
        return {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}


def iterate_rows(place: Place, path: str, columns: Sequence[str], rows: int = 1024) -> Iterator[Table]:
    """A file's rows in order, at most `rows` at a time, so that a large file needs little memory."""
    with opened(place, path) as file:
        for batch in file.iter_batches(batch_size=rows, columns=list(columns), use_threads=False):
            yield pa.Table.from_batches([batch])


def count_rows(place: Place, path: str) -> list[int]:
    """Rows of each row group of a file."""
    with opened(place, path) as file:
        return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def iterate_parts(
    place: Place, columns: Sequence[str] | None = None, numbers: Sequence[int] | None = None
) -> Iterator[tuple[int, Table]]:
    """Every part of a folder in order, or those `numbers`: its number and its table (only `columns`).

    From an object store a few are fetched at once: each takes calls that wait one for the other.
    """

    def read(number: int) -> tuple[int, Table]:
        return number, read_table(place, part_name(number), columns)

    numbers = list_parts(place) if numbers is None else numbers
    yield from map(read, numbers) if place.is_local else in_order(read, numbers, PARTS_AHEAD)


def rows_to_table(rows: Sequence[FaceRow]) -> Table:
    """Face rows as a table of the schema FACES. A crop's `path` is its key with the picture's suffix."""
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], type=FACES.field(name).type, from_pandas=False)
        for name in FACES.names
        if name != "crop"
    }
    columns["crop"] = _pictures([row.crop for row in rows], [row.key for row in rows])
    return pa.table(columns, schema=FACES)


def _pictures(pictures: Sequence[bytes | None], keys: Sequence[str]) -> Any:
    """A column of encoded pictures, null where there is none; Arrow is given megabytes whole, rather than to gather."""
    data = pa.py_buffer(b"".join(picture or b"" for picture in pictures))
    ends = np.cumsum([0, *(len(picture or b"") for picture in pictures)], dtype=np.int32)
    contents = pa.Array.from_buffers(pa.binary(), len(pictures), [None, pa.py_buffer(ends), data])
    paths = pa.array([key + _suffix(picture) if picture else "" for key, picture in zip(keys, pictures, strict=True)])
    missing = pa.array([not picture for picture in pictures], type=pa.bool_())
    return pa.StructArray.from_arrays([contents, paths], fields=list(_TYPES["image"]), mask=missing)


def _suffix(picture: bytes) -> str:
    """The file-name suffix that goes with an encoded picture."""
    if picture.startswith(b"\x89PNG"):
        return ".png"
    return ".webp" if picture[8:12] == b"WEBP" else ".jpg"


def sources_to_table(sources: Iterable[Source]) -> Table:
    """What is to be read, as a table of the schema PLAN without sizes; `file` is the name as the file system has it."""
    listed = list(sources)
    columns: dict[str, Any] = {
        name: pa.array([getattr(source, name) for source in listed], type=PLAN.field(name).type)
        for name in Source._fields
        if name != "raw_path"
    }
    columns["file"] = pa.array([os.fsencode(source.file) for source in listed], type=pa.binary())
    columns["size"] = pa.array([schemas.UNKNOWN_SIZE] * len(listed), type=PLAN.field("size").type)
    return pa.table(columns, schema=PLAN)


def table_to_sources(table: Table) -> list[Source]:
    """The way back from `sources_to_table`."""
    columns = {name: table.column(name).to_pylist() for name in PLAN.names}
    files = map(os.fsdecode, columns["file"])
    columns["raw_path"] = ["" if file == path else file for file, path in zip(files, columns["path"], strict=True)]
    columns["box"] = [tuple(box) if box else None for box in columns["box"]]
    return [Source(*values) for values in zip(*(columns[name] for name in Source._fields), strict=True)]
