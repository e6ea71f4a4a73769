"""Everybody in a workspace: whose faces, which is the target, and what makes a person look twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import InputError
from facepipe.records import Status
from facepipe.report import doubts
from facepipe.report.crops import Crops
from facepipe.report.readings import read_left_out, read_similarity, read_targets
from facepipe.stages.overrides import DROP, KEEP, TARGET
from facepipe.storage import parquet, place, tables
from facepipe.storage.settings import settings_or_empty

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facepipe.stages.overrides import Correction
    from facepipe.storage import Place

Name = tuple[str, str]
"""Identity and, where every video has its own target, video."""
_NUMBERS = {"angle": "frontal_angle", "yaw": "yaw", "pitch": "pitch", "error": "pose_error", "sharpness": "sharpness",
            "score": "score"}  # fmt: skip
_COLUMNS = ("key", "identity", "video", "status", "bbox", *_NUMBERS.values())


@dataclass(frozen=True, slots=True)
class Face:
    """One usable face.

    at: part and row of its crop. angle, yaw, pitch: degrees, NaN where they can't be told. similarity: to the others of
    its person, NaN where it is not known. role: `target`, `dropped`, `kept`, `left out` or empty. flags: in words.
    """

    key: str
    at: tuple[int, int]
    angle: float
    yaw: float
    pitch: float
    similarity: float
    role: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """One identity (or video). reason: why its target was taken, or none. why: what makes one look twice, or empty."""

    number: int
    identity: str
    video: str
    frames: int
    reason: str
    why: str
    target: Face | None
    others: list[Face] = field(default_factory=list)


class People:
    """The usable faces of a workspace by person, with a person's corrections.

    names: of the people, by number. of: (n,) int64, whose each face is. numbers: (n,) float32 each: angle, yaw, pitch,
    error (degrees), sharpness, score, size (px, the longer side of the face's box), and similarity, where there are
    embeddings. targets: the rows of `targets.parquet`. left_out: row -> the filter that left it out when they were
    chosen. doubt: (people,) how doubtful each is, 0 for not at all.
    """

    def __init__(self, data: str, corrections: Mapping[str, Correction]) -> None:
        self.faces, targets = place(data).join("faces"), place(data).join("targets")
        self.parts = parquet.parts_there(self.faces) if self.faces.exists() else []
        if not self.parts:
            raise InputError(f"{self.faces} holds no faces; run `facepipe extract` first, or give another --data")
        self.by_video = settings_or_empty(targets).get("per") == "video"
        table, self.numbers, self._at = _read_faces(self.faces, self.parts)
        self.keys = table.select(["key"])
        self._found, self.names = tables.group_rows(table, by_video=self.by_video)
        self.number: dict[Name, int] = {name: number for number, name in enumerate(self.names)}
        self.crops = Crops(self.faces, self.parts)
        self.targets = read_targets(targets)
        self._target_rows = tables.find(self.keys, "key", [row["target_key"] for row in self.targets]).tolist()
        self.left_out = read_left_out(targets, self.keys)
        similarity = read_similarity(place(data).join("embeddings"), self.keys, self._found)
        if similarity is not None:
            self.numbers["similarity"] = similarity
        self.correct(corrections)

    def find(self, name: Name) -> int:
        """A person's number; who is not there yet gets one."""
        if name not in self.number:
            self.number[name] = len(self.names)
            self.names.append(name)
        return self.number[name]

    def correct(self, corrections: Mapping[str, Correction]) -> None:
        """Takes corrections, in place of those it had, into account; those of unknown faces do nothing."""
        self.corrections = corrections
        rows = tables.find(self.keys, "key", list(corrections)).tolist() if corrections else []
        self.of = self._found.copy()
        self.dropped, self.kept = (np.zeros(len(self._found), dtype=bool) for _ in range(2))
        chosen: list[int] = []
        for one, row in zip(corrections.values(), rows, strict=True):
            if row >= 0:
                self.dropped[row], self.kept[row] = one.action == DROP, one.action == KEEP
                if one.identity:
                    self.of[row] = self.find((one.identity, self.names[self._found[row]][1]))
                if one.action == TARGET:
                    chosen.append(row)
        self.corrected = {int(number) for row in rows if row >= 0 for number in (self.of[row], self._found[row])}
        self._order = np.argsort(self.of, kind="stable")
        self._starts = np.searchsorted(self.of[self._order], np.arange(len(self.names) + 1))
        self.counts = np.bincount(self.of[~self.dropped], minlength=len(self.names))
        self._choose(chosen)

    def _choose(self, chosen: list[int]) -> None:
        """Everybody's target: by a person, else that of `select`, else the most frontal of those that are left."""
        self.reasons = [""] * len(self.names)
        self.target = np.full(len(self.names), -1, dtype=np.int64)
        for target, row in zip(self.targets, self._target_rows, strict=True):
            number = self.number.get((target["identity"], target["video"]), -1)
            if number >= 0:
                self.reasons[number] = target["reason"]
                if row >= 0 and self.of[row] == number and not self.dropped[row]:
                    self.target[number] = row
        changed = [number for number in self.corrected if self.target[number] < 0]
        for number in changed:
            left = [
                row
                for row in self.rows(number).tolist()
                if self.kept[row] or not (self.dropped[row] or row in self.left_out)
            ]
            known = [row for row in left if not np.isnan(self.numbers["angle"][row])]
            self.target[number] = min(known, key=self.numbers["angle"].__getitem__, default=-1)
        self.target[self.of[chosen]] = chosen
        self.by_hand = {int(number) for number in self.of[chosen]}
        self.doubt = doubts.weigh(self)

    def found_as(self, row: int) -> str:
        """The identity that a face has without corrections."""
        return str(self.names[self._found[row]][0])

    def rows(self, number: int) -> NDArray[np.int64]:
        """The faces of a person."""
        return np.asarray(self._order[self._starts[number] : self._starts[number + 1]])

    def order(self, by: str) -> NDArray[np.int64]:
        """Everybody who has faces, who is to be looked at first in front; `by`: name, frames, doubt, or a measure.

        It is the target's, but of similarity the least alike face's.
        """
        there = np.flatnonzero(np.diff(self._starts) > 0)
        if by == "name" or not len(there):
            return np.array(sorted(there.tolist(), key=self.names.__getitem__), dtype=np.int64)
        if by in ("frames", "doubt"):
            return there[np.argsort(-(self.counts if by == "frames" else self.doubt)[there], kind="stable")]
        values = np.full(len(self.names), np.nan, dtype=np.float32)
        if by == "similarity":
            values[there] = np.fmin.reduceat(self.numbers[by][self._order], self._starts[there])
        else:
            some = there[self.target[there] >= 0]
            values[some] = self.numbers[by][self.target[some]]
        return there[np.argsort(-values[there] if by == "angle" else values[there], kind="stable")]

    def person(self, number: int, others: int = 0) -> Person:
        """A person with some other faces, spread over yaw."""
        rows = self.rows(number)
        target = int(self.target[number])
        rest = self.sort(rows[(rows != target) & ~self.dropped[rows]])
        shown = self._spread(rest, others)
        return Person(
            number,
            *self.names[number],
            int(self.counts[number]),
            self.reasons[number],
            doubts.explain(self, number),
            self.face(target) if target >= 0 else None,
            [self.face(row) for row in shown.tolist()],
        )

    def _spread(self, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """`count` of some faces at even distances, the one least like the others among them."""
        if len(rows) <= count or not count:
            return rows[:count]
        shown = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
        odd = self.sort(rows, "similarity" if "similarity" in self.numbers else "yaw")[0]
        return shown if odd in shown else rows[np.isin(rows, [*shown[:-1], odd])]

    def sort(self, rows: NDArray[np.int64], by: str = "yaw") -> NDArray[np.int64]:
        """Faces in the order of a measure, those of which it is not known last."""
        return np.asarray(rows[np.argsort(self.numbers[by][rows], kind="stable")])

    def face(self, row: int) -> Face:
        """One face."""
        key = self.keys.column("key")[row].as_py()
        number = self.of[row]
        left_out = row in self.left_out and key not in self.corrections
        other = "dropped" if self.dropped[row] else "kept" if self.kept[row] else "left out" if left_out else ""
        role = "target" if self.target[number] == row else other
        numbers = {name: float(values[row]) for name, values in self.numbers.items()}
        flags = doubts.flag(numbers)
        if left_out:
            flags = (f"left out {self.left_out[row]}", *flags)
        if number != self._found[row]:
            flags = (f"from {self.found_as(row)}", *flags)
        part, at = self._at[row].tolist()
        similarity = numbers.get("similarity", float("nan"))
        return Face(key, (part, at), numbers["angle"], numbers["yaw"], numbers["pitch"], similarity, role, flags)


def _read_faces(
    faces: Place, parts: list[str]
) -> tuple[parquet.Table, dict[str, NDArray[np.float32]], NDArray[np.int32]]:
    """Key, identity and video of the usable faces, their numbers, and part and row of each, (n, 2)."""
    read, numbers, at = [], [], []
    for part, table in parquet.iterate_parts(faces, _COLUMNS, parts):
        rows = np.flatnonzero(tables.equal(table, "status", Status.OK))
        usable = tables.take(table, rows)
        box = tables.lists(usable, "bbox", 4)
        size = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
        numbers.append([*(tables.numbers(usable, name).astype(np.float32) for name in _NUMBERS.values()), size])
        at.append(np.stack([np.full(len(rows), part), rows], axis=1).astype(np.int32))
        read.append(usable.select(["key", "identity", "video"]))
    joined = (np.concatenate(values) for values in zip(*numbers, strict=True))
    return tables.concatenate(read), dict(zip([*_NUMBERS, "size"], joined, strict=True)), np.concatenate(at)
