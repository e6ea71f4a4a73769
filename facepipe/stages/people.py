"""Who is who among the faces that were found: names that were given are kept, the others are numbered."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facepipe.dataset.grouping import UNSURE_MARGIN, compare, link_groups, tie_tracks
from facepipe.face.association import overlap
from facepipe.face.identity import SIZE
from facepipe.inputs.manifest import read_manifest
from facepipe.stages import embed
from facepipe.storage import file_at, parquet, place, tables
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from facepipe.stages.faces import Faces

_COLUMNS = ("key", "path", "frame_index", "bbox", "yaw", "status", "landmarks")
HEADER = ("path", "identity", "frame_index", "x1", "y1", "x2", "y2", "similarity", "key")
_SAME_FACE = 0.5
"""Intersection over union from which a box of the list is a face's."""
_TWINS_TOLD = 5


@dataclass(frozen=True, eq=False)
class FoundFaces:
    """n faces. videos: the path of a video file, "" of a still. boxes: (n, 4) px. embeddings: (n, 128) of length 1.

    posed: (n,) bool, whether it is known where a face looks. Of many that it is not, half hidden or blurred behind
    somebody, little more than that is alike.
    """

    keys: list[str]
    paths: list[str]
    videos: list[str]
    frames: NDArray[np.int64]
    boxes: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    posed: NDArray[np.bool_]
    part: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Grouped:
    """Who n faces are.

    names: of the groups, of which the first `given` were listed. groups: (n,) int64, -1 for a face that is left out.
    unsure: (n,) bool, left out as it could be of two groups. likely: (n,) int64, the group an unsure face is most like,
    else -1. similarity: (n,) float32, mean to the others of its group.
    """

    names: list[str]
    given: int
    groups: NDArray[np.int64]
    unsure: NDArray[np.bool_]
    likely: NDArray[np.int64]
    similarity: NDArray[np.float32]

    @property
    def counts(self) -> dict[str, int]:
        """Grouped, and their faces; faces that could be one of two people's; faces like too few others."""
        of_people, unsure = int((self.groups >= 0).sum()), int(self.unsure.sum())
        alone = len(self.groups) - of_people - unsure
        return {"people": len(self.names), "their faces": of_people, "unsure": unsure, "like no others": alone}


def read_found(faces: Faces, embeddings: str) -> FoundFaces:
    """The usable faces with their embeddings."""
    read, vectors = [], []
    for name, made in zip(faces.names, embed.part_names(faces), strict=True):
        read.append(embed.read_usable(faces.place, name, _COLUMNS))
        vectors.append(tables.lists(parquet.read_table(place(embeddings), made), "embedding", SIZE))
    table = tables.concatenate(read)
    paths, frames = table.column("path").to_pylist(), tables.numbers(table, "frame_index").astype(np.int64)
    of_path: dict[str, set[int]] = {}
    for path, frame in zip(paths, frames.tolist(), strict=True):
        of_path.setdefault(path, set()).add(frame)
    return FoundFaces(
        table.column("key").to_pylist(),
        paths,
        [path if len(of_path[path]) > 1 else "" for path in paths],
        frames,
        tables.lists(table, "bbox", 4),
        np.concatenate(vectors),
        np.isfinite(tables.numbers(table, "yaw")),
        np.repeat(np.arange(len(read)), [one.num_rows for one in read]),
    )


class Listed(NamedTuple):
    """A row of the list of people: a file, whose face it is, in which frame and where, where that is said."""

    path: str
    name: str
    frame: int
    box: tuple[float, ...] | None


def read_listed(uri: str) -> list[Listed]:
    """The rows of the list of people, where there is one.

    Raises:
        UsageError: it is no list that `--manifest` takes.
    """
    folder, name = file_at(uri)
    if not folder.exists(name):
        return []
    groups = read_manifest(uri, "label", lambda _path: False, optional_label=True)
    return [
        Listed(path, str(group.identity), frame, box)
        for group in groups
        for path, frame, box in zip(group.files, group.frames, group.boxes, strict=True)
    ]


def find_people(found: FoundFaces, listed: Sequence[Listed], least: float, min_faces: int) -> Grouped:
    """Puts faces together that are alike; those that are listed keep their names.

    Args:
        found: the faces.
        listed: as `read_listed` gives them.
        least: mean similarity from which groups are one person.
        min_faces: of a person who is not listed.
    """
    tracks = tie_tracks(found.videos, found.frames, found.boxes, found.embeddings)
    names, start = _start(found, tracks, listed)
    groups = link_groups(found.embeddings, start, len(names), least)
    similarity, other, nearest = compare(found.embeddings, groups)
    is_listed = start < len(names)
    length = np.bincount(tracks)[tracks]
    margin = np.bincount(tracks, similarity - other)[tracks] / length
    # A track that makes up most of its group is a person, however alike another group is.
    unsure = (margin < UNSURE_MARGIN) & (np.bincount(groups)[groups] >= 2 * length)
    unsure = (unsure | ~found.posed | _find_doubles(found, groups, similarity, is_listed)) & ~is_listed
    sizes = np.bincount(groups[~unsure], minlength=len(groups) + 1)
    large = np.flatnonzero(sizes >= min_faces)
    new = large[large >= len(names)]
    new = new[np.argsort(-sizes[new], kind="stable")]
    number = np.full(len(groups) + 1, -1)  # the last one is for "no group"
    number[[*range(len(names)), *new]] = np.arange(len(names) + len(new))
    likely = np.where(number[groups] >= 0, number[groups], number[nearest])
    of, likely = np.where(unsure, -1, number[groups]), np.where(unsure, likely, -1)
    return Grouped([*names, *_new_names(names, len(new))], len(names), of, unsure, likely, similarity)


