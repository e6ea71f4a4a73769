"""The input's folders, in one order, whatever they lie on."""

from __future__ import annotations

import os
import stat
import time
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from facepipe import settings
from facepipe.checksums import CHECKSUMS
from facepipe.errors import DamagedFile, InputError, StorageDown
from facepipe.inputs.names import (
    IMAGE,
    KINDS,
    OTHER,
    SKIPPED_FOLDERS,
    VIDEO,
    extension,
    kind_of,
    natural_key,
)
from facepipe.inputs.notes import LOCKED, LeftOut
from facepipe.media.signatures import START_BYTES
from facepipe.schemas import UNKNOWN_SIZE
from facepipe.storage import in_order
from facepipe.storage.places import OWN_PREFIX
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from facepipe.storage import Place

Item = TypeVar("Item")
Result = TypeVar("Result")
Identifier = tuple[int, int]
"""Device and inode of a folder."""
_KEPT_LEVELS = 64
_OWN = frozenset({settings.NAME, CHECKSUMS})
"""Files that lie in every output of ours."""
MAX_VISITS = 16
"""How often one folder is entered through different links: links to folders of links would otherwise never end."""
_PROBED = 64
_SLOW_S = 1e-4
"""A local disk tells a size in a few microseconds, a server in many times as long, but many at once."""
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder's pictures and videos.

    path: posix, relative to the input, "" for the input itself. files: names, in natural order; videos: those of them
    that are videos. All as the file system has them: bytes that are no UTF-8 are surrogate escapes.
    """

    path: str
    files: list[str]
    videos: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """What lies directly in a folder."""

    folders: list[str]
    files: list[str]


class Tree(ABC):
    """What an input holds. Hidden files and folders are left out."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.said: dict[str, None] = {}
        """How a layout took the input, each sentence once."""
        self.notes: dict[str, None] = {}
        """What else the user should know, each once."""
        self.left_out = LeftOut()

    def start_over(self) -> None:
        """Forgets what was met so far: who looks for a layout starts at other folders than who lists."""
        self.said.clear()
        self.notes.clear()
        self.left_out = LeftOut()

    @abstractmethod
    def walk(self, top: str = "") -> Iterator[Folder]:
        """Every folder from `top` down that holds pictures, a folder before those in it, in natural order.

        Folders that facepipe wrote are left out, and noted.
        """

    @abstractmethod
    def level(self, path: str = "") -> Level:
        """Names of all folders (in natural order) and files (of any kind, in no order) directly in a folder."""

    @abstractmethod
    def sizes(self, files: Sequence[str]) -> list[int]:
        """The files' sizes, bytes, the same on a disk and in a bucket; `UNKNOWN_SIZE` of what is no file."""

    @abstractmethod
    def _head(self, file: str) -> bytes | None:
        """A regular file's first bytes, b"" of what is none; None where it can't be read."""

    def has_pictures(self, path: str) -> bool:
        """Whether there is a picture or video anywhere below a folder."""
        return next(self.walk(path), None) is not None

    def is_output(self, path: str) -> bool:
        """Whether a folder is one that facepipe wrote: `split --images` writes pictures, which are nobody's albums."""
        return _OWN.issubset(self.level(path).files) and self._has_settings(path)

    def _has_settings(self, path: str) -> bool:
        try:
            settings.read_settings(self.place.join(path))
        except (DamagedFile, InputError):
            return False
        return True

    def kind(self, file: str) -> str:
        """IMAGE, VIDEO or why it is left out, by a file's name; where that does not say, by its first bytes."""
        named = KINDS.get(extension(file), "")
        return self._by_bytes(file, named) if named in ("", VIDEO) else named

    def is_video(self, file: str) -> bool:
        """Whether a file is a video, as `kind`."""
        return self.kind(file) == VIDEO

    def _by_bytes(self, file: str, named: str) -> str:
        head = self._head(file)
        found = LOCKED if head is None else kind_of(head)
        return named if named and found in (LOCKED, OTHER) else found

    def _sorted(self, path: str, names: list[str], hidden: int) -> Folder:
        """A folder's media; what else is in it is counted."""
        kinds = {name: KINDS.get(extension(name), "") for name in names}
        asked = [name for name, kind in kinds.items() if kind in ("", VIDEO)]
        if asked:
            kinds |= zip(asked, each(lambda name: self.kind(f"{path}/{name}" if path else name), asked), strict=True)
        self.left_out.add(path, kinds, hidden)
        videos = {name for name in asked if kinds[name] == VIDEO}
        return Folder(path, sorted((n for n, kind in kinds.items() if kind in (IMAGE, VIDEO)), key=natural_key), videos)

    def _may_read(self, path: str, names: Collection[str]) -> bool:
        """Whether a folder is no output of ours (the input always may be)."""
        if path and _OWN.issubset(names) and self._has_settings(path):
            self.notes[f"the folder {printable(path)} is left out: facepipe wrote it"] = None
            return False
        return True

    def read_text(self, path: str) -> str:
        """A label file. Bytes that are no UTF-8 become surrogate escapes, as in file names."""
        self.left_out.used.add(path)
        return self.place.read(path).decode("utf-8-sig", "surrogateescape")


def each(action: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """What an action gives for each item, in order; many at once where the first few were slow."""
    started = time.perf_counter()
    found = [action(item) for item in items[:_PROBED]]
    rest = items[_PROBED:]
    slow = bool(rest) and time.perf_counter() - started > _SLOW_S * _PROBED
    return found + (list(in_order(action, rest, _AT_ONCE)) if slow else [action(item) for item in rest])


def open_tree(place: Place) -> Tree:
    """The tree below a place.

    Raises:
        InputError: there is no such folder.
    """
    return LocalTree(place) if place.is_local else StoreTree(place)


class LocalTree(Tree):
    """Local folders. Links are followed; a link back to a folder that leads to it is noted and not entered."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._root = place.local_path()
        if not os.path.isdir(self._root):
            what = "a file" if os.path.exists(self._root) else "not a directory"
            raise InputError(f"{printable(self._root)} is {what}; expected a directory with one folder per person")
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
                    if not _is_skipped(entry.name):
                        (folders if _is_folder(entry) else files).append(entry.name)
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
                if _is_skipped(name):
                    hidden += not name.startswith(OWN_PREFIX)
                elif not _is_folder(entry):
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


def _is_skipped(name: str) -> bool:
    return name[0] == "." or name in SKIPPED_FOLDERS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_empty(path: str) -> bool:
    """Whether a folder named like a picture holds nothing that could be one."""
    try:
        with os.scandir(path) as entries:
            kinds = (IMAGE if _is_folder(entry) else KINDS.get(extension(entry.name), IMAGE) for entry in entries)
            return not any(kind in (IMAGE, VIDEO) for kind in kinds)
    except OSError:
        return True


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
            skipped = next((i for i, piece in enumerate(pieces) if _is_skipped(piece)), -1)
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
