"""What an option's value may be: its type, one of a few words, a range. Standard library only."""

from __future__ import annotations

import difflib
import math
import operator
import os
import re
from numbers import Real
from typing import TYPE_CHECKING, Any

from facepipe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SHOWN = 60
_FLATTENED_URI = re.compile(r"(s3|gs|file):/[^/]")


def show(value: object) -> str:
    """A value for a message: one line, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def nearest(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """For a message: what was probably meant, else all that there is."""
    names = list(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return f"did you mean {found[0]}?" if found else f"it can be {', '.join(names)}"


def check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuses a word that is none of those allowed."""
    if value not in allowed:
        raise UsageError(f"{option} is {value!r}; it can be {', '.join(allowed)}")


def check_range(option: str, value: float, low: float, high: float) -> None:
    """Refuses a number outside `low`..`high`, both allowed."""
    if not low <= value <= high or math.isnan(value):
        raise UsageError(f"{option} is {value:g}; it must lie between {low:g} and {high:g}")


def to_path(option: str, value: object) -> str:
    """A text or an `os.PathLike` as text.

    Raises:
        UsageError: it is neither, or a `Path` made of a URI, which has lost a slash by it.
    """
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"{option} is {show(value)}; it must be a text or a path")
    path = os.fspath(value)
    if not isinstance(path, str):
        raise UsageError(f"{option} is {show(value)}; it must be a text or a path")
    if path is not value and _FLATTENED_URI.match(path):
        raise UsageError(f"{option} is {show(value)}; give a URI as text, a Path takes a slash out of it")
    return path


def to_type(option: str, kind: str, value: object) -> Any:
    """The value as `int`, `float`, `bool`, `str` or `tuple[str, ...]`, where it can only mean one thing.

    Numbers of NumPy are numbers, 64.0 is a whole number, one text is a list of one; texts are no numbers, and 1 is not
    True.

    Raises:
        UsageError: it is something else.
    """
    if kind == "str":
        return to_path(option, value)
    convert, name = _KINDS[kind]
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{option} is {show(value)}; it must be {name}") from None


def _to_whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)


def _to_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return float(value)


def _to_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _to_texts(value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise TypeError
    return tuple(texts)


_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (_to_whole, "a whole number"),
    "float": (_to_number, "a number"),
    "bool": (_to_flag, "True or False"),
    "tuple[str, ...]": (_to_texts, "a text or a list of texts"),
}
