"""The input's folders, in one order, whatever they lie on."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe import settings
from facepipe.checksums import CHECKSUMS
from facepipe.config import join
from facepipe.errors import DamagedFile, InputError
from facepipe.schemas import UNKNOWN_SIZE
from facepipe.sources.names import MEDIA, SKIPPED_FOLDERS, UNREAD, extension, natural_key, shown
from facepipe.sources.sizes import local_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from facepipe.storage import Place

Identifier = tuple[int, int]
"""Device and inode of a folder."""
_KEPT_LEVELS = 64
_OWN = frozenset({settings.NAME, CHECKSUMS})
"""Files that lie in every output of ours."""
MAX_VISITS = 16
"""How often one folder is entered through different links: links to folders of links would otherwise never end."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder's pictures and videos.

    path: posix, relative to the input, "" for the input itself. files: names, in natural order. Both as the file
    system has them: bytes that are no UTF-8 are surrogate escapes.
    """

    path: str
    files: list[str]


@dataclass(frozen=True, slots=True)
class Level:
    """What lies directly in a folder."""

    folders: list[str]
    files: list[str]


class Tree(ABC):
    """What an input holds. Hidden files and folders are left out."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.notes: dict[str, None] = {}
        """What the user should know, each once."""
        self._unread: dict[str, Counter[str]] = {}

    def start_over(self) -> None:
        """Forgets what was met so far: who looks for a layout starts at other folders than who lists."""
        self.notes.clear()
        self._unread.clear()

    def unread(self) -> Counter[str]:
        """How many pictures and films of which extension were met that nothing here reads."""
        return sum(self._unread.values(), Counter())

    @abstractmethod
    def walk(self, top: str = "") -> Iterator[Folder]:
        """Every folder from `top` down that holds pictures, a folder before those in it, in natural order.

        Folders that facepipe wrote are left out, and noted.
        """

    @abstractmethod
    def level(self, path: str = "") -> Level:
        """Names of all folders (in natural order) and files (of any kind, in no order) directly in a folder."""

    def is_output(self, path: str) -> bool:
        """Whether a folder is one that facepipe wrote: `split --images` writes pictures, which are nobody's albums."""
        return _OWN.issubset(self.level(path).files) and self._has_settings(path)

    def _has_settings(self, path: str) -> bool:
        try:
            settings.read_settings(self.place.join(path))
        except (DamagedFile, InputError):
            return False
        return True

    def _notice(self, path: str, others: Collection[str]) -> bool:
        """Notes what a folder's files that are no media say; whether it is not to be entered (the input always is)."""
        if path and _OWN.issubset(others) and self._has_settings(path):
            self.notes[f"the folder {shown(path)} is left out: facepipe wrote it"] = None
            return False
        unread = Counter(ending for ending in map(extension, others) if ending in UNREAD)
        if unread:
            self._unread[path] = unread
        return True

    @abstractmethod
    def sizes(self, files: Sequence[str]) -> list[int]:
        """The files' sizes, bytes, the same on a disk and in a bucket; `UNKNOWN_SIZE` of what is no file."""

    def read_text(self, path: str) -> str:
        """A label file. Bytes that are no UTF-8 become surrogate escapes, as in file names."""
        return self.place.read(path).decode("utf-8-sig", "surrogateescape")


