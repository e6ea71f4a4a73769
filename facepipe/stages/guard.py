"""`select --guard`: faces that are unlike their person's others, people who are two, and two who are one.

What knows the network is loaded where it is needed: nothing of it is where nobody asks for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.dataset.outliers import FEWEST, find_same, judge_faces
from facepipe.errors import AS_BEFORE, Incomplete, InputError, SettingsChanged
from facepipe.stages.leftout import Why
from facepipe.storage import parquet, place, tables
from facepipe.storage.settings import settings_or_empty

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.stages.faces import Faces
    from facepipe.stages.frames import Groups
    from facepipe.storage import Place

IDENTITIES = "identities.parquet"
_NAMED = 5


class Verdict(StrEnum):
    """The column `verdict`."""

    ONE = "one person"
    TWO = "two people"
    FEW = "too few faces"


def apply_guard(groups: Groups, faces: Faces, embeddings: str, threshold: float) -> parquet.Table:
    """Leaves out the faces less like their identity's median than `threshold`; gives the table of identities.

    Raises:
        InputError: there are no embeddings.
        SettingsChanged: another network made them.
        Incomplete: they are of other faces.
    """
    person, names = tables.codes(groups.columns.table, "identity")
    rows, vectors = _read_embeddings(groups, faces, embeddings)
    judged = judge_faces(vectors, person[rows], len(names))
    similarity = np.full(len(person), np.nan, np.float32)
    similarity[rows] = judged.similarity
    groups.leave_out(Why.GUARD, similarity < threshold, similarity)
    return _make_table(groups, names, person, rows, judged)


def network() -> str:
    """The network that embeddings must be of."""
    from facepipe.stages.embed import network_digest

    return network_digest()


def _read_embeddings(groups: Groups, faces: Faces, uri: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The usable rows that have an embedding, in their order, and the embeddings."""
    from facepipe.face.identity import SIZE

    folder, names = _open(uri, faces)
    rows, vectors = [np.zeros(0, np.int64)], [np.zeros((0, SIZE), np.float32)]
    for _, table in parquet.iterate_parts(folder, parquet.EMBEDDINGS.names, names):
        at = tables.find(groups.columns.table, "key", table.column("key").to_pylist())
        wanted = np.flatnonzero(groups.usable[at] & (at >= 0))
        rows.append(at[wanted])
        vectors.append(tables.lists(tables.take(table, wanted), "embedding", SIZE))
    return np.concatenate(rows), np.concatenate(vectors)


def _open(uri: str, faces: Faces) -> tuple[Place, list[str]]:
    from facepipe.stages.embed import part_names

    folder = place(uri)
    there = {entry.path for entry in folder.list()} if folder.exists() else set()
    if not any(map(parquet.is_part, there)):
        raise InputError(f"{folder} holds no embeddings; run `facepipe embed` first, or give another --embeddings")
    if settings_or_empty(folder).get("model") != network():
        raise SettingsChanged(f"{folder} was made by another network; run `facepipe embed --overwrite`")
    names = part_names(faces)
    if missing := len(set(names) - there):
        what = f"the embeddings of {missing:,} of the {len(names):,} parts of {faces.place}"
        raise Incomplete(f"{folder} lacks {what}; run `facepipe embed` again {AS_BEFORE}")
    return folder, names


def _make_table(
    groups: Groups, names: list[str], person: NDArray[np.int64], rows: NDArray[np.int64], judged: Any
) -> parquet.Table:
    """A row an identity, sorted."""
    counts = np.bincount(person[rows], minlength=len(names))
    left_out = np.bincount(person[groups.left_out()[Why.GUARD]], minlength=len(names))
    same: dict[int, tuple[int, float]] = {}
    for a, b, alike in find_same(judged.medians):  # the most alike first
        same.setdefault(a, (b, alike))
        same.setdefault(b, (a, alike))
    second = rows[judged.second]
    keys = tables.take(groups.columns.table.select(["key"]), second).column("key").to_pylist()
    second_keys: dict[int, list[str]] = {}
    for number, key in zip(person[second].tolist(), keys, strict=True):
        second_keys.setdefault(number, []).append(key)
    few = dict.fromkeys(np.flatnonzero(counts < FEWEST).tolist(), Verdict.FEW)
    verdicts = few | dict.fromkeys(second_keys, Verdict.TWO)
    everybody = range(len(names))
    return tables.make_table(
        parquet.IDENTITIES,
        {
            "identity": names,
            "faces": counts,
            "left_out": left_out,
            "verdict": [verdicts.get(number, Verdict.ONE).value for number in everybody],
            "second_keys": [second_keys.get(number, []) for number in everybody],
            "same_as": [names[same[number][0]] if number in same else "" for number in everybody],
            "same_similarity": [same.get(number, (0, float("nan")))[1] for number in everybody],
        },
    )


def tell_identities(folder: Place) -> list[str]:
    """Sentences about identities that are two people, one with another, or of too few faces."""
    if not folder.exists(IDENTITIES):
        return []
    table = parquet.read_table(folder, IDENTITIES).to_pylist()
    pairs = {tuple(sorted((row["identity"], row["same_as"]))) for row in table if row["same_as"]}
    found = {
        "identities that look like two people": [row["identity"] for row in table if row["verdict"] == Verdict.TWO],
        "pairs of identities that look like one person": [" and ".join(pair) for pair in sorted(pairs)],
        f"identities of fewer than {FEWEST} faces, too few to judge": [
            row["identity"] for row in table if row["verdict"] == Verdict.FEW
        ],
    }
    return [
        f"{what}: {len(names):,} ({_listed(names)}); {IDENTITIES} lists them" for what, names in found.items() if names
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
