"""How data sets lie on disk: one small class each, and how to tell which one a folder holds."""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from facepipe.errors import InputError
from facepipe.sources.celeba import CelebA
from facepipe.sources.labelfiles import BoxIndex, read_labeled_faces
from facepipe.sources.listing import Group
from facepipe.sources.names import MEDIA, extension, frame_number, is_video, natural_key, stem
from facepipe.sources.tree import suggest_inner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facepipe.sources.tree import Folder, Tree


_FRAMES, _ALIGNED = "frame_images_DB", "aligned_images_DB"
_LABELED = ".labeled_faces.txt"
_PERSON = re.compile(r"n[0-9]{6}")
_RUN = 1 << 14


class Layout(Protocol):
    """A data set's folders and label files -> groups of sources, in order of identity, video and frame."""

    name: str

    def matches(self, tree: Tree) -> bool:
        """Whether the tree looks like this data set; told from its first levels."""

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:
        """All sources of a tree; `label` is what `--label` names, "" for none.

        Raises:
            UsageError: a label file that can't be read, or has no such label.
            InputError: the tree is not laid out so.
        """


def _split(folder: Folder, identity: str, video: str) -> Iterator[Group]:
    """A folder's stills as one group, then each video file as its own video."""
    videos = [name for name in folder.files if is_video(name)]
    stills = [name for name in folder.files if not is_video(name)] if videos else folder.files
    if stills:
        yield Group(identity, video, folder.path, stills)
    for name in videos:
        yield Group(identity, f"{video}/{name}" if video else name, folder.path, [name], is_video=True)


def _person(folder: Folder, identity: str, video: str) -> Iterator[Group]:
    """A folder of one person; files that lie in no person's folder (identity "") are people of their own."""
    if identity:
        yield from _split(folder, identity, video)
        return
    for name in folder.files:
        yield Group(stem(name), name if is_video(name) else "", folder.path, [name], is_video=is_video(name))


class Identity:
    """A folder a person; folders in it are that person's videos. A file beside the folders is a person of its own."""

    name = "identity"

    def matches(self, tree: Tree) -> bool:
        """Whether any folder holds pictures."""
        return any(next(tree.walk(folder), None) is not None for folder in tree.level().folders)

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """In the order of the folders."""
        for folder in tree.walk():
            yield from _person(folder, *folder.path.partition("/")[::2])


class Flat:
    """Each file is a person of its own, named by its stem, however deep it lies."""

    name = "flat"

    def matches(self, tree: Tree) -> bool:
        """What is left when nothing else matches."""
        return bool(tree)

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """By stem. Files that share theirs are told apart by their path."""
        files = [f"{folder.path}/{name}" if folder.path else name for folder in tree.walk() for name in folder.files]
        files.sort(key=lambda path: natural_key(_stem(path)))  # equals stay in the order of their folders
        names = _own_names(files)
        for start in range(0, len(files), _RUN):
            pairs = zip(files[start : start + _RUN], names[start : start + _RUN], strict=True)
            for videos, run in groupby(pairs, key=lambda pair: is_video(pair[0])):
                paths, identities = zip(*run, strict=True)
                yield Group(identities, paths if videos else "", "", paths, is_video=videos)


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


class YouTubeFaces:
    r"""`frame_images_DB/<Name>/<video>/<video>.<frame>.jpg`, boxes in `frame_images_DB/<Name>.labeled_faces.txt`.

    The input may be that folder or the one it lies in. `aligned_images_DB` is read where there is nothing else.
    """

    name = "youtube-faces"

    def matches(self, tree: Tree) -> bool:
        """By its folders' names, or its label files."""
        top = tree.level()
        return bool({_FRAMES, _ALIGNED} & set(top.folders)) or any(name.endswith(_LABELED) for name in top.files)

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """A group a video, its boxes read a person at a time."""
        folders = tree.level().folders
        top = next((name for name in (_FRAMES, _ALIGNED) if name in folders), "")
        labeled = {name for name in tree.level(top).files if name.endswith(_LABELED)}
        inner = "" if top or labeled else suggest_inner(tree, lambda name: _FRAMES in tree.level(name).folders)
        if inner:
            raise InputError(f"{tree.place} has no {_FRAMES}; give {inner}")
        current, boxes = "", {}
        for folder in tree.walk(top):
            inner = folder.path[len(top) :].lstrip("/")
            identity, _, video = inner.partition("/")
            if not identity:
                continue
            if identity != current:
                current, file = identity, f"{identity}{_LABELED}"
                boxes = read_labeled_faces(tree, f"{top}/{file}" if top else file) if file in labeled else {}
            for group in _split(folder, identity, video):
                if not group.is_video:
                    group.frames = _frame_numbers(group.files)
                    group.boxes = [boxes.get(f"{inner}/{name}") for name in group.files] if boxes else ()
                yield group


