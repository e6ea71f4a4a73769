"""What every usable crop looks like, in a few bytes, for finding duplicates: one array a part of the faces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe import parquet
from facepipe.errors import DamagedFile
from facepipe.likeness import FINGERPRINT, fingerprint
from facepipe.records import Status
from facepipe.stages.scratch import load, store
from facepipe.stopwatch import Stopwatch
from facepipe.storage import place
from facepipe.workers import Guard, PartReport, run_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.config import Execution
    from facepipe.progress import Progress
    from facepipe.stages.faces import Faces

TIMEOUT_S = 120.0
_SMALL = ((8, cv2.IMREAD_REDUCED_GRAYSCALE_8), (4, cv2.IMREAD_REDUCED_GRAYSCALE_4), (2, cv2.IMREAD_REDUCED_GRAYSCALE_2))
_CELLS = 24
"""px: a crop is decoded at the smallest size that is at least this."""


@dataclass(frozen=True)
class ScanJob:
    """Part number -> fingerprints of its rows, in the scratch folder."""

    faces: str
    scratch: str
    crop_size: int

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Writes an array of FINGERPRINT, one entry a row; all zeros where there is no usable crop."""
        watch = Stopwatch()
        with watch.step("read"):
            table = parquet.read_table(place(self.faces), parquet.part_name(number), ["status", "crop.bytes"])
            status, crops = table.column("status").to_pylist(), table.column("crop").to_pylist()
        with watch.step("fingerprint"):
            prints = np.zeros(table.num_rows, dtype=FINGERPRINT)
            for row, crop in enumerate(crops):
                guard.on(row)
                if row in guard.blamed:  # leaving the row out would change what comes of it
                    raise DamagedFile(f"{self.faces}/{parquet.part_name(number)}: reading the crop in row {row} failed")
                if status[row] == Status.OK and crop and crop["bytes"]:
                    prints[row] = scan_crop(crop["bytes"], self.crop_size)
        store(self.scratch, result_name(number), prints)
        return PartReport(counts={"crops": len(prints)}, steps_s=dict(watch.seconds), items=len(prints))


def scan_crop(crop: bytes, size: int) -> tuple[int, int, NDArray[np.uint64]]:
    """(content, coarse, fine) of an encoded crop of `size` px.

    The content is a hash of the bytes: equal pixels in equal settings are encoded to equal bytes.
    """
    content = int.from_bytes(hashlib.blake2b(crop, digest_size=8).digest(), "little") or 1
    flag = next((flag for factor, flag in _SMALL if size // factor >= _CELLS), cv2.IMREAD_GRAYSCALE)
    gray = cv2.imdecode(np.frombuffer(crop, dtype=np.uint8), flag)
    if gray is None:
        return content, 0, np.zeros(4, dtype=np.uint64)
    return (content, *fingerprint(gray))


def result_name(number: int) -> str:
    """Where a part's fingerprints are kept until the stage is done."""
    return f"scan-{number:05d}.npy"


def scan(
    faces: Faces, crop_size: int, scratch: str, execution: Execution, progress: Progress
) -> tuple[NDArray[np.void], dict[str, float]]:
    """The fingerprints of all rows of all parts, and the seconds by step."""
    steps: dict[str, float] = {}

    def on_done(_number: int, report: PartReport) -> None:
        for step, seconds in report.steps_s.items():
            steps[step] = steps.get(step, 0.0) + seconds
        progress.advance(report.items)

    missing = [number for number in faces.parts if not _is_done(scratch, number)]
    rows = sum(sum(parquet.count_rows(faces.place, parquet.part_name(number))) for number in missing)
    progress.start("split", rows, "crops")
    try:
        run_parts(
            ScanJob(faces.place.uri, scratch, crop_size),
            missing,
            execution=execution,
            timeout_s=TIMEOUT_S,
            on_done=on_done,
        )
    finally:
        progress.finish()
    return np.concatenate([load(scratch, result_name(number)) for number in faces.parts]), steps


def _is_done(scratch: str, number: int) -> bool:
    try:
        return bool(load(scratch, result_name(number)).dtype == FINGERPRINT)
    except DamagedFile:
        return False
