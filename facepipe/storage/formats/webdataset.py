"""WebDataset: tar files in which the members of an example lie side by side, and `wids`' index of them.

A sample's key is the shard's name and its number there, so that no two are equal in a data set; the example's own key,
which may hold any letters, is in its JSON. Names, modes and times say nothing else: equal examples give equal bytes.
"""

from __future__ import annotations

import json
import math
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import AS_BEFORE, DamagedFile
from facepipe.storage.formats import Example, ShardFormat
from facepipe.storage.tfds import FLOATS, IMAGES, INTEGERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from facepipe.storage import Place
    from facepipe.storage.tfds import Split

_BLOCK = 512
_END = bytes(2 * _BLOCK)


class Format(ShardFormat):
    """`pairs-train-00000-of-00016.tar` with `<key>.feature.png`, `<key>.target.png` and `<key>.json` an example."""

    name = "webdataset"
    example_bytes = 3000

    def shard_name(self, kind: str, subset: str, number: int, count: int) -> str:
        """`.tar` is what readers go by."""
        return f"{super().shard_name(kind, subset, number, count).removesuffix(self.name)}tar"

    def write(self, file: BinaryIO, name: str, kind: str, examples: Iterable[Example]) -> None:
        """Pictures, then the JSON."""
        stem = name.removesuffix(".tar")
        for number, example in enumerate(examples):
            key = f"{stem}/{number:07d}"
            pictures = [_member(f"{key}.{image}.{suffix_of(example[image])}", example[image]) for image in IMAGES[kind]]
            file.write(b"".join([*pictures, _member(f"{key}.json", to_json(example, kind))]))
        file.write(_END)

    def read(self, folder: Place, name: str, kind: str) -> Iterator[Example]:
        """A JSON ends its example."""
        called, example = f"{folder}/{name}", Example()
        with folder.open_input(name) as file:
            for member, content in _members(file, called):
                feature, _, suffix = member.partition(".")[2].rpartition(".")
                if suffix == "json":
                    yield example | from_json(content, called, kind)
                    example = Example()
                else:
                    example[feature] = content

    def indexes(self, kind: str, splits: Sequence[Split]) -> dict[str, bytes]:
        """`pairs-train.index.json`, from which `wids.ShardListDataset` reads a subset."""
        found = {}
        for split in (split for split in splits if split.shard_lengths):
            names = (self.shard_name(kind, split.name, n, len(split.shard_lengths)) for n in range(10**9))
            shards = [{"url": url, "nsamples": n} for url, n in zip(names, split.shard_lengths, strict=False)]
            index = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards}
            found[f"{kind}-{split.name}.index.json"] = json.dumps(index, indent=1).encode()
        return found

    def how(self, kind: str, fields: str) -> list[str]:
        """By webdataset and wids."""
        images = ", ".join(f"`{image}.*`" for image in IMAGES[kind])
        return [
            f"Each example is a sample of {images} and a `json` with the rest of {fields}.",
            f"`webdataset.WebDataset` reads the tar files, `wids.ShardListDataset` the `{kind}-*.index.json`.",
        ]


def suffix_of(picture: bytes) -> str:
    """Of an encoded picture."""
    return "png" if picture.startswith(b"\x89PNG") else "jpg"


def _member(name: str, content: bytes) -> bytes:
    """A file as it lies in a tar file."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return b"".join((info.tobuf(tarfile.USTAR_FORMAT), content, bytes(-len(content) % _BLOCK)))


def _members(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a tar file's files."""
    while (head := file.read(_BLOCK)) != _END[:_BLOCK]:
        try:
            info = tarfile.TarInfo.frombuf(head, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise _damaged(name, str(error)) from error
        content = file.read(info.size + -info.size % _BLOCK)
        if len(content) < info.size:
            raise _damaged(name, f"it ends within {info.name}")
        yield info.name, content[: info.size]


def to_json(example: Example, kind: str) -> bytes:
    """All of an example but its pictures: a NaN is null, a float has the nine digits that tell 32 bits apart."""

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("utf-8", "surrogatepass")
        if isinstance(value, float):
            return None if math.isnan(value) else float(f"{value:.9g}")
        return value

    told = {feature: plain(value) for feature, value in example.items() if feature not in IMAGES[kind]}
    return json.dumps(told, sort_keys=True).encode()


def from_json(content: bytes, name: str, kind: str) -> Example:
    """The way back.

    Raises:
        DamagedFile: of the shard `name`: it is no such JSON.
    """
    try:
        told = dict(json.loads(content))
        floats = {feature: math.nan if told[feature] is None else told[feature] for feature in FLOATS[kind]}
        return {
            **{feature: str(told[feature]).encode("utf-8", "surrogatepass") for feature in TEXTS[kind]},
            **{feature: float(np.float32(value)) for feature, value in floats.items()},
            **{feature: int(told[feature]) for feature in INTEGERS[kind]},
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(name, f"a JSON in it does not read: {error!r}") from error


def _damaged(name: str, why: str) -> DamagedFile:
    return DamagedFile(f"{name} is damaged ({why}); run `facepipe shard` again {AS_BEFORE}: only this is made anew")
