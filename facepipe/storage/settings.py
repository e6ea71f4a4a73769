"""`settings.json`: what decided the bytes of a stage's output, so that a rerun knows whether it may go on.

The file is deterministic and carries its own SHA-256. One that is damaged counts as missing: the stage writes it anew.
The setting `stage` says whose folder it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from facepipe.config import CONFIGS
from facepipe.errors import DamagedFile, FacepipeError, OutputError, SettingsChanged
from facepipe.options import options_of
from facepipe.text import cut, printable

if TYPE_CHECKING:
    from facepipe.options import Option
    from facepipe.storage import Place

NAME = "settings.json"
FORMAT = 4
"""Raised when the same settings give other bytes than before."""
_OLDER = "older format"
"""Said of settings that were written with another FORMAT."""


def encode_settings(settings: Mapping[str, Any]) -> bytes:
    """The bytes of `settings.json` for JSON-ready settings."""
    body = {"format": FORMAT, "settings": settings}
    return (json.dumps({**body, "sha256": _digest(body)}, indent=1, sort_keys=True) + "\n").encode()


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_settings(settings: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the file that these settings give."""
    return hashlib.sha256(encode_settings(settings)).hexdigest()


def read_settings(place: Place) -> dict[str, Any]:
    """The settings that a folder's output was made with.

    Raises:
        DamagedFile: the file is missing or not as it was written.
    """
    if not place.exists(NAME):
        raise DamagedFile(f"{place}/{NAME} is missing; run the command that makes it again")
    try:
        return _parse(place.read(NAME, 1 << 24))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"{place}/{NAME} is damaged ({error}); run the command that makes it again") from error


def settings_or_empty(place: Place) -> dict[str, Any]:
    """The settings of a folder; {} where they are missing or damaged."""
    try:
        return read_settings(place)
    except FacepipeError:
        return {}


def _parse(content: bytes) -> dict[str, Any]:
    body = json.loads(content)
    digest = body.pop("sha256")
    settings = dict(body["settings"])
    if digest != _digest(body):
        raise ValueError("its checksum is another")
    return settings if body["format"] == FORMAT else {**settings, _OLDER: body["format"]}


def write_settings(place: Place, settings: Mapping[str, Any]) -> str:
    """Writes `settings.json`; gives the file's SHA-256 (hex)."""
    content = encode_settings(settings)
    place.write(NAME, content)
    return hashlib.sha256(content).hexdigest()


def check_settings(place: Place, settings: Mapping[str, Any], overwrite: bool, ignore: Collection[str] = ()) -> bool:
    """Whether the outputs in a folder are of these settings, so that a run goes on from them.

    False where there are none, where `settings.json` is damaged or an older version's, or where `overwrite` allows
    other settings: then the caller removes what is not of these settings, and only after that calls `write_settings`.
    Names in `ignore` stand in the file for its readers and are not compared.

    Raises:
        SettingsChanged: the settings are others and `overwrite` is not given; each difference is named.
        OutputError: another stage wrote the folder, whether `overwrite` is given or not.
    """
    try:
        before = read_settings(place)
    except DamagedFile:
        return False
    if _OLDER in before:  # an older version wrote it: it is made anew
        return False
    owner = stage_of(before)
    if owner != stage_of(settings):
        raise OutputError(f"{place} holds what `facepipe {owner}` wrote; give another folder to write to")
    kept = {name: value for name, value in before.items() if name not in ignore}
    differences = compare_settings(kept, {name: value for name, value in settings.items() if name not in ignore})
    if differences and not overwrite:
        where = owner.partition(" ")[2] or "--output"
        raise SettingsChanged(
            f"{place} was made with other settings ({'; '.join(differences)}); "
            f"give the old ones, another {where}, or --overwrite to make it anew"
        )
    return not differences


def stage_of(settings: Mapping[str, Any]) -> str:
    """The stage whose settings these are; empty where they don't say."""
    return str(settings.get("stage", ""))


def is_older(place: Place) -> bool:
    """Whether an older version of facepipe wrote a folder."""
    return _OLDER in settings_or_empty(place)


def compare_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One `--option old -> new` for every setting that differs, `name: old -> new` where no option sets it."""
    stage = stage_of(after).partition(" ")[0]
    options = options_of(CONFIGS[stage]) if stage in CONFIGS else {}
    unsaid = {name: one.default for name, one in options.items() if one.decides == "given"}
    old, new = unsaid | _flatten(before), unsaid | _flatten(after)
    return [
        _tell(name, options.get(name), old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _tell(name: str, option: Option | None, *values: Any) -> str:
    """A difference; a value that is None was not there."""
    if option is None:
        return f"{name}: {' -> '.join(map(_show, values))}"
    if option.decides == "given":
        values = tuple(option.default if v is None else v for v in values)
    change = " -> ".join("nothing" if v is None else cut(printable(option.shown_value(v))) for v in values)
    return change if option.kind == "bool" else f"--{option.name} {change}"


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names, as JSON reads them back."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = json.loads(json.dumps(value))
    return flat


def _show(value: Any) -> str:
    return "nothing" if value is None else cut(json.dumps(value, ensure_ascii=False))
