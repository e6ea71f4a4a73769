"""Photographs -> frontal faces: found by the real `extract`, drawn by the autoencoder."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import facepipe
from facepipe.errors import DamagedFile, InputError
from train.fingerprints import decoded, model_face
from train.pictures import png, to_uint8
from train.runs import CROPS, whole_file
from train.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from train.runs import Run


def reconstruct(
    run: Run, images: Sequence[str], output: str, checkpoint: str, say: Callable[[str], None]
) -> list[Path]:
    """Writes one PNG a face, named after its photograph; a second face's name ends in -2.

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
    for path, found in zip(images, _crops(images, trained.config.input_size, _taught_on(run)), strict=True):
        if isinstance(found, str):
            say(f"{path}: {found}")
            continue
        faces = trained.reconstruct(np.stack([model_face(crop, trained.config) for crop in found]))
        for number, face in enumerate(faces, 1):
            target = _free(Path(output), Path(path).stem, number, written)
            with whole_file(target) as file:
                file.write(png(to_uint8(face)))
            written.append(target)
            say(f"{path}: {target}")
    if not written:
        raise InputError("no usable face in any of the photographs; faces of 40 px and more are found")
    return written


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
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise DamagedFile(f"{path} does not read back ({error}); train again with --overwrite") from error


def _crops(images: Sequence[str], size: int, options: dict[str, Any]) -> list[list[NDArray[np.uint8]] | str]:
    """For each photograph its faces' crops (s, s, 3), from the left to the right, or why there is none."""
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


def _of_one(rows: list[dict]) -> list[NDArray[np.uint8]] | str:
    usable = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: row["bbox"][0])
    if usable:
        return [decoded(row["crop"]["bytes"], row["path"]) for row in usable]
    # Errors name options of `extract`, which is not the command that was given.
    said = [row["error"].replace(" --", " ") or row["status"].replace("_", " ") for row in rows]
    return said[0] if said else "not a photograph"
