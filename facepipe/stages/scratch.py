"""Arrays that a run leaves to itself, or its workers to each other, until the stage is done."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import DamagedFile, InputError
from facepipe.storage import place

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER_BYTES = 4096
"""More than the header of any array written here."""


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


def load_slice(folder: str, name: str, begin: int, end: int) -> NDArray[Any]:
    """Entries `begin` to `end` of a one-dimensional array that `store` wrote, without reading the others.

    Raises:
        DamagedFile: it is not there or not whole.
    """
    root = place(folder)
    try:
        if root.is_local:
            return np.array(np.load(root.local_path(name), mmap_mode="r", allow_pickle=False)[begin:end])
        head = io.BytesIO(root.read_range(name, 0, _HEADER_BYTES))
        np.lib.format.read_magic(head)
        _, _, dtype = np.lib.format.read_array_header_1_0(head)
        content = root.read_range(name, head.tell() + begin * dtype.itemsize, (end - begin) * dtype.itemsize)
        return np.frombuffer(content, dtype=dtype).copy()
    except (ValueError, EOFError, OSError, InputError) as error:
        raise DamagedFile(f"{root}/{name} is damaged ({error}); run the same command again") from error


def map_array(folder: str, name: str) -> NDArray[Any]:
    """A whole array: memory-mapped where it is local, so that only what is looked at is read.

    Raises:
        DamagedFile: it is not there or not whole.
    """
    root = place(folder)
    if not root.is_local:
        return load(folder, name)
    try:
        return np.load(root.local_path(name), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{root}/{name} is damaged ({error}); run the same command again") from error
