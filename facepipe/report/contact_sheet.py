"""A picture of people: a row each, the target first, then the features from one profile to the other."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from facepipe.errors import InputError
from facepipe.report.people import decode_crop, read_people, read_targets
from facepipe.storage import file_at, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.report.people import Person, Portrait

_INK, _QUIET, _PAPER, _MARK = (28, 30, 34), (110, 115, 122), (255, 255, 255), (22, 125, 95)
_GAP, _CAPTION, _NAME = 8, 20, 26


def write_contact_sheet(
    data: str, output: str, *, identities: Sequence[str] = (), rows: int = 8, features: int = 9, tile: int = 112
) -> int:
    """Draws people of a workspace into a PNG or JPEG; gives how many.

    Args:
        data: The workspace, after `split`.
        output: The picture's path or URI; its suffix decides the format.
        identities: Whom to draw, or some spread over all.
        rows: How many people where `identities` is empty.
        features: Crops beside each target.
        tile: Side of a crop, px.

    Raises:
        InputError: nobody there has a target and a pair.
    """
    targets = [row for row in read_targets(place(data)) if row["target_key"]]
    chosen = [row for row in targets if row["identity"] in identities] if identities else _spread(targets, rows)
    people = read_people(data, chosen, features) if chosen else []
    if not people:
        raise InputError(f"{data} holds no pairs to draw; run `facepipe split` first")
    folder, name = file_at(output)
    folder.write(name, draw_contact_sheet(people, features, tile, _format(name)))
    return len(people)


def _spread(targets: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """`count` rows at even distances, the first among them."""
    several = [row for row in targets if row["frames"] > 1]
    step = max(len(several) / max(count, 1), 1)
    return [several[int(number * step)] for number in range(min(count, len(several)))]


def _format(name: str) -> str:
    return "JPEG" if name.lower().endswith((".jpg", ".jpeg")) else "PNG"


def draw_contact_sheet(people: Sequence[Person], features: int = 9, tile: int = 112, kind: str = "PNG") -> bytes:
    """The picture of some people, PNG or JPEG; `tile` px is the side of a crop."""
    row_height = _NAME + tile + _CAPTION + 2 * _GAP
    width = 3 * _GAP + (features + 1) * (tile + _GAP)
    sheet = Pictures.new("RGB", (width, len(people) * row_height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, person in enumerate(people):
        _draw_person(sheet, draw, person, number * row_height + _GAP, features, tile)
    encoded = io.BytesIO()
    sheet.save(encoded, kind, optimize=True, quality=88)
    return encoded.getvalue()


def _draw_person(
    sheet: Pictures.Image, draw: ImageDraw.ImageDraw, person: Person, top: int, features: int, tile: int
) -> None:
    name = " / ".join(filter(None, (person.identity, person.video)))
    draw.text((_GAP, top), name, fill=_INK, font=_font(16))
    told = f"{person.frames} frames, {person.subset}"
    draw.text((_GAP * 3 + draw.textlength(name, font=_font(16)), top + 3), told, fill=_QUIET, font=_font(13))
    top += _NAME
    _draw_portrait(sheet, draw, person.target, (_GAP, top), tile, f"target {_degrees(person.target.angle)}", _MARK)
    draw.rectangle((_GAP - 3, top - 3, _GAP + tile + 2, top + tile + 2), outline=_MARK, width=3)
    for number, portrait in enumerate(person.features[:features], 1):
        left = 2 * _GAP + number * (tile + _GAP)
        _draw_portrait(sheet, draw, portrait, (left, top), tile, f"yaw {_degrees(portrait.yaw, signed=True)}", _QUIET)


def _draw_portrait(
    sheet: Pictures.Image,
    draw: ImageDraw.ImageDraw,
    portrait: Portrait,
    at: tuple[int, int],
    tile: int,
    caption: str,
    ink: tuple[int, int, int],
) -> None:
    sheet.paste(Pictures.fromarray(np.asarray(decode_crop(portrait.picture, tile))), at)
    left = at[0] + (tile - draw.textlength(caption, font=_font(13))) / 2
    draw.text((left, at[1] + tile + 4), caption, fill=ink, font=_font(13))


def _degrees(angle: float, *, signed: bool = False) -> str:
    if math.isnan(angle):
        return "unknown"
    return f"{round(angle):+d}°" if signed else f"{angle:.1f}°"


def _font(size: int) -> Any:
    """Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)
