"""A picture of groups of faces: a row each, the most typical face first, the least alike last."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

_INK, _QUIET, _PAPER = (28, 30, 34), (110, 115, 122), (255, 255, 255)
_TILE, _GAP, _NAME, _CAPTION = 96, 8, 22, 18
COLUMNS, MOST_ROWS = 10, 100


class SheetRow(NamedTuple):
    """A group. faces: up to COLUMNS (similarity to the others of the group, encoded crop)."""

    name: str
    told: str
    faces: Sequence[tuple[float, bytes]]


def draw_people_sheet(rows: Sequence[SheetRow]) -> bytes:
    """The picture of some groups, a JPEG."""
    height = _NAME + _TILE + _CAPTION + _GAP
    sheet = Pictures.new("RGB", (COLUMNS * (_TILE + _GAP) + _GAP, len(rows) * height + _GAP), _PAPER)
    draw, small, large = ImageDraw.Draw(sheet), ImageFont.load_default(12), ImageFont.load_default(15)
    for number, row in enumerate(rows):
        top = number * height + _GAP
        draw.text((_GAP, top), row.name, fill=_INK, font=large)
        draw.text((3 * _GAP + draw.textlength(row.name, font=large), top + 2), row.told, fill=_QUIET, font=small)
        for column, (similarity, crop) in enumerate(row.faces[:COLUMNS]):
            left = _GAP + column * (_TILE + _GAP)
            image = cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR_RGB)
            tile = cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_AREA)
            sheet.paste(Pictures.fromarray(np.asarray(tile, np.uint8)), (left, top + _NAME))
            draw.text((left, top + _NAME + _TILE + 2), f"{similarity:.3f}", fill=_QUIET, font=small)
    encoded = io.BytesIO()
    sheet.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()
