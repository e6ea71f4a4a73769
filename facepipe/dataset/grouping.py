"""Whose faces belong together, where nobody has said it: average linkage of their embeddings."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from facepipe.face.association import MIN_OVERLAP, overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Vectors = NDArray[np.float32]

TRACK_SIMILARITY = 0.9
"""A face that lies where one of the frame before was, and is as alike as this, is the same person's: of neighbouring
frames hardly one is less alike; where a video cuts to somebody else the place says nothing."""
UNSURE_MARGIN = 0.005
"""A face that is closer than this to being as like another group as its own is anybody's: on LFW half of the mistakes
are, and one in a hundred of all faces."""
SAME_PICTURE = 0.985
"""Similarity of two faces from which they are of one picture, or of one moment: a picture recompressed or made smaller
has 0.993 or more, no two people of LFW and YouTube Faces have more than 0.971."""
_BLOCK = 512
_NONE = -2.0
"""Below every similarity."""


def tie_tracks(videos: Sequence[str], frames: Numbers, boxes: Vectors, embeddings: Vectors) -> Numbers:
    """(n,) int64, the track of each face: faces of a video that follow one another in about the same place.

    Args:
        videos: of each face; "" is a still, whose faces are tracks of their own.
        frames: (n,) int64.
        boxes: (n, 4) float32, px.
        embeddings: (n, d) float32, of length 1.
    """
    tracks = np.arange(len(videos))
    of: dict[str, dict[int, list[int]]] = {}
    for face, (video, frame) in enumerate(zip(videos, frames.tolist(), strict=True)):
        if video:
            of.setdefault(video, {}).setdefault(frame, []).append(face)
    for shown in of.values():
        for before, after in pairwise(shown[frame] for frame in sorted(shown)):
            near = [(overlap(boxes[a].tolist(), boxes[b].tolist()), a, b) for a in before for b in after]
            taken: set[int] = set()
            for shared, a, b in sorted(near, reverse=True):
                alike = shared >= MIN_OVERLAP and embeddings[a] @ embeddings[b] >= TRACK_SIMILARITY
                if alike and not {a, b} & taken:
                    tracks[b] = tracks[a]
                    taken |= {a, b}
    return tracks


def link_groups(embeddings: Vectors, start: Numbers, named: int, least: float) -> Numbers:
    """(n,) int64, the group of each face: the lowest number of those that were joined.

    Average linkage: the two groups whose faces are most alike, over all pairs, are joined as long as that is `least`.
    The mean product of all pairs is the product of the groups' means: so a mean stands for a group, and memory grows
    with the faces alone. All groups that are each other's nearest are joined at once, which gives the same result
    (F. Murtagh, A Survey of Recent Advances in Hierarchical Clustering Algorithms, 1983).

    Args:
        embeddings: (n, d) float32, of length 1.
        start: (n,) int64, groups of faces that belong together in any case, from 0 without gaps.
        named: so many of the first groups are never joined with one another.
        least: the lowest mean similarity, at most 1.
    """
    count = int(start.max(initial=-1)) + 1
    sums, sizes = np.zeros((count, embeddings.shape[1])), np.bincount(start, minlength=count)
    np.add.at(sums, start, embeddings)
    own, now = np.arange(count), np.arange(count)  # of each row its number; of each number its row
    nearest, similarity, stale = np.zeros(count, np.int64), np.full(count, _NONE, np.float32), np.arange(count)
    while len(stale):
        means = (sums / sizes[:, None]).astype(np.float32)
        nearest[stale], similarity[stale] = _find_nearest(means, stale, named)
        kept, joined = _pair_up(nearest, similarity, least)
        if not len(kept):
            break
        sums[kept] += sums[joined]
        sizes[kept] += sizes[joined]
        to = np.arange(len(sums))
        to[joined] = kept
        moved = np.isin(to, kept)
        stays = to == np.arange(len(sums))
        # Who is too far from everybody stays so: a joined group is no nearer than both of what it was made of.
        stale = np.flatnonzero((moved | (moved[nearest] & (similarity >= least)))[stays])
        row = np.cumsum(stays) - 1
        now, nearest, similarity = row[to[now]], row[to[nearest[stays]]], similarity[stays]
        sums, sizes, own = sums[stays], sizes[stays], own[stays]
    return np.asarray(own[now][start], np.int64)


def _find_nearest(means: Vectors, rows: Numbers, named: int) -> tuple[Numbers, Vectors]:
    """Of some groups the most similar other one, and how similar it is."""

    def hide(products: Vectors, block: Numbers) -> None:
        products[np.arange(len(block)), block] = _NONE
        products[block < named, :named] = _NONE

    return find_most_alike(means, rows, means, hide)


def find_most_alike(
    vectors: Vectors, rows: Numbers, others: Vectors, hide: Callable[[Vectors, Numbers], None]
) -> tuple[Numbers, Vectors]:
    """Of some vectors the most similar of others, (m,) int64, and how similar it is, (m,) float32; block by block.

    Args:
        vectors: (n, d) float32, of length 1.
        rows: (m,) int64, which of them.
        others: (k, d) float32.
        hide: is given the products (b, k) of some of the rows (b,), and makes those small that don't count.
    """
    nearest, similarity = np.zeros(len(rows), np.int64), np.full(len(rows), _NONE, np.float32)
    for begin in range(0, len(rows), _BLOCK):
        block = rows[begin : begin + _BLOCK]
        products = vectors[block] @ others.T
        hide(products, block)
        best = products.argmax(axis=1)
        nearest[begin : begin + len(block)] = best
        similarity[begin : begin + len(block)] = products[np.arange(len(block)), best]
    return nearest, similarity


def _pair_up(nearest: Numbers, similarity: Vectors, least: float) -> tuple[Numbers, Numbers]:
    """The groups to join, the lower numbers and the higher ones: each other's nearest, and alike enough."""
    rows = np.arange(len(nearest))
    pairs = np.flatnonzero((nearest[nearest] == rows) & (rows < nearest) & (similarity >= least))
    if not len(pairs) and similarity.max() >= least:  # equals in a ring, apart by rounding
        pairs = similarity.argmax(axis=0, keepdims=True)
    return np.minimum(pairs, nearest[pairs]), np.maximum(pairs, nearest[pairs])


