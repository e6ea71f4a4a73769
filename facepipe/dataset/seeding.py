"""Random numbers that depend on names and the seed alone: never on time, order, or what else is drawn.

Everything starts from BLAKE2b of the names, so a number stays the same whatever is added or taken away beside it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_STATE_BYTES = 24
_GOLDEN = 0x9E3779B97F4A7C15


def digest_names(*names: str | float, size: int = 8) -> bytes:
    """`size` bytes (at most 64) that depend on the names, each of them, and their order; numbers by their `repr`."""
    texts = [name if isinstance(name, str) else repr(name) for name in names]
    # Lengths first: ("a", "bc") and ("ab", "c") are different names.
    text = ",".join(str(len(text)) for text in texts) + ":" + "".join(texts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def unit_interval(*names: str | float) -> float:
    """A number in [0, 1), evenly spread over names."""
    return int.from_bytes(digest_names(*names), "little") / 2.0**64


def order_numbers(keys: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """(n,) uint64, one number a key: sorting by them is a shuffle."""
    prefix = hashlib.blake2b(digest_names("order", seed), digest_size=8)

    def number(key: str) -> int:
        digest = prefix.copy()
        digest.update(key.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest(), "little")

    return np.fromiter((number(key) for key in keys), dtype=np.uint64)


def mix_numbers(numbers: NDArray[np.uint64], copy: int) -> NDArray[np.uint64]:
    """Other numbers for copy `copy` of the same keys: SplitMix64's finaliser, a bijection of 64 bits."""
    mixed = numbers + np.uint64(_GOLDEN * (copy + 1) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


class Draws:
    """One generator (SFC64) that is set anew for every name: twenty times cheaper than making one a name."""

    def __init__(self) -> None:
        self._bits = np.random.SFC64(0)
        self._generator = np.random.Generator(self._bits)
        self._words = np.ones(4, dtype=np.uint64)
        self._state: Any = {**self._bits.state, "state": {"state": self._words}, "has_uint32": 0}

    def at(self, *names: str | float) -> np.random.Generator:
        """The generator of these names, at its start. It is valid until the next call."""
        # SFC64's state is three words of chance and a counter that begins at 1.
        self._words[:3] = np.frombuffer(digest_names(*names, size=_STATE_BYTES), dtype="<u8")
        self._bits.state = self._state
        return self._generator
