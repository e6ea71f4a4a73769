"""The input's folders, in one order, whatever they lie on."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from facepipe.errors import DamagedFile, InputError
from facepipe.inputs.names import IMAGE, KINDS, OTHER, SKIPPED_FOLDERS, VIDEO, extension, kind_of, natural_key
from facepipe.inputs.notes import LOCKED, LeftOut
from facepipe.storage import in_order, settings
from facepipe.storage.checksums import CHECKSUMS
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from facepipe.storage import Place

Item = TypeVar("Item")
Result = TypeVar("Result")
_OWN = frozenset({settings.NAME, CHECKSUMS})
"""Files that lie in every output of ours."""
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
    """What an input holds. Hidden files and folders are left out.

    Many methods, for all that is asked of an input is asked here: so a layout works on a disk and in a bucket alike.
    """

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


def is_skipped(name: str) -> bool:
    """Whether a file or folder is hidden, or another system's own."""
    return name[0] == "." or name in SKIPPED_FOLDERS
