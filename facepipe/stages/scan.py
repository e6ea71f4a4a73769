"""What every usable crop looks like, in a few bytes, for finding duplicates: one array a part of the faces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.dataset.duplicates import HASHES, SIDE, hash_pictures
from facepipe.errors import DamagedFile
from facepipe.execution import Guard, PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.records import Status
from facepipe.stages.output import Runner
from facepipe.storage import parquet, place
from facepipe.storage.scratch import load, store
from facepipe.storage.settings import read_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.config import Execution
    from facepipe.execution.progress import Progress
    from facepipe.stages.faces import Faces
    from facepipe.stages.output import Output

TIMEOUT_S = 120.0
_CROP_SIZE = 128
_SMALL = ((8, cv2.IMREAD_REDUCED_GRAYSCALE_8), (4, cv2.IMREAD_REDUCED_GRAYSCALE_4), (2, cv2.IMREAD_REDUCED_GRAYSCALE_2))


@dataclass(frozen=True)
class ScanJob:
    """Part number -> perceptual hashes of its rows, in the scratch folder."""

    faces: str
    scratch: str
    crop_size: int

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Writes an array of HASHES, one entry a row; all zeros where there is no usable crop."""
        watch = Stopwatch()
        with watch.step("read"):
            faces = place(self.faces)
            name = parquet.part_names(faces)[number]
            table = parquet.read_table(faces, name, ["status", "crop.bytes"])
            status, crops = table.column("status").to_pylist(), table.column("crop").to_pylist()
        with watch.step("hash"):
            rows = [r for r, crop in enumerate(crops) if status[r] == Status.OK and crop and crop["bytes"]]
            hashes = np.zeros(table.num_rows, dtype=HASHES)
            grays = np.zeros((len(rows), SIDE, SIDE), dtype=np.uint8)
            for index, row in enumerate(rows):
                guard.on(row)
                if row in guard.blamed:  # leaving the row out would change what comes of it
                    raise DamagedFile(f"{self.faces}/{name}: reading the crop in row {row} failed")
                hashes["content"][row] = hash_content(crops[row]["bytes"])
                grays[index] = decode_small(crops[row]["bytes"], self.crop_size)
            hashes["coarse"][rows], hashes["fine"][rows] = hash_pictures(grays)
        store(self.scratch, result_name(number), hashes)
        return PartReport(steps_s=dict(watch.seconds), items=len(hashes))


def hash_content(crop: bytes) -> int:
    """A hash of an encoded crop, never 0. Equal pixels in equal settings are encoded to equal bytes."""
    return int.from_bytes(hashlib.blake2b(crop, digest_size=8).digest(), "little") or 1


def decode_small(crop: bytes, size: int) -> NDArray[np.uint8]:
    """(SIDE, SIDE) uint8 gray of an encoded crop of `size` px; black where it can't be decoded."""
    flag = next((flag for factor, flag in _SMALL if size // factor >= SIDE), cv2.IMREAD_GRAYSCALE)
    gray = cv2.imdecode(np.frombuffer(crop, dtype=np.uint8), flag)
    if gray is None:
        return np.zeros((SIDE, SIDE), dtype=np.uint8)
    if gray.shape != (SIDE, SIDE):
        gray = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(gray, dtype=np.uint8)


def result_name(number: int) -> str:
    """Where a part's perceptual hashes are kept until the stage is done."""
    return f"scan-{number:05d}.npy"


def scan_faces(
    faces: Faces, out: Output, execution: Execution, progress: Progress
) -> tuple[NDArray[np.void], dict[str, float]]:
    """The perceptual hashes of all rows, and the seconds by step; what is done lies in the scratch folder."""
    crop_size, scratch = read_settings(faces.place).get("crop_size", _CROP_SIZE), out.scratch.uri
    missing = [number for number in faces.parts if not _is_done(scratch, number)]
    run = Runner("scan", out, execution, TIMEOUT_S, progress)
    job = ScanJob(faces.place.uri, scratch, crop_size)
    run(job, missing, sum(faces.count_rows(number) for number in missing), "crops")
    return np.concatenate([load(scratch, result_name(number)) for number in faces.parts]), dict(run.steps)


def _is_done(scratch: str, number: int) -> bool:
    try:
        return bool(load(scratch, result_name(number)).dtype == HASHES)
    except DamagedFile:
        return False
