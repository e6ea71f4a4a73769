"""Fingerprints of faces, as `python -m train fingerprint` writes them, or any Parquet file with the same columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.errors import InputError
from facepipe.storage import file_at
from facepipe.text import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLUMNS = ("key", "identity", "fingerprint")


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprints:
    """keys, identities: of n faces. vectors: (n, d) float32."""

    keys: list[str]
    identities: list[str]
    vectors: NDArray[np.float32]


def read_fingerprints(uri: str) -> Fingerprints:
    """The fingerprints in a Parquet file with the columns key, identity and fingerprint (a list of numbers).

    Raises:
        InputError: there is no such file, or it holds something else; says what.
    """
    folder, name = file_at(uri)
    try:
        with folder.open_input(name) as source:
            file = pq.ParquetFile(source)
            missing = [column for column in _COLUMNS if column not in file.schema_arrow.names]
            table = file.read(columns=[] if missing else list(_COLUMNS), use_threads=False)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise InputError(f"{uri} is no Parquet file with fingerprints ({first_line(error)})") from error
    if missing:
        raise InputError(f"{uri} has no column {missing[0]!r}; it needs {', '.join(_COLUMNS)}")
    return Fingerprints(table["key"].to_pylist(), table["identity"].to_pylist(), _vectors(table["fingerprint"], uri))


def _vectors(column: pa.ChunkedArray, uri: str) -> NDArray[np.float32]:
    rows = column.to_pylist()
    try:
        vectors = np.array(rows, dtype=np.float32).reshape(len(rows), -1)
    except (ValueError, TypeError) as error:
        raise InputError(f"{uri}: the fingerprints are not all lists of the same number of numbers") from error
    if not np.isfinite(vectors).all():
        raise InputError(f"{uri}: the fingerprints hold values that are no numbers")
    return vectors