def _start(
    found: FoundFaces, tracks: NDArray[np.int64], listed: Sequence[Listed]
) -> tuple[list[str], NDArray[np.int64]]:
    """The names whose faces are there, and the group that each face begins in: its name's, else its track."""
    of_place: dict[tuple[str, int], list[int]] = {}
    for face, (path, video, frame) in enumerate(zip(found.paths, found.videos, found.frames.tolist(), strict=True)):
        of_place.setdefault((path, frame if video else 0), []).append(face)
    longest = _find_longest(found.videos, tracks)
    names: dict[str, int] = {}
    start = np.full(len(tracks), -1)
    for path, name, frame, box in listed:
        if box is None and path in longest:
            start[tracks == longest[path]] = names.setdefault(name, len(names))
            continue
        for face in _find_listed(found, of_place.get((path, frame if path in longest else 0), []), box):
            start[face] = names.setdefault(name, len(names))
    rest = start < 0
    start[rest] = len(names) + np.unique(tracks[rest], return_inverse=True)[1]
    return list(names), start


def _find_longest(videos: Sequence[str], tracks: NDArray[np.int64]) -> dict[str, int]:
    """Video -> its longest track, the first of equals."""
    lengths = np.bincount(tracks)
    longest: dict[str, int] = {}
    for video, track in zip(videos, tracks.tolist(), strict=True):
        if video and lengths[track] > lengths[longest.setdefault(video, track)]:
            longest[video] = track
    return longest


def _find_listed(found: FoundFaces, faces: Sequence[int], box: Sequence[float] | None) -> Sequence[int]:
    """Which face of a picture a row means: the one at the box, or the largest."""
    boxes = [found.boxes[face].tolist() for face in faces]
    if box is None:
        return [max(zip(boxes, faces, strict=True), key=lambda one: one[0][2] - one[0][0])[1]] if faces else []
    shared, face = max(((overlap(one, box), face) for one, face in zip(boxes, faces, strict=True)), default=(0.0, -1))
    return [face] if shared >= _SAME_FACE else []


def _find_doubles(
    found: FoundFaces, groups: NDArray[np.int64], similarity: NDArray[np.float32], listed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Faces of pictures in which another one fits their group better: nobody is twice in a picture."""
    picture = np.unique(found.paths, return_inverse=True)[1]
    order = np.lexsort((-similarity, ~listed, groups, found.frames, picture))
    keys = np.stack([picture, found.frames, groups])[:, order]
    twice = np.zeros(len(groups), bool)
    twice[order[1:]] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
    return twice


def _new_names(names: Sequence[str], count: int) -> Iterator[str]:
    """person-0001 and so on, after the highest number there is."""
    taken = (re.fullmatch(r"person-(\d{1,9})", name) for name in names)
    first = max((int(match[1]) for match in taken if match), default=0) + 1
    return (f"person-{number:04d}" for number in range(first, first + count))


def _of_one(found: FoundFaces, people: Grouped) -> set[str]:
    """The videos in which no face is anybody else's than one person's."""
    groups: dict[str, set[int]] = {}
    for video, group in zip(found.videos, people.groups.tolist(), strict=True):
        groups.setdefault(video, set()).add(group)
    return {video for video, shown in groups.items() if video and len(shown) == 1}


def tell_twins(found: FoundFaces, people: Grouped, least: float) -> list[str]:
    """Pairs of names that were given whose faces are alike enough to be one person's."""
    given = (people.groups >= 0) & (people.groups < people.given)
    sums = np.zeros((people.given, SIZE))
    np.add.at(sums, people.groups[given], found.embeddings[given])
    means = sums / np.bincount(people.groups[given], minlength=people.given)[:, None]
    products = np.triu(means @ means.T, 1)
    pairs = [(float(products[a, b]), a, b) for a, b in zip(*np.nonzero(products >= least), strict=True)]
    return [
        f"perhaps one person (similarity {alike:.3f}): {printable(people.names[a])} and {printable(people.names[b])}"
        for alike, a, b in sorted(pairs, reverse=True)[:_TWINS_TOLD]
    ]


def to_csv(found: FoundFaces, people: Grouped, *, unsure: bool = False) -> bytes:
    """The list of people, or that of the unsure faces under the name that each is most like.

    A video file that shows one person alone is listed once, and taken whole; of others each frame is listed.
    """
    groups, whole = people.likely if unsure else people.groups, _of_one(found, people)
    rows: list[list[str]] = []
    listed = set()
    for face in np.flatnonzero(groups >= 0).tolist():
        video, frame = found.videos[face], int(found.frames[face])
        if video in listed:
            continue
        place = [str(frame) if video or frame else "", *(f"{px:.1f}" for px in found.boxes[face].tolist())]
        if video in whole:
            listed.add(video)
            place = [""] * 5
        name, likeness = people.names[groups[face]], f"{people.similarity[face]:.3f}"
        rows.append([found.paths[face], name, *place, likeness, found.keys[face]])
    rows.sort(key=lambda row: (row[1], row[0], int(row[2] or 0), row[-1]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    return text.getvalue().encode()
