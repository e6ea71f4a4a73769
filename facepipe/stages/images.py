"""`split --images DIR`: the pairs as folders of PNG files, for people who want files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.config import SUBSETS
from facepipe.dataset.splitting import name_file, name_folders
from facepipe.execution import Guard, PartReport
from facepipe.media.image import decode
from facepipe.stages.output import Runner, open_output
from facepipe.storage import parquet, place, tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facepipe.config import SplitConfig
    from facepipe.execution.progress import Progress
    from facepipe.storage import Place

FOLDERS = "folders.json"
TIMEOUT_S = 300.0
"""For one crop."""
_OWN = re.compile(rf"({'|'.join(SUBSETS)})/[^/]+/(features|targets)/[^/]+\.png")


@dataclass(frozen=True)
class ImagesJob:
    """Number of a part of the pairs -> its features and targets as PNG files below `images`."""

    pairs: str
    faces: str
    images: str
    scratch: str

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Writes the files that are not there yet; every one of them whole."""
        table = parquet.read_table(place(self.pairs), parquet.part_name(number))
        folders = json.loads(place(self.scratch).read(FOLDERS))
        wanted: dict[int, dict[int, str]] = {}
        for row in table.to_pylist():
            folder = f"{row['subset']}/{folders[row['identity']]}"
            for kind in ("feature", "target"):
                name = f"{folder}/{kind}s/{name_file(row[f'{kind}_key'], '.png')}"
                wanted.setdefault(row[f"{kind}_part"], {})[row[f"{kind}_row"]] = name
        for part, files in sorted(wanted.items()):
            write_crops(place(self.faces), part, files, place(self.images), guard)
        return PartReport(items=table.num_rows)


def write_crops(faces: Place, part: int, files: dict[int, str], out: Place, guard: Guard) -> None:
    """Writes some crops of one part (row -> path), but those that are there."""
    missing = []
    for row in sorted(files):
        guard.on(row)
        if not out.exists(files[row]):
            missing.append(row)
    if not missing:
        return
    crops = tables.take(
        parquet.read_table(faces, parquet.part_names(faces)[part], ["crop.bytes"]), np.array(missing, dtype=np.int64)
    )
    for row, crop in zip(missing, crops.column("crop").to_pylist(), strict=True):
        guard.on(row)
        pixels = cv2.cvtColor(decode(crop["bytes"], max_pixels=1 << 24), cv2.COLOR_RGB2BGR)
        out.write(files[row], cv2.imencode(".png", pixels)[1].tobytes(), durable=False)


def write_images(
    config: SplitConfig, settings: dict[str, Any], parts: int, identities: Iterable[str], progress: Progress
) -> None:
    """Writes `config.images`/<subset>/<identity>/{features,targets}/*.png."""
    with open_output(config.images, settings, config.execution.overwrite, _is_own) as out:
        out.scratch.write(FOLDERS, json.dumps(name_folders(identities)).encode())
        pairs = place(config.output)
        rows = sum(sum(parquet.count_rows(pairs, parquet.part_name(number))) for number in range(parts))
        job = ImagesJob(config.output, config.faces, config.images, out.scratch.uri)
        Runner("split", out, config.execution, TIMEOUT_S, progress)(job, range(parts), rows, "pairs as files")
        out.finish()


def _is_own(path: str) -> bool:
    return bool(_OWN.fullmatch(path))
