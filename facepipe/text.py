"""Values and names on their way into a message. Standard library only."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

from facepipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN, _LISTED = 60, 40
_ESCAPED = re.compile("[\udc80-\udcff]")
"""What stands for a byte of a file name that is no UTF-8."""
_LOOKS_ESCAPED = re.compile(r"\\x[89a-f][0-9a-f]")
_FLATTENED_URI = re.compile(r"(s3|gs|file):/[^/]")


def cut(text: str) -> str:
    """A text of at most 60 characters."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def show(value: object) -> str:
    """A value for a message: one line, cut where it is long."""
    return cut(" ".join(repr(value).split()))


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """For a message: what was probably meant, else all that there is, the first 40 of many."""
    names = list(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    if found:
        return f"did you mean {found[0]}?"
    more = f" or one of {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return f"it can be {', '.join(names[:_LISTED])}{more}"


def first_line(error: Exception) -> str:
    """What an exception says in its first line; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 file`, `1,200 files`; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def to_path(option: str, value: object) -> str:
    """A text or an `os.PathLike` as text.

    Raises:
        UsageError: it is neither, or a `Path` made of a URI, which has lost a slash by it.
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise UsageError(f"{option} is {show(value)}; it must be a text or a path")
    if path is not value and _FLATTENED_URI.match(path):
        raise UsageError(f"{option} is {show(value)}; give a URI as text, a Path takes a slash out of it")
    return path


def printable(text: str) -> str:
    r"""Foreign text for a terminal: one line without control characters; bytes that are no UTF-8 appear as `\xe9`.

    Newlines, escape sequences and marks that turn the direction of text become escapes: no name can forge a line.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    is_byte = _ESCAPED.fullmatch(character)
    return f"\\x{ord(character) - 0xDC00:x}" if is_byte else character.encode("unicode_escape").decode()


def to_unicode(name: str) -> str:
    r"""Valid Unicode for any file name, different for different names.

    Bytes that are no UTF-8 appear as `\xe9`. Backslashes are doubled in those names and in others that look like them.
    """
    if "\\" not in name and name.isprintable():
        return name
    raw = name.replace("\\", "\\\\") if _ESCAPED.search(name) or _LOOKS_ESCAPED.search(name) else name
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
