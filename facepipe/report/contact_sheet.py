"""A picture of people: a row each, the target first, then the features from one profile to the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import InputError
from facepipe.report.people import People
from facepipe.report.readings import read_subsets
from facepipe.report.sheet import Row, draw_sheet
from facepipe.stages.overrides import read_corrections
from facepipe.storage import file_at, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.report.people import Person


def write_contact_sheet(
    data: str, output: str, *, identities: Sequence[str] = (), rows: int = 8, features: int = 9, tile: int = 112
) -> int:
    """Draws people of a workspace into a PNG or JPEG; gives how many.

    Args:
        data: The workspace, after `select`.
        output: The picture's path or URI; its suffix decides the format.
        identities: Whom to draw, or some spread over all.
        rows: How many people where `identities` is empty.
        features: Crops beside each target.
        tile: Side of a crop, px.

    Raises:
        InputError: nobody there has a target.
    """
    people = People(data, read_corrections(place(data).join("targets")))
    chosen = _choose(people, identities, rows)
    if not chosen:
        raise InputError(f"{data} holds nobody with a target to draw; run `facepipe select` first")
    folder, name = file_at(output)
    persons, subsets = [people.person(number, features) for number in chosen], read_subsets(place(data))
    rows_of = [_row(people, person, subsets.get(person.identity, "")) for person in persons]
    folder.write(name, draw_sheet(rows_of, features + 1, tile, _format(name)))
    return len(persons)


def _choose(people: People, identities: Sequence[str], rows: int) -> list[int]:
    """Those named; or of those with several frames `rows` at even distances, the first among them."""
    there = np.flatnonzero(people.target >= 0).tolist()
    if identities:
        return [number for number in there if people.names[number][0] in identities]
    several = [number for number in there if people.counts[number] > 1]
    return [several[at] for at in np.linspace(0, len(several) - 1, min(rows, len(several))).round().astype(int)]


def _format(name: str) -> str:
    return "JPEG" if name.lower().endswith((".jpg", ".jpeg")) else "PNG"


def _row(people: People, person: Person, subset: str) -> Row:
    faces = [(person.target, f"target {_degrees(person.target.angle)}")] if person.target else []
    faces += [(face, f"yaw {_degrees(face.yaw, signed=True)}") for face in person.others]
    return Row(
        " / ".join(filter(None, (person.identity, person.video))),
        ", ".join(filter(None, (f"{person.frames} frames", subset))),
        [(people.crops.read(*face.at), caption) for face, caption in faces],
        marked=bool(person.target),
    )


def _degrees(angle: float, *, signed: bool = False) -> str:
    if math.isnan(angle):
        return "unknown"
    return f"{round(angle):+d}°" if signed else f"{angle:.1f}°"
