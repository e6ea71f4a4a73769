"""A picture of faces in rows: a name, a few words, and crops with captions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from facepipe.report.pictures import decode_crop

if TYPE_CHECKING:
    from collections.abc import Sequence

_INK, _QUIET, _PAPER, _MARK = (28, 30, 34), (110, 115, 122), (255, 255, 255), (22, 125, 95)
_GAP, _CAPTION, _NAME = 8, 20, 26


class Row(NamedTuple):
    """One row. faces: (encoded crop, caption) each; the first is framed where `marked`."""

    name: str
    told: str
    faces: Sequence[tuple[bytes, str]]
    marked: bool = False


def draw_sheet(rows: Sequence[Row], columns: int, tile: int, kind: str = "PNG") -> bytes:
    """The picture of some rows of at most `columns` crops of `tile` px, PNG or JPEG."""
    height = _NAME + tile + _CAPTION + 2 * _GAP
    sheet = Pictures.new("RGB", (3 * _GAP + columns * (tile + _GAP), len(rows) * height + _GAP), _PAPER)
    for number, row in enumerate(rows):
        _draw_row(sheet, row, number * height + _GAP, tile)
    encoded = io.BytesIO()
    sheet.save(encoded, kind, optimize=True, quality=88)
    return encoded.getvalue()


def _draw_row(sheet: Pictures.Image, row: Row, top: int, tile: int) -> None:
    pen = ImageDraw.Draw(sheet)
    # Pillow's own font: the same on every machine.
    large, small = ImageFont.load_default(16), ImageFont.load_default(13)
    pen.text((_GAP, top), row.name, fill=_INK, font=large)
    pen.text((_GAP * 3 + pen.textlength(row.name, font=large), top + 3), row.told, fill=_QUIET, font=small)
    top += _NAME
    for number, (crop, caption) in enumerate(row.faces):
        is_marked = row.marked and number == 0
        left = _GAP + number * (tile + _GAP) + _GAP * (row.marked and number > 0)
        sheet.paste(Pictures.fromarray(np.asarray(decode_crop(crop, tile))), (left, top))
        middle = left + (tile - pen.textlength(caption, font=small)) / 2
        pen.text((middle, top + tile + 4), caption, fill=_MARK if is_marked else _QUIET, font=small)
        if is_marked:
            pen.rectangle((left - 3, top - 3, left + tile + 2, top + tile + 2), outline=_MARK, width=3)
