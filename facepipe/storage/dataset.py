"""A folder of parts as one Arrow data set."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import pyarrow.dataset

from facepipe.errors import InputError
from facepipe.storage import parquet
from facepipe.storage.cloud import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facepipe.storage import Place


def open_parts(root: Place) -> pyarrow.dataset.Dataset:
    """The rows of a folder's `part-*.parquet`, as a data set that reads only what is asked for.

    Raises:
        InputError: there are no parts.
    """
    names = parquet.parts_there(root)
    if not names:
        raise InputError(f"{root} holds no parts; run `facepipe extract` first")
    if isinstance(root, ObjectStore):
        keys = [root.key(name) for name in names]
        return pyarrow.dataset.dataset(keys, format="parquet", filesystem=root.client)
    return pyarrow.dataset.dataset([root.local_path(name) for name in names], format="parquet")


def distinct(dataset: pyarrow.dataset.Dataset, column: str) -> list[str]:
    """The values of a column, sorted."""
    values: list[str] = dataset.to_table(columns=[column]).column(column).unique().to_pylist()
    return sorted(values)


def select_rows(
    dataset: pyarrow.dataset.Dataset, columns: Sequence[str], wanted: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """The rows whose columns have one of the values wanted, as dicts, in order; an empty list wants every row."""
    chosen = [pyarrow.dataset.field(name).isin(list(values)) for name, values in wanted.items() if values]
    for batch in dataset.to_batches(columns=list(columns), filter=reduce(and_, chosen) if chosen else None):
        yield from batch.to_pylist()
