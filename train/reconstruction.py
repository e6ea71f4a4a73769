"""An autoencoder at work: photographs -> frontal faces.

Photographs go through the real `extract`, which cuts faces out as those that the run was taught on.
"""

from __future__ import annotations

import json
import os
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import facepipe
from facepipe.errors import InputError
from train.apply import decoded, model_face
from train.data import read_examples, read_image
from train.files import reading_back, whole_file
from train.metrics.images import find_nearest
from train.pictures import grid, png, to_uint8
from train.runs import CROPS
from train.shards import ImageView, NoShards, examples_of, find_shards
from train.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.runs import Run

Crop = tuple["NDArray[np.uint8]", float]
"""(s, s, 3), and the degrees between where the face looks and the camera; NaN where that is unknown."""
EXAMPLES_READ = 20_000
"""Among the targets of so many examples the nearest one is looked for."""
FAR_DEG = 45.0
"""Faces turned further are often taken for somebody else's, and profiles may look grotesque, whatever draws them."""
SHEET_COLUMNS, SHEET_TILE = 8, 128
"""Faces side by side, and px of each at least."""


def reconstruct(
    run: Run, images: Sequence[str], output: str, checkpoint: str, say: Callable[[str], None]
) -> list[Path]:
    """Writes one PNG a face, named after its photograph; a second face's name ends in -2. Then `sheet.png` of all.

    Faces are cut out as those that the run was taught on.

    Args:
        run: An autoencoder's `Run`.
        images: Paths of photographs.
        output: The folder to write into.
        checkpoint: best or last.
        say: Takes a line a picture, and one for each photograph without a usable face.

    Raises:
        InputError: A photograph is missing, or none has a usable face.
    """
    for path in images:
        if not os.path.isfile(path):
            raise InputError(f"{path} is no file; give photographs")
    trained = Trained(run, checkpoint)
    written: list[Path] = []
    inputs, outputs = [], []
    for path, found in zip(images, _crops(images, trained.config.input_size, _taught_on(run)), strict=True):
        if isinstance(found, str):
            say(f"{path}: {found}")
            continue
        faces = np.stack([model_face(crop, trained.config) for crop, _ in found])
        drawn = to_uint8(trained.reconstruct(faces))
        inputs += list(faces)
        outputs += list(drawn)
        for number, face in enumerate(drawn):
            target = _free(Path(output), Path(path).stem, number + 1, written)
            with whole_file(target) as file:
                file.write(png(face))
            written.append(target)
            say(f"{path}: {target}, {_tell_turn(found[number][1])}")
    if not written:
        raise InputError("no usable face in any of the photographs; faces of 40 px and more are found")
    targets = _targets(run, trained.config)
    sheet = _free(Path(output), "sheet", 1, written)
    with whole_file(sheet) as file:
        file.write(_draw_sheet(inputs, outputs, targets))
    beside = ", below it the nearest face that it learned to draw" if len(targets) else ""
    say(f"look at {sheet}: each face, and what the model makes of it{beside}")
    return written


def _tell_turn(angle: float) -> str:
    if angle != angle:  # noqa: PLR0124 - NaN
        return "of a face of unknown pose: it may be anybody's"
    guessed = ": much of it is guessed" if angle > FAR_DEG else ""
    return f"of a face {angle:.0f} degrees from frontal{guessed}"


def _targets(run: Run, config: AutoencoderConfig) -> NDArray[np.uint8]:
    """The different frontal faces that the run was taught on, of its first examples; none where these have moved."""
    try:
        shards = find_shards(run.settings["shards"], examples_of(run))
    except NoShards:
        return np.zeros((0, config.output_size, config.output_size, config.channels), np.uint8)
    view = ImageView("target", config.output_size, config.channels)
    examples = islice(read_examples(shards, "train"), EXAMPLES_READ)
    return np.stack([read_image(face, shards, view) for face in dict.fromkeys(one["target"][0] for one in examples)])


def _draw_sheet(inputs: list[NDArray[np.uint8]], outputs: list[NDArray[np.uint8]], targets: NDArray[np.uint8]) -> bytes:
    """PNG: a column a face, its input, its output and the target nearest to that; more than fit go below."""
    rows = [np.stack(inputs), np.stack(outputs)]
    rows += [targets[find_nearest(rows[1], targets)]] if len(targets) else []
    parts = range(0, len(inputs), SHEET_COLUMNS)
    return png(grid([row[start : start + SHEET_COLUMNS] for start in parts for row in rows], SHEET_TILE))


def _free(folder: Path, stem: str, number: int, taken: list[Path]) -> Path:
    """A name of its own, also where two folders hold photographs of one name."""
    name, tries = stem + (f"-{number}" if number > 1 else ""), 1
    while (path := folder / f"{name}.png") in taken:
        tries += 1
        name = f"{stem}-{number}-{tries}"
    return path


def _taught_on(run: Run) -> dict[str, Any]:
    """The options of `extract` that cut out what the run was taught on; of an older run nothing is known."""
    path = run.folder / CROPS
    try:
        with reading_back(path):
            return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def _crops(images: Sequence[str], size: int, options: dict[str, Any]) -> list[list[Crop] | str]:
    """For each photograph its faces, from the left to the right, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "images")
        inputs.mkdir()
        for number, path in enumerate(images):
            (inputs / f"{number:06d}{Path(path).suffix}").symlink_to(Path(path).resolve())
        try:
            facepipe.extract(
                input=str(inputs),
                output=f"{folder}/faces",
                layout="flat",
                face="all",
                crop_size=max(128, size),
                **options,
                max_failed=1.0,
                execution=facepipe.Execution(workers=1),
            )
        except InputError:  # by their names none is a photograph
            return [_of_one([]) for _ in images]
        rows = facepipe.open_faces(f"{folder}/faces").to_table().to_pylist()
    of: dict[str, list[dict]] = {}
    for row in rows:
        of.setdefault(Path(row["path"]).stem, []).append(row)
    return [_of_one(of.get(f"{number:06d}", [])) for number in range(len(images))]


def _of_one(rows: list[dict]) -> list[Crop] | str:
    usable = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: row["bbox"][0])
    if usable:
        return [(decoded(row["crop"]["bytes"], row["path"]), row["frontal_angle"]) for row in usable]
    # Errors name options of `extract`, which is not the command that was given.
    said = [row["error"].replace(" --", " ") or row["status"].replace("_", " ") for row in rows]
    return said[0] if said else "not a photograph"
