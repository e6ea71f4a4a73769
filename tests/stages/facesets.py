"""Face parts for the tests of the later stages: real photographs of faces as `extract` would have written them."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import cv2
import numpy as np

from facepipe.config import SelectConfig, SplitConfig
from facepipe.execution.progress import QuietProgress
from facepipe.records import FaceRow
from facepipe.stages import select, split
from facepipe.storage import parquet, place
from facepipe.storage.checksums import write_checksums
from facepipe.storage.partlist import describe, write_list
from facepipe.storage.settings import write_settings


@lru_cache(maxsize=1)
def photographs():
    """(100, 25, 25) float: scikit-image's bundled faces."""
    from skimage import data

    return data.lfw_subset()[:100]


@lru_cache(maxsize=4096)
def encode_crop(person: int, frame: int, size: int = 64) -> bytes:
    """A JPEG crop: face `person` at `size` px, each frame a little lighter and shifted a little further."""
    image = cv2.resize(photographs()[person % 100].astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    image = np.roll(image, frame, axis=1) * (0.8 + 0.02 * frame)
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    tinted = np.stack([pixels // 2, pixels, pixels], axis=2)  # BGR: yellowish, so that channels can be told apart
    return cv2.imencode(".jpg", tinted, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def make_row(person: int, frame: int, angle: float | None = None, **changes) -> FaceRow:
    """An ok row of frame `frame` of `person`, whose angle grows with the distance from frame 2 unless given."""
    angle = 1.5 + 6.0 * abs(frame - 2) if angle is None else angle
    path = f"p{person:03d}/v{frame // 4}/{frame:04d}.jpg"
    row = FaceRow(
        key=f"{path}#0",
        path=path,
        identity=f"p{person:03d}",
        video=f"v{frame // 4}",
        frame_index=frame,
        face_index=0,
        status="ok",
        width=250,
        height=250,
        bbox=[80.0, 80.0, 170.0, 175.0],
        landmarks=[float(v) for v in range(10)],
        score=0.9,
        yaw=-angle,
        pitch=0.0,
        roll=1.0,
        frontal_angle=angle,
        pose_error=3.0,
        sharpness=0.3,
        crop_scale=0.9,
        label=person % 2,
        crop=encode_crop(person, frame),
    )
    for name, value in changes.items():
        setattr(row, name, value)
    return row


def make_failure(person: int, frame: int, status: str = "no_face") -> FaceRow:
    """A row for a picture without a usable face."""
    path = f"p{person:03d}/v{frame // 4}/{frame:04d}.jpg"
    return FaceRow(path + "#-1", path, f"p{person:03d}", f"v{frame // 4}", frame, -1, status, error="no face was found")


def make_rows(people: int = 8, frames: int = 6) -> list[FaceRow]:
    """`frames` rows a person, the last of them without a face."""
    return [
        make_row(person, frame) if frame < frames - 1 else make_failure(person, frame)
        for person in range(people)
        for frame in range(frames)
    ]


def write_faces(folder, rows: list[FaceRow], part_size: int = 16) -> str:
    """Writes a finished folder of faces; gives its path."""
    out = place(str(folder))
    names = [parquet.part_name(number) for number in range(-(-len(rows) // part_size))]
    for number, name in enumerate(names):
        parquet.write_table(out, name, parquet.rows_to_table(rows[number * part_size : (number + 1) * part_size]))
    parts = [describe(out, name) for name in names]
    known = {part.name: part.sha256 for part in parts}
    known["settings.json"] = write_settings(out, {"stage": "extract", "parts": len(parts), "margin": 0.4})
    known["parts.parquet"] = write_list(out, parts)
    write_checksums(out, known)
    return str(folder)


def hash_folder(folder) -> dict[str, str]:
    """Path -> SHA-256 of every file but those that may differ between runs."""
    root = place(str(folder))
    return {
        entry.path: hashlib.sha256(root.read(entry.path)).hexdigest()
        for entry in root.list()
        if not entry.path.endswith("run.json")
    }


def turnable_rows(people=4, frames=4):
    """Faces whose landmarks lie where a crop's do; only those within 15 degrees of the camera are frontal."""
    points = [[22, 27], [41, 27], [32, 37], [25, 44], [39, 44]]
    place = {"landmarks": [float(v) for point in points for v in point], "transform": [1.0, 0, 0, 0, 1, 0]}
    return [make_row(person, frame, **place) for person in range(people) for frame in range(1, frames)] + [
        make_row(people, 0, 1.0, **place),  # one photograph is enough
        make_row(people + 1, 0, 1.0),  # of a version that did not tell where the crop lies
    ]


def prepare(folder, rows, part_size=64, overrides="", **options):
    """Faces, targets and pairs in a folder."""
    write_faces(folder / "faces", rows, part_size)
    paths = {name: str(folder / name) for name in ("faces", "targets", "pairs")}
    chosen = SelectConfig(input=paths["faces"], output=paths["targets"], overrides=overrides)
    select.run(chosen, QuietProgress())
    pairs = SplitConfig(paths["faces"], paths["targets"], paths["pairs"], **{"validation": 0.2, **options})
    split.run(pairs, QuietProgress())
    return folder


class Guard:
    """Nothing to blame."""

    blamed: dict[int, str] = {}  # noqa: RUF012

    def on(self, item):
        """An item is about to be touched."""

    def off(self):
        """No item is touched any more."""


def run_in_process(job, numbers, *, execution, timeout_s, on_done, note=None):
    """`workers.run_parts` without processes, whose start costs more than the small jobs of most tests."""
    for number in numbers:
        on_done(number, job(number, Guard()))
