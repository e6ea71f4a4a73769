"""How Parquet files are written: row group by row group, with checksums of every page and of the footer."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

DIGEST_BYTES = 32
"""Of the footer's SHA-256, which stands before it: page checksums do not cover what says what the pages mean."""
_ROWS_AT_ONCE = 64
"""After so many a page may end: the crops of a whole group in one page would be copied through megabytes of new memory,
whose first touch costs more than the copying."""
_REPEATING = ("identity", "video", "status", "error", "subset", "target_key", "target_path", "reason")


class Writer:
    """Row groups, one after the other, into a Parquet file that ends in a checksum of its footer and the footer.

    Args:
        file: Is written to, and left open.
        schema: Of the tables; its metadata are kept.
        metadata: More entries for them.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        kept = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        schema = schema.with_metadata(dict(sorted({**kept, **metadata}.items())) or None)
        plain = {"crop.bytes": "none"} if "crop" in schema.names else {}
        self._file = _Footed(file)
        self._parquet = pq.ParquetWriter(
            self._file,
            schema,
            compression={leaf: plain.get(leaf, "zstd") for leaf in _leaves(schema.remove_metadata())},
            use_dictionary=[name for name in _REPEATING if name in schema.names],
            write_statistics=False,
            write_page_checksum=True,
            write_batch_size=_ROWS_AT_ONCE,
            store_schema=True,
        )
        self._schema = schema

    def add(self, table: pa.Table) -> None:
        """One more row group."""
        table = table.replace_schema_metadata(self._schema.metadata)
        self._parquet.write_table(table, row_group_size=max(table.num_rows, 1))

    def finish(self) -> str:
        """Writes the footer; gives the SHA-256 (hex) of all that was written."""
        self._file.footer = []
        self._parquet.close()
        footer = b"".join(self._file.footer)
        self._file.footer = None
        self._file.write(hashlib.sha256(footer).digest())
        self._file.write(footer)
        return self._file.sha256.hexdigest()


class _Footed:
    """A file as Arrow writes to one, and the SHA-256 of what is written; once `footer` is a list, it takes the rest."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self.sha256 = hashlib.sha256()
        self.footer: list[bytes] | None = None

    def write(self, data: bytes) -> int:
        """Takes bytes for the file or the footer."""
        self._at += len(data)
        if self.footer is not None:
            self.footer.append(bytes(data))
        elif not self._file.closed:  # Arrow ends a file that was given up as well, when it finds the time
            self._file.write(data)
            self.sha256.update(data)
        return len(data)

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._at

    def flush(self) -> None:
        """Nothing: the file's owner does."""

    def close(self) -> None:
        """Likewise."""


@lru_cache(maxsize=16)
def _leaves(schema: pa.Schema) -> tuple[str, ...]:
    """Parquet's dotted column paths of a schema: only its writer knows them, and takes half a millisecond to tell."""
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    described = pq.ParquetFile(pa.BufferReader(empty.getvalue())).schema
    return tuple(described.column(i).path for i in range(len(described)))
