"""Reads presets.toml and puts a run's configuration together: defaults, preset, command line."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from facepipe.errors import UsageError
from facepipe.options import options_of
from facepipe.text import nearest
from train.config import AutoencoderConfig, TrainConfig
from train.gan.config import GanConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PRESETS = Path(__file__).with_name("presets.toml")
FACTS = ("note", "parameters", "non_trainable", "discriminator", "generator")
"""Keys of a preset's table that tell of it and configure nothing."""
OUTRANKED = {"learning_rate": ("g_learning_rate", "d_learning_rate")}
"""Values of a preset that give way where this field is given: `--learning-rate` is both networks' of every preset."""
COMMANDS = {"autoencoder": ("autoencoder", "an autoencoder"), "gan": ("gan", "a GAN")}
"""By section: the command that trains its presets, and what they are."""

Config = TypeVar("Config", bound=TrainConfig)


@cache
def tables(section: str) -> dict[str, dict[str, Any]]:
    """The presets of `autoencoder` or `gan`, by name, as they stand in the file."""
    with PRESETS.open("rb") as file:
        return tomllib.load(file).get(section, {})


def preset(section: str, name: str) -> dict[str, Any]:
    """One preset's table, the facts left in."""
    known = tables(section)
    if name not in known:
        for other, (command, what) in COMMANDS.items():
            if name in tables(other):
                raise UsageError(f"{name} is {what}: python -m train {command} --preset {name}")
        raise UsageError(
            f"the preset {name!r} does not exist; {nearest(name, known)} (`python -m train presets` lists them)"
        )
    return known[name]


def resolve(
    kind: type[Config], section: str, name: str, options: Mapping[str, Any], assignments: Sequence[str] = ()
) -> Config:
    """The configuration of a run.

    Args:
        kind: The dataclass to make.
        section: `autoencoder` or `gan`.
        name: A preset of that section.
        options: Fields from the command line; None means not given.
        assignments: `key=value` texts (`--set`), which win over everything; values as in TOML, quotes left out.

    Raises:
        UsageError: An unknown preset or key (the nearest names are in it), or a value of the wrong type.
    """
    values: dict[str, Any] = {key: value for key, value in preset(section, name).items() if key not in FACTS}
    given = {key: value for key, value in options.items() if value is not None}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set is {text!r}; give key=value, such as --set latent=128")
        given[key.strip().replace("-", "_")] = _parsed(value.strip())
    for outranked in (field for key in given for field in OUTRANKED.get(key, ())):
        values.pop(outranked, None)
    return from_json(kind, {**values, **given, "preset": name})


def from_json(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A config from plain values (a preset's, config.json's), each checked."""
    for key in values.keys() - options_of(kind).keys():
        raise UsageError(f"the setting {key!r} does not exist; {nearest(key, options_of(kind))}")
    return kind(**values)


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def lines() -> Iterator[str]:
    """A line a preset: its name first, its parameter total in it."""
    for name, table in tables("autoencoder").items():
        yield _autoencoder_line(name, table)
    for name, table in tables("gan").items():
        config = resolve(GanConfig, "gan", name, {})
        size = f"{config.image_size}x{config.image_size}x{config.channels}"
        yield (
            f"{name:<11} gan  z {config.z_size} -> {size}  loss {config.loss}  parameters: discriminator "
            f"{table['discriminator']:,} / generator {table['generator']:,}{_note(table)}"
        )


def _autoencoder_line(name: str, table: dict) -> str:
    config = resolve(AutoencoderConfig, "autoencoder", name, {})
    shapes = [f"{size}x{size}x{config.channels}" for size in (config.input_size, config.output_size)]
    latent = str(config.latent)
    if config.family == "archived-map":
        side = config.input_size >> len(config.encoder)
        latent = f"{side}x{side}x{config.latent}"
    return (
        f"{name:<11} autoencoder  {shapes[0]} -> {shapes[1]}  latent {latent}  loss {config.loss}  "
        f"parameters {table['parameters']:,} ({table['non_trainable']:,} not trained){_note(table)}"
    )


def _note(table: dict) -> str:
    return f"  [{table['note']}]" if "note" in table else ""
