"""What makes a process of ours start fast."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _WithoutPandas(MetaPathFinder):
    """pyarrow imports pandas wherever it is installed, for half a second, to see whether a list is a data frame."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        """Hides pandas, and only pandas."""
        if name == "pandas":
            raise ImportError("pandas is left out: facepipe's own processes start faster without it")
        return None


def leave_out_pandas() -> None:
    """Makes `import pandas` fail in this process, for processes that are all ours (never for a library's user)."""
    sys.meta_path.insert(0, _WithoutPandas())
