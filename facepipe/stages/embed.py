"""Whose face each is: an embedding a usable face, out of the crops that `extract` stored."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.config import EMBED
from facepipe.errors import AS_BEFORE, DamagedFile
from facepipe.execution import Guard, PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.face.crop import points_in_crop
from facepipe.face.identity import BATCH, SIZE, WEIGHTS, make_identity
from facepipe.records import StageReport, Status
from facepipe.stages.faces import open_faces
from facepipe.stages.output import Runner, foresee, open_output
from facepipe.stages.runfile import write_run_file
from facepipe.storage import parquet, place, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.config import EmbedConfig
    from facepipe.execution.progress import Progress
    from facepipe.records import Image
    from facepipe.stages.faces import Faces
    from facepipe.storage import Place

TIMEOUT_S = 120.0
"""For a few crops: a machine that needs longer has stopped."""
_COLUMNS = ("key", "status", "landmarks", "transform", "crop.bytes")


def run(config: EmbedConfig, progress: Progress) -> StageReport:
    """Makes `config.output`: `part-*.parquet`, `settings.json`, `checksums.sha256`, `run.json`.

    Raises:
        Incomplete: parts of the faces are missing.
        SettingsChanged: the embeddings were made by another network.
    """
    started = time.monotonic()
    faces, settings = open_faces(config.input), {"stage": EMBED, "model": network_digest()}
    names = part_names(faces)
    report = StageReport(EMBED, outputs={"embeddings": config.output})
    if config.execution.dry_run:
        foresee(config.output, settings, config.execution.overwrite)
        report.notes.append(f"dry run: would read {len(names):,} parts of {config.input}")
        return report
    with open_output(config.output, settings, config.execution.overwrite, parquet.is_part) as out:
        missing = [number for number in faces.parts if not out.has(names[number])]
        report.done_before = len(names) - len(missing)
        job = EmbedJob(config.input, tuple(faces.names), config.output, tuple(names))
        run = Runner(EMBED, out, config.execution, TIMEOUT_S, progress)
        run(job, missing, sum(faces.count_rows(number) for number in missing), "faces")
        for entry in list(out.place.list()):  # of faces that are no more
            if parquet.is_part(entry.path) and entry.path not in names:
                out.place.delete(entry.path)
        out.finish()
        usable = sum(part.counts[Status.OK] for part in faces.listed)
        embedded = sum(sum(parquet.count_rows(out.place, name)) for name in names)
        report.counts = {"embeddings": embedded, "faces without landmarks": usable - embedded}
        report.steps_s, report.wall_s = dict(run.steps), time.monotonic() - started
        write_run_file(out.place, config, report, {})
    return report


@lru_cache(maxsize=1)
def network_digest() -> str:
    """A hash of the network's weights."""
    return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16]


def part_names(faces: Faces) -> list[str]:
    """The embeddings' part of each part of the faces, named after its content: being there is being done."""
    made_from = (f"{network_digest()} {part.sha256}".encode() for part in faces.listed)
    return [f"part-{hashlib.sha256(one).hexdigest()[:16]}.parquet" for one in made_from]


@dataclass(frozen=True)
class EmbedJob:
    """Number of a part of the faces -> its embeddings."""

    faces: str
    names: tuple[str, ...]
    output: str
    made: tuple[str, ...]

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Makes the part and writes it whole."""
        watch = Stopwatch()
        folder, name = place(self.faces), self.names[number]
        with watch.step("read"):
            table = read_usable(folder, name)
        keys, found = table.column("key").to_pylist(), np.zeros((table.num_rows, SIZE), np.float32)
        for start in range(0, table.num_rows, BATCH):
            guard.on(start)
            if start in guard.blamed:
                raise DamagedFile(f"{folder}/{name}: reading the crop of {keys[start]!r} or of one after it failed")
            with watch.step("decode"):
                crops, points = read_crops(tables.take(table, np.arange(start, min(start + BATCH, table.num_rows))))
            with watch.step("embed"):
                found[start : start + BATCH] = make_identity().embed(crops, points)
        guard.off()
        with watch.step("write"):
            made = tables.make_table(parquet.EMBEDDINGS, {"key": keys, "embedding": list(found)})
            digest = parquet.write_table(place(self.output), self.made[number], made)
        rows = int(sum(parquet.count_rows(folder, name)))
        return PartReport(steps_s=dict(watch.seconds), items=rows, files={self.made[number]: digest})


def read_usable(folder: Place, name: str, columns: Sequence[str] = _COLUMNS) -> parquet.Table:
    """The usable faces of a part whose landmarks are known."""
    table = parquet.read_table(folder, name, columns)
    known = np.isfinite(tables.lists(table, "landmarks", 10)).all(axis=1)
    return tables.take(table, np.flatnonzero(tables.equal(table, "status", Status.OK) & known))


def read_crops(table: parquet.Table) -> tuple[list[Image], list[NDArray[np.float32]]]:
    """Crops (size, size, 3) uint8 RGB, and the landmarks (5, 2) in them, px.

    Raises:
        DamagedFile: a crop is no picture.
    """
    matrices, points = tables.lists(table, "transform", 6), tables.lists(table, "landmarks", 10)
    crops: list[Image] = []
    for key, crop in zip(table.column("key").to_pylist(), table.column("crop").to_pylist(), strict=True):
        image = cv2.imdecode(np.frombuffer(crop["bytes"], np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise DamagedFile(f"the crop of {key!r} is no picture; run `facepipe extract` again {AS_BEFORE}")
        crops.append(np.asarray(image, np.uint8))
    return crops, [points_in_crop(p, m).astype(np.float32) for p, m in zip(points, matrices, strict=True)]
