"""Pictures that look alike: fingerprints that survive another size or JPEG quality, and a search for pairs of them.

A fingerprint says for neighbouring cells of a small gray picture which one is lighter (dHash): `coarse` on 9x8 cells,
`fine` on 17x16. Pairs are looked for by `coarse` (at most 3 of 64 bits differ, so one of four 16-bit bands is equal),
and confirmed by `fine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    """(height, width) uint8."""

FINGERPRINT = np.dtype([("content", "<u8"), ("coarse", "<u8"), ("fine", "<u8", (4,))])
"""content: a hash of the bytes, 0 where there is none. coarse: 64 bits, 0 for a flat picture. fine: 256 bits."""

COARSE_BITS = 3
FINE_BITS = 24
"""At most so many of the 256 bits differ between two versions of one picture."""
_FLAT = 4.0
"""A standard deviation of the gray values below this says nothing."""
_CROWD = 500
"""Bands shared by more pictures than this are skipped: they tell nothing, and would cost the square of it."""


def fingerprint(gray: Gray) -> tuple[int, NDArray[np.uint64]]:
    """(coarse, fine) of a gray picture of at least 17x16 px; coarse is 0 where it is flat."""
    fine = np.packbits(_gradient(gray, 17, 16)).view("<u8")
    if gray.std() < _FLAT:
        return 0, fine
    return int(np.packbits(_gradient(gray, 9, 8)).view("<u8")[0]), fine


def _gradient(gray: Gray, width: int, height: int) -> NDArray[np.bool_]:
    small = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.asarray(small[:, 1:] > small[:, :-1])


def find_alike(prints: NDArray[np.void], groups: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Pairs of pictures of two groups that look alike.

    Args:
        prints: (n,) of dtype FINGERPRINT.
        groups: (n,) int64, such as the identity's number.

    Returns:
        (index, index, differing fine bits), sorted; for any two groups the closest pair only.
    """
    rows = np.flatnonzero(prints["coarse"])
    # One of each group's equal pictures is enough: frames of a video repeat.
    _, first = np.unique(np.stack([groups[rows].astype(np.uint64), prints["coarse"][rows]]), axis=1, return_index=True)
    rows = np.sort(rows[first])
    best: dict[tuple[int, int], tuple[int, int, int]] = {}
    for band in range(4):
        for left, right in _band_pairs(prints["coarse"][rows], groups[rows], band):
            _confirm(prints, groups, rows[left], rows[right], best)
    return sorted(best.values())


def _band_pairs(
    coarse: NDArray[np.uint64], groups: NDArray[np.int64], band: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of index pairs of different groups that share 16 bits and differ in few others."""
    values = (coarse >> np.uint64(16 * band)) & np.uint64(0xFFFF)
    order = np.argsort(values, kind="stable")
    borders = np.flatnonzero(np.diff(values[order])) + 1
    for members in np.split(order, borders):
        if not 1 < len(members) <= _CROWD:
            continue
        differ = np.bitwise_count(coarse[members][:, None] ^ coarse[members][None, :])
        found = (differ <= COARSE_BITS) & (groups[members][:, None] != groups[members][None, :])
        left, right = np.nonzero(np.triu(found, 1))
        if len(left):
            yield members[left], members[right]


def _confirm(
    prints: NDArray[np.void],
    groups: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    best: dict[tuple[int, int], tuple[int, int, int]],
) -> None:
    distance = np.bitwise_count(prints["fine"][left] ^ prints["fine"][right]).sum(axis=1)
    for index in np.flatnonzero(distance <= FINE_BITS).tolist():
        a, b = sorted((int(left[index]), int(right[index])))
        groups_key = (min(int(groups[a]), int(groups[b])), max(int(groups[a]), int(groups[b])))
        found = (a, b, int(distance[index]))
        kept = best.setdefault(groups_key, found)
        if (found[2], found) < (kept[2], kept):
            best[groups_key] = found
