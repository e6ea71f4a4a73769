"""Arrays that a run leaves to itself, or its workers to each other, until the stage is done."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import DamagedFile
from facepipe.storage import place

if TYPE_CHECKING:
    from numpy.typing import NDArray


def store(folder: str, name: str, values: NDArray[Any]) -> None:
    """Writes an array whole, as `.npy`."""
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    place(folder).write(name, content.getvalue())


def load(folder: str, name: str) -> NDArray[Any]:
    """Reads what `store` wrote.

    Raises:
        DamagedFile: it is not there or not whole.
    """
    root = place(folder)
    if not root.exists(name):
        raise DamagedFile(f"{root}/{name} is missing; run the same command again")
    try:
        return np.load(io.BytesIO(root.read(name)), allow_pickle=False)  # type: ignore[no-any-return]
    except (ValueError, EOFError, OSError) as error:
        raise DamagedFile(f"{root}/{name} is damaged ({error}); run the same command again") from error
