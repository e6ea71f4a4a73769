"""Which choices a person should look at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facepipe.stages.targets import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TURNED_DEG = 10.0
NEAR_TIE_DEG = 0.5
NEARLY_FRONTAL_DEG = 5.0
"""Up to here one frame is as good a target as another."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A row of `targets.parquet` and why to look at it."""

    target: dict[str, Any]
    why: str


def find_doubts(targets: Sequence[dict[str, Any]], count: int, unlike: Mapping[str, str] | None = None) -> list[Doubt]:
    """The most doubtful choices, worst first: of perhaps another person, unsure ones, turned away, nearly tied ones.

    A target is unsure where no frame's pose is told well, and turned away beyond 10 degrees; a near-tie has a runner-up
    within half a degree, and the farther both are from frontal the more it matters: up to 5 degrees it does not. What a
    person chose is no tie. Half of them at most are no ties.

    Args:
        targets: rows of `targets.parquet`.
        count: so many at most.
        unlike: key -> whom it looks like, of faces that are unlike the others of their identity.
    """
    unlike = unlike or {}
    chosen = [row for row in targets if row["target_key"]]
    others = [row for row in chosen if row["target_key"] in unlike and not _by_hand(row)]
    others.sort(key=lambda row: list(unlike).index(row["target_key"]))
    chosen = [row for row in chosen if row not in others]
    unsure = [row for row in chosen if str(row["reason"]).startswith(Reason.UNSURE)]
    turned = [row for row in chosen if row["target_angle"] > TURNED_DEG and row not in unsure]
    away = [*unsure, *sorted(turned, key=lambda row: -row["target_angle"])][: max((count + 1) // 2 - len(others), 0)]
    taken = {id(row) for row in away}
    near = (row for row in chosen if _is_tie(row) and id(row) not in taken and not _by_hand(row))
    found = [Doubt(row, f"perhaps somebody else, like {unlike[row['target_key']]}") for row in others]
    found += [Doubt(row, _told_turned(row)) for row in away]
    found += [Doubt(row, f"a near-tie: the runner-up is {_told(_lead(row))}") for row in sorted(near, key=_tie_order)]
    return found[:count]


def _is_tie(row: dict[str, Any]) -> bool:
    return abs(_lead(row)) < NEAR_TIE_DEG and row["target_angle"] > NEARLY_FRONTAL_DEG


def _by_hand(row: dict[str, Any]) -> bool:
    return str(row["reason"]).startswith(Reason.BY_HAND)


def _told_turned(row: dict[str, Any]) -> str:
    angle = f"{row['target_angle']:.1f}°"
    if str(row["reason"]).startswith(Reason.UNSURE):
        return f"its pose is not told well, nor any other frame's; {angle} as far as can be told"
    if not _by_hand(row):
        return f"turned away: even the most frontal frame is at {angle}"
    nearest = min(row["runner_up_angles"], default=float("inf"))
    other = f"{nearest:.1f}° was there" if nearest < row["target_angle"] else "no other is more frontal"
    return f"turned away by {angle}: chosen by hand; {other}"


def _lead(row: dict[str, Any]) -> float:
    """Degrees by which the target is more frontal than the runner-up; below 0 where the better picture was taken."""
    return float(row["runner_up_angles"][0] - row["target_angle"]) if row["runner_up_angles"] else float("inf")


def _told(lead: float) -> str:
    if abs(lead) < 0.05:
        return "as frontal to a tenth of a degree"
    return f"only {lead:.1f}° behind" if lead > 0 else f"{-lead:.1f}° more frontal, but the poorer picture"


def _tie_order(row: dict[str, Any]) -> tuple[float, str, str]:
    return (-row["target_angle"], row["identity"], row["video"])
