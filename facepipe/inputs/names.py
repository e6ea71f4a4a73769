"""File names and first bytes: what is a picture or a video, how names are ordered, which subset a folder stands for."""

from __future__ import annotations

import re

from facepipe.media import signatures as media
from facepipe.media.signatures import sniff

IMAGE, VIDEO, UNREAD, OTHER = "image", "video", "no reader", "neither picture nor video"
_EXTENSIONS = {
    IMAGE: "jpg jpeg jpe jfif jif jfi pjpeg pjp png apng webp gif tif tiff bmp dib ppm pgm pbm pnm pfm jp2 j2k jpx jpf "
    "j2c avif heic heif jxl tga ico psd qoi pcx sgi rgb rgba bw ras sun mpo",
    VIDEO: "mp4 m4v avi mov webm mkv mpg mpeg wmv flv 3gp ogv mts m2ts",
    UNREAD: "3fr arw cr2 cr3 crw dcr dng erf hif iiq kdc mrw nef nrw orf pef raf raw rw2 sr2 srf srw x3f "
    "7z rar tar tgz zip",
    OTHER: "txt csv tsv json jsonl xml html htm md rst pdf svg doc docx xls xlsx yml yaml toml ini cfg log url webloc "
    "lnk sh py ipynb js css exe dll mat npy npz pkl pts h5 hdf5 parquet tfrecord lst idx rec db sqlite srt vtt aae xmp "
    "thm mp3 m4a wav aac flac ogg opus gz bz2 xz part crdownload tmp bak md5 sha256",
}
KINDS = {extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()}
"""What a file is by its extension, lower case; of all others, and of those named as videos, the first bytes say it."""
SUBSETS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout"), "test"),
}
"""Words in a folder's name that stand for a subset."""
_OTHER_CONTAINERS = (
    "image images img imgs jpg jpeg png pictures photos frames raw original originals processed cropped aligned data "
    "dataset datasets faces people persons identities gallery query probe set split"
)
_CONTAINERS = SUBSETS.keys() | set(_OTHER_CONTAINERS.split(" "))
SKIPPED_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
_WEAK = frozenset({"TGA", "SGI", "PCX", "SUN", "PNM"})
"""Told by three bytes or fewer: enough for a file that is named so, not for one of any name."""
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\f\r"))
_DIGITS = re.compile(r"[0-9]+")
_PADDED = re.compile(r"(?<![0-9])0[0-9]")
_WORDS = re.compile(r"[^\W\d_]+|[0-9]+")
_NO_WORDS = re.compile(r"^[0-9]+(?=[\W_])|\(.*?\)|(?<![^\W_])v[0-9]+|(?<![0-9])(19|20)[0-9]{2}(?![0-9])", re.IGNORECASE)
"""Beside a container's words: its place in an order, `(80%)`, a version, a year."""
_INNER_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def extension(name: str) -> str:
    """The part after the last dot, lower case, "" where there is none."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def stem(name: str) -> str:
    """A file name without its extension, if that is a picture's or a video's."""
    return name.rpartition(".")[0] if KINDS.get(extension(name)) in (IMAGE, VIDEO) else name


def kind_of(start: bytes) -> str:
    """IMAGE, VIDEO or OTHER by a file's first START_BYTES."""
    if start.translate(None, _CONTROLS) == start:  # a text, whatever it begins with
        return OTHER
    found = sniff(start)
    if found == media.VIDEO:
        return VIDEO
    return IMAGE if found and found not in _WEAK and (found != "BMP" or start[6:10] == bytes(4)) else OTHER


def natural_key(name: str) -> str:
    """A text that sorts numbers by value, `3.9` before `3.10`, in every locale alike; no two names share theirs."""
    key = _DIGITS.sub(_sortable, name)
    return f"{key}\0{name}" if _PADDED.search(name) else key


def _sortable(match: re.Match[str]) -> str:
    """Digits led by their count, so that text order is the order of numbers; no length is too large for it."""
    digits = match[0].lstrip("0") or "0"
    count = len(digits)
    return f"{count:02d}{digits}" if count < 99 else f"99{count:06d}{digits}"


def frame_number(name: str) -> int | None:
    """The last number of a file name without its extension, where it fits 31 bits: `3.618.jpg` -> 618."""
    numbers = _DIGITS.findall(stem(name))
    if not numbers or len(numbers[-1].lstrip("0")) > 9:
        return None
    return int(numbers[-1])


def is_container(folder: str) -> bool:
    """Whether a folder's name says that people's folders are below: `train`, `TestSet`, `val2017`, not `test1`."""
    words = _words(folder)
    return bool(words) and _CONTAINERS.issuperset(words)


def _words(folder: str) -> list[str]:
    return _WORDS.findall(_INNER_WORD.sub(" ", _NO_WORDS.sub(" ", folder)).lower())


def published_subset(path: str, identity: str = "") -> str:
    """`train`, `validation` or `test` by the first folder of a path that stands for one; "" where none does.

    A folder that bears the identity's own name is the person's.
    """
    for folder in path.split("/")[:-1]:
        if folder == identity:
            return ""
        found = next((SUBSETS[word] for word in _words(folder) if word in SUBSETS), "")
        if found and is_container(folder):
            return found
    return ""
