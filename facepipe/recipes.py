"""Recipes: the settings of a whole run in one TOML file, a table a stage, keys as on the command line."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from facepipe.errors import UsageError
from facepipe.options import STAGES, Option, options_of


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with facepipe, by name (file name without `.toml`)."""
    here = Path(__file__).resolve().parent
    folder = next((f for f in (here / "pipelines", here.parent / "pipelines") if f.is_dir()), here / "pipelines")
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(name: str) -> dict[str, dict[str, Any]]:
    """Reads a recipe by file name or by the name of a shipped one.

    Returns:
        Stage -> option name -> value, for the stages and options the recipe names.

    Raises:
        UsageError: no such recipe, no valid TOML, or an unknown table or key; names the line and the nearest right key.
    """
    shipped = shipped_recipes()
    path = Path(name) if os.path.isfile(name) else shipped.get(name.removesuffix(".toml").replace("-", "_"))
    if path is None:
        raise UsageError(f"there is no recipe {name!r}: give a TOML file or one of {', '.join(shipped)}")
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise UsageError(f"the recipe {path} can't be read: {error}") from None
    return {stage: _checked_table(str(path), text, stage, table) for stage, table in tables.items()}


def _checked_table(file: str, text: str, stage: str, table: Any) -> dict[str, Any]:
    if stage not in STAGES or not isinstance(table, dict):
        raise UsageError(_unknown(file, text, stage, STAGES, "table"))
    known = {option.name: option for option in options_of(stage)}
    for key in table:
        if key.replace("_", "-") not in known:
            raise UsageError(_unknown(file, text, key, tuple(known), f"key in [{stage}]"))
    return {
        key.replace("_", "-"): _typed(file, text, key, known[key.replace("_", "-")], value)
        for key, value in table.items()
    }


def _typed(file: str, text: str, key: str, option: Option, value: Any) -> Any:
    if option.repeatable:
        values = value if isinstance(value, list) else [value]
        return [str(item) for item in values]
    wanted = (int, float) if option.kind is float else option.kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and option.kind is not bool):
        raise UsageError(f"{file}, line {_line(text, key)}: {key} is {value!r}; it must be {_kind_name(option.kind)}")
    return option.kind(value)


def _kind_name(kind: type) -> str:
    return {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}[kind]


def _unknown(file: str, text: str, word: str, known: tuple[str, ...], what: str) -> str:
    nearest = difflib.get_close_matches(word.replace("_", "-"), known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"it can be {', '.join(known)}"
    return f"{file}, line {_line(text, word)}: there is no {what} called {word!r}; {hint}"


def _line(text: str, word: str) -> int:
    """The first line that starts with `word` as a key or a table, 1-based."""
    pattern = re.compile(rf"^\s*(\[\s*)?[\"']?{re.escape(word)}[\"']?\s*[\].=]")
    return next((n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)
