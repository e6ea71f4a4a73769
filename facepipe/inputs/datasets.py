"""Published data sets: a small class each. A new one is a class here and its place in LAYOUTS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facepipe.config import join
from facepipe.errors import InputError, UsageError
from facepipe.inputs.celeba import CelebA
from facepipe.inputs.labels import BoxIndex, read_labeled_faces
from facepipe.inputs.layouts import Flat, Identity, Layout, below, people_below, split_folder
from facepipe.inputs.names import IMAGE, KINDS, VIDEO, extension, frame_number, natural_key, stem
from facepipe.text import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facepipe.inputs.listing import Group
    from facepipe.inputs.tree import Tree

_LOOKED_AT = 20
"""Folders of a level that decide what it is."""
_FRAMES, _ALIGNED = "frame_images_DB", "aligned_images_DB"
_LABELED = ".labeled_faces.txt"
_PERSON = re.compile(r"n[0-9]{6}")


def _media(tree: Tree, path: str) -> list[str]:
    return [name for name in tree.level(path).files if KINDS.get(extension(name)) in (IMAGE, VIDEO)]


class YouTubeFaces(Layout):
    r"""`frame_images_DB/<Name>/<video>/<video>.<frame>.jpg`, boxes in `frame_images_DB/<Name>.labeled_faces.txt`.

    The input may be that folder or the one it lies in. `aligned_images_DB` is read where there is nothing else.
    """

    name = "youtube-faces"
    expects = f"{_FRAMES}, or <Name>/<video>/<video>.<frame>.jpg"

    def matches(self, tree: Tree, top: str = "") -> bool:
        """By its folders' names, or its label files."""
        level = tree.level(top)
        return not {_FRAMES, _ALIGNED}.isdisjoint(level.folders) or any(name.endswith(_LABELED) for name in level.files)

    def fits(self, tree: Tree, top: str = "") -> bool:
        """Or by the frames' names."""
        people = [below(top, name) for name in tree.level(top).folders[:_LOOKED_AT]]
        videos = [(person, video) for person in people for video in tree.level(person).folders[:_LOOKED_AT]]
        return self.matches(tree, top) or any(
            f"_{name}".find(f"_{video}.") >= 0 and frame_number(name) is not None
            for person, video in videos
            for name in _media(tree, f"{person}/{video}")
        )

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """A group a video, its boxes read a person at a time."""
        folders = tree.level().folders
        top = next((name for name in (_FRAMES, _ALIGNED) if name in folders), "")
        labeled = {name for name in tree.level(top).files if name.endswith(_LABELED)}
        current, boxes = "", {}
        for folder in tree.walk(top):
            inner = folder.path[len(top) :].lstrip("/")
            identity, _, video = inner.partition("/")
            if not identity:
                continue
            if identity != current:
                current, file = identity, f"{identity}{_LABELED}"
                boxes = read_labeled_faces(tree, below(top, file)) if file in labeled else {}
            for group in split_folder(folder, identity, video):
                if not group.is_video:
                    group.frames = _frame_numbers(group.files)
                    group.boxes = [boxes.get(f"{inner}/{name}") for name in group.files] if boxes else ()
                yield group


def _frame_numbers(files: Sequence[str]) -> list[int]:
    """Each file's own number, or its place where not all have one of their own."""
    numbers = [frame_number(name) for name in files]
    known = [number for number in numbers if number is not None]
    return known if len(set(known)) == len(files) else list(range(len(files)))


