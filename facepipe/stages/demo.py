"""The pictures that come with the package, and how closely the estimated pose follows their known angles.

`demo_faces/pictures.zip` is made by `tools/render_demo.py`: `images/PERSON/...` and `truth.csv`, a line a face.
"""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facepipe.errors import DamagedFile, SettingsChanged, UsageError
from facepipe.records import StageReport, Status
from facepipe.storage import file_at, place
from facepipe.storage.parquet import iterate_parts
from facepipe.storage.settings import check_settings, write_settings

PICTURES = Path(__file__).parent.parent / "demo_faces" / "pictures.zip"
TRUTH = "truth.csv"
PEOPLE = 32
_SMALL_TURN = 30.0


def write_images(root: str, identities: int = PEOPLE) -> StageReport:
    """Writes `root/images` and `root/truth.csv`; what is there already is kept.

    Args:
        root: a folder or object-store URI.
        identities: 1 to 32 people.

    Raises:
        UsageError: `identities` is out of range.
        SettingsChanged: `root` holds a demo of another number of people or of another version.
    """
    start, out, kept = time.perf_counter(), place(root), 0
    if not 1 <= identities <= PEOPLE:
        raise UsageError(f"--identities is {identities}; it must lie between 1 and {PEOPLE}")
    with zipfile.ZipFile(PICTURES) as pictures:
        settings = {"identities": identities, "pictures": pictures.getinfo(TRUTH).CRC}
        try:
            go_on = check_settings(out, settings, overwrite=False)
        except SettingsChanged:
            raise SettingsChanged(
                f"{out} holds a demo of another version or number of people; remove it or give another --output"
            ) from None
        write_settings(out, settings)
        files = [name for name in pictures.namelist() if name != TRUTH]
        people = list(dict.fromkeys(name.split("/")[1] for name in files))[:identities]
        files = [name for name in files if name.split("/")[1] in people]
        first, *lines = pictures.read(TRUTH).decode().splitlines(keepends=True)
        lines = [line for line in lines if line.split("/")[0] in people]
        out.write(TRUTH, "".join([first, *lines]).encode())
        for name in files:
            if go_on and out.exists(name):
                kept += 1
            else:
                out.write(name, pictures.read(name), durable=False)
    return StageReport(
        "demo",
        counts={"people": len(people), "files": len(files)},
        wall_s=time.perf_counter() - start,
        done_before=kept,
        outputs={"images": str(out.join("images")), "truth": f"{out}/{TRUTH}"},
    )


@dataclass(frozen=True, slots=True)
class DemoFigures:
    """How estimates follow the turn within each person's frames: medians over people.

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
        people = f"{self.people} {'person' if self.people == 1 else 'people'}"
        return [
            f"a face found in {100 * self.found:.1f} % of the {self.small_turns:,} frames turned less than 30 degrees",
            f"in {self.frames:,} frames of {people}, medians over people:",
            f"estimated yaw follows the turn with correlation {self.yaw_correlation:.3f}, slope {self.yaw_slope:.2f}",
            f"estimated pitch follows it with correlation {self.pitch_correlation:.3f}, slope {self.pitch_slope:.2f}",
            "slope: degrees estimated for a degree of turn",
        ]


def compare_with_truth(faces: str, truth: str) -> DemoFigures:
    """Holds the faces that `extract` found against the demo's turns.

    Args:
        faces: the folder or URI of `faces/part-*.parquet`.
        truth: the path or URI of `truth.csv`.

    Raises:
        InputError: there is no such truth.
        DamagedFile: the truth or a part does not read back.
    """
    folder, name = file_at(truth)
    text = folder.read(name).decode()
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
        known = {(r["path"], int(r["frame"])): (float(r["yaw_turn"]), float(r["pitch_turn"])) for r in rows}
        person = {(r["path"], int(r["frame"])): r["identity"] for r in rows}
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFile(f"{truth} is not the demo's truth ({error}); remove it and run the demo again") from error
    videos = {path for path, frame in known if frame}
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for _, table in iterate_parts(place(faces), ("path", "frame_index", "status", "yaw", "pitch")):
        for row in table.to_pylist():
            at = (row["path"], row["frame_index"] if row["path"] in videos else 0)
            if row["status"] == Status.OK and at in known:
                found.setdefault(at, (row["yaw"], row["pitch"]))
    pairs = defaultdict(list)
    for at, angles in found.items():
        pairs[person[at]].append((*known[at], *angles))
    small = [at for at, (yaw, pitch) in known.items() if _angle(yaw, pitch) < _SMALL_TURN]
    figures = [[*_follow(np.array(of)[:, [0, 2]]), *_follow(np.array(of)[:, [1, 3]])] for of in pairs.values()]
    figures = [row for row in figures if np.isfinite(row).all()] or [[float("nan")] * 4]
    share = sum(at in found for at in small) / len(small) if small else float("nan")
    return DemoFigures(
        len(set(person.values())), len(known), len(small), share, *map(float, np.median(figures, axis=0))
    )


def _angle(yaw: float, pitch: float) -> float:
    """Degrees between where a face looks and the camera."""
    return float(np.degrees(np.arccos(np.cos(np.radians(yaw)) * np.cos(np.radians(pitch)))))


def _follow(pairs: np.ndarray) -> tuple[float, float]:
    """Correlation and slope of (n, 2) turn and estimate; NaN for fewer than three."""
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < 3 or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
        return float("nan"), float("nan")
    slope, _ = np.polyfit(pairs[:, 0], pairs[:, 1], 1)
    return float(np.corrcoef(pairs.T)[0, 1]), float(slope)
