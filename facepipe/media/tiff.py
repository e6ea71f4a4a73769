"""Which of a TIFF file's pictures is the photograph: thumbnails and masks may come before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from facepipe.errors import ImageError
from facepipe.media.exif import orientation_in_xmp
from facepipe.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BytesIO

_MOST_DIRECTORIES = 1000
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES = 256, 257, 258, 262, 274, 277
_KIND, _OLD_KIND, _TILE_WIDTH, _TILE_HEIGHT, _SUB_DIRECTORIES, _FORMAT, _XMP = 254, 255, 322, 323, 330, 339, 700
_PLANES = 284
_BIG = 43
_LONG8, _IFD8 = 16, 18
_REDUCED_OR_MASK = 1 | 4
_OLD_REDUCED = 2
_WHITE_IS_ZERO, _RGB = 0, 2
_MOST_THUMBNAIL = 512
"""The longer side of a thumbnail, px."""


class Page(NamedTuple):
    """One of the file's pictures.

    directory: where it is described, 0 for the first. covered: tiles may reach beyond the picture, and are decoded
    whole: their pixels for each of the picture's. is_told: by its own tag.
    is_minor: a thumbnail or a mask. is_inverted: its white is 0, and decoders leave it so.
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
    is_inverted: bool


def find_picture(file: BytesIO) -> Page:
    """Returns the first picture that is neither a thumbnail nor a mask; where all are, the largest.

    A small one of which the file also holds an enlargement is a thumbnail, whether it says so or not.

    Raises:
        ValueError: there is none.
    """
    pages: list[Page] = []
    try:
        pages.extend(_pages(file))
    except Exception:  # what is behind a picture may be broken
        if not pages:
            raise
    if not pages:
        raise ValueError("its header is broken")
    pictures = [page for page in pages if not page.is_minor]
    shown = [page for page in pictures if page is pictures[0] or _enlarges(page, pictures[0])]
    return max(shown or pages, key=lambda page: page.width * page.height)


def _enlarges(page: Page, other: Page) -> bool:
    """Whether a page may show a smaller one at twice its size or more; what is large itself is no thumbnail."""
    ratio = page.width * other.height / (page.height * other.width)
    return max(other.width, other.height) <= _MOST_THUMBNAIL and page.width >= 2 * other.width and 0.95 < ratio < 1.05


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
    kinds = tags._load_dispatch  # noqa: SLF001
    tags._load_dispatch = kinds | {_IFD8: kinds[_LONG8]}  # noqa: SLF001 - offsets, which Pillow does not know either
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
    photometric = _number(tags, _PHOTOMETRIC, 1)
    is_rgb = photometric == _RGB and samples in (3, 4) and _number(tags, _FORMAT, 1) == 1
    if _number(tags, _PLANES, 1) != 1 and bits > 8 and samples > 1:
        raise ImageError(
            Status.DECODE_ERROR, "a TIFF of 16 bits with a plane a colour is not read; save it in one plane"
        )
    is_inverted = photometric == _WHITE_IS_ZERO and bits > 8
    is_told = 1 <= _number(tags, _ORIENTATION) <= 8
    is_minor = bool(_number(tags, _KIND) & _REDUCED_OR_MASK) or _number(tags, _OLD_KIND) == _OLD_REDUCED
    return Page(directory, width, height, samples, bits, is_rgb, orientation, covered, is_told, is_minor, is_inverted)


def _orientation(tags: Any) -> int:
    """1..8; 0 where it is not told."""
    found = _number(tags, _ORIENTATION)
    return found if 1 <= found <= 8 else orientation_in_xmp(tags.get(_XMP))


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    value = tags.get(tag, ())
    return tuple(
        number for number in (value if isinstance(value, tuple | bytes) else (value,)) if isinstance(number, int)
    )


def _number(tags: Any, tag: int, default: int = 0) -> int:
    """A tag's first value, where it is a whole number."""
    return next(iter(_numbers(tags, tag)), default)
