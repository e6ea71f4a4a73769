"""Sizes of the input's files: by them a rerun notices a picture that was replaced under its name."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from facepipe.schemas import UNKNOWN_SIZE
from facepipe.storage import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.sources.listing import Sizes

_PROBED = 64
_SLOW_S = 1e-4
"""A local disk tells a size in a few microseconds, a server in many times as long, but many at once."""
_AT_ONCE = 32


def local_sizes(root: str) -> Sizes:
    """For files below a local folder, or one that a server lends."""

    def size(file: str) -> int:
        try:
            found = os.stat(f"{root}/{file}")
        except (OSError, ValueError):
            return UNKNOWN_SIZE
        return found.st_size if stat.S_ISREG(found.st_mode) else UNKNOWN_SIZE

    def sizes(files: Sequence[str]) -> list[int]:
        started = time.perf_counter()
        found = [size(file) for file in files[:_PROBED]]
        slow = time.perf_counter() - started > _SLOW_S * _PROBED
        rest = files[_PROBED:]
        return found + (list(in_order(size, rest, _AT_ONCE)) if slow else [size(file) for file in rest])

    return sizes
