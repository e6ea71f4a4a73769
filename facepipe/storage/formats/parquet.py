"""Parquet files that Hugging Face's `datasets` and its viewer show as pictures: `load_dataset` on the folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from facepipe.storage import parquet, tables
from facepipe.storage.formats import Example, ShardFormat, batches
from facepipe.storage.tfds import FLOATS, IMAGES, INTEGERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from facepipe.storage import Place


class Format(ShardFormat):
    """`pairs-train-00000-of-00016.parquet`, a row an example; every page carries a checksum."""

    name = "parquet"

    def write(self, file: BinaryIO, name: str, kind: str, examples: Iterable[Example]) -> None:  # noqa: ARG002
        """A row group for some hundred examples."""
        schema = _schema(kind)
        with parquet.make_writer(file, schema) as writer:
            for some in batches(examples, 2**23):
                columns: dict[str, Any] = {feature: [one[feature] for one in some] for feature in schema.names}
                for text in TEXTS[kind]:
                    columns[text] = [_text(value) for value in columns[text]]
                for image in IMAGES[kind]:
                    columns[image] = parquet.make_pictures(columns[image], columns["key"])
                writer.write_table(tables.make_table(schema, columns))

    def read(self, folder: Place, name: str, kind: str) -> Iterator[Example]:
        """Row by row."""
        for table in parquet.iterate_rows(folder, name, rows=256):
            for row in table.to_pylist():
                texts = {text: row[text].encode() for text in TEXTS[kind] if row.get(text) is not None}
                images = {image: row[image]["bytes"] for image in IMAGES[kind] if row.get(image)}
                yield {feature: value for feature, value in row.items() if value is not None} | texts | images

    def how(self, kind: str, fields: str) -> list[str]:  # noqa: ARG002
        """By Hugging Face's reader."""
        return [
            f"Each row has {fields}; pictures are declared as such, so that they show.",
            "`datasets.load_dataset` reads this folder, pandas, polars and DuckDB its Parquet files.",
        ]


def _schema(kind: str) -> Any:
    columns = dict.fromkeys(TEXTS[kind], "string") | dict.fromkeys(IMAGES[kind], "image")
    columns |= dict.fromkeys(FLOATS[kind], "float32") | dict.fromkeys(INTEGERS[kind], "int64")
    shown = {image: {"_type": "Image"} for image in IMAGES[kind]}
    return parquet.make_schema(columns, {"huggingface": json.dumps({"info": {"features": shown}})})


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
