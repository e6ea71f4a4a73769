"""Pictures that look alike: perceptual hashes that outlast another size or JPEG quality, and a search for their pairs.

A perceptual hash says of neighbouring cells of a small gray picture which is lighter (dHash): `coarse` on 8x8 cells,
`fine` on 16x16. Pairs are looked for by `coarse` (at most 3 of 56 bits differ, so one of four 14-bit bands is equal),
and confirmed by `fine`. Near-duplicates of one group are told by `fine` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIDE = 32
"""px: what perceptual hashes are taken of."""
HASHES = np.dtype([("content", "<u8"), ("coarse", "<u8"), ("fine", "<u8", (4,))])
"""content: a hash of the bytes, 0 where there is none. coarse: 56 bits, 0 for a flat picture. fine: 240 bits."""

COARSE_BITS = 3
FINE_BITS = 24
"""At most so many of the 240 bits differ between two versions of one picture."""
COPY_BITS, COPY_SHIFT = 16, 0.008
"""A picture in another encoding: so many bits differ, and landmarks lie at most so far apart, as a share of the face's
longer side. Of LFW saved again with quality 75 to 95 98 % and more are told, and no pair of 3,541 that are none
(`benchmarks/curation.py`)."""
_FLAT = 4.0
"""A standard deviation of the gray values below this says nothing."""
_CROWD = 500
"""Bands shared by more pictures than this are skipped: they tell nothing, and would cost the square of it."""


_ODD = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], dtype=np.uint64)


def hash_pictures(grays: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Perceptual hashes of gray pictures.

    Args:
        grays: (n, SIDE, SIDE) uint8.

    Returns:
        coarse (n,) uint64, 0 where the picture is flat, and fine (n, 4) uint64.
    """
    cells = _halve(grays.astype(np.uint16))
    fine = _gradient(cells)
    cells = _halve(cells)
    # Each cell is a sum of sixteen pixels.
    flat = cells.reshape(len(grays), cells.shape[1] * cells.shape[2]).std(axis=1) < 16 * _FLAT
    return np.where(flat, np.uint64(0), _gradient(cells)[:, 0]), fine


def _halve(pictures: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Sums of two by two neighbours: (n, side, side) to (n, side / 2, side / 2)."""
    rows = pictures[:, 0::2] + pictures[:, 1::2]
    return rows[:, :, 0::2] + rows[:, :, 1::2]


def _gradient(cells: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Which of (n, side, side) cells are lighter than their left neighbours, as bits: (n, side * side / 64) uint64."""
    bits = np.zeros(cells.shape, dtype=bool)
    bits[:, :, 1:] = cells[:, :, 1:] > cells[:, :, :-1]
    flat = bits.reshape(len(cells), cells.shape[1] * cells.shape[2])
    return np.packbits(flat, axis=1).view("<u8")


def find_alike(hashes: NDArray[np.void], groups: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Pairs of pictures of two groups that look alike.

    Args:
        hashes: (n,) of dtype HASHES.
        groups: (n,) int64, such as the identity's number.

    Returns:
        (index, index, differing fine bits), sorted; for any two groups the closest pair only.
    """
    rows = np.flatnonzero(hashes["coarse"])
    # One of each group's equal pictures is enough: frames of a video repeat.
    mixed = (hashes["fine"][rows] * _ODD).sum(axis=1, dtype=np.uint64)
    order = np.lexsort((rows, mixed, groups[rows]))
    again = (np.diff(groups[rows][order]) == 0) & (mixed[order][1:] == mixed[order][:-1])
    rows = np.sort(rows[order[np.r_[True, ~again][: len(order)]]])
    best: dict[tuple[int, int], tuple[int, int, int]] = {}
    for band in range(4):
        for left, right in _band_pairs(hashes["coarse"][rows], groups[rows], band):
            _confirm(hashes, groups, rows[left], rows[right], best)
    return sorted(best.values())


def find_repeats(
    hashes: NDArray[np.void], groups: NDArray[np.int64], order: NDArray[np.int64], distance: int
) -> NDArray[np.int64]:
    """Which picture each one repeats, among those of its group.

    One after the other, pictures are kept or, where one that was kept before is no further away than `distance`, told
    to repeat it. Flat pictures repeat nothing. Takes time by the square of a group's size.

    Args:
        hashes: (n,) of dtype HASHES.
        groups: (n,) int64, such as the identity's number.
        order: (n,) indexes, those to keep rather than others first.
        distance: differing fine bits, of 240.

    Returns:
        (n,) int64: the index of the picture that is kept in its place, -1 where it is kept itself.
    """
    repeats = np.full(len(hashes), -1, np.int64)
    order = order[hashes["coarse"][order] != 0]
    order = order[np.argsort(groups[order], kind="stable")]
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        rest, fine = members, hashes["fine"][members]
        while len(rest) > 1:
            near = count_bits(fine[1:], fine[0]) <= distance
            repeats[rest[1:][near]] = rest[0]
            rest, fine = rest[1:][~near], fine[1:][~near]
    return repeats


def count_bits(fine: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(n,) how many of the 240 bits of perceptual hashes (n, 4) and (n, 4) or (4,) differ."""
    return np.asarray(np.bitwise_count(fine ^ other).sum(axis=-1, dtype=np.int64))


def _band_pairs(
    coarse: NDArray[np.uint64], groups: NDArray[np.int64], band: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of index pairs of different groups that share a band of 14 bits and differ in few others."""
    # Two rows of eight cells, each without its first, which has no left neighbour.
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
    hashes: NDArray[np.void],
    groups: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    best: dict[tuple[int, int], tuple[int, int, int]],
) -> None:
    distance = count_bits(hashes["fine"][left], hashes["fine"][right])
    for index in np.flatnonzero(distance <= FINE_BITS).tolist():
        a, b = sorted((int(left[index]), int(right[index])))
        groups_key = (min(int(groups[a]), int(groups[b])), max(int(groups[a]), int(groups[b])))
        found = (a, b, int(distance[index]))
        kept = best.setdefault(groups_key, found)
        if (found[2], found) < (kept[2], kept):
            best[groups_key] = found
