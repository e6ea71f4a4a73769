"""Photographs -> frontal faces, by an autoencoder, or by a generic head that is laid onto each face and turned back.

Photographs go through the real `extract`, which cuts faces out as those that the run was taught on.
"""

from __future__ import annotations

import json
import os
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import facepipe
from facepipe.errors import InputError
from facepipe.face.crop import points_in_crop
from facepipe.face.turning import turn_to_front
from train.data import decoded, read_examples, read_image
from train.files import reading_back, whole_file
from train.pictures import find_nearest, grid, png, to_uint8
from train.runs import CROPS
from train.shards import ImageView, NoShards, examples_of, find_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from facepipe.records import Image
    from train.config import AutoencoderConfig
    from train.runs import Run

EXAMPLES_READ = 20_000
"""Among the targets of so many examples the nearest one is looked for."""
FAR_DEG = 45.0
"""Faces turned further are often taken for somebody else's, and profiles may look grotesque, whatever draws them."""
CROP = 128
"""px of a crop, at least."""
SHEET_COLUMNS, SHEET_TILE = 8, 128
"""Faces side by side, and px of each at least."""


class Crop(NamedTuple):
    """A face cut out: (s, s, 3) uint8 RGB. landmarks: (5, 2) px. Angles in degrees, NaN where they are unknown."""

    image: Image
    landmarks: NDArray[np.float32]
    yaw: float
    pitch: float
    angle: float


class Method(NamedTuple):
    """What draws frontal faces.

    size: px, least of a crop. cut: options of `extract` for it. draw: crops -> what it is shown and what it draws, both
    (n, s, s, c) uint8. targets: faces that it learned to draw, likewise.
    """

    size: int
    cut: dict[str, Any]
    draw: Callable[[list[Crop]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    targets: NDArray[np.uint8]


def learned(run: Run, checkpoint: str) -> Method:
    """An autoencoder's `Run`; checkpoint: best or last."""
    from train.apply import model_face  # with it comes a framework, which `mesh` does without
    from train.trained import Trained

    trained = Trained(run, checkpoint)

    def draw(crops: list[Crop]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        faces = np.stack([model_face(crop.image, trained.config) for crop in crops])
        return faces, to_uint8(trained.reconstruct(faces))

    return Method(trained.config.input_size, _taught_on(run), draw, _targets(run, trained.config))


def mesh() -> Method:
    """No learning: `facepipe.face.turning`. A face of unknown pose stays as it is."""

    def front(crop: Crop) -> Image:
        return crop.image if np.isnan(crop.yaw) else turn_to_front(*crop[:4]).image

    def draw(crops: list[Crop]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return np.stack([crop.image for crop in crops]), np.stack([front(crop) for crop in crops])

    return Method(CROP, {}, draw, np.zeros((0, CROP, CROP, 3), np.uint8))


def reconstruct(
    run: Run | None, images: Sequence[str], output: str, checkpoint: str, say: Callable[[str], None]
) -> list[Path]:
    """Writes one PNG a face, named after its photograph; a second face's name ends in -2. Then `sheet.png` of all.

    Args:
        run: An autoencoder's; None: `mesh` draws.
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
    method = learned(run, checkpoint) if run else mesh()
    written: list[Path] = []
    inputs, outputs = [], []
    for path, found in zip(images, _crops(images, method), strict=True):
        if isinstance(found, str):
            say(f"{path}: {found}")
            continue
        shown, drawn = method.draw(found)
        inputs += list(shown)
        outputs += list(drawn)
        for number, face in enumerate(drawn):
            target = _free(Path(output), Path(path).stem, number + 1, written)
            with whole_file(target) as file:
                file.write(png(face))
            written.append(target)
            say(f"{path}: {target}, {_tell_turn(found[number].angle)}")
    if not written:
        raise InputError("no usable face in any of the photographs; faces of 40 px and more are found")
    sheet = _free(Path(output), "sheet", 1, written)
    with whole_file(sheet) as file:
        file.write(_draw_sheet(inputs, outputs, method.targets))
    beside = ", below it the nearest face that it learned to draw" if len(method.targets) else ""
    say(f"look at {sheet}: each face, and what becomes of it{beside}")
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


def _crops(images: Sequence[str], method: Method) -> list[list[Crop] | str]:
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
                crop_size=max(CROP, method.size),
                **method.cut,
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
        return [_crop(row) for row in usable]
    # Errors name options of `extract`, which is not the command that was given.
    said = [row["error"].replace(" --", " ") or row["status"].replace("_", " ") for row in rows]
    return said[0] if said else "not a photograph"


def _crop(row: dict) -> Crop:
    image = decoded(row["crop"]["bytes"], row["path"])
    found = row["landmarks"] or [np.nan] * 10  # of a picture that is a crop already there may be none
    points = np.asarray(points_in_crop(found, row["transform"]), np.float32)
    return Crop(image, points, row["yaw"], row["pitch"], row["frontal_angle"])
