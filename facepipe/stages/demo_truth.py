"""How closely the estimated pose follows the turns that the demo gave its faces."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import DamagedFile
from facepipe.records import Status
from facepipe.storage import file_at, place
from facepipe.storage.parquet import iterate_parts
from facepipe.synthesis import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SMALL_TURN = 30.0
_COLUMNS = ("path", "frame_index", "status", "yaw", "pitch")


@dataclass(frozen=True, slots=True)
class DemoFigures:
    """What the demo shows, over people: medians of how estimates follow the turn within each person's frames.

    found: share of the frames turned less than 30 degrees in which the person's face was found, 0..1.
    correlation: -1..1. slope: degrees of estimate a degree of turn. NaN where no person has three frames.
    """

    people: int
    frames: int
    small_turns: int
    found: float
    yaw_correlation: float
    yaw_slope: float
    pitch_correlation: float
    pitch_slope: float

    def sentences(self) -> list[str]:
        """For a person to read."""
        return [
            f"a face found in {100 * self.found:.1f} % of the {self.small_turns:,} frames turned less than 30 degrees",
            f"in {self.frames:,} frames of {self.people} people, medians over people:",
            f"estimated yaw follows the turn with correlation {self.yaw_correlation:.3f}, slope {self.yaw_slope:.2f}",
            f"estimated pitch follows it with correlation {self.pitch_correlation:.3f}, slope {self.pitch_slope:.2f}",
            "slope: degrees estimated for a degree of turn; below 1, turns of these painted faces are told too small,",
            "which hardly changes which of a person's frames is the most frontal",
        ]


@dataclass(frozen=True, slots=True)
class _Known:
    """One row of the truth."""

    identity: str
    turn: Turn


def _read_truth(truth: str) -> dict[tuple[str, int], _Known]:
    """By path and frame (0 for stills)."""
    folder, name = file_at(truth)
    text = folder.read(name).decode()
    try:
        return {
            (row["path"], int(row["frame"])): _Known(
                row["identity"], Turn(float(row["yaw_turn"]), float(row["pitch_turn"]), float(row["roll_turn"]))
            )
            for row in csv.DictReader(io.StringIO(text))
        }
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFile(f"{truth} is not the demo's truth ({error}); remove it and run the demo again") from error


def _read_estimates(faces: str, videos: set[str]) -> Iterator[tuple[tuple[str, int], float, float]]:
    """Path and frame, yaw and pitch of every face that is its identity's. A still's frame counts as 0."""
    for _, table in iterate_parts(place(faces), _COLUMNS):
        for row in table.to_pylist():
            if row["status"] == Status.OK:
                frame = row["frame_index"] if row["path"] in videos else 0
                yield (row["path"], frame), row["yaw"], row["pitch"]


def _follow(pairs: NDArray[np.float64]) -> tuple[float, float]:
    """Correlation and slope of (n, 2) turn and estimate; NaN for fewer than three."""
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < 3 or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
        return float("nan"), float("nan")
    turn, estimate = (pairs - pairs.mean(axis=0)).T
    slope = float(turn @ estimate / (turn @ turn))
    return slope * float(np.linalg.norm(turn) / np.linalg.norm(estimate)), slope


def _median(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def compare_with_truth(faces: str, truth: str) -> DemoFigures:
    """Holds the faces that `extract` found against the demo's turns.

    Args:
        faces: the folder or URI of `faces/part-*.parquet`.
        truth: the path or URI of `truth.csv`.

    Raises:
        InputError: there is no such truth.
        DamagedFile: the truth or a part does not read back.
    """
    known = _read_truth(truth)
    frames_of = Counter(path for path, _ in known)
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for at, yaw, pitch in _read_estimates(faces, {path for path, frames in frames_of.items() if frames > 1}):
        found.setdefault(at, (yaw, pitch))
    small = [at for at, row in known.items() if row.turn.angle < _SMALL_TURN]
    people = sorted({row.identity for row in known.values()})
    follows = [_follow_person([at for at in known if known[at].identity == name], known, found) for name in people]
    return DemoFigures(
        people=len(people),
        frames=len(known),
        small_turns=len(small),
        found=sum(at in found for at in small) / len(small) if small else float("nan"),
        yaw_correlation=_median([yaw[0] for yaw, _ in follows]),
        yaw_slope=_median([yaw[1] for yaw, _ in follows]),
        pitch_correlation=_median([pitch[0] for _, pitch in follows]),
        pitch_slope=_median([pitch[1] for _, pitch in follows]),
    )


def _follow_person(
    frames: list[tuple[str, int]],
    known: dict[tuple[str, int], _Known],
    found: dict[tuple[str, int], tuple[float, float]],
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Correlation and slope of yaw, and of pitch, over one person's frames that gave a face."""
    seen = [at for at in frames if at in found]
    yaw = np.array([(known[at].turn.yaw, found[at][0]) for at in seen], dtype=np.float64).reshape(-1, 2)
    pitch = np.array([(known[at].turn.pitch, found[at][1]) for at in seen], dtype=np.float64).reshape(-1, 2)
    return _follow(yaw), _follow(pitch)
