"""The pose of the best candidates of every identity, from the dense face mesh on their stored crops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe import parquet, tables
from facepipe.errors import DamagedFile, ImageError
from facepipe.execution import Guard, PartReport, run_parts
from facepipe.execution.stopwatch import Stopwatch
from facepipe.media.image import decode
from facepipe.stages.scratch import load, store
from facepipe.storage import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facepipe.config import SelectConfig
    from facepipe.execution.progress import Progress
    from facepipe.mesh import Mesh
    from facepipe.stages.faces import FaceColumns
    from facepipe.stages.output import Output

CANDIDATES = "candidates.npy"
_COLUMNS = ("bbox", "crop_scale", "crop.bytes")
_MARGIN, _WIDEST = 0.3, 2.0
TIMEOUT_S = 120.0
"""A crop that takes longer than this is skipped."""


@dataclass(frozen=True)
class RefineJob:
    """Part number -> yaw and pitch of its candidates' crops, in the scratch folder."""

    config: SelectConfig
    scratch: str
    crop_size: int
    margin: float | None
    """None: the crops are whole pictures, each with a margin of its own."""

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Reads the candidates' crops of one part and writes (n, 2) float64, NaN where the mesh can't tell."""
        watch = Stopwatch()
        with watch.step("read"):
            rows = candidates_of(load(self.scratch, CANDIDATES), number)
            faces = place(self.config.input)
            table = parquet.read_table(faces, parquet.part_names(faces)[number], _COLUMNS)
            table = tables.take(table, rows)
            margins = self._margins(table)
        with watch.step("pose"):
            poses = np.full((len(rows), 2), np.nan)
            for index, crop in enumerate(table.column("crop").to_pylist()):
                guard.on(index)
                if index not in guard.blamed and crop and crop["bytes"]:
                    poses[index] = estimate(_mesh(self.config.mesh_model), crop["bytes"], margins[index])
        store(self.scratch, result_name(number), poses)
        return PartReport(counts={"crops": len(rows)}, steps_s=dict(watch.seconds), items=len(rows))

    def _margins(self, table: parquet.Table) -> list[float]:
        """Of each crop, what stands around the face on each side, as a share of the face box's side."""
        if self.margin is not None:
            return [self.margin] * table.num_rows
        box = tables.lists(table, "bbox", 4)
        side = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) * tables.numbers(table, "crop_scale")
        margins = (self.crop_size / np.maximum(side, 1) - 1) / 2
        return [float(margin) for margin in np.nan_to_num(margins, nan=_MARGIN).clip(0, _WIDEST)]


@lru_cache(maxsize=1)
def _mesh(model: str) -> Mesh:
    from facepipe.mesh import Mesh

    return Mesh(model)


def estimate(mesh: Mesh, crop: bytes, margin: float) -> tuple[float, float]:
    """Yaw and pitch in degrees of an encoded crop; NaN where they can't be told."""
    try:
        pose = mesh.pose(decode(crop, max_pixels=1 << 24), margin)
    except ImageError:
        return (np.nan, np.nan)
    return (pose.yaw, pose.pitch) if pose is not None else (np.nan, np.nan)


def candidates_of(candidates: NDArray[np.int32], number: int) -> NDArray[np.int32]:
    """Rows of one part among (n, 2) part and row."""
    rows: NDArray[np.int32] = candidates[candidates[:, 0] == number, 1]
    return rows


def result_name(number: int) -> str:
    """Where a part's poses are kept until the stage is done."""
    return f"mesh-{number:05d}.npy"


def refine(
    config: SelectConfig,
    faces_settings: Mapping[str, Any],
    columns: FaceColumns,
    candidates: NDArray[np.int64],
    out: Output,
    progress: Progress,
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Yaw and pitch (n, 2) of the frames `candidates` (indexes into `columns`), and the seconds by step.

    `faces_settings` say how the crops were cut.

    Raises:
        MissingExtra: the mesh is not installed; says how to get it, or to go on without.
    """
    _mesh(config.mesh_model)
    order = np.lexsort((columns.row[candidates], columns.part[candidates]))
    ordered = candidates[order]
    listed = np.stack([columns.part[ordered], columns.row[ordered]], axis=1).astype(np.int32)
    store(out.scratch.uri, CANDIDATES, listed)
    numbers = sorted(set(listed[:, 0].tolist()))
    steps: dict[str, float] = {}

    def on_done(_number: int, report: PartReport) -> None:
        for step, seconds in report.steps_s.items():
            steps[step] = steps.get(step, 0.0) + seconds
        progress.advance(report.items, report.counts)

    missing = [number for number in numbers if not _is_done(out.scratch.uri, number, listed)]
    progress.start("select", int(np.isin(listed[:, 0], missing).sum()), "crops")
    try:
        margin = None if faces_settings.get("cropped") else float(faces_settings.get("margin", _MARGIN))
        job = RefineJob(config, out.scratch.uri, int(faces_settings.get("crop_size", 128)), margin)
        run_parts(job, missing, execution=config.execution, timeout_s=TIMEOUT_S, on_done=on_done)
    finally:
        progress.finish()
    poses = np.empty((len(candidates), 2))
    found = [load(out.scratch.uri, result_name(number)) for number in numbers]
    poses[order] = np.concatenate(found) if found else np.empty((0, 2))
    return poses, steps


def _is_done(scratch: str, number: int, listed: NDArray[np.int32]) -> bool:
    try:
        return bool(load(scratch, result_name(number)).shape == (len(candidates_of(listed, number)), 2))
    except DamagedFile:
        return False
