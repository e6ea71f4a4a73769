"""People as the pipeline has them: the target, its runners-up, and the features sorted by yaw, with their crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.storage import parquet, place, tables
from facepipe.storage.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from facepipe.records import Image
    from facepipe.storage import Place

_COLUMNS = (
    "identity",
    "video",
    "subset",
    "feature_key",
    "feature_angle",
    "feature_yaw",
    "feature_part",
    "feature_row",
    "target_part",
    "target_row",
)
_RUNNERS_UP = 3
Name = tuple[str, str]
"""Identity and, where every video has its own target, video."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """One crop. angle, yaw: degrees, NaN where they can't be told. picture: an encoded square RGB image."""

    key: str
    angle: float
    yaw: float
    picture: bytes


@dataclass(frozen=True, slots=True)
class Person:
    """One identity (or video): features are the runners-up and some others, by yaw."""

    identity: str
    video: str
    subset: str
    frames: int
    reason: str
    target: Portrait
    runners_up: list[Portrait]
    features: list[Portrait]


def read_targets(data: Place) -> list[dict[str, Any]]:
    """Every row of `targets.parquet` under a workspace, nothing where there is none."""
    targets = data.join("targets")
    return parquet.read_table(targets, "targets.parquet").to_pylist() if targets.exists("targets.parquet") else []


def read_people(data: str, targets: Sequence[Mapping[str, Any]], features: int = 10) -> list[Person]:
    """The people of some rows of `targets.parquet`, in that order; who has no pair is left out.

    Args:
        data: The workspace.
        targets: Rows with a target.
        features: How many crops to show beside the target, spread over yaw.

    Raises:
        DamagedFile: a file does not read back.
    """
    workspace = place(data)
    by_video = read_settings(workspace.join("targets")).get("per") == "video"
    pairs = _pairs_of(workspace.join("pairs"), {(row["identity"], row["video"]) for row in targets}, by_video)
    chosen = {name: _choose(rows, features, _target(targets, name)) for name, rows in pairs.items()}
    crops = _read_crops(workspace.join("faces"), _places(chosen.values()))
    people = []
    for row in targets:
        shown = chosen.get((row["identity"], row["video"]))
        if shown:
            people.append(_make_person(row, shown, crops))
    return people


def _target(targets: Sequence[Mapping[str, Any]], name: Name) -> Mapping[str, Any]:
    return next(row for row in targets if (row["identity"], row["video"]) == name)


def _pairs_of(pairs: Place, names: set[Name], by_video: bool) -> dict[Name, list[dict[str, Any]]]:
    """The pairs of some people."""
    found: dict[Name, list[dict[str, Any]]] = {}
    identities = {identity for identity, _ in names}
    for _, table in parquet.iterate_parts(pairs, _COLUMNS):
        of, known = tables.codes(table, "identity")
        wanted = [number for number, identity in enumerate(known) if identity in identities]
        for row in tables.take(table, np.flatnonzero(np.isin(of, wanted))).to_pylist():
            name = (row["identity"], row["video"] if by_video else "")
            if name in names:
                found.setdefault(name, []).append(row)
    return found


def _choose(rows: list[dict[str, Any]], count: int, target: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The runners-up and others, `count` at most, spread evenly over the order of yaw."""
    by_yaw = sorted(rows, key=lambda row: (np.nan_to_num(row["feature_yaw"], nan=999.0), row["feature_key"]))
    runners = set(target["runner_up_keys"][:_RUNNERS_UP])
    kept = {number for number, row in enumerate(by_yaw) if row["feature_key"] in runners}
    others = [number for number in range(len(by_yaw)) if number not in kept]
    room = max(count - len(kept), 0)
    if room and others:
        kept |= {others[round(at)] for at in np.linspace(0, len(others) - 1, min(room, len(others)))}
    return [by_yaw[number] for number in sorted(kept)]


def _places(chosen: Iterable[list[dict[str, Any]]]) -> set[tuple[int, int]]:
    rows = [row for some in chosen for row in some]
    return {(row[f"{kind}_part"], row[f"{kind}_row"]) for row in rows for kind in ("feature", "target")}


def _read_crops(faces: Place, places: set[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Encoded crops by part and row; every part is read once."""
    crops = {}
    names = parquet.part_names(faces)
    for part in sorted({part for part, _ in places}):
        column = parquet.read_table(faces, names[part], ["crop.bytes"]).column("crop")
        for row in sorted(row for of, row in places if of == part):
            crops[part, row] = column[row].as_py()["bytes"]
    return crops


def _make_person(target: Mapping[str, Any], rows: list[dict[str, Any]], crops: dict[tuple[int, int], bytes]) -> Person:
    features = [
        Portrait(
            row["feature_key"], row["feature_angle"], row["feature_yaw"], crops[row["feature_part"], row["feature_row"]]
        )
        for row in rows
    ]
    angles = dict(zip(target["runner_up_keys"], target["runner_up_angles"], strict=True))
    by_key = {portrait.key: portrait for portrait in features}
    return Person(
        identity=target["identity"],
        video=target["video"],
        subset=rows[0]["subset"],
        frames=target["frames"],
        reason=target["reason"],
        target=Portrait(
            target["target_key"],
            target["target_angle"],
            float("nan"),
            crops[rows[0]["target_part"], rows[0]["target_row"]],
        ),
        runners_up=[
            Portrait(key, angles[key], by_key[key].yaw, by_key[key].picture)
            for key in target["runner_up_keys"][:_RUNNERS_UP]
            if key in by_key
        ],
        features=features,
    )


def decode_crop(picture: bytes, side: int) -> Image:
    """A stored crop as (side, side, 3) uint8 RGB."""
    decoded = np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)
    kind = cv2.INTER_AREA if side < decoded.shape[0] else cv2.INTER_CUBIC
    resized = cv2.resize(decoded, (side, side), interpolation=kind)
    return np.ascontiguousarray(resized[..., ::-1], dtype=np.uint8)
