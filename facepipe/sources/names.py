"""File names: which are pictures and videos, in what order they come, and how they are shown."""

from __future__ import annotations

import re

# fmt: off
IMAGES = frozenset({
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "tif", "tiff", "bmp", "dib", "ppm", "pgm", "pbm", "pnm",
    "pfm", "jp2", "j2k", "jpx", "jpf", "j2c", "avif", "heic", "heif", "jxl", "tga", "ico", "psd", "qoi", "pcx", "sgi",
    "rgb", "rgba", "bw", "ras", "sun", "mpo",
})
"""Extensions of still images, lower case; what a file holds is told by its bytes, whatever its name."""
VIDEOS = frozenset({
    "mp4", "m4v", "avi", "mov", "webm", "mkv", "mpg", "mpeg", "wmv", "flv", "3gp", "ogv", "mts", "m2ts",
})
UNREAD = frozenset({
    "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "hif", "iiq", "kdc", "mrw", "nef", "nrw", "orf", "pef",
    "raf", "raw", "rw2", "sr2", "srf", "srw", "x3f",
    "3g2", "3gpp", "asf", "divx", "dv", "f4v", "m2v", "mod", "mxf", "qt", "rm", "rmvb", "tod", "ts", "vob",
    "7z", "rar", "tar", "tgz", "zip",
})
"""Pictures as cameras keep them, films, and archives, that nothing here reads: counted, so that nobody misses them."""
# fmt: on
MEDIA = IMAGES | VIDEOS
SKIPPED_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
_DIGITS = re.compile(r"[0-9]+")
_PADDED = re.compile(r"(?<![0-9])0[0-9]")


def extension(name: str) -> str:
    """The part after the last dot, lower case, "" where there is none."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def stem(name: str) -> str:
    """A file name without its extension, if that is a picture's or a video's."""
    return name.rpartition(".")[0] if extension(name) in MEDIA else name


def is_video(name: str) -> bool:
    """Whether the name is a video file's."""
    return extension(name) in VIDEOS


def natural_key(name: str) -> str:
    """A text that sorts numbers by value, `3.9` before `3.10`, in every locale alike; no two names share theirs."""
    key = _DIGITS.sub(_sortable, name)
    return f"{key}\0{name}" if _PADDED.search(name) else key


def _sortable(match: re.Match[str]) -> str:
    """Digits led by their count, so that text order is the order of numbers; no length is too large for it."""
    digits = match[0].lstrip("0") or "0"
    count = len(digits)
    return f"{count:02d}{digits}" if count < 99 else f"99{count:06d}{digits}"


def shown(name: str) -> str:
    r"""Valid Unicode for any name: bytes that are no UTF-8 appear as `\xe9`."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return name


def frame_number(name: str) -> int | None:
    """The last number of a file name without its extension, where it fits 31 bits: `3.618.jpg` -> 618."""
    numbers = _DIGITS.findall(stem(name))
    if not numbers or len(numbers[-1].lstrip("0")) > 9:
        return None
    return int(numbers[-1])
