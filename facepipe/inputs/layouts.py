"""How pictures lie in folders: what a layout is, which one fits an input, and the plain ones."""

from __future__ import annotations

import heapq
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from facepipe.config import join
from facepipe.inputs.listing import Group
from facepipe.inputs.names import is_container, natural_key, published_subset, stem
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.inputs.tree import Folder, Tree

_RUN = 1 << 14
_FEW = 20
"""So many folders may be data sets; more are people."""


class Layout(ABC):
    """A data set's folders and label files -> groups of sources, in order of identity, video and frame."""

    name: str
    expects: str
    """What lies where, for whoever asked for this layout and has something else."""

    @abstractmethod
    def matches(self, tree: Tree, top: str = "") -> bool:
        """Whether a folder looks like this data set; told from its first levels."""

    def fits(self, tree: Tree, top: str = "") -> bool:
        """Whether a folder can be read so, when a user says that it is laid out so."""
        return self.matches(tree, top)

    @abstractmethod
    def groups(self, tree: Tree, label: str) -> Iterator[Group]:
        """All sources of a tree; `label` is what `--label` names, "" for none.

        Raises:
            UsageError: a label file that can't be read, or has no such label.
            InputError: the tree is not laid out so.
        """


def below(top: str, name: str) -> str:
    """A path in a folder; "" is the input itself."""
    return f"{top}/{name}" if top else name


def split_folder(folder: Folder, identity: str, video: str) -> Iterator[Group]:
    """A folder's stills as one group, then each video file as its own video."""
    stills = [name for name in folder.files if name not in folder.videos] if folder.videos else folder.files
    if stills:
        yield Group(identity, video, folder.path, stills)
    for name in folder.files if folder.videos else ():
        if name in folder.videos:
            yield Group(identity, below(video, name), folder.path, [name], is_video=True)


def people_below(tree: Tree, *tops: str) -> Iterator[Group]:
    """A folder a person in each of the tops, people in order; folders in it are that person's videos.

    Files that lie in no person's folder are people of their own, and noted. Names that differ only in their Unicode
    form are one person's. With several tops, a video's name begins with its top: videos of one person stay apart.
    """
    loose = _Loose(with_folder=len(tops) > 1)
    yield from _beside(tree, tops, loose)
    walks = (_with_identity(tree, top) for top in tops)
    forms: dict[str, str] = {}
    shared: set[str] = set()
    last = ("", "")
    for identity, top, folder in heapq.merge(*walks, key=lambda place: (natural_key(place[0]), natural_key(place[1]))):
        if not identity:
            yield from loose.groups(folder)
            continue
        name = unicodedata.normalize("NFC", identity)
        if not name.isascii() and forms.setdefault(name, identity) != identity:
            tree.said[f"folders whose names differ only in Unicode form are one person: {printable(name)}"] = None
        if last[0] == identity and last[1] != top:
            shared.add(identity)
        last = identity, top
        video = folder.path[len(below(top, identity)) + 1 :]
        yield from split_folder(folder, name, below(top, video) if video and tops[1:] else video)
    if shared:
        are = "1 person is" if len(shared) == 1 else f"{len(shared):,} people are"
        tree.said[f"{are} in more than one of these folders; taken as the same"] = None
    loose.tell(tree)


def _beside(tree: Tree, tops: tuple[str, ...], loose: _Loose) -> Iterator[Group]:
    """Files in the folders above the tops; other folders there hold no people, and are looked into for the notes."""
    outers = sorted({"/".join(top.split("/")[:i]) for top in tops for i in range(bool(top) + top.count("/"))})
    for outer in outers:
        folder = next(tree.walk(outer), None)
        if folder and folder.path == outer:
            yield from loose.groups(folder)
        for name in tree.level(outer).folders:
            if below(outer, name) not in {*tops, *outers}:
                tree.has_pictures(below(outer, name))


def _with_identity(tree: Tree, top: str) -> Iterator[tuple[str, str, Folder]]:
    for folder in tree.walk(top):
        yield folder.path[len(top) :].lstrip("/").partition("/")[0], top, folder


class _Loose:
    """Files that lie in no person's folder: each is a person of its own."""

    def __init__(self, *, with_folder: bool) -> None:
        self._with_folder = with_folder
        self._count, self._first = 0, ""

    def groups(self, folder: Folder) -> Iterator[Group]:
        """A group a file, named by its stem, or its path's where files of several folders could share that."""
        self._first = self._first or below(folder.path, folder.files[0])
        self._count += len(folder.files)
        for file in folder.files:
            is_video = file in folder.videos
            own = stem(below(folder.path, file) if self._with_folder else file)
            yield Group(own, file if is_video else "", folder.path, [file], is_video=is_video)

    def tell(self, tree: Tree) -> None:
        """Notes how many there were."""
        files = f"{self._count:,} files lie" if self._count > 1 else "1 file lies"
        if self._count:
            tree.said[
                f"{files} in no person's folder ({printable(self._first)}): taken as a person of its own each; to "
                "change that, move it into a person's folder"
            ] = None


