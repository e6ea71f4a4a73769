"""CelebA: one folder of photographs, the people and everything else in text files beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.errors import InputError, UsageError
from facepipe.inputs.labels import read_columns, read_corner_boxes, to_label
from facepipe.inputs.layouts import Layout, below
from facepipe.inputs.listing import Group
from facepipe.inputs.names import natural_key, stem
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from facepipe.inputs.tree import Tree
    from facepipe.records import Box

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
            raise InputError(f"{tree.place} is not laid out as {self.name}: expected {self.expects}")
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
