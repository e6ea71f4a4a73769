"""CelebA: one folder of photographs, the people and everything else in text files beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from facepipe.errors import InputError, UsageError
from facepipe.sources.labelfiles import read_columns, read_corner_boxes
from facepipe.sources.listing import Group
from facepipe.sources.names import natural_key, shown, stem
from facepipe.sources.tree import suggest_inner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.records import Box
    from facepipe.sources.tree import Tree

_WILD = "img_celeba"
"""The photographs that the aligned pictures were cut from."""
_IMAGES = ("img_align_celeba", "img_align_celeba_png", _WILD)
"""The first that is there is read."""
_PLACES = ("", "Anno", "Eval", "Img", "anno", "eval", "img")
_IDENTITIES = ("identity_CelebA.txt", "identity_CelebA.csv")
_ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_BOXES = ("list_bbox_celeba.txt", "list_bbox_celeba.csv")
_PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
PARTITION = "partition"
"""The label that stands for the published split: 0 train, 1 validation, 2 test."""


def _find(tree: Tree, names: tuple[str, ...], top: str = "") -> str:
    for folder in _PLACES:
        path = "/".join(filter(None, (top, folder)))
        files = set(tree.level(path).files)
        found = next((name for name in names if name in files), "")
        if found:
            return f"{path}/{found}" if path else found
    return ""


class CelebA:
    """`img_align_celeba/000001.jpg` and `identity_CelebA.txt`, in one folder or in the archive's `Img`, `Anno`, `Eval`.

    `--label` takes an attribute (1 and -1 become 1 and 0) or `partition`. Where there are no aligned pictures, the
    photographs in `img_celeba` are read, with the boxes of `list_bbox_celeba.txt`, which belong to those alone.
    Landmarks are not used.
    """

    name = "celeba"

    def matches(self, tree: Tree) -> bool:
        """By its identity file, or its folder beside its attributes."""
        has_folder = any(set(tree.level(folder).folders) & set(_IMAGES) for folder in ("", "Img", "img"))
        return bool(_find(tree, _IDENTITIES)) or (has_folder and bool(_find(tree, _ATTRIBUTES)))

    def groups(self, tree: Tree, label: str) -> Iterator[Group]:
        """A group a person, people by number."""
        path = _find(tree, _IDENTITIES)
        if not path:
            self._refuse(tree)
        top = self._top(tree)
        identities = read_columns(tree, path, "identity")
        labels = self._labels(tree, label)
        boxes = self._boxes(tree) if top.rpartition("/")[2] == _WILD else {}
        people: dict[str, list[str]] = {}
        for folder in tree.walk(top):
            for name in folder.files:
                file = stem(name)
                if file not in identities:
                    raise InputError(f"{shown(path)} does not say who is on {shown(name)}; is it complete?")
                if labels and file not in labels:
                    raise InputError(
                        f"{_find(tree, _label_files(label))} has no {label} of {shown(name)}; is it complete?"
                    )
                if boxes and file not in boxes:
                    raise InputError(f"{_find(tree, _BOXES)} has no box of {shown(name)}; is it complete?")
                people.setdefault(identities[file], []).append(f"{folder.path}/{name}" if folder.path else name)
        for identity in sorted(people, key=natural_key):
            files = people[identity]
            bare = [_bare(file) for file in files]
            yield Group(
                identity,
                "",
                "",
                files,
                boxes=[boxes[file] for file in bare] if boxes else (),
                labels=[labels[file] for file in bare] if labels else (),
            )

    def _refuse(self, tree: Tree) -> NoReturn:
        """Without the identity file; where the data set lies one folder deeper, that one is named."""
        inner = suggest_inner(tree, lambda name: bool(_find(tree, _IDENTITIES, name)))
        if inner:
            raise InputError(f"{tree.place} has no {_IDENTITIES[0]}; give {inner}")
        raise InputError(
            f"{tree.place} has no {_IDENTITIES[0]}: without it nobody knows who is on CelebA's photographs; put it "
            "beside img_align_celeba and give the folder of both, or leave names out with `facepipe extract --layout "
            "flat`"
        )

    def _top(self, tree: Tree) -> str:
        for name in _IMAGES:
            for folder in ("", "Img", "img"):
                if name in tree.level(folder).folders:
                    return f"{folder}/{name}" if folder else name
        return ""

    def _boxes(self, tree: Tree) -> dict[str, Box | None]:
        path = _find(tree, _BOXES)
        if not path:
            note = f"{_WILD} holds whole photographs; without {_BOXES[0]} the face near the middle is taken"
            tree.notes[note] = None
            return {}
        return read_corner_boxes(tree, path)

    def _labels(self, tree: Tree, label: str) -> dict[str, int]:
        if not label:
            return {}
        names = _label_files(label)
        path = _find(tree, names)
        if not path:
            raise UsageError(f"--label {label} needs {names[0]}, which is not in {tree.place}")
        labels = {}
        for file, text in read_columns(tree, path, label).items():
            if not _WHOLE.fullmatch(text):
                raise UsageError(f"{shown(path)}: {label} of {shown(file)} is {shown(text)[:50]!r}, not a whole number")
            labels[file] = 0 if text == "-1" else int(text)
        return labels


def _label_files(label: str) -> tuple[str, ...]:
    return _PARTITIONS if label == PARTITION else _ATTRIBUTES


def _bare(path: str) -> str:
    return stem(path.rpartition("/")[2])
