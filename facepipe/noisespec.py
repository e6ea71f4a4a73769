"""`--noise` as it is written, `KIND:STRENGTH[,STRENGTH...]`. Standard library only: it is checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.errors import UsageError
from facepipe.values import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

NOISE_KINDS = ("gaussian", "salt-and-pepper", "speckle", "poisson", "blur", "jpeg", "low-resolution", "occlusion")
NO_NOISE = "none"
"""Stands alone."""


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise and its strength, 0 < strength <= 1."""

    kind: str
    strength: float


def parse_noise(texts: Iterable[str]) -> tuple[Noise, ...]:
    """`["gaussian:0.03,0.1", "blur:0.2"]` -> one `Noise` a strength, in that order.

    Raises:
        UsageError: an unknown kind (the nearest one is named), a strength that is none, or the same one twice.
    """
    found: list[Noise] = []
    for text in texts:
        kind, _, strengths = text.partition(":")
        _check_kind(kind.strip(), text)
        if not strengths.strip():
            raise UsageError(f"--noise {text}: no strength; give KIND:STRENGTH[,STRENGTH...], such as {kind}:0.1")
        found += [Noise(kind.strip(), _parse_strength(strength, text)) for strength in strengths.split(",")]
    for noise in found:
        if found.count(noise) > 1:
            raise UsageError(f"--noise {noise.kind}:{noise.strength:g} is given twice")
    return tuple(found)


def _check_kind(kind: str, text: str) -> None:
    if kind in NOISE_KINDS:
        return
    if kind == NO_NOISE:
        raise UsageError("--noise none can't stand beside other noise; leave one of them out")
    hint = nearest(kind, (*NOISE_KINDS, NO_NOISE), cutoff=0.4)
    raise UsageError(f"--noise {text}: there is no kind {kind!r}; {hint}")


def _parse_strength(strength: str, text: str) -> float:
    try:
        value = float(strength)
    except ValueError:
        raise UsageError(f"--noise {text}: {strength.strip()!r} is no number") from None
    if not 0 < value <= 1:
        raise UsageError(f"--noise {text}: {strength.strip()} must lie above 0 and at most at 1")
    return value
