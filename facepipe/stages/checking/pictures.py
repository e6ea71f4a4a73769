"""What the pictures in shards must look like, made once more from the crops they came from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import FacepipeError
from facepipe.records import Status
from facepipe.stages.sharding.pixels import decode_crop
from facepipe.stages.sharding.records import make_encoder
from facepipe.storage import parquet, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.stages.sharding.plan import ShardPlan
    from facepipe.storage import Place

SAMPLED_PARTS = 8
"""Of the faces: their clean pictures are compared. The shards are shuffled, so every part is in every shard."""


def hash_picture(content: bytes) -> bytes:
    """A short hash of an encoded picture."""
    return hashlib.blake2b(content, digest_size=16).digest()


class Maker:
    """Makes a shard's picture of a crop, as `facepipe shard` does."""

    def __init__(self, plan: ShardPlan) -> None:
        self._plan = plan
        self._encode = make_encoder(plan)

    def hash(self, crop: bytes) -> bytes:
        """The hash of the picture.

        Raises:
            DamagedFile: the crop is no picture.
        """
        pixels = np.frombuffer(decode_crop(crop, self._plan), dtype=np.uint8)
        return hash_picture(self._encode(pixels.reshape(self._plan.size, self._plan.size, self._plan.channels)))


class CleanHashes:
    """What the clean pictures of some faces must look like: those of a few parts, evenly spread."""

    def __init__(self, plan: ShardPlan, faces: Place | None) -> None:
        self._known: dict[bytes, bytes] = {}
        """Key, in UTF-8 -> hash."""
        if faces is None:
            return
        names = parquet.part_names(faces)
        chosen = {names[i] for i in np.linspace(0, len(names) - 1, SAMPLED_PARTS).astype(int)} if names else set()
        maker = Maker(plan)
        for name in sorted(chosen):
            try:
                self._read(faces, name, maker)
            except FacepipeError:  # said where the faces are checked
                continue

    def _read(self, faces: Place, name: str, maker: Maker) -> None:
        for table in parquet.iterate_rows(faces, name, ["key", "status", "crop.bytes"]):
            for row in table.to_pylist():
                if row["status"] == Status.OK and row["crop"] and row["crop"]["bytes"]:
                    self._known[row["key"].encode("utf-8", "surrogatepass")] = maker.hash(row["crop"]["bytes"])

    def agree(self, key: bytes, picture: bytes) -> bool:
        """Whether a clean picture is that of its key's crop, as far as that is known."""
        known = self._known.get(key)
        return known is None or known == hash_picture(picture)


class TargetHashes:
    """What the targets must look like: made from the faces, each once."""

    def __init__(self, plan: ShardPlan, pairs: Place | None, faces: Place | None) -> None:
        self._maker = Maker(plan)
        self._faces = faces
        self._known: dict[tuple[int, int], bytes] = {}
        self._table = self._read(pairs) if pairs is not None and faces is not None else None

    @staticmethod
    def _read(pairs: Place) -> parquet.Table | None:
        try:
            read = [table for _, table in parquet.iterate_parts(pairs, ["key", "target_part", "target_row"])]
        except FacepipeError:
            return None
        return tables.concatenate(read) if read else None

    def compare(self, keys: list[str], hashes: list[bytes]) -> Iterator[str]:
        """A sentence for every target that is not the clean picture."""
        if self._table is None:
            return
        rows = tables.find(self._table, "key", keys)
        found = tables.take(self._table, np.maximum(rows, 0))
        places = list(zip(tables.numbers(found, "target_part"), tables.numbers(found, "target_row"), strict=True))
        self._decode({(int(part), int(row)) for part, row in places})
        for key, index, (part, row), digest in zip(keys, rows.tolist(), places, hashes, strict=True):
            if index < 0:
                yield f"{key!r} is none of the pairs"
            elif self._known.get((int(part), int(row)), digest) != digest:
                yield f"the target of {key!r} is not its clean picture"

    def _decode(self, places: set[tuple[int, int]]) -> None:
        if self._faces is None:
            return
        missing: dict[int, list[int]] = {}
        for part, row in sorted(places - self._known.keys()):
            missing.setdefault(part, []).append(row)
        names = parquet.part_names(self._faces) if missing else []
        for part, rows in missing.items():
            try:
                table = parquet.read_table(self._faces, names[part], ["crop.bytes"])
                crops = tables.take(table, np.array(rows, dtype=np.int64)).column("crop").to_pylist()
            except (FacepipeError, IndexError):  # said where the faces are checked
                continue
            for row, crop in zip(rows, crops, strict=True):
                if crop and crop["bytes"]:  # else the faces are newer than the pairs: said where those are checked
                    self._known[part, row] = self._maker.hash(crop["bytes"])
