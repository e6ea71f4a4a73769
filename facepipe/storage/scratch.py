"""Arrays that a run leaves to itself, or its workers to each other, until the stage is done."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import DamagedFile
from facepipe.storage import place

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIGEST_BYTES = 32


def store(folder: str, name: str, values: NDArray[Any]) -> None:
    """Writes an array whole, as `.npy` with its SHA-256 behind it."""
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    place(folder).write(name, content.getvalue() + hashlib.sha256(content.getvalue()).digest())


def load(folder: str, name: str) -> NDArray[Any]:
    """Reads what `store` wrote.

    Raises:
        DamagedFile: it is not there, or not as it was written.
    """
    root = place(folder)
    if not root.exists(name):
        raise DamagedFile(f"{root}/{name} is missing; run the same command again")
    stored = root.read(name)
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise DamagedFile(f"{root}/{name} is damaged; run the same command again")
    return np.load(io.BytesIO(content), allow_pickle=False)  # type: ignore[no-any-return]
