"""Recipes: the settings of a whole run in one TOML file, a table a stage, keys as on the command line."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facepipe.config import CONFIGS, ShardConfig
from facepipe.errors import UsageError
from facepipe.options import options_of, to_type
from facepipe.storage import file_at
from facepipe.text import nearest, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.config import StageConfig

_MEANT = {"bool": "true or false", "str": "a text in quotes"}


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with facepipe, by name (file name without `.toml`)."""
    here = Path(__file__).resolve().parents[1]
    folder = next((f for f in (here / "pipelines", here.parent / "pipelines") if f.is_dir()), here / "pipelines")
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(name: str) -> dict[str, dict[str, Any]]:
    """Reads a recipe by file name or by the name of a shipped one.

    Returns:
        Stage -> option's field -> value, for the stages and options the recipe names.

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
    try:
        return {stage: _checked_table(stage, table) for stage, table in tables.items()}
    except _Mistake as mistake:
        word, said = mistake.args
        raise UsageError(f"{path}, line {_line(text, word)}: {said}") from None


def write_recipe(output: str, configs: Sequence[StageConfig]) -> None:
    """Writes the settings of a run's stages as a recipe that gives the same run.

    Paths, and how the work is spread over this machine, are left out.

    Raises:
        UsageError: a setting that no TOML file can hold.
        OutputError: the file can't be written.
    """
    folder, name = file_at(output)
    lines = []
    for stage, kind in CONFIGS.items():
        of_stage = [config for config in configs if isinstance(config, kind)]
        values = asdict(of_stage[0])
        if isinstance(of_stage[0], ShardConfig):
            values |= {"noise": list(of_stage[0].resolved_noise) or ["none"], "color": of_stage[0].resolved_color}
        if len(of_stage) > 1:
            del values["examples"]  # not given: both
        wanted = [o for o in options_of(kind).values() if not (o.folder or o.alone or o.retired)]
        kept = {o.name: value for o in wanted if (value := values.get(o.field)) not in (None, "")}
        rows = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in kept.items())
        lines += [f"[{stage}]", *rows, ""]
    try:
        folder.write(name, "\n".join(lines).encode())
    except UnicodeEncodeError:
        raise UsageError(f"{show(output)} can't be written: a file's name in it is no Unicode") from None


class _Mistake(Exception):
    """A word of the recipe, and what is wrong with it."""


def _checked_table(stage: str, table: Any) -> dict[str, Any]:
    if stage not in CONFIGS or not isinstance(table, dict):
        raise _Mistake(stage, f"there is no table called {stage!r}; {nearest(stage, CONFIGS)}")
    known = {option.name: option for option in options_of(CONFIGS[stage]).values() if not option.folder}
    values = {}
    for key, value in table.items():
        option = known.get(key.replace("_", "-"))
        if option is None:
            raise _Mistake(key, f"there is no key in [{stage}] called {key!r}; {nearest(key.replace('_', '-'), known)}")
        try:
            values[option.field] = value if option.parse else to_type(key, option.kind, value)
        except UsageError as error:
            meant = _MEANT.get(option.kind)
            raise _Mistake(key, f"{key} is {value!r}; it must be {meant}" if meant else str(error)) from None
    return values


def _line(text: str, word: str) -> int:
    """The first line that starts with `word` as a key or a table, 1-based."""
    pattern = re.compile(rf"^\s*(\[\s*)?[\"']?{re.escape(word)}[\"']?\s*[\].=]")
    return next((n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)
