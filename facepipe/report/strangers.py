"""Crops that look more like somebody else than like the others of their identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facepipe.config import GUARD
from facepipe.dataset.grouping import SAME_PICTURE, find_most_alike, nearest_of_others
from facepipe.dataset.outliers import FEWEST, judge_faces
from facepipe.inputs.fingerprints import Fingerprints, read_fingerprints
from facepipe.records import Status
from facepipe.report.doubts import RULE
from facepipe.report.embedding import Embedder
from facepipe.report.pictures import decode_crop
from facepipe.report.readings import read_embeddings
from facepipe.storage import parquet, place, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.storage import Place

LISTED = 24
OF_A_VIDEO = 3
"""Frames of one video are much alike: more of them would hide the rest."""
_MOST_FACES = 5_000
SIZE = 128
"""Numbers of an embedding."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A crop to look at. nearest: whom it looks like. margin: how much more, in cosine similarity. picture: encoded.

    more: how many further frames of its video are not shown, told with the last that is.
    """

    key: str
    identity: str
    nearest: str
    margin: float
    picture: bytes
    more: int = 0


def show_strangers(data: str, fingerprints: str = "", embedder: str = "") -> list[Stranger]:
    """The clearest cases, by what `facepipe embed` wrote, by fingerprints, or by a model over a sample of the crops.

    Raises:
        InputError: the fingerprints or the model can't be read.
    """
    faces = place(data).join("faces")
    if fingerprints or embedder:
        known = read_fingerprints(fingerprints) if fingerprints else _embed(faces, Embedder(embedder))
        found = find_strangers(known, _MOST_FACES)
    else:
        known = _read_known(data)
        found = find_unlike(known)
    videos = _read_videos(faces, [known.keys[row] for row, _, _ in found])
    # A key that is not among the faces is of another workspace.
    found = [entry for entry in found if known.keys[entry[0]] in videos]
    kept = thin_out([(known.identities[row], videos[known.keys[row]]) for row, _, _ in found])[:LISTED]
    pictures = _read_pictures(faces, [known.keys[found[at][0]] for at, _ in kept])
    strangers = []
    for at, more in kept:
        row, nearest, margin = found[at]
        if known.keys[row] in pictures:
            picture = pictures[known.keys[row]]
            strangers.append(Stranger(known.keys[row], known.identities[row], nearest, margin, picture, more))
    return strangers


def _read_known(data: str) -> Fingerprints:
    """What `facepipe embed` wrote of the faces in a workspace; nothing where it did not run."""
    table, faces = read_embeddings(place(data).join("embeddings")), place(data).join("faces")
    if table is None:
        return Fingerprints([], [], np.zeros((0, SIZE), np.float32))
    whose: dict[str, str] = {}
    for _, part in parquet.iterate_parts(faces, ("key", "identity"), parquet.parts_there(faces)):
        whose |= dict(zip(part.column("key").to_pylist(), part.column("identity").to_pylist(), strict=True))
    keys: list[str] = table.column("key").to_pylist()
    rows = [row for row, key in enumerate(keys) if key in whose]
    vectors = tables.lists(table, "embedding", SIZE)[rows]
    return Fingerprints([keys[row] for row in rows], [whose[keys[row]] for row in rows], vectors)


def find_unlike(known: Fingerprints) -> list[tuple[int, str, float]]:
    """Row, what it looks like instead, and how clear it is, of faces unlike the others of their identity.

    Those whose very picture is under another name come first, then those least alike. Identities of fewer than three
    faces are told only where a picture has two names.
    """
    names, of = np.unique(np.array(known.identities, dtype=object).astype(str), return_inverse=True)
    similarity = judge_faces(known.vectors, of, len(names)).similarity
    few = np.bincount(of)[of] < FEWEST if len(of) else np.zeros(0, bool)
    rows = np.flatnonzero(few | (similarity < GUARD))
    nearest, alike = nearest_of_others(known.vectors, of, rows)
    found = []
    for row, other, shared in zip(rows.tolist(), nearest.tolist(), alike.tolist(), strict=True):
        if shared >= SAME_PICTURE:
            found.append(
                (row, f"{names[of[other]]}: the same picture is there, or its neighbour ({shared:.3f})", 1 + shared)
            )
        elif not few[row]:
            told = f"{names[of[other]]} ({shared:.3f}): similarity to the others {similarity[row]:.3f}; {RULE}"
            found.append((row, told, 1 - float(similarity[row])))
    return sorted(found, key=lambda one: -one[2])


def thin_out(videos: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Places of at most three of each (identity, video), with how many more follow; stills, of no video, all stay."""
    of: dict[tuple[str, str], list[int]] = {}
    for at, name in enumerate(videos):
        of.setdefault(name if name[1] else (name[0], f"\0{at}"), []).append(at)
    kept = [
        (at, len(places) - OF_A_VIDEO if number == OF_A_VIDEO - 1 else 0)
        for places in of.values()
        for number, at in enumerate(places[:OF_A_VIDEO])
    ]
    return sorted(kept)


