"""What is to be written: how large the pictures are, which copies there are, how many shards a subset has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from facepipe.config import SUBSETS, TURNED, ShardConfig
from facepipe.dataset.noise import Noise, parse_noise
from facepipe.dataset.turns import Spread, parse_spread
from facepipe.errors import UsageError
from facepipe.storage.formats import ShardFormat, find_format

TRAIN = SUBSETS.index("train")
SHARD_BYTES = 128_000_000
BLOCK_BYTES = 32_000_000
"""Pixels that are held at once while a shard is written; the bound of the shuffle's memory."""
BLOCK_EXAMPLES = 8192
STILL = Spread("uniform", 0)
_SHARE_OF_RAW = {"raw": 1.0, "png": 0.6, "jpeg": 0.3}


@dataclass(frozen=True)
class ShardPlan:
    """The settings of a run, worked out. Small and picklable.

    copies: the copies of a pair in the train subset; copy 0 is the clean one, copy i has `noises[i - 1]`. turns: views
    of each face, 0 where none are turned; yaw, pitch: how far; flow: whether their flow is written too.
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
    turns: int = 0
    yaw: Spread = STILL
    pitch: Spread = STILL
    flow: bool = False
    block_bytes: int = BLOCK_BYTES

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one picture."""
        return self.size * self.size * self.channels

    @property
    def pictures(self) -> int:
        """Pictures of one example."""
        return 1 if self.examples == "faces" else 2

    @property
    def flow_places(self) -> int:
        """Places of a picture's size that a flow takes, (size, size, 3) uint8."""
        return self.flow * 3 // self.channels

    @property
    def places(self) -> int:
        """Places of a picture's size for each face: itself, then each of its views with its flow."""
        return 1 + self.turns * (1 + self.flow_places)

    def place_of(self, turn: int) -> int:
        """Which of a face's places the view `turn` has."""
        return 1 + turn * (1 + self.flow_places)

    @property
    def block(self) -> int:
        """Examples that are gathered at once."""
        return max(1, min(BLOCK_EXAMPLES, self.block_bytes // (self.pixel_bytes * (self.pictures + self.flow_places))))

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
            size = (
                self.pixel_bytes * (self.pictures + self.flow_places) * _SHARE_OF_RAW[self.encoding]
                + self.stored.example_bytes
            )
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
    turned = config.examples == TURNED
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
        turns=config.turns if turned else 0,
        yaw=parse_spread("--turn-yaw", config.turn_yaw),
        pitch=parse_spread("--turn-pitch", config.turn_pitch),
        flow=config.flow and turned,
    )
