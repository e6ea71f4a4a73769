"""The tables facepipe writes: Parquet files for any reader; every page carries a checksum, which reads verify.

Text is compressed with zstd, crops (compressed already) are stored as they are. The same table gives the same bytes.
All of it goes through a `storage.Place`.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.errors import DamagedFile, InputError
from facepipe.records import FaceRow, Source
from facepipe.storage import in_order, schemas
from facepipe.storage.checksums import Hashed
from facepipe.text import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

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


def make_schema(columns: Mapping[str, str], metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Columns by name and kind (as in `schemas`)."""
    return pa.schema({name: _TYPES[kind] for name, kind in columns.items()}, metadata=metadata)


# Hugging Face's `datasets` shows a column as pictures where the schema's metadata says so.
FACES = make_schema(schemas.FACES, {"huggingface": json.dumps({"info": {"features": {"crop": {"_type": "Image"}}}})})
EMBEDDINGS = make_schema(schemas.EMBEDDINGS)
TARGETS = make_schema(schemas.TARGETS)
LEFT_OUT = make_schema(schemas.LEFT_OUT)
IDENTITIES = make_schema(schemas.IDENTITIES)
PAIRS = make_schema(schemas.PAIRS)
PARTS = make_schema(schemas.PARTS)
EXAMPLES = make_schema(schemas.EXAMPLES)
PLAN = make_schema(schemas.PLAN)

_GROUP_BYTES = 2**23
"""Crops of a row group: a long video has many."""
_ROWS_AT_ONCE = 64
"""After so many a page may end: the crops of a whole group in one page would be copied through megabytes of new memory,
whose first touch costs more than the copying."""
_REPEATING = ("identity", "video", "status", "error", "subset", "target_key", "target_path", "reason")
_READ_ERRORS = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError)
PARTS_AHEAD = 8
"""Of an object store's parts, fetched at once."""
PART_LIST = "parts.parquet"
"""Lists the parts that make up a finished folder of faces, in order."""
_PART = re.compile(r"part-(?:[0-9a-f]{16}|\d{5,})\.parquet")


def part_name(number: int) -> str:
    """12 -> `part-00012.parquet`: the parts of the pairs are numbered."""
    return f"part-{number:05d}.parquet"


def is_part(name: str) -> bool:
    """Whether a file is a part, by its name."""
    return _PART.fullmatch(name) is not None


def part_names(place: Place) -> list[str]:
    """The parts of a folder, in order: those that `parts.parquet` lists; where there is no list, all that lie there."""
    try:
        names: list[str] = read_table(place, PART_LIST, ["name"]).column("name").to_pylist()
    except DamagedFile:
        return sorted(entry.path for entry in place.list() if is_part(entry.path))
    return names


def parts_there(place: Place) -> list[str]:
    """The same, without those that have gone: for who tells of what there is."""
    there = {entry.path for entry in place.list()}
    return [name for name in part_names(place) if name in there]


