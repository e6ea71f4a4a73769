"""Usable faces that targets and pairs leave out: `left_out.parquet`, a row each, with the reason."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from facepipe.storage import parquet

if TYPE_CHECKING:
    from facepipe.storage import Place

LEFT_OUT = "left_out.parquet"


class Why(StrEnum):
    """The column `reason`: the option that left a face out. The first one that does counts, in this order."""

    DROPPED = "dropped"
    MIN_SHARPNESS = "min_sharpness"
    MIN_SIZE = "min_size"
    MAX_YAW = "max_yaw"
    MAX_PITCH = "max_pitch"
    GUARD = "guard"
    THIN = "thin"
    MAX_FRAMES = "max_frames"
    MIN_FRAMES = "min_frames"

    @property
    def told(self) -> str:
        """As a sentence has it: `by --min-sharpness`."""
        return "by hand" if self is Why.DROPPED else f"by --{self.replace('_', '-')}"


def read_left_out(folder: Place) -> list[str]:
    """The keys that a folder of targets or pairs leaves out."""
    if not folder.exists(LEFT_OUT):
        return []
    keys: list[str] = parquet.read_table(folder, LEFT_OUT, ["key"]).column("key").to_pylist()
    return keys


def count_left_out(folder: Place) -> dict[str, int]:
    """How many faces are left out, by reason."""
    if not folder.exists(LEFT_OUT):
        return {}
    counts = Counter(parquet.read_table(folder, LEFT_OUT, ["reason"]).column("reason").to_pylist())
    return {why: counts[why] for why in Why if counts[why]}
