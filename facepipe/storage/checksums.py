"""`checksums.sha256`: what every file of an output folder must hash to, in the format of `sha256sum -c`."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

from facepipe.errors import AS_BEFORE, DamagedFile, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from facepipe.storage import Place

CHECKSUMS = "checksums.sha256"
_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")
_CHUNK_BYTES = 2**20


class Hashed:
    """A file as Arrow writes to one too, and the SHA-256 of what is written; `during` is entered for each write."""

    closed = False

    def __init__(self, file: BinaryIO, during: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._file = file
        self._during = during
        self._at = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Takes bytes."""
        if not self._file.closed:  # Arrow ends a file that was given up as well, when it finds the time
            with self._during():
                self._file.write(data)
                self.sha256.update(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._at

    def flush(self) -> None:
        """Nothing: the file's owner does."""

    def close(self) -> None:
        """Likewise."""


def file_sha256(root: Place, path: str) -> str:
    """The SHA-256 of a file, in hex; read in pieces."""
    digest = hashlib.sha256()
    with root.open_input(path) as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def write_checksums(root: Place, known: Mapping[str, str]) -> None:
    """Writes path -> SHA-256 (hex), sorted."""
    text = "".join(_line(path, known[path]) for path in sorted(known))
    root.write(CHECKSUMS, text.encode("utf-8", "surrogateescape"))


def read_checksums(root: Place) -> dict[str, str]:
    """Path -> SHA-256 (hex); lines that say nothing don't count, nothing where the file is not there."""
    if not root.exists(CHECKSUMS):
        return {}
    known: dict[str, str] = {}
    for line in root.read(CHECKSUMS).decode("utf-8", "surrogateescape").split("\n")[:-1]:
        if match := _LINE.fullmatch(line):
            known[_unescaped(match[3]) if match[1] else match[3]] = match[2]
    return known


def verify_files(root: Place, threads: int = 2) -> Iterator[DamagedFile]:
    """Hashes every file that the checksums name; gives one error for each that is missing or differs."""
    known = read_checksums(root)

    def check(path: str) -> DamagedFile | None:
        if not root.exists(path):
            return DamagedFile(f"{root.join(path)} is missing; run its stage again {AS_BEFORE}")
        try:
            found = file_sha256(root, path)
        except (InputError, OSError) as error:
            return DamagedFile(f"{root.join(path)} can't be read ({error}); run its stage again {AS_BEFORE}")
        if found != known[path]:
            return DamagedFile(f"{root.join(path)} is damaged: its checksum differs; run its stage again {AS_BEFORE}")
        return None

    with ThreadPoolExecutor(max_workers=threads) as pool:
        yield from (error for error in pool.map(check, sorted(known)) if error)


def _line(path: str, sha256: str) -> str:
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{sha256}  {escaped}\n"


def _unescaped(path: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), path)
