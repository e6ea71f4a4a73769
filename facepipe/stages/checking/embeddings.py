"""The embeddings: one for every usable face whose landmarks are known, of these faces and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.config import EMBED
from facepipe.errors import AS_BEFORE, FacepipeError
from facepipe.face.identity import SIZE
from facepipe.stages import embed
from facepipe.stages.checking.folder import Problem, check_folder, problem, read_or_tell
from facepipe.stages.faces import open_faces
from facepipe.storage import parquet, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facepipe.stages.faces import Faces
    from facepipe.storage import Place


def check_embeddings(folder: Place, faces: Place | None, advance: Callable[[], None]) -> Iterator[Problem]:
    """Everything about a folder of embeddings; with the faces also that they are of these."""
    there = parquet.part_names(folder)
    whole = _open(faces)
    yield from check_folder(folder, embed.part_names(whole) if whole else there, EMBED)
    of = dict(zip(embed.part_names(whole), whole.names, strict=True)) if whole else {}
    for name in there:
        found: list[Problem] = []
        table = read_or_tell(folder, name, parquet.EMBEDDINGS.names, found)
        if table is not None:
            length = np.linalg.norm(tables.lists(table, "embedding", SIZE), axis=1)
            if not np.allclose(length, 1, atol=1e-3):
                found.append(problem(folder, name, "it holds something else than embeddings of length 1"))
            if whole and name not in of:
                found.append(problem(folder, name, f"it is of other faces; run `facepipe embed` again {AS_BEFORE}"))
            elif whole and table.column("key").to_pylist() != _keys(whole, of[name]):
                found.append(problem(folder, name, f"its keys are not the usable faces of {of[name]}"))
        yield from found
        advance()


def _open(faces: Place | None) -> Faces | None:
    try:
        return open_faces(faces.uri) if faces is not None else None
    except FacepipeError:  # said where the faces are checked
        return None


def _keys(faces: Faces, name: str) -> list[str]:
    try:
        keys: list[str] = embed.read_usable(faces.place, name, ("key", "status", "landmarks")).column("key").to_pylist()
    except FacepipeError:  # likewise
        return []
    return keys