def make_writer(file: BinaryIO | Hashed, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of tables; close it, or use it in a `with`."""
    return pq.ParquetWriter(
        file,
        schema,
        compression=dict.fromkeys(filter(None, map(_compressed, schema)), "zstd"),
        use_dictionary=[name for name in _REPEATING if name in schema.names],
        write_statistics=False,
        write_page_checksum=True,
        write_batch_size=_ROWS_AT_ONCE,
        store_schema=True,
    )


def _compressed(field: pa.Field) -> str:
    """Parquet's dotted path of the column that is compressed; of a picture only its name is."""
    if pa.types.is_struct(field.type):
        return f"{field.name}.path"
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else str(field.name)


def write_table(place: Place, path: str, table: Table, groups: Sequence[int] | None = None) -> str:
    """Writes a table whole or not at all; gives the SHA-256 (hex) of the file.

    Args:
        place: Where.
        path: The file, below it.
        table: Its schema metadata is kept.
        groups: Rows of each row group, in order; one group holds everything where it is left out.
    """
    with place.open_output(path) as file:
        hashed = Hashed(file)
        with make_writer(hashed, table.schema) as writer:
            start = 0
            for rows in groups if groups is not None else [table.num_rows]:
                writer.write_table(table.slice(start, rows), row_group_size=max(rows, 1))
                start += rows
        return hashed.sha256.hexdigest()


def write_faces(
    place: Place,
    path: str,
    rows: Iterable[FaceRow],
    during: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> str:
    """Writes face rows as they come, whole or not at all; gives the SHA-256 (hex) of the file.

    Args:
        place: Where.
        path: The file, below it.
        rows: In memory there are no more than a row group's.
        during: Gives what is entered while something is written ("write") or waited for until it is on the disk or in
            the store ("sync"), and left while a row is asked for.
    """
    groups = _groups(rows)
    group = next(groups, None)
    # Opened no sooner: a process that is killed leaves an unfinished file.
    with ExitStack() as stack:
        with during("write"):
            hashed = Hashed(stack.enter_context(place.open_output(path)))
            writer = make_writer(hashed, FACES)
        while group:
            with during("write"):
                writer.write_table(rows_to_table(group), row_group_size=len(group))
            group = next(groups, None)
        with during("write"):
            writer.close()
        with during("sync"):
            stack.close()
    return hashed.sha256.hexdigest()


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


@contextmanager
def opened(place: Place, path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file to read, every page's checksum verified.

    Raises:
        DamagedFile: it is missing, cut or changed, or what is done with it in the `with` block does not go.
    """
    advice = "run the command that makes it again, only this piece is made anew"
    try:
        with place.open_input(path) as source:
            yield pq.ParquetFile(source, page_checksum_verification=True)
    except InputError:
        if place.exists(path):
            raise
        raise DamagedFile(f"{place}/{path} is missing; {advice}") from None
    except _READ_ERRORS as error:
        raise DamagedFile(f"{place}/{path} is damaged ({first_line(error)}); {advice}") from error


def read_table(place: Place, path: str, columns: Sequence[str] | None = None, group: int | None = None) -> Table:
    """A table, or some of its columns, or one row group; `crop.bytes` reads the pictures without their names.

    Raises:
        DamagedFile: the file is missing, cut, changed, or has not these columns.
    """
    with opened(place, path) as file:
        names = set(file.schema_arrow.names)
        wanted = None if columns is None else list(columns)
        missing = [name for name in wanted or () if name.split(".")[0] not in names]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
        if group is None:
            return file.read(columns=wanted, use_threads=False)
        return file.read_row_group(group, columns=wanted, use_threads=False)


def iterate_rows(place: Place, path: str, columns: Sequence[str] | None = None, rows: int = 1024) -> Iterator[Table]:
    """A file's rows in order, at most `rows` at a time, so that a large file needs little memory."""
    with opened(place, path) as file:
        for batch in file.iter_batches(batch_size=rows, columns=columns and list(columns), use_threads=False):
            yield pa.Table.from_batches([batch])


def count_rows(place: Place, path: str) -> list[int]:
    """Rows of each row group of a file."""
    with opened(place, path) as file:
        return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def iterate_parts(
    place: Place, columns: Sequence[str] | None = None, names: Sequence[str] | None = None
) -> Iterator[tuple[int, Table]]:
    """Every part of a folder in order, or those `names`: its place in the order and its table (only `columns`).

    From an object store a few are fetched at once: each takes calls that wait one for the other.
    """

    def read(name: str) -> Table:
        return read_table(place, name, columns)

    names = part_names(place) if names is None else names
    yield from enumerate(map(read, names) if place.is_local else in_order(read, names, PARTS_AHEAD))


def rows_to_table(rows: Sequence[FaceRow]) -> Table:
    """Face rows as a table of the schema FACES. A crop's `path` is its key with the picture's suffix."""
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], type=FACES.field(name).type, from_pandas=False)
        for name in FACES.names
        if name != "crop"
    }
    columns["crop"] = make_pictures([row.crop for row in rows], [row.key for row in rows])
    return pa.table(columns, schema=FACES)


def make_pictures(pictures: Sequence[bytes | None], keys: Sequence[str]) -> Any:
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


def table_to_sources(table: Table) -> list[Source]:
    """What is to be read, of a table of the schema PLAN."""
    columns = {name: table.column(name).to_pylist() for name in PLAN.names}
    files = map(os.fsdecode, columns["file"])
    columns["raw_path"] = ["" if file == path else file for file, path in zip(files, columns["path"], strict=True)]
    columns["box"] = [tuple(box) if box else None for box in columns["box"]]
    return [Source(*values) for values in zip(*(columns[name] for name in Source._fields), strict=True)]
