"""What a user should know of a listing: how the input was taken, and what of it was left out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from facepipe.config import join
from facepipe.inputs.names import IMAGE, OTHER, UNREAD, VIDEO, extension
from facepipe.storage import file_at
from facepipe.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facepipe.config import ExtractConfig
    from facepipe.inputs.listing import Listing

SHOWN_NOTES = 5
LOCKED, _HIDDEN = "can't be read", "hidden"
_MOST_ENDINGS = 8
_MANY = 1000
_FEW_PEOPLE, _WIDE = 20, 5
"""So few people, half of whom have so many folders: these may be people, and the input a folder too high."""
_LIKE_CELEBA = (
    "these look like CelebA's pictures: for its people run the recipe `celeba`, and give as --input the folder that "
    "holds both img_align_celeba and identity_CelebA.txt"
)


class LeftOut:
    """Counts the files that are not read, by reason and extension. `used`: those that were read as label files."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self._by_folder: dict[str, Counter[tuple[str, str]]] = {}

    def add(self, folder: str, kinds: Mapping[str, str], hidden: int) -> None:
        """Counts a folder, once however often it is met. `kinds`: name -> IMAGE, VIDEO or the reason."""
        counts = Counter((kind, _ending(name)) for name, kind in kinds.items() if kind not in (IMAGE, VIDEO))
        if hidden:
            counts[_HIDDEN, ""] = hidden
        if counts:
            self._by_folder[folder] = counts

    def tell(self) -> list[str]:
        """`left out: 12 .dng, 3 .zip (no reader); 2 (hidden)`; nothing where nothing was left out."""
        total = sum(self._by_folder.values(), Counter[tuple[str, str]]())
        for file in self.used:
            folder, _, name = file.rpartition("/")
            total[OTHER, _ending(name)] -= folder in self._by_folder
        reasons = []
        for reason in (UNREAD, OTHER, LOCKED, _HIDDEN):
            kinds = [(-count, ending) for (why, ending), count in total.items() if why == reason and count > 0]
            if kinds:
                reasons.append(f"{_count_endings(sorted(kinds, key=_order))} ({reason})")
        return [f"left out: {'; '.join(reasons)}"] if reasons else []


def _order(kind: tuple[int, str]) -> tuple[int, str]:
    return kind[0], kind[1] or "~"


def _ending(name: str) -> str:
    ending = extension(name)
    return f".{ending}" if ending.isalnum() and not ending.isdecimal() and len(ending) <= 12 else ""


def _count_endings(kinds: list[tuple[int, str]]) -> str:
    if kinds == [(kinds[0][0], "")]:
        return f"{-kinds[0][0]:,}"
    shown = [f"{-count:,} {printable(ending) or 'without an extension'}" for count, ending in kinds[:_MOST_ENDINGS]]
    rest = -sum(count for count, _ in kinds[_MOST_ENDINGS:])
    return ", ".join(shown) + (f", {rest:,} more" if rest else "")


def describe(listing: Listing, config: ExtractConfig) -> list[str]:
    """How the input was taken, how many people and files that gives, and what looks unlike what was meant."""
    people = int(pc.count_distinct(listing.to_arrow().column("identity")).as_py())
    files = counted(len(listing), "file")
    told = f"{counted(people, 'person', 'people')}, {files}"
    if listing.layout == "manifest":
        notes = [f"manifest {printable(file_at(config.manifest)[1])}: {told}"]
    else:
        found = " (found)" if config.layout == "auto" else ""
        if listing.layout == "flat":
            told = f"every file is a person of its own, {files}"
        notes = [f"layout {listing.layout}{found}: {told}{_folder(listing)}{_boxes(listing)}"]
    if config.layout == "auto" and _looks_like_celeba(listing, people):
        notes.append(_LIKE_CELEBA)
    elif listing.layout == "identity" and 0 < people <= _FEW_PEOPLE:
        notes += _too_high(listing, config)
    more = len(listing.notes) - SHOWN_NOTES
    return notes + listing.notes[:SHOWN_NOTES] + ([f"... and {more:,} more"] if more > 0 else [])


def _folder(listing: Listing) -> str:
    """CelebA comes in several folders, of which one is read."""
    if listing.layout != "celeba":
        return ""
    folder = listing.to_arrow().column("path")[0].as_py().rpartition("/")[0]
    return f" of {printable(folder)}" if folder else ""


def _boxes(listing: Listing) -> str:
    """Whether boxes say whose face it is: label files that were not found are missed without a word."""
    count = len(listing) - listing.to_arrow().column("box").null_count
    if not count:
        return ""
    return ", with labelled boxes" if count == len(listing) else f", {count:,} with labelled boxes"


def _looks_like_celeba(listing: Listing, people: int) -> bool:
    """Thousands of pictures `000001.jpg` in one folder, without the file that says whose they are."""
    if len(listing) < _MANY or not (listing.layout == "flat" or (listing.layout == "identity" and people == 1)):
        return False
    paths = listing.to_arrow().column("path")
    return bool(pc.all(pc.match_substring_regex(paths, r"(^|/)[0-9]{6}\.(jpg|png)$")).as_py())


def _too_high(listing: Listing, config: ExtractConfig) -> list[str]:
    """Folders of people in one folder more than expected read as few people with many videos."""
    inner: dict[str, set[str]] = {}
    table = listing.to_arrow()
    for path, identity in zip(table.column("path").to_pylist(), table.column("identity").to_pylist(), strict=True):
        folder, _, rest = path.partition("/")
        if folder == identity:
            inner.setdefault(folder, set()).update(rest.split("/", 1)[:-1])
    wide = {name: len(folders) for name, folders in inner.items() if len(folders) >= (2 if len(inner) == 1 else _WIDE)}
    if 2 * len(wide) < len(inner) or not wide:
        return []
    name = max(wide, key=lambda folder: wide[folder])
    there = join(config.input, printable(name))
    if len(inner) == 1:
        said = f"one person, {printable(name)}, in {wide[name]:,} subfolders: if these are people,"
    else:
        listed = ", ".join(f"{printable(folder)} {count:,}" for folder, count in list(wide.items())[:5])
        said = f"{len(wide):,} of {len(inner):,} people have many subfolders ({listed}): if those are the people,"
    return [f"{said} give --input {there}"]