class Identity(Layout):
    """A folder a person; folders in it are that person's videos. A file beside the folders is a person of its own.

    Where the folders are called train, val, test, images and the like, the people are those below.
    """

    name = "identity"
    expects = "a folder a person"

    def matches(self, tree: Tree, top: str = "") -> bool:
        """Whether any folder holds pictures."""
        return any(tree.has_pictures(below(top, folder)) for folder in tree.level(top).folders)

    def fits(self, tree: Tree, top: str = "") -> bool:  # noqa: ARG002 - every input does
        """Files without folders are people too."""
        return True

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """In the order of the people."""
        tops = _find_tops(tree)
        if tops != [""]:
            keep = "; `facepipe split --keep-subsets` keeps these subsets" if any(map(_subset, tops)) else ""
            tree.said[f"people are taken from {_listed(tops)}{keep}"] = None
        yield from people_below(tree, *tops)


def _subset(top: str) -> str:
    return published_subset(f"{top}/")


def _listed(paths: list[str]) -> str:
    """`train, val and test`."""
    shown = [printable(path) for path in paths[:6]] + ([f"{len(paths) - 6:,} more"] if len(paths) > 6 else [])
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _find_tops(tree: Tree, path: str = "") -> list[str]:
    """Where people's folders lie: in the input, or below its folders such as `train`, `val` and `images`."""
    names = tree.level(path).folders
    few = len(names) <= _FEW
    above = {name for name in names if is_container(name) or (few and _has_subsets(tree, below(path, name)))}
    if not above:
        return [path]
    holders = [name for name in names if tree.has_pictures(below(path, name))]
    containers = [below(path, name) for name in holders if name in above]
    others = [below(path, name) for name in holders if name not in above]
    split = [top for top in containers if _subset(top) and _has_only_folders(tree, top)]
    if others and (len(split) < 2 or not all(_has_only_folders(tree, other) for other in others)):
        for top in split:
            tree.said[
                f"{printable(top)} is read as one person, like {printable(others[0])} beside it; if it holds people, "
                f"give --input {join(tree.place.uri, printable(top))}"
            ] = None
        return [path]
    return [inner for top in containers for inner in _find_tops(tree, top)] + others or [path]


def _has_subsets(tree: Tree, path: str) -> bool:
    """Whether a folder of any name holds two subsets of people or more, and nothing else."""
    names = tree.level(path).folders
    subsets = [below(path, name) for name in names if _subset(name)]
    return len(subsets) >= 2 and len(subsets) == len(names) and all(_has_only_folders(tree, top) for top in subsets)


def _has_only_folders(tree: Tree, path: str) -> bool:
    """Whether a folder's pictures all lie in folders in it."""
    first = next(tree.walk(path), None)
    return first is not None and first.path != path


class Flat(Layout):
    """Each file is a person of its own, named by its stem, however deep it lies."""

    name = "flat"
    expects = "pictures, each of another person"

    def matches(self, tree: Tree, top: str = "") -> bool:  # noqa: ARG002 - the last one that is asked
        """What is left when nothing else matches."""
        return True

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """By stem. Files that share theirs are told apart by their path."""
        videos = set()
        files = []
        for folder in tree.walk():
            files += [below(folder.path, name) for name in folder.files]
            videos |= {below(folder.path, name) for name in folder.videos}
        files.sort(key=lambda path: natural_key(_stem(path)))  # equals stay in the order of their folders
        names = _own_names(files)
        for start in range(0, len(files), _RUN):
            pairs = zip(files[start : start + _RUN], names[start : start + _RUN], strict=True)
            for is_video, run in groupby(pairs, key=lambda pair: pair[0] in videos):
                paths, identities = zip(*run, strict=True)
                yield Group(identities, paths if is_video else "", "", paths, is_video=is_video)


def _stem(path: str) -> str:
    return stem(path.rpartition("/")[2])


def _own_names(files: list[str]) -> list[str]:
    """Each file's stem, or, where its neighbours in the order share it, as much of its path as tells it apart."""
    stems = [_stem(path) for path in files]
    shared = [
        name in (stems[i - 1] if i else None, stems[i + 1] if i + 1 < len(stems) else None)
        for i, name in enumerate(stems)
    ]
    longer = Counter(stem(path) for path, is_shared in zip(files, shared, strict=True) if is_shared)
    return [
        name if not is_shared else stem(path) if longer[stem(path)] == 1 else path
        for name, path, is_shared in zip(stems, files, shared, strict=True)
    ]
