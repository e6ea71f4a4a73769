"""The presets as `python -m train presets` prints them, read from the file: no framework is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from train.config import AutoencoderConfig
from train.presets import resolve, tables

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines() -> Iterator[str]:
    """A line a preset: its name first, its parameter total in it."""
    for name, table in tables("autoencoder").items():
        yield _autoencoder_line(name, table)
    if tables("gan"):
        from train.gan.config import GanConfig

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
