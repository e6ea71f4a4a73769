"""A picture of people: a row each, the target first, then the features from one profile to the other."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from facepipe.errors import InputError
from facepipe.report.people import People
from facepipe.report.pictures import decode_crop
from facepipe.report.readings import read_subsets
from facepipe.stages.overrides import read_corrections
from facepipe.storage import file_at, place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facepipe.report.people import Face, Person

_INK, _QUIET, _PAPER, _MARK = (28, 30, 34), (110, 115, 122), (255, 255, 255), (22, 125, 95)
_GAP, _CAPTION, _NAME = 8, 20, 26


def write_contact_sheet(
    data: str, output: str, *, identities: Sequence[str] = (), rows: int = 8, features: int = 9, tile: int = 112
) -> int:
    """Draws people of a workspace into a PNG or JPEG; gives how many.

    Args:
        data: The workspace, after `select`.
        output: The picture's path or URI; its suffix decides the format.
        identities: Whom to draw, or some spread over all.
        rows: How many people where `identities` is empty.
        features: Crops beside each target.
        tile: Side of a crop, px.

    Raises:
        InputError: nobody there has a target.
    """
    people = People(data, read_corrections(place(data).join("targets")))
    chosen = _choose(people, identities, rows)
    if not chosen:
        raise InputError(f"{data} holds nobody with a target to draw; run `facepipe select` first")
    folder, name = file_at(output)
    persons = [people.person(number, features) for number in chosen]
    sheet = ContactSheet(people, read_subsets(place(data)), features, tile)
    folder.write(name, sheet.draw(persons, _format(name)))
    return len(persons)


def _choose(people: People, identities: Sequence[str], rows: int) -> list[int]:
    """Those named; or of those with several frames `rows` at even distances, the first among them."""
    there = np.flatnonzero(people.target >= 0).tolist()
    if identities:
        return [number for number in there if people.names[number][0] in identities]
    several = [number for number in there if people.counts[number] > 1]
    step = max(len(several) / max(rows, 1), 1)
    return [several[int(number * step)] for number in range(min(rows, len(several)))]


def _format(name: str) -> str:
    return "JPEG" if name.lower().endswith((".jpg", ".jpeg")) else "PNG"


class ContactSheet:
    """How people are drawn: `features` crops of `tile` px beside each target."""

    def __init__(self, people: People, subsets: Mapping[str, str], features: int, tile: int) -> None:
        self._crops, self._subsets, self._features, self._tile = people.crops, subsets, features, tile

    def draw(self, persons: Sequence[Person], kind: str = "PNG") -> bytes:
        """The picture of some people, PNG or JPEG."""
        row_height = _NAME + self._tile + _CAPTION + 2 * _GAP
        width = 3 * _GAP + (self._features + 1) * (self._tile + _GAP)
        self._sheet = Pictures.new("RGB", (width, len(persons) * row_height + _GAP), _PAPER)
        self._pen = ImageDraw.Draw(self._sheet)
        for number, person in enumerate(persons):
            self._draw_person(person, number * row_height + _GAP)
        encoded = io.BytesIO()
        self._sheet.save(encoded, kind, optimize=True, quality=88)
        return encoded.getvalue()

    def _draw_person(self, person: Person, top: int) -> None:
        name = " / ".join(filter(None, (person.identity, person.video)))
        self._pen.text((_GAP, top), name, fill=_INK, font=_font(16))
        told = ", ".join(filter(None, (f"{person.frames} frames", self._subsets.get(person.identity))))
        self._pen.text(
            (_GAP * 3 + self._pen.textlength(name, font=_font(16)), top + 3), told, fill=_QUIET, font=_font(13)
        )
        top, tile = top + _NAME, self._tile
        if person.target:
            self._draw_face(person.target, (_GAP, top), f"target {_degrees(person.target.angle)}", _MARK)
        self._pen.rectangle((_GAP - 3, top - 3, _GAP + tile + 2, top + tile + 2), outline=_MARK, width=3)
        for number, face in enumerate(person.others, 1):
            left = 2 * _GAP + number * (tile + _GAP)
            self._draw_face(face, (left, top), f"yaw {_degrees(face.yaw, signed=True)}", _QUIET)

    def _draw_face(self, face: Face, at: tuple[int, int], caption: str, ink: tuple[int, int, int]) -> None:
        crop = decode_crop(self._crops.read(*face.at), self._tile)
        self._sheet.paste(Pictures.fromarray(np.asarray(crop)), at)
        left = at[0] + (self._tile - self._pen.textlength(caption, font=_font(13))) / 2
        self._pen.text((left, at[1] + self._tile + 4), caption, fill=ink, font=_font(13))


def _degrees(angle: float, *, signed: bool = False) -> str:
    if math.isnan(angle):
        return "unknown"
    return f"{round(angle):+d}°" if signed else f"{angle:.1f}°"


def _font(size: int) -> Any:
    """Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)
