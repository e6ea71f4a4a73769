"""What there is to know of an option, kept in its field of a config class. Standard library only."""

from __future__ import annotations

import math
import operator
import tomllib
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

from facepipe.errors import UsageError
from facepipe.text import nearest, show, to_path

if TYPE_CHECKING:
    from collections.abc import Callable

EVERYDAY = "Everyday options"
GROUPS = (
    EVERYDAY,
    "Input",
    "Detection",
    "Filters",
    "Target",
    "Subsets",
    "Shards",
    "Network",
    "Training",
    "Samples",
    "Machine",
)
"""The groups of the help, in its order."""


@dataclass(frozen=True)
class Option:
    """One option: `field`, `kind` (its type) and `default` are those of the dataclass field, the rest its metadata."""

    field: str
    kind: str
    default: Any
    help: str
    group: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    shown: str = ""
    """The default as the help tells it, where that is not the value itself."""
    metavar: str = ""
    names: tuple[str, ...] = ()
    """On the command line, where it is not `--` and the field's name alone."""
    negative: str = ""
    """The option that switches a flag off, such as `--no-track`."""
    parse: Callable[[Any], Any] | None = None
    folder: str = ""
    """A path: its place in the workspace."""
    decides: str = "value"
    """What of it decides the output's bytes: its `value`, the value where it is `given` (so that what was made before
    there was the option still fits), of a path the file's `name` alone, or nothing."""
    everyday: bool = False
    alone: bool = False
    """For the stage's own command: `run` does not take it."""
    retired: str = ""
    """Why it does nothing any more: still accepted, no longer shown."""
    envvar: str = ""
    argument: bool = False
    """Given without a name; where it has no default it must be."""

    @property
    def name(self) -> str:
        """As recipes have it: `crop_size` is `crop-size`, `timeout_s` is `timeout`."""
        return self.field.removesuffix("_s").replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """As the command line has it."""
        return self.names or (f"--{self.name}" + (f"/{self.negative}" if self.negative else ""),)

    @property
    def shown_default(self) -> str:
        """The default for the help; empty where there is nothing to say."""
        if self.shown or self.folder:
            return self.shown or f"DATA/{self.folder}"
        if self.kind == "bool":
            return self.shown_value(self.default).removeprefix("--") if self.negative else ""
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        return f"{self.default:.10g}" if self.kind in ("int", "float") else str(self.default or "")

    @property
    def help_text(self) -> str:
        """The help with the default: `[0: all]` where 0 can be given and stands for all."""
        default = self.shown_default
        is_zero = self.kind in ("int", "float") and self.default == 0 >= self.low
        if self.shown and is_zero and not self.shown[0].isdigit():
            default = f"0: {self.shown}"
        return f"{self.help} [{default}]" if default else self.help

    def shown_value(self, value: Any) -> str:
        """A value as the command line has it; one that stands for none, as the help says it."""
        if self.kind == "bool":
            return f"--{self.name}" if value else self.negative or f"--{self.name} not given"
        if isinstance(value, list | tuple):
            return " and ".join(map(str, value)) or "none"
        if not value and not self.shown_default[:1].isdigit():
            return self.shown_default or "none"
        return str(value).removesuffix(".0")

    def convert(self, value: Any) -> Any:
        """A value in the option's type and range; None is the default.

        Raises:
            UsageError: the value is invalid.
        """
        flag = f"--{self.name}"
        if self.names and flag not in self.names:
            flag = self.names[0]
        value = self.default if value is None else self.parse(value) if self.parse else to_type(flag, self.kind, value)
        if value != self.default:
            for each in value if isinstance(value, tuple) else (value,):
                self._check(flag, each)
        return value

    def _check(self, flag: str, value: Any) -> None:
        if self.choices and value not in self.choices:
            raise UsageError(f"{flag} is {value!r}; {nearest(value, self.choices, 0.7)}")
        if isinstance(value, int | float) and not self.low <= value <= self.high:
            between = f"lie between {self.low:.10g} and {self.high:.10g}"
            limits = between if self.high < math.inf else f"be {self.low:g} or more"
            raise UsageError(f"{flag} is {value:.10g}; it must {limits}")


def option(default: Any, help: str, group: str, **facts: Any) -> Any:  # noqa: A002 - the word of every such library
    """A field of a config class with what `Option` says of it."""
    return field(default=default, metadata={"help": help, "group": group, **facts})


