"""Makes the demo's images from the embedded photographs, with the turn of every face in `truth.csv`.

Most people are folders of stills, every fifth has two short clips in folders of frames, the astronaut also a video
file. What is there already is kept: a run that was stopped goes on.
"""

from __future__ import annotations

import csv
import io
import math
import os
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import Execution
from facepipe.dataset.seeding import digest_names
from facepipe.errors import OutputError, SettingsChanged, UsageError
from facepipe.execution import PartReport, run_parts
from facepipe.execution.progress import QuietProgress
from facepipe.photographs import load_photographs
from facepipe.records import StageReport
from facepipe.scenery import draw_light, encode_jpeg
from facepipe.storage import Place, place
from facepipe.storage.settings import check_settings, write_settings
from facepipe.synthesis import Scene, Sitter, Turn, draw_scene, plan_turns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facepipe.execution import Guard
    from facepipe.execution.progress import Progress
    from facepipe.photographs import Photograph
    from facepipe.records import Image

TRUTH = "truth.csv"
TRUTH_COLUMNS = ("path", "identity", "frame", "yaw_turn", "pitch_turn", "roll_turn")
VIDEO = "turning.avi"
_VIDEO_FRAMES = 24
_STILLS_A_SITTING = 3
_MAKER_VERSION = 1
"""Raised when the same settings give other pictures."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to take: `path` below the images, `frame` 0-based in its file, `sitting` the scene it is set in."""

    path: str
    identity: str
    frame: int
    sitting: str
    turn: Turn


def _rng(*names: str | float) -> np.random.Generator:
    """A generator that depends on the names alone."""
    return np.random.default_rng(int.from_bytes(digest_names("demo", *names, size=16), "little"))


def plan_shots(photographs: Sequence[Photograph], seed: int) -> list[Shot]:
    """Every picture of the demo; a person's do not depend on who else is in it."""
    return [shot for number, who in enumerate(photographs) for shot in _plan_person(number, who.name, seed)]


def _plan_person(number: int, name: str, seed: int) -> list[Shot]:
    rng = _rng(seed, name, "turns")
    turns = plan_turns(rng, int(rng.integers(8, 13)))
    shots = list(_clips(name, turns) if number % 5 == 4 else _stills(name, turns))
    return [*shots, *_video(name)] if name == "astronaut" else shots


def _stills(name: str, turns: Sequence[Turn]) -> Iterator[Shot]:
    for frame, turn in enumerate(turns):
        yield Shot(f"{name}/{frame:02d}.jpg", name, 0, f"still {frame // _STILLS_A_SITTING}", turn)


def _clips(name: str, turns: Sequence[Turn]) -> Iterator[Shot]:
    """Two clips, in each of which the head turns one way."""
    half = len(turns) // 2
    for clip, part in (("clip-1", turns[:half]), ("clip-2", turns[half:])):
        for frame, turn in enumerate(sorted(part, key=lambda turn: turn.yaw)):
            yield Shot(f"{name}/{clip}/{frame:02d}.jpg", name, 0, clip, turn)


def _video(name: str) -> Iterator[Shot]:
    """A head that is shaken once, slowly, and nods meanwhile."""
    for frame in range(_VIDEO_FRAMES):
        phase = 2 * np.pi * frame / _VIDEO_FRAMES
        turn = Turn(round(35 * float(np.sin(phase)), 2), round(10 * float(np.sin(2 * phase)), 2), 0.0)
        yield Shot(f"{name}/{VIDEO}", name, frame, "video", turn)


def _truth_bytes(shots: Sequence[Shot]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TRUTH_COLUMNS)
    for shot in shots:
        writer.writerow([shot.path, shot.identity, shot.frame, shot.turn.yaw, shot.turn.pitch, shot.turn.roll])
    return text.getvalue().encode()


class _Studio:
    """Takes one person's shots: the head and the scenes are made once, when the first missing picture asks."""

    def __init__(self, photograph: Photograph, seed: int) -> None:
        self._photograph, self._seed = photograph, seed
        self._sitter: Sitter | None = None
        self._scenes: dict[str, Scene] = {}

    def take(self, shot: Shot) -> tuple[Image, int]:
        """The picture and its JPEG quality, from the seed, the person and the shot alone."""
        name = self._photograph.name
        if self._sitter is None:
            self._sitter = Sitter(self._photograph, _rng(self._seed, name, "head"))
        if shot.sitting not in self._scenes:
            self._scenes[shot.sitting] = draw_scene(_rng(self._seed, name, shot.sitting), self._sitter)
        moving = shot.sitting == "video" or shot.sitting.startswith("clip")
        lamp = draw_light(_rng(self._seed, name, "light", shot.sitting if moving else shot.path))
        rng = _rng(self._seed, name, shot.path, shot.frame)
        return self._sitter.take(shot.turn, self._scenes[shot.sitting], lamp, rng), int(rng.integers(70, 96))


