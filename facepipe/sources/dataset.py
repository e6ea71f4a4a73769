"""A folder of parts as one Arrow data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.dataset

from facepipe import parquet
from facepipe.errors import InputError
from facepipe.objectstore import ObjectStore

if TYPE_CHECKING:
    from facepipe.storage import Place


def open_parts(root: Place) -> pyarrow.dataset.Dataset:
    """The rows of a folder's `part-*.parquet`, as a data set that reads only what is asked for.

    Raises:
        InputError: there are no parts.
    """
    names = parquet.part_names(root)
    if not names:
        raise InputError(f"{root} holds no parts; run `facepipe extract` first")
    if isinstance(root, ObjectStore):
        keys = [root.key(name) for name in names]
        return pyarrow.dataset.dataset(keys, format="parquet", filesystem=root.client)
    return pyarrow.dataset.dataset([root.local_path(name) for name in names], format="parquet")
