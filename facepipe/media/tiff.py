"""Which of a TIFF file's pictures is the photograph: thumbnails and masks may come before it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BytesIO

_MOST_DIRECTORIES = 1000
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES = 256, 257, 258, 262, 274, 277
_KIND, _OLD_KIND, _TILE_WIDTH, _TILE_HEIGHT, _SUB_DIRECTORIES, _FORMAT, _XMP = 254, 255, 322, 323, 330, 339, 700
_BIG = 43
_REDUCED_OR_MASK = 1 | 4
_OLD_REDUCED = 2
_RGB = 2
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


class Page(NamedTuple):
    """One of the file's pictures.

    directory: where it is described, 0 for the first. covered: tiles may reach beyond the picture, and are decoded
    whole: their pixels for each of the picture's. is_told: by its own tag. is_minor: a thumbnail or a mask.
    """

    directory: int
    width: int
    height: int
    samples: int
    bits: int
    is_rgb: bool
    orientation: int
    covered: float
    is_told: bool
    is_minor: bool


def find_picture(file: BytesIO) -> Page:
    """Returns the first picture that is neither a thumbnail nor a mask; where all are, the largest.

    Raises:
        ValueError: there is none.
    """
    pages = []
    for page in _pages(file):
        if not page.is_minor:
            return page
        pages.append(page)
    if not pages:
        raise ValueError("its header is broken")
    return max(pages, key=lambda page: page.width * page.height)


def with_first(data: bytes, directory: int) -> bytes:
    """Returns the file with this directory as its first, which is the one that decoders read."""
    if not directory:
        return data
    order = "little" if data[:2] == b"II" else "big"
    at, size = (8, 8) if _BIG in data[2:4] else (4, 4)
    return data[:at] + directory.to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]


def _pages(file: BytesIO) -> Iterator[Page]:
    """The pictures in the chain of directories, then those in the directories below them."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    start = file.read(16)
    tags: Any = ImageFileDirectory_v2(start if start[2] == _BIG else start[:8])
    if start[3] == _BIG:  # of the big-endian kind, which Pillow does not know
        tags._bigtiff, tags.next = True, int.from_bytes(start[8:])  # noqa: SLF001
    first = tags.next
    chain, below, seen = [first], list[tuple[int, int]](), {0}
    while (chain or below) and len(seen) < _MOST_DIRECTORIES:
        at, inherited = (chain.pop(), 1) if chain else below.pop(0)
        if at in seen:
            continue
        seen.add(at)
        file.seek(at)
        tags.next = 0
        tags.load(file)
        orientation = _orientation(tags) or inherited
        if _number(tags, _WIDTH) > 0 and _number(tags, _HEIGHT) > 0:
            yield _page(tags, at if at != first else 0, orientation)
        below += [(offset, orientation) for offset in _numbers(tags, _SUB_DIRECTORIES)]
        chain = [tags.next]


def _page(tags: Any, directory: int, orientation: int) -> Page:
    width, height = _number(tags, _WIDTH), _number(tags, _HEIGHT)
    samples, bits = max(1, _number(tags, _SAMPLES, 1)), max(8, _number(tags, _BITS, 8))
    tile_w, tile_h = _number(tags, _TILE_WIDTH), _number(tags, _TILE_HEIGHT)
    covered = 1.0
    if tile_w > 0 and tile_h > 0:
        covered = max(1.0, -(-width // tile_w) * tile_w * -(-height // tile_h) * tile_h / (width * height))
    is_rgb = _number(tags, _PHOTOMETRIC) == _RGB and samples in (3, 4) and _number(tags, _FORMAT, 1) == 1
    is_told = 1 <= _number(tags, _ORIENTATION) <= 8
    is_minor = bool(_number(tags, _KIND) & _REDUCED_OR_MASK) or _number(tags, _OLD_KIND) == _OLD_REDUCED
    return Page(directory, width, height, samples, bits, is_rgb, orientation, covered, is_told, is_minor)


def _orientation(tags: Any) -> int:
    """1..8; 0 where it is not told."""
    found = _number(tags, _ORIENTATION)
    if not 1 <= found <= 8:
        xmp = tags.get(_XMP)
        match = _XMP_ORIENTATION.search(xmp if isinstance(xmp, bytes) else b"")
        return int(match[1]) if match else 0
    return found


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    value = tags.get(tag, ())
    return tuple(number for number in (value if isinstance(value, tuple) else (value,)) if isinstance(number, int))


def _number(tags: Any, tag: int, default: int = 0) -> int:
    """A tag's first value, where it is a whole number."""
    return next(iter(_numbers(tags, tag)), default)
