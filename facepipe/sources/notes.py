"""What a user should know of a listing: how the input was taken, and what of it was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

from facepipe.config import join
from facepipe.sources.names import shown
from facepipe.storage import file_at

if TYPE_CHECKING:
    from collections import Counter

    from facepipe.config import ExtractConfig
    from facepipe.sources.listing import Listing

SHOWN_NOTES = 5
_MANY = 1000
_LIKE_CELEBA = (
    "these look like CelebA's pictures: for its people run the recipe `celeba`, and give as --input the folder that "
    "holds both img_align_celeba and identity_CelebA.txt"
)


def left_out(unread: Counter[str]) -> list[str]:
    """`left out: 12 .dng, 3 .ts (no reader)`, the most frequent first; nothing where nothing was left out."""
    kinds = sorted(unread.items(), key=lambda kind: (-kind[1], kind[0]))
    return [f"left out: {', '.join(f'{count:,} .{name}' for name, count in kinds)} (no reader)"] if kinds else []


def describe(listing: Listing, config: ExtractConfig) -> list[str]:
    """How the input was taken, how many people and files that gives, and what looks unlike what was meant."""
    people = int(pc.count_distinct(listing.to_arrow().column("identity")).as_py())
    counted = f"{people:,} {'person' if people == 1 else 'people'}, {_files(len(listing))}"
    if listing.layout == "manifest":
        notes = [f"manifest {shown(file_at(config.manifest)[1])}: {counted}"]
    else:
        found = " (found)" if config.layout == "auto" else ""
        told = f"every file is a person of its own, {_files(len(listing))}" if listing.layout == "flat" else counted
        notes = [f"layout {listing.layout}{found}: {told}{_folder(listing)}{_boxes(listing)}"]
    if config.layout == "auto" and _looks_like_celeba(listing, people):
        notes.append(_LIKE_CELEBA)
    elif listing.layout == "identity" and people == 1:
        notes += _one_person(listing, config)
    more = len(listing.notes) - SHOWN_NOTES
    return notes + listing.notes[:SHOWN_NOTES] + ([f"... and {more:,} more"] if more > 0 else [])


def _files(count: int) -> str:
    return f"{count:,} {'file' if count == 1 else 'files'}"


def _folder(listing: Listing) -> str:
    """CelebA comes in several folders, of which one is read."""
    if listing.layout != "celeba":
        return ""
    folder = listing.to_arrow().column("path")[0].as_py().rpartition("/")[0]
    return f" of {folder}" if folder else ""


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


def _one_person(listing: Listing, config: ExtractConfig) -> list[str]:
    """A folder of people in one folder more than expected reads as one person's videos."""
    pieces = [path.split("/", 2) for path in listing.to_arrow().column("path").to_pylist()]
    folders = {piece[1] for piece in pieces if len(piece) > 2}
    if len(folders) < 2:
        return []
    name = pieces[0][0]
    inner = join(config.input, name)
    return [f"one person, {name}, in {len(folders):,} subfolders: if these are people, give --input {inner}"]