def _encode_video(frames: Sequence[Image]) -> bytes:
    """Motion JPEG in AVI, by the writer built into OpenCV: the same bytes whatever codecs the machine has."""
    import cv2

    height, width = frames[0].shape[:2]
    with tempfile.TemporaryDirectory(prefix="facepipe-") as folder:
        path = os.path.join(folder, VIDEO)
        codec = cv2.VideoWriter.fourcc(*"MJPG")
        writer = cv2.VideoWriter(path, cv2.CAP_OPENCV_MJPEG, codec, 12.0, (width, height))
        if not writer.isOpened():
            raise OutputError(f"OpenCV can't write a video to {folder}; set TMPDIR to a folder with room")
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()
        with open(path, "rb") as file:
            return file.read()


def _make_file(studio: _Studio, shots: Sequence[Shot]) -> bytes:
    taken = [studio.take(shot) for shot in shots]
    if shots[0].path.endswith(VIDEO):
        return _encode_video([image for image, _ in taken])
    image, quality = taken[0]
    return encode_jpeg(image, quality)


def _by_file(shots: Sequence[Shot]) -> dict[str, list[Shot]]:
    grouped: dict[str, list[Shot]] = {}
    for shot in shots:
        grouped.setdefault(shot.path, []).append(shot)
    return grouped


@dataclass(frozen=True)
class DemoJob:
    """Person number -> that person's files; where `go_on`, those that are not there yet."""

    images: str
    seed: int
    go_on: bool

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Makes what is missing; counts as `kept` what was there."""
        guard.off()
        images, photograph = place(self.images), load_photographs()[number]
        studio, kept = _Studio(photograph, self.seed), 0
        for path, of_file in _by_file(_plan_person(number, photograph.name, self.seed)).items():
            if self.go_on and images.exists(path):
                kept += 1
            else:
                images.write(path, _make_file(studio, of_file), durable=False)
        return PartReport(counts={"kept": kept})


def _may_go_on(out: Place, settings: dict[str, Any]) -> bool:
    try:
        return check_settings(out, settings, overwrite=False)
    except SettingsChanged:
        raise SettingsChanged(
            f"{out} holds a demo of another seed or number of people; remove it or give another --output"
        ) from None


def _make_people(job: DemoJob, people: int, workers: int, progress: Progress) -> int:
    """How many files were there already."""
    kept = 0

    def on_done(_number: int, report: PartReport) -> None:
        nonlocal kept
        kept += report.counts["kept"]
        progress.advance(1)

    progress.start("demo", people, "people")
    try:
        run_parts(job, range(people), execution=Execution(workers), timeout_s=math.inf, on_done=on_done)
    finally:
        progress.finish()
    return kept


def write_images(
    root: str, seed: int = 0, identities: int = 101, workers: int = 0, progress: Progress | None = None
) -> StageReport:
    """Writes `root/images` and `root/truth.csv`.

    Args:
        root: a folder or object-store URI.
        seed: the same seed gives the same bytes on the same kind of machine.
        identities: 1 to 101 people: the astronaut, then the faces of LFW.
        workers: processes; 0: one for every usable core.
        progress: where to report; None: nowhere.

    Raises:
        UsageError: `identities` is out of range.
        SettingsChanged: `root` holds a demo made with another seed or number of people.
    """
    start, everyone = time.perf_counter(), load_photographs()
    if not 1 <= identities <= len(everyone):
        raise UsageError(f"--identities is {identities}; it must lie between 1 and {len(everyone)}")
    out, photographs = place(root), everyone[:identities]
    settings: dict[str, Any] = {"seed": seed, "identities": identities, "maker": _MAKER_VERSION}
    go_on = _may_go_on(out, settings)
    write_settings(out, settings)
    shots = plan_shots(photographs, seed)
    out.write(TRUTH, _truth_bytes(shots))
    kept = _make_people(DemoJob(str(out.join("images")), seed, go_on), identities, workers, progress or QuietProgress())
    files = len(_by_file(shots))
    return StageReport(
        "demo",
        counts={"people": len(photographs), "files": files, "frames": len(shots)},
        wall_s=time.perf_counter() - start,
        done_before=kept,
        outputs={"images": str(out.join("images")), "truth": f"{out}/{TRUTH}"},
    )
