"""CelebA: one folder of photographs, the people and everything else in text files beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from facepipe.errors import InputError, UsageError
from facepipe.sources.labelfiles import read_columns
from facepipe.sources.listing import Group
from facepipe.sources.names import natural_key, shown, stem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.sources.tree import Tree

_IMAGES = ("img_align_celeba", "img_align_celeba_png", "img_celeba")
_PLACES = ("", "Anno", "Eval", "Img", "anno", "eval", "img")
_IDENTITIES = ("identity_CelebA.txt", "identity_CelebA.csv")
_ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
PARTITION = "partition"
"""The label that stands for the published split: 0 train, 1 validation, 2 test."""


def _find(tree: Tree, names: tuple[str, ...]) -> str:
    for folder in _PLACES:
        files = set(tree.level(folder).files)
        found = next((name for name in names if name in files), "")
        if found:
            return f"{folder}/{found}" if folder else found
    return ""


class CelebA:
    """`img_align_celeba/000001.jpg` and `identity_CelebA.txt`, in one folder or in the archive's `Img`, `Anno`, `Eval`.

    `--label` takes an attribute (1 and -1 become 1 and 0) or `partition`. Landmarks and the boxes, which belong to the
    uncropped photographs, are not used.
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
            raise InputError(
                f"{tree.place} has no {_IDENTITIES[0]}: without it nobody knows who is on CelebA's photographs; put it "
                "beside img_align_celeba, or leave names out with `facepipe extract --layout flat`"
            )
        identities = read_columns(tree, path, "identity")
        labels = self._labels(tree, label)
        people: dict[str, list[str]] = {}
        for folder in tree.walk(self._top(tree)):
            for name in folder.files:
                if stem(name) not in identities:
                    raise InputError(f"{shown(path)} does not say who is on {shown(name)}; is it complete?")
                people.setdefault(identities[stem(name)], []).append(f"{folder.path}/{name}" if folder.path else name)
        for identity in sorted(people, key=natural_key):
            files = people[identity]
            yield Group(identity, "", "", files, labels=[labels.get(_bare(file)) for file in files] if labels else ())

    def _top(self, tree: Tree) -> str:
        for folder in ("", "Img", "img"):
            found = next((name for name in _IMAGES if name in tree.level(folder).folders), "")
            if found:
                return f"{folder}/{found}" if folder else found
        return ""

    def _labels(self, tree: Tree, label: str) -> dict[str, int]:
        if not label:
            return {}
        names = _PARTITIONS if label == PARTITION else _ATTRIBUTES
        path = _find(tree, names)
        if not path:
            raise UsageError(f"--label {label} needs {names[0]}, which is not in {tree.place}")
        labels = {}
        for file, text in read_columns(tree, path, label).items():
            if not _WHOLE.fullmatch(text):
                raise UsageError(f"{shown(path)}: {label} of {shown(file)} is {shown(text)[:50]!r}, not a whole number")
            labels[file] = 0 if text == "-1" else int(text)
        return labels


def _bare(path: str) -> str:
    return stem(path.rpartition("/")[2])