def find_strangers(known: Fingerprints, count: int) -> list[tuple[int, str, float]]:
    """Row, nearest other identity, and margin of faces that are closer to another identity's mean than to their own's.

    Similarity is the cosine after the mean of all faces is taken off; a face's own mean leaves the face itself out.
    Identities of fewer than three faces say nothing. The largest margins first, `count` at most.
    """
    names, of = np.unique(np.array(known.identities, dtype=object).astype(str), return_inverse=True)
    sizes = np.bincount(of, minlength=len(names))
    vectors = _unit(known.vectors - known.vectors.mean(axis=0)) if len(known.vectors) else known.vectors
    sums = np.zeros((len(names), vectors.shape[1]), np.float32)
    np.add.at(sums, of, vectors)
    large = np.flatnonzero(sizes >= FEWEST)
    rows = np.flatnonzero(np.isin(of, large))
    if len(large) < 2:
        return []
    own = (_unit(sums[of[rows]] - vectors[rows]) * vectors[rows]).sum(axis=1)

    def hide(products: NDArray[np.float32], block: NDArray[np.int64]) -> None:
        products[of[block, None] == large[None]] = -np.inf

    nearest, other = find_most_alike(vectors, rows, _unit(sums[large]), hide)
    margin = other - own
    order = [at for at in np.lexsort((rows, -margin)) if margin[at] > 0][:count]
    return [(int(rows[at]), str(names[large[nearest[at]]]), float(margin[at])) for at in order]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _embed(faces: Place, embedder: Embedder) -> Fingerprints:
    """Usable crops of parts at even distances, 5,000 at most, through the model."""
    parts = parquet.parts_there(faces)
    chosen = [parts[int(at)] for at in np.unique(np.linspace(0, len(parts) - 1, min(len(parts), 32)).astype(int))]
    keys: list[str] = []
    identities: list[str] = []
    vectors = []
    for part in chosen:
        rows = [
            row
            for row in parquet.read_table(faces, part, ["key", "identity", "status", "crop"]).to_pylist()
            if row["status"] == Status.OK and row["crop"]
        ][: max(_MOST_FACES // len(chosen), 1)]
        keys += [row["key"] for row in rows]
        identities += [row["identity"] for row in rows]
        vectors += [embedder.embed(decode_crop(row["crop"]["bytes"], embedder.side)) for row in rows]
    return Fingerprints(keys, identities, np.array(vectors, dtype=np.float32).reshape(len(keys), -1))


def _read_videos(faces: Place, keys: Sequence[str]) -> dict[str, str]:
    """The videos of some keys; keys that are not among the faces are left out."""
    videos: dict[str, str] = {}
    for _, table in parquet.iterate_parts(faces, ("key", "video"), parquet.parts_there(faces)) if keys else ():
        at = tables.find(table, "key", keys)
        names = table.column("video")
        videos |= {key: names[row].as_py() for key, row in zip(keys, at.tolist(), strict=True) if row >= 0}
    return videos


def _read_pictures(faces: Place, keys: Sequence[str]) -> dict[str, bytes]:
    """The crops of some keys; keys that are not among the faces are left out."""
    pictures: dict[str, bytes] = {}
    for part in parquet.parts_there(faces):
        if len(pictures) == len(keys):
            break
        at = tables.find(parquet.read_table(faces, part, ["key"]), "key", keys)
        if (at >= 0).any():
            column = parquet.read_table(faces, part, ["crop.bytes"]).column("crop")
            crops = {key: column[row].as_py() for key, row in zip(keys, at.tolist(), strict=True) if row >= 0}
            pictures |= {key: crop["bytes"] for key, crop in crops.items() if crop}
    return pictures
