"""`checksums.sha256`: what every file of an output folder must hash to, in the format of `sha256sum -c`."""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from facepipe.errors import AS_BEFORE, DamagedFile, InputError
from facepipe.systemerrors import output_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from facepipe.storage import Place

CHECKSUMS = "checksums.sha256"
_SHARE = re.compile(r"checksums-\d+-of-\d+\.sha256")
_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")
_CHUNK_BYTES = 2**20


def file_sha256(root: Place, path: str) -> str:
    """The SHA-256 of a file, in hex; read in pieces."""
    digest = hashlib.sha256()
    with root.open_input(path) as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


class Journal:
    """The checksums of one share's files, kept while they are made.

    On a local disk each line is appended when its file is finished, so that a rerun need not hash what a killed run
    made; on an object store, which can't append, all are written by `finish`. Share 1 of 1 writes `checksums.sha256`,
    share K of N a file of its own, until `finish` is told that all shares are done.
    """

    def __init__(self, root: Place, k: int = 1, n: int = 1) -> None:
        self._root = root
        self._own = CHECKSUMS if n == 1 else f"checksums-{k}-of-{n}.sha256"
        self._shared = n > 1
        self._known = read_checksums(root)
        self._added: dict[str, str] = {}

    def known(self) -> dict[str, str]:
        """Path -> SHA-256 of every share's files."""
        return dict(self._known)

    def add(self, path: str, sha256: str) -> None:
        """Notes a finished file; a later line for the same path wins."""
        self._known[path] = self._added[path] = sha256
        if self._root.is_local:
            _append(self._root, self._own, path, sha256)

    def forget(self, paths: Iterable[str]) -> None:
        """Takes out files that are about to be made again: the common file's lines win over another share's."""
        gone = set(paths)
        self._known = {path: sha256 for path, sha256 in self._known.items() if path not in gone}
        common = _read_lines(self._root, CHECKSUMS)
        if gone & common.keys():
            self._write(CHECKSUMS, {path: sha256 for path, sha256 in common.items() if path not in gone})

    def finish(self, *, complete: bool | None = None) -> None:
        """Writes the lines sorted, without files that are gone; once all is `complete`, in one file for all shares."""
        complete = not self._shared if complete is None else complete
        there = {entry.path for entry in self._root.list()}
        lines = {**read_checksums(self._root), **self._added}
        self._write(
            CHECKSUMS if complete else self._own, {path: sha256 for path, sha256 in lines.items() if path in there}
        )
        if complete:
            for path in sorted(there):
                if _SHARE.fullmatch(path):
                    self._root.delete(path)

    def _write(self, name: str, lines: Mapping[str, str]) -> None:
        text = "".join(_line(path, lines[path]) for path in sorted(lines))
        self._root.write(name, text.encode("utf-8", "surrogateescape"))


def read_checksums(root: Place) -> dict[str, str]:
    """Path -> SHA-256 from all checksum files of a folder; lines that a killed run left half-written don't count."""
    # The common file last: a share that ends writes it before it removes the shares' own.
    names = [entry.path for entry in root.list() if _SHARE.fullmatch(entry.path)] if root.exists() else []
    known: dict[str, str] = {}
    for name in (*names, CHECKSUMS):
        known |= _read_lines(root, name)
    return known


def _read_lines(root: Place, name: str) -> dict[str, str]:
    """Path -> SHA-256 from one file; nothing where it is not there, or goes meanwhile."""
    try:
        data = root.read(name) if root.exists(name) else b""
    except InputError:
        if root.exists(name):
            raise
        return {}
    known: dict[str, str] = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n")[:-1]:
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


def _append(root: Place, name: str, path: str, sha256: str) -> None:
    local = root.local_path(name)
    try:
        fd = os.open(local, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(fd).st_size
            # The line that a killed run left half-written ends here, so that it spoils no other.
            torn = size and os.pread(fd, 1, size - 1) != b"\n"
            os.write(fd, b"\n" * bool(torn) + _line(path, sha256).encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)
    except OSError as error:
        raise output_error(local, error) from None


def _line(path: str, sha256: str) -> str:
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{sha256}  {escaped}\n"


def _unescaped(path: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), path)