def options_of(*kinds: type) -> dict[str, Option]:
    """Field name -> option of config classes, in the order of their fields; a nested class's options among them."""
    found: dict[str, Option] = {}
    for kind in kinds:
        for item in fields(kind):
            if "only" in item.metadata:
                found |= {
                    name: one for name, one in options_of(type(item.default)).items() if name in item.metadata["only"]
                }
            else:
                found.setdefault(item.name, Option(item.name, str(item.type), item.default, **item.metadata))
    return found


class Checked:
    """A config whose values have their types and ranges: what can only mean one thing is taken for it."""

    def __post_init__(self) -> None:
        """Converts every value or refuses it."""
        own = options_of(type(self))
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.name in own:
                object.__setattr__(self, item.name, own[item.name].convert(value))
            elif not isinstance(value, type(item.default)):
                raise UsageError(f"{item.name} is {show(value)}; it must be a facepipe.{item.type}")


@dataclass(frozen=True)
class PartOf:
    """Share `k` of `n` machines' work (`--part-of K/N`), k from 1."""

    k: int = 1
    n: int = 1

    def __post_init__(self) -> None:
        """Refuses shares that don't exist."""
        for name in ("k", "n"):
            object.__setattr__(self, name, to_type("--part-of", "int", getattr(self, name)))
        if not 1 <= self.k <= self.n:
            raise UsageError(f"--part-of is {self.k}/{self.n}; give K/N with K from 1 to N, such as 3/10")

    @classmethod
    def parse(cls, text: object) -> PartOf:
        """`3/10` -> PartOf(3, 10)."""
        if isinstance(text, PartOf):
            return text
        try:
            k, n = (int(piece) for piece in str(text).split("/"))
        except ValueError:
            raise UsageError(f"--part-of is {show(text)}; give K/N, such as 3/10") from None
        return cls(k, n)

    def owns(self, number: int) -> bool:
        """Whether part `number` (from 0) belongs to this share."""
        return number % self.n == self.k - 1

    def __str__(self) -> str:
        """`3/10`, as on the command line."""
        return f"{self.k}/{self.n}"


ALIGNMENTS = ("box", "arcface", "ffhq")
_POINTS = "points:"


def parse_align(value: object) -> str:
    """One of ALIGNMENTS, or a TOML file's template as `points:SIDE,X,Y,...`, which is given back as it is.

    Raises:
        UsageError: no such file, or no template in it.
    """
    text = to_path("--align", value)
    if text in ALIGNMENTS:
        return text
    try:
        if text.startswith(_POINTS):
            numbers = [float(number) for number in text.removeprefix(_POINTS).split(",")]
        else:
            with open(text, "rb") as file:
                found = tomllib.load(file)
            numbers = [float(found["size"]), *(float(number) for x, y in found["points"] for number in (x, y))]
    except OSError as error:
        raise UsageError(f"--align: {show(text)}: {error.strerror}; give box, arcface, ffhq or a TOML file") from None
    except (ValueError, KeyError, TypeError):
        numbers = []
    if len(numbers) != 11 or not all(map(math.isfinite, numbers)) or numbers[0] <= 0:
        how = "give `size = 112` and `points = [[38.3, 51.7], ...]`, five as the landmarks"
        raise UsageError(f"--align: {show(text)} holds no template; {how}")
    return _POINTS + ",".join(str(number).removesuffix(".0") for number in numbers)


def to_type(name: str, kind: str, value: object) -> Any:
    """The value as the type of that name (a tuple of texts or of whole numbers too), where it can only mean one thing.

    Numbers of NumPy are numbers, 64.0 is a whole number, one text is a list of one; texts are no numbers, and 1 is not
    True.

    Raises:
        UsageError: it is something else.
    """
    if kind == "str":
        return to_path(name, value)
    convert, meant = _KINDS[kind]
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name} is {show(value)}; it must be {meant}") from None


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


def _to_wholes(value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        value = [int(item) for item in value.split(",") if item not in {"", "none"}]
    return tuple(_to_whole(item) for item in (value if isinstance(value, list | tuple) else [value]))


_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (_to_whole, "a whole number"),
    "float": (_to_number, "a number"),
    "bool": (_to_flag, "True or False"),
    "tuple[str, ...]": (_to_texts, "a text or a list of texts"),
    "tuple[int, ...]": (_to_wholes, "a whole number or several, such as 8,16"),
}