class VGGFace2(Layout):
    """`<subset>/n000001/*.jpg`, boxes in `bb_landmark/loose_bb_<subset>.csv`; or one subset's folder alone."""

    name = "vggface2"
    expects = "<subset>/n000001/*.jpg"

    def matches(self, tree: Tree, top: str = "") -> bool:
        """By folders named n000001."""
        return bool(self._subsets(tree, top, _LOOKED_AT))

    def fits(self, tree: Tree, top: str = "") -> bool:
        """However many folders are beside them."""
        return bool(self._subsets(tree, top))

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """People by number; one who is in two subsets comes twice."""
        subsets = self._subsets(tree)
        people = [(person, subset) for subset in subsets for person in tree.level(subset).folders]
        indexes = {subset: self._boxes(tree, subset) for subset in subsets}
        for person, subset in sorted(people, key=lambda pair: (natural_key(pair[0]), natural_key(pair[1]))):
            index = indexes[subset]
            boxes = index.boxes(person) if index else {}
            for folder in tree.walk(below(subset, person)):
                for group in split_folder(folder, person, ""):
                    group.boxes = [boxes.get(f"{person}/{stem(name)}") for name in group.files] if boxes else ()
                    yield group

    def _boxes(self, tree: Tree, subset: str) -> BoxIndex | None:
        name = f"loose_bb_{subset}.csv"
        for folder in ("bb_landmark", ""):
            if subset and name in tree.level(folder).files:
                return BoxIndex(tree, below(folder, name))
        return None

    def _subsets(self, tree: Tree, top: str = "", most: int | None = None) -> list[str]:
        """Those of the first `most` folders of `top` that hold people's; [top] where it holds them itself."""

        def has_people(path: str) -> bool:
            return any(_PERSON.fullmatch(name) for name in tree.level(path).folders[:50])

        return (
            [top] if has_people(top) else [f for n in tree.level(top).folders[:most] if has_people(f := below(top, n))]
        )


class LFW(Layout):
    """`<Name>/<Name>_0001.jpg`, in the input or in the folders that the archive unpacks to.

    A file beside the people's folders is a person of its own.
    """

    name = "lfw"
    expects = "<Name>/<Name>_0001.jpg"

    def matches(self, tree: Tree, top: str = "") -> bool:
        """Whether the first people's pictures are named after their folders."""
        named = self._named(tree, top)
        return bool(named) and all(named)

    def fits(self, tree: Tree, top: str = "") -> bool:
        """Whether some are."""
        return any(self._named(tree, top))

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:  # noqa: ARG002 - it has no labels
        """In the order of the folders."""
        yield from people_below(tree, self._top(tree, ""))

    def _named(self, tree: Tree, top: str) -> list[bool]:
        top = self._top(tree, top)
        people = tree.level(top).folders[:_LOOKED_AT]
        return [
            file.startswith(f"{person}_") and stem(file)[len(person) + 1 :].isdecimal()
            for person in people
            for file in _media(tree, below(top, person))
        ]

    def _top(self, tree: Tree, top: str) -> str:
        """Unpacked archives (lfw, lfw-deepfunneled, lfw_funneled) hold the people's folders in one more, some in two.

        Any other folder that is alone in the input is one person's, with albums in it.
        """
        for _ in range(2):
            folders = [below(top, name) for name in tree.level(top).folders[:_LOOKED_AT]]
            inner, *others = [folder for folder in folders if not tree.is_output(folder)] or [""]
            if others or not inner.rpartition("/")[2].lower().startswith("lfw") or not tree.level(inner).folders:
                break
            top = inner
        return top


LAYOUTS: tuple[Layout, ...] = (YouTubeFaces(), CelebA(), VGGFace2(), LFW(), Identity(), Flat())
"""In the order in which `auto` tries them: the most particular first."""


def layout_named(name: str) -> Layout | None:
    """The layout of that name, None for `auto`.

    Raises:
        UsageError: there is no such layout.
    """
    known: dict[str, Layout | None] = {"auto": None, **{layout.name: layout for layout in LAYOUTS}}
    if name not in known:
        raise UsageError(f"--layout is {name!r}; {nearest(name, known)}")
    return known[name]


def find_layout(asked: Layout | None, tree: Tree) -> Layout:
    """The layout that was asked for, or else the first that the tree looks like.

    Raises:
        InputError: the tree is not laid out as was asked for.
    """
    if asked is None:
        return next(layout for layout in LAYOUTS if layout.matches(tree))
    if not asked.fits(tree) and tree.has_pictures(""):
        raise InputError(_misfit(asked, tree))
    return asked


def _misfit(layout: Layout, tree: Tree) -> str:
    """What is missing of a layout, and what to give instead."""
    inner = next((folder for folder in tree.level().folders[:_LOOKED_AT] if layout.fits(tree, folder)), "")
    if inner:
        return f"{tree.place} is not laid out as {layout.name}; give --input {join(tree.place.uri, printable(inner))}"
    found = next(other.name for other in LAYOUTS if other is not layout and other.matches(tree))
    return (
        f"{tree.place} is not laid out as {layout.name}: expected {layout.expects}. It looks like {found}: give "
        f"`facepipe extract --layout {found}`, or the recipe of that data set"
    )
