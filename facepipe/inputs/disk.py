"""The input's folders on a disk."""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

from facepipe.errors import InputError
from facepipe.inputs.names import IMAGE, KINDS, VIDEO, extension, natural_key
from facepipe.inputs.tree import Folder, Level, Tree, each, is_skipped
from facepipe.media.signatures import START_BYTES
from facepipe.storage.local import is_folder
from facepipe.storage.places import OWN_PREFIX
from facepipe.storage.schemas import UNKNOWN_SIZE
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facepipe.storage import Place

Identifier = tuple[int, int]
"""Device and inode of a folder."""
_KEPT_LEVELS = 64
MAX_VISITS = 16
"""How often one folder is entered through different links: links to folders of links would otherwise never end."""


class LocalTree(Tree):
    """Local folders. Links are followed; a link back to a folder that leads to it is noted and not entered."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._root = place.local_path()
        if not os.path.isdir(self._root):
            what = "a file" if os.path.exists(self._root) else "not a directory"
            raise InputError(
                f"{printable(self._root)} is {what}; expected a directory of images, best with one folder per person"
            )
        self._visits: Counter[Identifier] = Counter()
        self._levels: dict[str, Level] = {}

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def sizes(self, files: Sequence[str]) -> list[int]:
        """Asked of the disk."""
        return each(self._size, files)

    def _size(self, file: str) -> int:
        try:
            found = os.stat(self._full(file))
        except (OSError, ValueError):
            return UNKNOWN_SIZE
        return found.st_size if stat.S_ISREG(found.st_mode) else UNKNOWN_SIZE

    def _head(self, file: str) -> bytes | None:
        if self._size(file) <= 0:
            return b""
        try:
            return self.place.read_range(file, 0, START_BYTES)
        except InputError:
            return None

    def level(self, path: str = "") -> Level:
        """Names of all folders and files directly in a folder; the last few answers are kept."""
        if path not in self._levels:
            if len(self._levels) >= _KEPT_LEVELS:
                self._levels.clear()
            self._levels[path] = self._read_level(path)
        return self._levels[path]

    def _read_level(self, path: str) -> Level:
        folders: list[str] = []
        files: list[str] = []
        try:
            with os.scandir(self._full(path)) as entries:
                for entry in entries:
                    if not is_skipped(entry.name):
                        (folders if is_folder(entry) else files).append(entry.name)
        except OSError:
            return Level([], [])
        return Level(sorted(folders, key=natural_key), files)

    def walk(self, top: str = "") -> Iterator[Folder]:
        """Depth first, without recursion: no nesting is too deep."""
        self._levels.clear()
        self._visits.clear()
        waiting: list[tuple[str, tuple[Identifier, ...]]] = [(top, ())]
        while waiting:
            path, above = waiting.pop()
            try:
                found = os.stat(self._full(path))
                chain = (*above, (found.st_dev, found.st_ino))
                folder, folders = self._scan(path, chain)
            except OSError as error:
                if not path:
                    raise InputError(
                        f"can't read {printable(self._root)}: {(error.strerror or str(error)).lower()}"
                    ) from None
                parent, _, name = path.rpartition("/")
                yield Folder(parent, [name])  # reading it will say why, in a row
                continue
            if folder.files:
                yield folder
            waiting += [(f"{path}/{name}" if path else name, chain) for name in reversed(folders)]

    def _scan(self, path: str, chain: tuple[Identifier, ...]) -> tuple[Folder, list[str]]:
        files: list[str] = []
        folders: list[str] = []
        hidden = 0
        with os.scandir(self._full(path)) as entries:
            for entry in entries:
                name = entry.name
                if is_skipped(name):
                    hidden += not name.startswith(OWN_PREFIX)
                elif not is_folder(entry):
                    files.append(name)
                elif self._may_enter(entry, path, chain):
                    is_named = KINDS.get(extension(name)) in (IMAGE, VIDEO)
                    (files if is_named and _is_empty(entry.path) else folders).append(name)
        if not self._may_read(path, files):
            return Folder(path, []), []
        return self._sorted(path, files, hidden), sorted(folders, key=natural_key)

    def _may_enter(self, entry: os.DirEntry[str], path: str, chain: tuple[Identifier, ...]) -> bool:
        if not entry.is_symlink():
            return True
        found = entry.stat()
        identifier = (found.st_dev, found.st_ino)
        self._visits[identifier] += 1
        if identifier not in chain and self._visits[identifier] <= MAX_VISITS:
            return True
        reason = "leads in a circle" if identifier in chain else f"is the {MAX_VISITS + 1}th to one folder"
        note = f"the link {printable(f'{path}/{entry.name}'.lstrip('/'))} {reason}; it is not followed"
        self.notes[note] = None
        return False


def _is_empty(path: str) -> bool:
    """Whether a folder named like a picture holds nothing that could be one."""
    try:
        with os.scandir(path) as entries:
            kinds = (IMAGE if is_folder(entry) else KINDS.get(extension(entry.name), IMAGE) for entry in entries)
            return not any(kind in (IMAGE, VIDEO) for kind in kinds)
    except OSError:
        return True
