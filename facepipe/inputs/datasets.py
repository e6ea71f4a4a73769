"""Published data sets: a small class each. A new one is a class here and its place in LAYOUTS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facepipe.config import join
from facepipe.errors import InputError, UsageError
from facepipe.inputs.labels import BoxIndex, read_columns, read_corner_boxes, read_labeled_faces, to_label
from facepipe.inputs.layouts import Flat, Identity, Layout, below, people_below, split_folder
from facepipe.inputs.listing import Group
from facepipe.inputs.names import IMAGE, KINDS, VIDEO, extension, frame_number, natural_key, stem
from facepipe.text import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facepipe.inputs.tree import Tree
    from facepipe.records import Box

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


_WILD = "img_celeba"
"""The photographs that the aligned pictures were cut from."""
_IMAGES = ("img_align_celeba", "img_align_celeba_png", _WILD)
"""The first that is there is read."""
_PLACES = ("", "Anno", "Eval", "Img", "anno", "eval", "img")
_IDENTITIES = ("identity_CelebA.txt", "identity_CelebA.csv")
_ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_BOXES = ("list_bbox_celeba.txt", "list_bbox_celeba.csv")
_PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
PARTITION = "partition"
"""The label that stands for the published split: 0 train, 1 validation, 2 test."""


class CelebA(Layout):
    """`img_align_celeba/000001.jpg` and `identity_CelebA.txt`, in one folder or in the archive's `Img`, `Anno`, `Eval`.

    `--label` takes an attribute (1 and -1 become 1 and 0) or `partition`. Where there are no aligned pictures, the
    photographs in `img_celeba` are read, with the boxes of `list_bbox_celeba.txt`, which belong to those alone.
    Landmarks are not used.
    """

    name = "celeba"
    expects = (
        f"img_align_celeba beside {_IDENTITIES[0]}, without which nobody knows who is on the pictures; to leave names "
        "out, give `facepipe extract --layout flat`"
    )

    def matches(self, tree: Tree, top: str = "") -> bool:
        """By its identity file, or its folder beside its attributes."""
        return self.fits(tree, top) or (bool(self._pictures(tree, top)) and bool(_find(tree, _ATTRIBUTES, top)))

    def fits(self, tree: Tree, top: str = "") -> bool:
        """By its identity file."""
        return bool(_find(tree, _IDENTITIES, top))

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:
        """A group a person, people by number."""
        path, top = _find(tree, _IDENTITIES), self._pictures(tree, "")
        if not path:  # found by its attributes
            raise InputError(_misfit(self, tree))
        identities = read_columns(tree, path, "identity")
        labels = self._labels(tree, label)
        boxes = self._boxes(tree) if top.rpartition("/")[2] == _WILD else {}
        known: list[tuple[Mapping[str, object], str, str]] = [(identities, path, "does not say who is on {}")]
        known += [(labels, _find(tree, _label_files(label)), f"has no {printable(label)} of {{}}")] if labels else []
        known += [(boxes, _find(tree, _BOXES), "has no box of {}")] if boxes else []
        people: dict[str, list[str]] = {}
        for folder in tree.walk(top):
            for name in folder.files:
                for values, source, said in known:
                    if stem(name) not in values:
                        raise InputError(f"{printable(source)} {said.format(printable(name))}; is it complete?")
                people.setdefault(identities[stem(name)], []).append(below(folder.path, name))
        for identity in sorted(people, key=natural_key):
            files = people[identity]
            bare = [stem(file.rpartition("/")[2]) for file in files]
            own_boxes = [boxes[file] for file in bare] if boxes else ()
            yield Group(
                identity, "", "", files, boxes=own_boxes, labels=[labels[file] for file in bare] if labels else ()
            )

    def _pictures(self, tree: Tree, top: str) -> str:
        places = [below(top, folder) if folder else top for folder in ("", "Img", "img")]
        return next((below(p, name) for name in _IMAGES for p in places if name in tree.level(p).folders), "")

    def _boxes(self, tree: Tree) -> dict[str, Box | None]:
        path = _find(tree, _BOXES)
        if path:
            return read_corner_boxes(tree, path)
        tree.said[f"{_WILD} holds whole photographs; without {_BOXES[0]} the face near the middle is taken"] = None
        return {}

    def _labels(self, tree: Tree, label: str) -> dict[str, int]:
        if not label:
            return {}
        names = _label_files(label)
        path = _find(tree, names)
        if not path:
            raise UsageError(f"--label {label} needs {names[0]}, which is not in {tree.place}")
        return {file: to_label(text, path, label, file) for file, text in read_columns(tree, path, label).items()}


def _label_files(label: str) -> tuple[str, ...]:
    return _PARTITIONS if label == PARTITION else _ATTRIBUTES


def _find(tree: Tree, names: tuple[str, ...], top: str = "") -> str:
    for folder in _PLACES:
        path = below(top, folder) if folder else top
        files = set(tree.level(path).files)
        found = next((name for name in names if name in files), "")
        if found:
            return below(path, found)
    return ""


LAYOUTS: tuple[Layout, ...] = (YouTubeFaces(), CelebA(), VGGFace2(), LFW(), Identity(), Flat())
"""In the order in which `auto` tries them: the most particular first."""


def find_layout(name: str, tree: Tree) -> Layout:
    """The layout of that name; `auto`: the first that the tree looks like.

    Raises:
        UsageError: there is no such layout.
        InputError: the tree is not laid out so.
    """
    if name == "auto":
        return next(layout for layout in LAYOUTS if layout.matches(tree))
    known = {layout.name: layout for layout in LAYOUTS}
    if name not in known:
        raise UsageError(f"--layout is {name!r}; {nearest(name, ('auto', *known))}")
    if not known[name].fits(tree) and tree.has_pictures(""):
        raise InputError(_misfit(known[name], tree))
    return known[name]


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