def nearest_of_others(embeddings: Vectors, of: Numbers, rows: Numbers) -> tuple[Numbers, Vectors]:
    """Of some faces the most similar one of another person, (m,) int64, and how similar it is, (m,) float32.

    Args:
        embeddings: (n, d) float32, of length 1.
        of: (n,) int64, the person of each.
        rows: (m,) int64, which faces.
    """

    def hide(products: Vectors, block: Numbers) -> None:
        products[of[block, None] == of[None]] = _NONE

    return find_most_alike(embeddings, rows, embeddings, hide)


def compare(embeddings: Vectors, groups: Numbers) -> tuple[Vectors, Vectors, Numbers]:
    """How well each face fits.

    Args:
        embeddings: (n, d) float32, of length 1.
        groups: (n,) int64.

    Returns:
        Of each face, (n,) float32 the mean similarity to the others of its group (1 where there is none), (n,) float32
        that to the nearest other group of several faces (-1 where there is none), and (n,) int64 that group.
    """
    names, of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), embeddings.shape[1]))
    np.add.at(sums, of, embeddings)
    others = sizes[of] - 1
    own = ((embeddings * sums[of]).sum(axis=1) - (embeddings**2).sum(axis=1)) / np.maximum(others, 1)
    large = np.flatnonzero(sizes > 1)
    means = (sums[large] / sizes[large, None]).astype(np.float32)

    def hide(products: Vectors, block: Numbers) -> None:
        products[of[block, None] == large[None]] = _NONE

    other, nearest = np.full(len(groups), -1, np.float32), np.full(len(groups), -1, np.int64)
    if len(large) > 1:
        best, other = find_most_alike(embeddings, np.arange(len(groups)), means, hide)
        nearest = names[large[best]]
    return np.where(others > 0, own, 1).astype(np.float32), other, nearest
