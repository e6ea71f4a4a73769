"""Which examples the batch of a step holds, decided by the seed and the step alone; and whose face is the target.

A pair's target is one photograph out of many that could have been it, in that day's light. Where another nearly
frontal, noiseless face of the person takes its place now and then, a network learns what those have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRONTAL = 15.0
"""Degrees of |yaw| up to which a feature may be a target."""
DRAW = 2
"""Part of the generator's seed: other numbers than those of shuffling and mirroring."""


@dataclass(frozen=True, eq=False)
class Companions:
    """Whose feature is the target of an example: decided by the seed and the global step alone.

    Attributes:
        share: Of the examples that get another target, where their person has any, 0 to 1.
        seed: The run's.
        able: (m,) indices of the examples whose feature may be a target, each person's together.
        first: (n,) where those of an example's person begin in `able`.
        held: (n,) how many they are.
    """

    share: float
    seed: int
    able: NDArray[np.int64]
    first: NDArray[np.int64]
    held: NDArray[np.int64]

    def choose(self, step: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each example the one whose feature is its target; -1 where it keeps its own."""
        swapped, place = np.random.default_rng((self.seed, int(step), DRAW)).random((2, len(indices)))
        held = self.held[indices]
        chosen = self.first[indices] + np.minimum((place * held).astype(np.int64), np.maximum(held - 1, 0))
        swap = (swapped < self.share) & (held > 0)
        return np.where(swap, self.able[np.where(swap, chosen, 0)] if len(self.able) else -1, -1)


def find_companions(
    identities: NDArray[Any], copies: NDArray[Any], yaws: NDArray[Any], share: float, seed: int
) -> Companions:
    """Those of a subset of pairs, one value an example.

    Args:
        identities: Names.
        copies: 0 where the feature has no noise.
        yaws: Of the features, degrees; NaN is not frontal.
        share: See `Companions`.
        seed: The run's.
    """
    people = np.unique(identities, return_inverse=True)[1]
    able = np.flatnonzero((copies == 0) & (np.abs(yaws) <= FRONTAL))
    able = able[np.argsort(people[able], kind="stable")]
    first = np.searchsorted(people[able], people, "left")
    held = np.searchsorted(people[able], people, "right") - first
    return Companions(share, seed, able, first, held)


@dataclass(frozen=True)
class Order:
    """Which examples the batch of a global step holds: each pass is a new permutation, incomplete batches left out."""

    count: int
    batch_size: int
    seed: int
    mirror: bool = False
    companions: Companions | None = None

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Of a step, each (n,): its examples, whether they are mirrored, whose feature is the target (-1: none's)."""
        per_pass = max(1, self.count // self.batch_size)
        number, at = divmod(int(step), per_pass)
        indices, mirrored = _permutation(self.count, self.seed, number)
        part = slice(at * self.batch_size, (at + 1) * self.batch_size)
        # A copy: TensorFlow takes arrays as they lie and may compute in their memory, and the permutation is kept.
        chosen = indices[part].copy()
        others = np.full(len(chosen), -1) if self.companions is None else self.companions.choose(step, chosen)
        return chosen, mirrored[part] & self.mirror, others


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    rng = np.random.default_rng((seed, number))
    return rng.permutation(count), rng.random(count) < 0.5
