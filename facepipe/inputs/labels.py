"""The text files that come with data sets: boxes, identities, attributes. They only ever name files of the listing."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from facepipe.errors import InputError, UsageError
from facepipe.inputs.names import stem
from facepipe.text import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from facepipe.inputs.tree import Tree
    from facepipe.records import Box

_SEPARATORS = re.compile(r"[,;\s]+")
_RUN_STARTS = re.compile(r'^["\t ]*+([^/\n]*)(?:/.*)?$', re.MULTILINE)
"""A line of VGGFace2's boxes, and the person in it."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def missing_column(where: str, column: str, known: Iterable[str], option: str = "") -> UsageError:
    """The error for a column that is not there, with what was probably meant."""
    names = [printable(name) for name in known][:50]
    return UsageError(f"{where} has no column {column!r}{option}; {nearest(column, names)[:500]}")


def to_number(text: str, path: str, line: int, what: str) -> float:
    """A finite number, or a UsageError that names file and line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{printable(path)}, line {line}: {what} is {printable(text)[:50]!r}, not a number")
    return value


def _lines(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    """Numbered lines from 1, without the empty ones."""
    for number, line in enumerate(tree.read_text(path).split("\n"), 1):
        text = line.strip("\r\0 \t")
        if text:
            yield number, text


def read_labeled_faces(tree: Tree, path: str) -> dict[str, Box]:
    r"""YouTube Faces' boxes of one person.

    Lines as `Name\3\3.618.jpg,0,262,165,132,132,0.0,1`: file, ignored, centre x, centre y, width, height.

    Returns:
        `Name/3/3.618.jpg` -> box; files with an empty box are left out.
    """
    boxes: dict[str, Box] = {}
    for number, line in _lines(tree, path):
        fields = line.split(",")
        if len(fields) < 6:
            raise UsageError(
                f"{printable(path)}, line {number}: {len(fields)} fields; expected file,0,x,y,width,height"
            )
        x, y, width, height = (to_number(text, path, number, "a box field") for text in fields[2:6])
        if width > 0 and height > 0:
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            boxes[fields[0].strip().replace("\\", "/")] = box
    return boxes


class BoxIndex:
    """VGGFace2's boxes of a subset: `"n000002/0001_01",161,140,224,324` (x, y, width, height).

    The file of the training subset has 3.1 million lines: they are kept as text and parsed a person at a time.
    """

    def __init__(self, tree: Tree, path: str) -> None:
        self._path = path
        self._text = tree.read_text(path)
        self._runs: dict[str, list[tuple[int, int, int]]] = {}
        """Person -> (first line's number, start, end) of every run of lines."""
        start, first, current = 0, 1, ""
        for number, line in enumerate(_RUN_STARTS.finditer(self._text), 1):
            if line[1] != current:
                self._runs.setdefault(current, []).append((first, start, line.start()))
                start, first, current = line.start(), number, line[1]
        self._runs.setdefault(current, []).append((first, start, len(self._text)))

    def boxes(self, person: str) -> dict[str, Box]:
        """`n000002/0001_01` -> box, of one person."""
        boxes: dict[str, Box] = {}
        for first, start, end in self._runs.get(person, []):
            for number, line in enumerate(self._text[start:end].split("\n"), first):
                fields = [field.strip(' "\r') for field in line.split(",")]
                box = _corner_box(fields, self._path, number) if line.strip() else None
                if box:
                    boxes[stem(fields[0])] = box
        return boxes


def _corner_box(fields: list[str], path: str, line: int) -> Box | None:
    """The box of `file, x, y, width, height`; None where it is empty."""
    if len(fields) < 5:
        raise UsageError(f"{printable(path)}, line {line}: {len(fields)} fields; expected file, x, y, width, height")
    x, y, width, height = (to_number(text, path, line, "a box field") for text in fields[1:5])
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def read_corner_boxes(tree: Tree, path: str) -> dict[str, Box | None]:
    """CelebA's boxes: `000001.jpg 95 71 226 313` (x, y, width, height), after the count and the columns' names.

    Returns:
        `000001` -> box, None where it is empty.
    """
    boxes: dict[str, Box | None] = {}
    for number, line in _lines(tree, path):
        fields = _SEPARATORS.split(line)
        if "." in fields[0]:
            boxes[stem(fields[0])] = _corner_box(fields, path, number)
    if not boxes:
        raise InputError(f"{printable(path)} has no lines; download it again")
    return boxes


def read_columns(tree: Tree, path: str, column: str) -> dict[str, str]:
    """One column of a CelebA label file: `000001` (a file without its extension) -> text.

    The text files have the count on line 1 and the names on line 2, identity and partition no names at all; the CSV
    copies have the names on line 1.

    Raises:
        UsageError: there is no such column, or a line has too few fields.
    """
    index = -1
    values: dict[str, str] = {}
    for number, line in _lines(tree, path):
        fields = _SEPARATORS.split(line)
        if number == 1 and len(fields) == 1:
            continue
        if index < 0:
            if "." not in fields[0]:
                index = _column_index(fields, column, path)
                continue
            index = 1
        if len(fields) <= index:
            raise UsageError(f"{printable(path)}, line {number}: {len(fields)} fields, {index + 1} are needed")
        values[stem(fields[0].rpartition("/")[2])] = fields[index]
    if not values:
        raise InputError(f"{printable(path)} has no lines; download it again")
    return values


def to_label(text: str, path: str, label: str, file: str) -> int:
    """An attribute of a file as an integer, -1 as 0.

    Raises:
        UsageError: it is no whole number of 64 bits.
    """
    if not _WHOLE.fullmatch(text):
        said = f"{label} of {printable(file)} is {printable(text)[:50]!r}"
        raise UsageError(f"{printable(path)}: {said}, not a whole number")
    return 0 if text == "-1" else int(text)


def _column_index(header: list[str], column: str, path: str) -> int:
    """Counted with the file name as column 0; the text files leave that one unnamed."""
    offset = 0 if header[0].lower() in ("image_id", "filename", "file", "image") else 1
    names = header[1 - offset :]
    if len(names) == 1 and not column:
        return 1
    lowered = [name.lower() for name in names]
    if column.lower() not in lowered:
        raise missing_column(printable(path), column, names)
    return lowered.index(column.lower()) + 1
