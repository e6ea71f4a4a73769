"""What is to be written: how large the pictures are, which copies there are, how many shards a subset has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from facepipe.config import SUBSETS, ShardConfig
from facepipe.dataset.noise import Noise, parse_noise
from facepipe.errors import UsageError
from facepipe.storage.formats import ShardFormat, find_format

TRAIN = SUBSETS.index("train")
SHARD_BYTES = 128_000_000
BLOCK_BYTES = 32_000_000
"""Pixels that are held at once while a shard is written; the bound of the shuffle's memory."""
BLOCK_EXAMPLES = 8192
_SHARE_OF_RAW = {"raw": 1.0, "png": 0.6, "jpeg": 0.3}


@dataclass(frozen=True)
class ShardPlan:
    """The settings of a run, worked out. Small and picklable.

    copies: the copies of a pair in the train subset; copy 0 is the clean one, copy i has `noises[i - 1]`.
    """

    examples: str
    size: int
    channels: int
    encoding: str
    seed: int
    noises: tuple[Noise, ...]
    copies: tuple[int, ...]
    shards: int
    format: str = "tfrecord"
    block_bytes: int = BLOCK_BYTES

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one picture."""
        return self.size * self.size * self.channels

    @property
    def pictures(self) -> int:
        """Pictures of one example."""
        return 2 if self.examples == "pairs" else 1

    @property
    def block(self) -> int:
        """Examples that are gathered at once."""
        return max(1, min(BLOCK_EXAMPLES, self.block_bytes // (self.pixel_bytes * self.pictures)))

    @property
    def stored(self) -> ShardFormat:
        """What writes and reads the shards."""
        return find_format(self.format)

    def copies_of(self, subset: int) -> tuple[int, ...]:
        """Noise is for training: the other subsets have the clean copy only."""
        return self.copies if subset == TRAIN else (0,)

    def count_shards(self, examples: int, of_train: int) -> int:
        """Shards of a subset of `examples`, where the train subset has `of_train`."""
        if self.shards:
            wanted = round(self.shards * examples / max(of_train, 1)) if of_train else self.shards
        else:
            size = self.pixel_bytes * self.pictures * _SHARE_OF_RAW[self.encoding] + self.stored.example_bytes
            wanted = math.ceil(examples * size / SHARD_BYTES)
        return min(max(1, wanted), examples)


def make_plan(config: ShardConfig) -> ShardPlan:
    """Works the settings out.

    Raises:
        UsageError: noise that can't be meant, or an encoding that the format has not.
    """
    if config.resolved_encoding not in (there := find_format(config.format).encodings):
        raise UsageError(f"--encoding {config.encoding} is none of --format {config.format}; give {' or '.join(there)}")
    noises = parse_noise(config.resolved_noise)
    clean = (0,) if config.keep_clean or not noises else ()
    return ShardPlan(
        examples=config.examples,
        size=config.size,
        channels=1 if config.resolved_color == "gray" else 3,
        encoding=config.resolved_encoding,
        seed=config.seed,
        noises=noises,
        copies=(*clean, *range(1, len(noises) + 1)),
        shards=config.shards,
        format=config.format,
    )
