"""Which subset an identity belongs to, which frames are duplicates, and folder names that are safe."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facepipe.dataset.seeding import digest_names, unit_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .\-]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(10))}
_LONGEST = 80


def choose_subset(identity: str, seed: int, validation: float, test: float) -> str:
    """The subset of an identity: by a hash of its name and the seed, so that nobody else's coming or going moves it.

    A name's Unicode forms are one name here: file systems differ in which one they give, and a person whose folders
    came from two of them would else be in two subsets.

    Args:
        identity: name.
        seed: another seed gives another split.
        validation: share of identities, 0..1.
        test: share of identities, 0..1. A larger share takes identities from the next subset only.
    """
    place = unit_interval("subset", seed, unicodedata.normalize("NFC", identity))
    if place < test:
        return TEST
    return VALIDATION if place < test + validation else TRAIN


@dataclass(frozen=True)
class SubsetRule:
    """Which subset an identity belongs to: the published one where those are kept (`published`), else by its name."""

    seed: int
    validation: float
    test: float
    published: Mapping[str, str] | None = None

    def choose(self, identity: str) -> str:
        """`train`, `validation` or `test`."""
        if self.published is not None:
            return self.published.get(identity, TRAIN)
        return choose_subset(identity, self.seed, self.validation, self.test)


def keep_distinct(
    groups: NDArray[np.int64], contents: NDArray[np.uint64], preferred: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which rows to keep so that no group holds one content twice.

    Args:
        groups: (n,) int64, such as the identity's number.
        contents: (n,) uint64, a hash of what the row shows.
        preferred: (n,) rows that win over their duplicates; else the first one does.

    Returns:
        (n,) bool.
    """
    order = np.lexsort((~preferred, contents, groups))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(groups[order]) != 0) | (contents[order][1:] != contents[order][:-1])
    keep = np.empty(len(order), dtype=bool)
    keep[order] = first
    return keep


def name_folders(identities: Iterable[str]) -> dict[str, str]:
    """A folder name for every identity: itself where it is safe, else what is left of it and eight digits of its hash.

    Safe on every file system: no separators, no `..`, no reserved names, at most 80 characters, and no two that differ
    in case or Unicode form only.
    """
    names = sorted(set(identities))
    folded = Counter(_fold(name) for name in names)
    return {name: name if folded[_fold(name)] == 1 and _is_safe(name) else _tag(name) for name in names}


def name_file(key: str, suffix: str) -> str:
    """A file name for a key: what is left of it, and eight digits of its hash."""
    return _tag(key) + suffix


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _is_safe(name: str) -> bool:
    stem = name.partition(".")[0].strip().casefold()
    return bool(_PLAIN.fullmatch(name)) and len(name) <= _LONGEST and name[-1] not in " ." and stem not in _RESERVED


def _tag(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    kept = _UNSAFE.sub("_", plain)[-(_LONGEST - 9) :].strip("._-")
    # A reserved name stays one with anything after its first dot.
    return f"{kept.replace('.', '_') or 'identity'}-{digest_names('name', name, size=4).hex()}"
