"""TFRecord files of `tf.train.Example`, as TensorFlow Datasets names and describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.storage.formats import Example, ShardFormat, batches
from facepipe.storage.tfrecord import decode_example, encode_example, frame_record, read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from facepipe.storage import Place
    from facepipe.storage.tfds import Split


class Format(ShardFormat):
    """`pairs-train.tfrecord-00000-of-00016`; every record carries a checksum."""

    name = "tfrecord"
    encodings = ("raw", "png", "jpeg")
    frame_bytes = 16

    def write(self, file: BinaryIO, name: str, kind: str, examples: Iterable[Example]) -> None:  # noqa: ARG002
        """A record an example."""
        for some in batches(examples, 2**17):
            records = [frame_record(encode_example(example)) for example in some]
            file.write(b"".join(records))

    def read(self, folder: Place, name: str, kind: str) -> Iterator[Example]:  # noqa: ARG002
        """Likewise."""
        with folder.open_input(name) as file:
            for message in read_records(file, f"{folder}/{name}"):
                yield {feature: value[0] for feature, value in decode_example(message).items() if len(value) == 1}

    def shard_name(self, kind: str, subset: str, number: int, count: int) -> str:
        """As TensorFlow Datasets looks for it."""
        return f"{kind}-{subset}.tfrecord-{number:05d}-of-{count:05d}"

    def card(self, kind: str, splits: Sequence[Split]) -> list[str]:  # noqa: ARG002
        """Nothing: Hugging Face's reader knows no TFRecord."""
        return []

    def how(self, kind: str, fields: str) -> list[str]:
        """By TensorFlow Datasets."""
        return [
            f"Each example is a `tf.train.Example` with {fields}.",
            "`features.json` says the pictures' shape and encoding;",
            f'`tfds.load("{kind}", data_dir=...)` or `tfds.builder_from_directory` reads them.',
        ]
