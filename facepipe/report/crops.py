"""Stored crops by part and row, as they are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import InputError
from facepipe.storage import parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.storage import Place

_KEPT = 24
"""Row groups in memory."""


class Crops:
    """Stored crops, as they are; the row groups used last stay in memory. Safe for threads."""

    def __init__(self, faces: Place, parts: list[str]) -> None:
        self._faces, self._parts = faces, parts
        self._ends: dict[int, NDArray[np.int64]] = {}
        self._kept: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, part: int, row: int) -> bytes:
        """An encoded crop; empty where the row has none.

        Raises:
            InputError: there is no such row.
        """
        if not 0 <= part < len(self._parts):
            raise InputError(f"{self._faces} has no part {part}")
        with self._lock:
            if part not in self._ends:
                self._ends[part] = np.cumsum(parquet.count_rows(self._faces, self._parts[part]))
            ends = self._ends[part]
            group = int(np.searchsorted(ends, row, side="right"))
            if row < 0 or group >= len(ends):
                raise InputError(f"{self._faces}/{self._parts[part]} has no row {row}")
            column = self._kept.pop((part, group), None)
            if column is None:
                read = parquet.read_table(self._faces, self._parts[part], ["crop.bytes"], group)
                column = read.column("crop")
            self._kept[part, group] = column
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        crop = column[row - (int(ends[group - 1]) if group else 0)].as_py()
        return bytes(crop["bytes"]) if crop else b""
