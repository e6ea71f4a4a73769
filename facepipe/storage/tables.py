"""Columns of tables as arrays, and tables out of arrays: so that the stages need not know Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from facepipe.storage.parquet import Table


def make_table(schema: pa.Schema, columns: Mapping[str, Any]) -> Table:
    """A table of lists, arrays and other tables' columns, one a column of the schema."""

    def column(name: str) -> Any:
        values, kind = columns[name], schema.field(name).type
        return values.cast(kind) if isinstance(values, pa.ChunkedArray) else pa.array(values, type=kind)

    return pa.table({name: column(name) for name in schema.names}, schema=schema)


def numbers(table: Table, column: str) -> NDArray[Any]:
    """A column of numbers as an array; floats that are missing are NaN, integers -1."""
    values = table.column(column)
    if values.null_count:
        values = pc.fill_null(values, pa.scalar(float("nan") if pa.types.is_floating(values.type) else -1, values.type))
    return np.asarray(values.to_numpy())


def codes(table: Table, column: str) -> tuple[NDArray[np.int64], list[str]]:
    """A text column as (n,) int64 indexes into its distinct values, which are sorted."""
    encoded = pc.dictionary_encode(table.column(column)).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], type=encoded.type)
    values: list[str] = encoded.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.arange(len(values))
    return rank[encoded.indices.to_numpy().astype(np.int64)], [values[i] for i in order]


def equal(table: Table, column: str, value: str) -> NDArray[np.bool_]:
    """(n,) bool, the rows in which a text column holds `value`."""
    return np.asarray(pc.fill_null(pc.equal(table.column(column), str(value)), fill_value=False).to_numpy(), bool)


def group_rows(table: Table, *, by_video: bool) -> tuple[NDArray[np.int64], list[tuple[str, str]]]:
    """(n,) int64, the group of each row by `identity`, or by that and `video`; and the groups' names, sorted.

    Where they are not by video, that half of a name is empty.
    """
    identity, identities = codes(table, "identity")
    video, videos = codes(table, "video") if by_video else (0, [""])
    groups, of = np.unique(identity * len(videos) + video, return_inverse=True)
    return of.astype(np.int64), [(identities[n // len(videos)], videos[n % len(videos)]) for n in groups.tolist()]


def lists(table: Table, column: str, width: int) -> NDArray[np.float32]:
    """A column of lists of `width` numbers as (n, width) float32; rows that have none are NaN."""
    values = table.column(column).combine_chunks()
    filled = np.full((table.num_rows, width), np.nan, dtype=np.float32)
    there = np.asarray(pc.equal(pc.fill_null(pc.list_value_length(values), 0), width).to_numpy(zero_copy_only=False))
    flat = pc.list_flatten(values.filter(pa.array(there)))
    filled[there] = np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(-1, width)
    return filled


def find(table: Table, column: str, values: Sequence[str]) -> NDArray[np.int64]:
    """The row in which each value first stands, -1 where it does not; (n,) int64."""
    wanted = pa.array(values, type=pa.string())
    found = pc.index_in(wanted, value_set=table.column(column).combine_chunks())
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False)).astype(np.int64)


def folders(table: Table) -> list[tuple[str, str]]:
    """Every distinct pair of `identity` and the folder of `path` (with a slash at its end), sorted."""
    folder = pc.replace_substring_regex(table.column("path"), pattern="[^/]*$", replacement="")
    pairs = pa.table({"identity": table.column("identity"), "folder": folder}).group_by(["identity", "folder"])
    found = pairs.aggregate([]).to_pydict()
    return sorted(zip(found["identity"], found["folder"], strict=True))


def replace(table: Table, column: str, rows: NDArray[np.int64], texts: Sequence[str]) -> Table:
    """The table with other texts in some rows, each named once, of a text column."""
    order = np.argsort(rows)
    mask = np.zeros(table.num_rows, dtype=bool)
    mask[rows] = True
    other = pa.array([texts[at] for at in order], type=pa.string())
    changed = pc.replace_with_mask(table.column(column).combine_chunks(), pa.array(mask), other)
    return table.set_column(table.schema.get_field_index(column), column, changed)


def take(table: Table, rows: NDArray[Any]) -> Table:
    """Some rows of a table, in the order given."""
    return table.take(pa.array(rows, type=pa.int64()))


def concatenate(tables: Sequence[Table]) -> Table:
    """Tables of one schema, one after the other."""
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
