"""Pictures without names in, people out: extract all faces, embed them, put those together that are alike."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from facepipe.config import GROUP, EmbedConfig, beside
from facepipe.errors import InputError, OutputError
from facepipe.inputs.tables import read_table
from facepipe.records import StageReport
from facepipe.report.sheet import Row, draw_sheet
from facepipe.stages import embed, extract
from facepipe.stages.faces import open_faces
from facepipe.stages.people import HEADER, find_people, read_found, read_listed, tell_twins, to_csv
from facepipe.storage import file_at, parquet, place, tables
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facepipe.config import ExtractConfig, GroupConfig
    from facepipe.execution.progress import Progress
    from facepipe.stages.faces import Faces
    from facepipe.stages.people import FoundFaces, Grouped

COLUMNS, MOST_ROWS, TILE = 10, 100, 96
"""Of the picture to look at; px."""
MADE_FROM = "people.json"
"""Beside the faces: what the people were made from, so that nothing is done where nothing has changed."""


def run(config: GroupConfig, extraction: ExtractConfig, progress: Progress) -> Iterator[StageReport]:
    """Makes `config.output` and what lies beside it; yields the report of each step.

    Args:
        config: what to group, and where the names go.
        extraction: how the faces are extracted, and where they go; their embeddings go beside them.
        progress: told how far it is.

    Raises:
        InputError: no face was found.
        OutputError: the list of people has columns that would be lost.
        FacepipeError: what `extract` and `embed` raise.
    """
    _refuse_other_columns(config.output)
    where = config.input
    if not place(where).exists(parquet.PART_LIST):
        where = extraction.output
        extraction = replace(extraction, input=config.input, layout="flat", manifest="", label="label", face="all")
        yield extract.run(extraction, progress)
        if extraction.execution.dry_run:
            return
    execution = replace(extraction.execution, retry_failed=False)
    yield embed.run(EmbedConfig(where, beside(where, "embeddings"), execution), progress)
    if not execution.dry_run:
        yield _group(config, where)


def _group(config: GroupConfig, where: str) -> StageReport:
    started, faces = time.monotonic(), open_faces(where)
    folder, name = file_at(config.output)
    marks, mark = file_at(beside(where, MADE_FROM))

    def made_from() -> bytes:
        listed = hashlib.sha256(folder.read(name)).hexdigest() if folder.exists(name) else ""
        facts = [config.min_similarity, config.min_faces, embed.network_digest(), faces.digest, listed]
        return json.dumps(facts).encode()

    stem = name.removesuffix(".csv")
    unsure, sheet = f"{stem}_unsure.csv", f"{stem}.jpg"
    report = StageReport(GROUP, outputs={"people": config.output})
    report.outputs |= {"unsure": beside(config.output, unsure), "look at": beside(config.output, sheet)}
    if marks.exists(mark) and marks.read(mark) == made_from():
        report.done_before = 1
        report.notes.append("neither the faces nor the names have changed")
        return report
    found = read_found(faces, beside(where, "embeddings"))
    if not found.keys:
        raise InputError(f"{config.input} holds no usable face; `facepipe list -i {where}` says why")
    people = find_people(found, read_listed(config.output), config.min_similarity, config.min_faces)
    folder.write(unsure, to_csv(found, people, unsure=True))
    folder.write(sheet, _draw(faces, found, people))
    folder.write(name, to_csv(found, people))
    marks.write(mark, made_from())
    report.counts = people.counts
    report.notes = tell_twins(found, people, config.min_similarity)
    report.wall_s = time.monotonic() - started
    return report


def _refuse_other_columns(uri: str) -> None:
    """A table that says more than this stage writes would lose it."""
    folder, name = file_at(uri)
    others = set(read_table(uri, "--output")[1]) - set(HEADER) if folder.exists(name) else set()
    if others:
        raise OutputError(f"{uri} has a column {min(others)!r}, which would be lost; give another --output")


def _draw(faces: Faces, found: FoundFaces, people: Grouped) -> bytes:
    """The largest groups: of each the most typical face first and the least alike last; then the unsure faces."""
    sizes = np.bincount(people.groups + 1, minlength=len(people.names) + 1)[1:]
    largest = np.argsort(-sizes, kind="stable")[:MOST_ROWS].tolist()
    shown = [(people.names[group], np.flatnonzero(people.groups == group)) for group in largest]
    shown.append(("unsure", np.flatnonzero(people.unsure)))
    picked = []
    for name, rows in shown:
        ordered = rows[np.argsort(-people.similarity[rows], kind="stable")]
        spread = np.unique(np.linspace(0, len(ordered) - 1, min(COLUMNS, len(ordered))).astype(int))
        picked.append((printable(name), len(rows), ordered[spread].tolist()))
    crops = _read_crops(faces, found, [row for *_, rows in picked for row in rows])
    sheet = [
        Row(name, f"{count:,} faces", [(crops[row], f"{people.similarity[row]:.3f}") for row in rows])
        for name, count, rows in picked
        if rows
    ]
    return draw_sheet(sheet, COLUMNS, TILE, "JPEG")


def _read_crops(faces: Faces, found: FoundFaces, rows: Sequence[int]) -> dict[int, bytes]:
    crops: dict[int, bytes] = {}
    for part in sorted({int(found.part[row]) for row in rows}):
        some = [row for row in rows if found.part[row] == part]
        table = parquet.read_table(faces.place, faces.names[part], ["key", "crop.bytes"])
        at = tables.find(table, "key", [found.keys[row] for row in some])
        crops |= {row: table.column("crop")[i].as_py()["bytes"] for row, i in zip(some, at.tolist(), strict=True)}
    return crops
