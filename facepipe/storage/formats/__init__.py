"""How shards are stored: one module a format, each with a class `Format`; `config.FORMATS` lists them.

Whatever the format, the examples, their order and their pictures are the same, and `features.json` and
`dataset_info.json` say what there is (`storage.tfds`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from facepipe.config import EXAMPLES, FORMATS, SUBSETS, TURNED
from facepipe.errors import InputError
from facepipe.text import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from facepipe.storage import Place
    from facepipe.storage.tfds import Split

Example = dict[str, Any]
"""Feature -> its value: texts and encoded pictures are bytes (a text may be a str), the others float or int."""
_SUBSET = f"({'|'.join((*EXAMPLES, TURNED))})-({'|'.join(SUBSETS)})"
_SHARD = re.compile(_SUBSET + r"(\.tfrecord)?-\d{5,}-of-\d{5,}(\.[a-z]+)?")
_INDEX = re.compile(_SUBSET + r"\.index\.[a-z]+")


class ShardFormat(ABC):
    """One format: a class `Format` in a module of its own derives from this."""

    name: str
    """As `--format` has it; the suffix of the shards."""
    encodings: tuple[str, ...] = ("png", "jpeg")
    """What pictures may be stored as."""
    example_bytes = 300
    """About what an example takes beside its pictures."""
    frame_bytes = 0
    """What each example takes of the file without being part of it."""

    @abstractmethod
    def write(self, file: BinaryIO, name: str, kind: str, examples: Iterable[Example]) -> None:
        """Writes a shard's examples, some hundred in memory at a time; equal examples give equal bytes.

        Args:
            file: with `write` and `tell`.
            name: the shard's.
            kind: of the examples, such as `pairs`; `storage.tfds` lists the features of each.
            examples: in their order.
        """

    @abstractmethod
    def read(self, folder: Place, name: str, kind: str) -> Iterator[Example]:
        """The examples of a shard in their order, texts as bytes; a feature that is not there once is left out.

        Raises:
            DamagedFile: it is no such shard, or is cut or changed.
        """

    def shard_name(self, kind: str, subset: str, number: int, count: int) -> str:
        """`pairs-train-00000-of-00016.tar`."""
        return f"{kind}-{subset}-{number:05d}-of-{count:05d}.{self.name}"

    def indexes(self, kind: str, splits: Sequence[Split]) -> dict[str, bytes]:  # noqa: ARG002 - most have none
        """Further files beside the shards, named `<kind>-<subset>.index.<suffix>`."""
        return {}

    def card(self, kind: str, splits: Sequence[Split]) -> list[str]:
        """What the head of the data card says of where the subsets are, for Hugging Face's reader and viewer."""
        subsets = [split.name for split in splits if sum(split.shard_lengths)]
        files = [f"  - {{split: {name}, path: {kind}-{name}-*}}" for name in subsets]
        return ["configs:", "- config_name: default", "  data_files:", *files] if files else []

    @abstractmethod
    def how(self, kind: str, fields: str) -> list[str]:
        """What the data card says of how to read it; `fields` lists an example's."""


@cache
def find_format(name: str) -> ShardFormat:
    """The format of that name.

    Raises:
        InputError: there is none.
    """
    if name not in FORMATS:
        raise InputError(f"shards in the format {show(name)} are unknown here; {' and '.join(FORMATS)} are known")
    found: ShardFormat = import_module(f"{__name__}.{name}").Format()
    return found


def is_shard(path: str) -> bool:
    """Whether a path in a folder of shards is one of them, of whatever format; folders below are somebody else's."""
    return _SHARD.fullmatch(path) is not None


def is_index(path: str) -> bool:
    """Whether it is one of a format's further files."""
    return _INDEX.fullmatch(path) is not None


def batches(examples: Iterable[Example], most_bytes: int, most: int = 256) -> Iterator[list[Example]]:
    """Lists of examples, ended once their bytes, or they themselves, are so many."""
    some: list[Example] = []
    held = 0
    for example in examples:
        some.append(example)
        held += sum(len(value) for value in example.values() if isinstance(value, bytes))
        if held >= most_bytes or len(some) == most:
            yield some
            some, held = [], 0
    if some:
        yield some
