"""Whose face is not its person's, by the person's median embedding; people who are two, and two who are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

FEWEST = 3
"""Faces of a person from which one that differs can be told: of two nobody knows which."""
OWN_BELOW = "2 %"
"""The share of a person's own faces, at most, that are less alike than `config.GUARD` (`benchmarks/identity.py`)."""
TWO_PEOPLE = 0.92
"""Of a person that falls into two groups, their means are less alike than this (`benchmarks/identity.py`)."""
ONE_PERSON = 0.96
"""The medians of two people who are one are more alike than this."""
_ROUNDS = 10
_BLOCK = 4096


class Judged(NamedTuple):
    """similarity: (n,) float32, of each face to its person's median, NaN where that has fewer faces than FEWEST.

    second: (n,) bool, the smaller group of a person that is two; the median is that of the larger one. medians:
    (people, d) float32 of length 1, zeros of a person with one face.
    """

    similarity: NDArray[np.float32]
    second: NDArray[np.bool_]
    medians: Vectors


def judge_faces(embeddings: Vectors, person: NDArray[np.int64], people: int) -> Judged:
    """How like its person each face is.

    Args:
        embeddings: (n, d) float32 of length 1.
        person: (n,) int64, 0 to `people` - 1.
        people: How many there are.
    """
    found = Judged(
        np.full(len(person), np.nan, np.float32),
        np.zeros(len(person), dtype=bool),
        np.zeros((people, embeddings.shape[1]), np.float32),
    )
    for number, rows in _rows_by_person(person):
        if len(rows) < 2:
            continue
        own = embeddings[rows]
        found.second[rows] = second = find_second(own)
        median = found.medians[number] = _unit(np.median(own[~second], axis=0))
        if len(rows) >= FEWEST:
            # Rounded, for the last digits depend on the processor.
            found.similarity[rows] = np.round(own @ median, 4)
    return found


def find_second(embeddings: Vectors) -> NDArray[np.bool_]:
    """Which of one person's faces (n, d) are a second person's: none, or the smaller of two groups of two and more.

    The groups are those of 2-means, begun on both sides of the mean along the direction in which the faces differ most.
    """
    none = np.zeros(len(embeddings), dtype=bool)
    if len(embeddings) < 4:
        return none
    centred = embeddings - embeddings.mean(axis=0)
    direction = centred[np.argmax(np.linalg.norm(centred, axis=1))]
    for _ in range(_ROUNDS):  # power iteration: to the first principal component
        direction = _unit((centred @ direction) @ centred)
    second = centred @ direction > 0
    for _ in range(_ROUNDS):
        if second.all() or not second.any():
            return none
        means = _means(embeddings, second)
        before, second = second, embeddings @ means[1] > embeddings @ means[0]
        if (second == before).all():
            break
    if second.sum() * 2 > len(second) or (second.sum() * 2 == len(second) and second[0]):
        second = ~second
    if second.sum() < 2:
        return none
    means = _means(embeddings, second)
    return second if means[0] @ means[1] < TWO_PEOPLE else none


def find_same(medians: Vectors) -> list[tuple[int, int, float]]:
    """Pairs of people (a < b) that are likely one, and how alike they are, from 0.96 to 1; the most alike first."""
    found = []
    for start in range(0, len(medians), _BLOCK):
        alike = medians[start : start + _BLOCK] @ medians[start:].T
        for a, b in np.argwhere(np.triu(alike >= ONE_PERSON, 1)).tolist():
            found.append((start + a, start + b, round(float(alike[a, b]), 4)))
    return sorted(found, key=lambda pair: (-pair[2], pair))


def _rows_by_person(person: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    order = np.argsort(person, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(person[order])) + 1):
        if len(rows):
            yield int(person[rows[0]]), rows


def _means(embeddings: Vectors, second: NDArray[np.bool_]) -> tuple[Vectors, Vectors]:
    return _unit(embeddings[~second].mean(axis=0)), _unit(embeddings[second].mean(axis=0))


def _unit(vector: NDArray[Any]) -> Vectors:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
