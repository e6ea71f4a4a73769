"""How far faces are turned for training: by chance that depends on the face's key, the copy and the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.errors import UsageError
from facepipe.text import nearest

if TYPE_CHECKING:
    import numpy as np

    from facepipe.dataset.seeding import Draws

KINDS = ("uniform", "normal")
FULL = 90.0
"""Degrees of a full profile."""
SHIFT, ZOOM = 0.03, 0.02
"""How much a detector's boxes vary: standard deviations of their place, in half widths of the face, and their size."""


@dataclass(frozen=True)
class Spread:
    """Angles around 0, degrees: `uniform` up to `degrees` either way, or `normal` with that standard deviation."""

    kind: str
    degrees: float

    def draw(self, rng: np.random.Generator) -> float:
        """An angle, at most FULL either way."""
        drawn = rng.uniform(-1, 1) if self.kind == "uniform" else rng.normal()
        return max(-FULL, min(FULL, self.degrees * float(drawn)))


@dataclass(frozen=True)
class Turn:
    """A turned view: yaw and pitch in degrees, and how the detector's box lies off, as `Turnable.turn` takes it."""

    yaw: float
    pitch: float
    shift: tuple[float, float]
    zoom: float


def parse_spread(option: str, text: str) -> Spread:
    """`uniform:90` -> a spread.

    Raises:
        UsageError: another kind, or degrees that are none or beyond a full profile.
    """
    kind, _, degrees = text.partition(":")
    if kind not in KINDS:
        raise UsageError(f"{option} {text}: there is no kind {kind!r}; {nearest(kind, KINDS, cutoff=0.4)}")
    try:
        value = float(degrees)
    except ValueError:
        raise UsageError(
            f"{option} {text}: {degrees!r} is not a number; give KIND:DEGREES, such as {kind}:45"
        ) from None
    if not 0 <= value <= FULL:
        raise UsageError(f"{option} {text}: {degrees} must lie between 0 and {FULL:g}")
    return Spread(kind, value)


def draw_turn(draws: Draws, seed: int, key: str, number: int, yaw: Spread, pitch: Spread) -> Turn:
    """Turned copy `number` of the face `key`."""
    rng = draws.at("turn", seed, key, number)
    angles = yaw.draw(rng), pitch.draw(rng)
    right, down, larger = rng.normal(size=3)
    return Turn(*angles, (SHIFT * right, SHIFT * down), 1 + ZOOM * larger)
