"""Where a list of files is cut into parts: the files' names decide, so that files added later leave most cuts alone.

Content-defined chunking: Muthitacharoen et al., "A Low-bandwidth Network File System" (2001). Cuts at even distances
would all move behind the first file that is added.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST, MOST = 0.75, 1.25
"""A part's images as shares of the size asked for, which is their mean; of what can't be cut, a part may have more."""


def cut(paths: Any, rows: NDArray[np.int64], weights: NDArray[np.int64], size: int) -> list[range]:
    """Cuts units, which stay whole, into parts.

    Args:
        paths: (n,) a `pyarrow` array of strings: the files.
        rows: (units,) how many files each unit has.
        weights: (units,) how many images it counts as.
        size: images that a part has about.

    Returns:
        The rows of each part. Of the cuts that give it `FEWEST` to `MOST` times the size it is the one behind the path
        with the lowest CRC-32; where there is none, the first that gives it more.
    """
    ends, total = np.cumsum(rows), np.cumsum(weights)
    parts: list[range] = []
    start = first = done = 0
    while first < len(ends):
        fewest = int(np.searchsorted(total, done + FEWEST * size))
        most = int(np.searchsorted(total, done + MOST * size, side="right"))
        candidates = ends[fewest : max(most, fewest + 1)]
        last = len(ends) - 1
        if len(candidates):
            last = fewest + min(range(len(candidates)), key=_hashes(paths, candidates - 1).__getitem__)
        end = int(ends[last])
        parts.append(range(start, end))
        start, first, done = end, last + 1, int(total[last])
    return parts


def _hashes(paths: Any, rows: NDArray[np.int64]) -> list[int]:
    return [zlib.crc32(path.encode()) for path in paths.take(rows).to_pylist()]
