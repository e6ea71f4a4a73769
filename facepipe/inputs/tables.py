"""Tables that people bring: CSV in its dialects, and Parquet, as numbered lines of cells."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from facepipe.errors import InputError, UsageError
from facepipe.storage import file_at
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    Lines = Iterator[tuple[int, list[Any]]]

_MAX_ROWS = 50_000_000
_SEPARATORS = ",;\t|"


def read_table(uri: str, option: str) -> tuple[str, list[str], Lines]:
    """Opens a table.

    Args:
        uri: a local path or an object's URI; Parquet is told by its first bytes. CSV may be separated by commas,
            semicolons, tabs or bars, and be UTF-8 (with or without a mark) or UTF-16; bytes that are no UTF-8 become
            surrogate escapes, as in file names.
        option: what to call it when it is not there.

    Returns:
        The file's name for messages, the columns' names, and the rows: (line number, cells). Parquet's rows are
        numbered from 2, as if their names stood on a line.

    Raises:
        UsageError: it can't be read; also while the rows are read.
    """
    data, name = _read(uri, option)
    where = printable(name)
    names, lines = _parquet(data, where) if data[:4] == b"PAR1" else _csv(data, where)
    return where, names, lines


def _read(uri: str, option: str) -> tuple[bytes, str]:
    """The file's content and name."""
    try:
        folder, name = file_at(uri)
        return folder.read(name), name
    except InputError as error:
        raise UsageError(f"{option}: {error}") from None


def _csv(data: bytes, where: str) -> tuple[list[str], Lines]:
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding, errors = ("utf-16", "replace") if utf16 else ("utf-8-sig", "surrogateescape")
    first = data[: 1 << 16].decode(encoding, errors).partition("\n")[0]
    # A wrapper decodes as it goes; a StringIO would hold four bytes a character.
    text = io.TextIOWrapper(io.BytesIO(data), encoding, errors, newline="")
    lines = _checked(csv.reader(text, delimiter=max(_SEPARATORS, key=first.count)), where)
    _, names = next(lines, (1, []))
    return [name.strip() for name in names], lines


def _checked(reader: Any, where: str) -> Lines:
    """Rows with the number of the line each ends on; empty lines are left out."""
    while True:
        try:
            values = next(reader, None)
        except (csv.Error, UnicodeError) as error:
            raise UsageError(f"{where}, line {reader.line_num}: {error}") from None
        if values is None:
            return
        if values:
            yield reader.line_num, values


def _parquet(data: bytes, where: str) -> tuple[list[str], Lines]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows > _MAX_ROWS:  # a few bytes can stand for billions of equal rows
            raise UsageError(f"{where} has {file.metadata.num_rows:,} rows; {_MAX_ROWS:,} are allowed")
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UsageError(f"{where} is no Parquet file that can be read: {reason}") from None

    def lines() -> Lines:
        line = 1
        for batch in table.to_batches(max_chunksize=1 << 14):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                line += 1
                yield line, list(values)

    return list(table.column_names), lines()