def _frame_numbers(files: Sequence[str]) -> list[int]:
    """Each file's own number, or its place where not all have one of their own."""
    numbers = [frame_number(name) for name in files]
    known = [number for number in numbers if number is not None]
    return known if len(set(known)) == len(files) else list(range(len(files)))


class VGGFace2:
    """`<subset>/n000001/*.jpg`, boxes in `bb_landmark/loose_bb_<subset>.csv`; or one subset's folder alone."""

    name = "vggface2"

    def matches(self, tree: Tree) -> bool:
        """By folders named n000001."""
        return bool(_subsets(tree, most=20))

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """People by number; one who is in two subsets comes twice."""
        subsets = _subsets(tree)
        if not subsets:
            inner = suggest_inner(tree, lambda name: bool(_subsets(tree, name, 20)))
            raise InputError(
                f"{tree.place} has no folder n000001 or the like; "
                + (f"give {inner}" if inner else "is it VGGFace2? Give another --layout")
            )
        people = [(person, subset) for subset in subsets for person in tree.level(subset).folders]
        indexes = {subset: self._boxes(tree, subset) for subset in subsets}
        for person, subset in sorted(people, key=lambda pair: (natural_key(pair[0]), natural_key(pair[1]))):
            index = indexes[subset]
            boxes = index.boxes(person) if index else {}
            for folder in tree.walk(f"{subset}/{person}" if subset else person):
                for group in _split(folder, person, ""):
                    group.boxes = [boxes.get(f"{person}/{stem(name)}") for name in group.files] if boxes else ()
                    yield group

    def _boxes(self, tree: Tree, subset: str) -> BoxIndex | None:
        name = f"loose_bb_{subset}.csv"
        for folder in ("bb_landmark", ""):
            if subset and name in tree.level(folder).files:
                return BoxIndex(tree, f"{folder}/{name}" if folder else name)
        return None


def _subsets(tree: Tree, top: str = "", most: int | None = None) -> list[str]:
    """Those of the first `most` folders of `top` that hold people's; [""] where it holds them itself."""
    folders = tree.level(top).folders
    if _has_people(folders):
        return [""]
    return [name for name in folders[:most] if _has_people(tree.level(f"{top}/{name}" if top else name).folders)]


def _has_people(folders: Sequence[str]) -> bool:
    return any(_PERSON.fullmatch(name) for name in folders[:50])


class LFW:
    """`<Name>/<Name>_0001.jpg`, in the input or in the folders that the archive unpacks to.

    A file beside the people's folders is a person of its own.
    """

    name = "lfw"

    def matches(self, tree: Tree) -> bool:
        """Whether the first people's pictures are named after their folders."""
        top = self._top(tree)
        people = tree.level(top).folders[:20]
        pictures = [(person, self._pictures(tree, f"{top}/{person}" if top else person)) for person in people]
        named = [_is_numbered(file, person) for person, files in pictures for file in files]
        return len(named) > 0 and all(named)

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """In the order of the folders."""
        top = self._top(tree)
        for folder in tree.walk():
            inner = folder.path[len(top) :].lstrip("/") if folder.path.startswith(top) else ""
            yield from _person(folder, *inner.partition("/")[::2])

    def _pictures(self, tree: Tree, path: str) -> list[str]:
        return [name for name in tree.level(path).files if extension(name) in MEDIA]

    def _top(self, tree: Tree) -> str:
        """Unpacked archives (lfw, lfw-deepfunneled, lfw_funneled) hold the people's folders in one more, some in two.

        Any other folder that is alone in the input is one person's, with albums in it.
        """
        top = ""
        for _ in range(2):
            folders = [f"{top}/{name}" if top else name for name in tree.level(top).folders[:20]]
            inner, *others = [folder for folder in folders if not tree.is_output(folder)] or [""]
            if others or not inner.rpartition("/")[2].lower().startswith("lfw"):
                break
            if not tree.level(inner).folders:
                break
            top = inner
        return top


def _is_numbered(file: str, person: str) -> bool:
    return file.startswith(f"{person}_") and stem(file)[len(person) + 1 :].isdecimal()


_DETECTED: tuple[Layout, ...] = (YouTubeFaces(), CelebA(), VGGFace2(), LFW(), Identity(), Flat())
"""In the order in which `auto` tries them: the most particular first."""


def find_layout(name: str, tree: Tree) -> Layout:
    """The layout of that name; `auto`: the first that the tree looks like."""
    if name != "auto":
        return next(layout for layout in _DETECTED if layout.name == name)
    return next(layout for layout in _DETECTED if layout.matches(tree))