def suggest_inner(tree: Tree, is_set: Callable[[str], bool]) -> str:
    """`--input` with the first folder of the tree that is the data set; "" where none of the first few is."""
    for name in tree.level().folders[:20]:
        if is_set(name):
            return f"--input {join(tree.place.uri, shown(name))}"
    return ""


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
            is_file = os.path.exists(self._root)
            said = "a file; give a folder" if is_file else "no folder; put a folder a person there, or give another one"
            raise InputError(f"{shown(self._root)} is {said}")
        self._sizes = local_sizes(self._root)
        self._visits: Counter[Identifier] = Counter()
        self._levels: dict[str, Level] = {}

    def sizes(self, files: Sequence[str]) -> list[int]:
        """Asked of the disk."""
        return self._sizes(files)

    def _full(self, path: str) -> str:
        return os.path.join(self._root, path) if path else self._root

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
                files, folders = self._scan(path, chain)
            except OSError as error:
                if not path:
                    raise InputError(
                        f"can't read {shown(self._root)}: {(error.strerror or str(error)).lower()}"
                    ) from None
                parent, _, name = path.rpartition("/")
                yield Folder(parent, [name])  # reading it will say why, in a row
                continue
            if files:
                yield Folder(path, files)
            waiting += [(f"{path}/{name}" if path else name, chain) for name in reversed(folders)]

    def _scan(self, path: str, chain: tuple[Identifier, ...]) -> tuple[list[str], list[str]]:
        files, folders, others = [], [], []
        with os.scandir(self._full(path)) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                _, dot, ending = name.rpartition(".")
                media = dot != "" and ending.lower() in MEDIA
                if _is_folder(entry):
                    if self._may_enter(entry, path, chain) and not (media and _is_empty(entry.path)):
                        folders.append(name)
                    elif media:
                        files.append(name)
                elif media:
                    files.append(name)
                else:
                    others.append(name)
        if not self._notice(path, others):
            return [], []
        return sorted(files, key=natural_key), sorted(folders, key=natural_key)

    def _may_enter(self, entry: os.DirEntry[str], path: str, chain: tuple[Identifier, ...]) -> bool:
        if entry.name in SKIPPED_FOLDERS:
            return False
        if not entry.is_symlink():
            return True
        found = entry.stat()
        identifier = (found.st_dev, found.st_ino)
        self._visits[identifier] += 1
        if identifier not in chain and self._visits[identifier] <= MAX_VISITS:
            return True
        reason = "leads in a circle" if identifier in chain else f"is the {MAX_VISITS + 1}th to one folder"
        note = f"the link {shown(f'{path}/{entry.name}'.lstrip('/'))} {reason}; it is not followed"
        self.notes[note] = None
        return False


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED_FOLDERS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_empty(path: str) -> bool:
    """Whether a folder named like a picture holds nothing that could be one."""
    try:
        with os.scandir(path) as entries:
            return not any(_is_folder(entry) or extension(entry.name) in MEDIA for entry in entries)
    except OSError:
        return True


class StoreTree(Tree):
    """An object store's folders, from one listing."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._files: dict[str, dict[str, int]] = {}
        """Sizes by name, by folder."""
        self._folders: dict[str, set[str]] = {}
        for entry in place.list():
            folder, _, name = entry.path.rpartition("/")
            if any(_is_skipped(piece) for piece in entry.path.split("/")):
                continue
            self._files.setdefault(folder, {})[name] = entry.size
            while folder:
                parent, _, name = folder.rpartition("/")
                self._folders.setdefault(parent, set()).add(name)
                folder = parent

    def level(self, path: str = "") -> Level:
        """Names of all folders and files directly in a folder."""
        folders, files = self._folders.get(path, ()), self._files.get(path, ())
        return Level(sorted(folders, key=natural_key), list(files))

    def sizes(self, files: Sequence[str]) -> list[int]:
        """As the listing told them."""
        places = (file.rpartition("/") for file in files)
        return [self._files.get(folder, {}).get(name, UNKNOWN_SIZE) for folder, _, name in places]

    def walk(self, top: str = "") -> Iterator[Folder]:
        """Depth first."""
        waiting = [top]
        while waiting:
            path = waiting.pop()
            level = self.level(path)
            if not self._notice(path, level.files):
                continue
            files = sorted((name for name in level.files if extension(name) in MEDIA), key=natural_key)
            if files:
                yield Folder(path, files)
            waiting += [f"{path}/{name}" if path else name for name in reversed(level.folders)]
