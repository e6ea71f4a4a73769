"""The input's folders in an object store."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from facepipe.errors import InputError, StorageDown
from facepipe.inputs.names import natural_key
from facepipe.inputs.tree import Folder, Level, Tree, is_skipped
from facepipe.media.signatures import START_BYTES
from facepipe.storage.schemas import UNKNOWN_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class StoreTree(Tree):
    """An object store's folders, from one listing."""

    @cached_property
    def _listed(self) -> tuple[dict[str, dict[str, int]], dict[str, set[str]], dict[str, set[str]]]:
        """Sizes by name, names of folders, and hidden names, each by folder."""
        files: dict[str, dict[str, int]] = {}
        folders: dict[str, set[str]] = {}
        hidden: dict[str, set[str]] = {}
        for entry in self.place.list():
            pieces = entry.path.split("/")
            skipped = next((i for i, piece in enumerate(pieces) if is_skipped(piece)), -1)
            if skipped >= 0:
                hidden.setdefault("/".join(pieces[:skipped]), set()).add(pieces[skipped])
                continue
            folder, _, name = entry.path.rpartition("/")
            files.setdefault(folder, {})[name] = entry.size
            while folder:
                parent, _, name = folder.rpartition("/")
                folders.setdefault(parent, set()).add(name)
                folder = parent
        return files, folders, hidden

    def level(self, path: str = "") -> Level:
        """Names of all folders and files directly in a folder."""
        files, folders, _ = self._listed
        return Level(sorted(folders.get(path, ()), key=natural_key), list(files.get(path, ())))

    def sizes(self, files: Sequence[str]) -> list[int]:
        """As the listing told them."""
        places = (file.rpartition("/") for file in files)
        return [self._listed[0].get(folder, {}).get(name, UNKNOWN_SIZE) for folder, _, name in places]

    def _head(self, file: str) -> bytes | None:
        try:
            return self.place.read_range(file, 0, START_BYTES)
        except StorageDown:
            raise
        except InputError:
            return None

    def walk(self, top: str = "") -> Iterator[Folder]:
        """Depth first."""
        waiting = [top]
        while waiting:
            path = waiting.pop()
            level = self.level(path)
            if not self._may_read(path, level.files):
                continue
            folder = self._sorted(path, level.files, len(self._listed[2].get(path, ())))
            if folder.files:
                yield folder
            waiting += [f"{path}/{name}" if path else name for name in reversed(level.folders)]
