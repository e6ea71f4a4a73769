"""Tables are written whole, the same each time, and read back or called damaged."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
from contextlib import contextmanager
from copy import copy
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from facepipe.errors import DamagedFile
from facepipe.inputs.listing import Group, ListingBuilder
from facepipe.records import FaceRow, Source
from facepipe.storage import parquet, place
from facepipe.storage.partlist import describe, read_list, write_list


@pytest.fixture
def folder(tmp_path):
    return place(str(tmp_path))


def make_rows(count: int = 40) -> list[FaceRow]:
    """Rows with and without a face; every third has none."""
    rng = random.Random(0)
    rows = [FaceRow(f"a/é {i}.jpg#0", f"a/é {i}.jpg", "a", "", i, 0, "ok") for i in range(count)]
    for row in rows[::3]:
        row.face_index, row.status, row.error = -1, "no_face", "no face was found"
    for row in (row for row in rows if row.status == "ok"):
        row.bbox, row.landmarks, row.yaw, row.label = [1, 2, 30.5, 40], [0.5] * 10, 12.25, row.frame_index
        row.crop = b"\xff\xd8" + rng.randbytes(900)
    return rows


def plain(table) -> list[str]:
    """Rows for comparison; NaN equals NaN."""
    return [repr(row) for row in table.to_pylist()]


def test_faces_read_back(folder):
    """Every column comes back; what a face lacks is null, an angle that can't be told NaN. Same rows, same bytes."""
    digest = parquet.write_table(folder, "part-00000.parquet", parquet.rows_to_table(make_rows()))
    assert parquet.write_table(folder, "again.parquet", parquet.rows_to_table(make_rows())) == digest
    table = parquet.read_table(folder, "part-00000.parquet")
    rows = table.to_pylist()
    assert plain(table) == plain(parquet.rows_to_table(make_rows()))
    assert rows[1]["crop"] == {"bytes": make_rows()[1].crop, "path": "a/é 1.jpg#0.jpg"}
    assert (rows[0]["crop"], rows[0]["bbox"], rows[0]["label"], str(rows[0]["yaw"])) == (None, None, None, "nan")
    assert digest == hashlib.sha256(folder.read("part-00000.parquet")).hexdigest()


@pytest.mark.parametrize(("held", "groups"), [(2**23, [7]), (1, [1] * 7), (40, None)])
def test_faces_are_written_as_they_come(folder, monkeypatch, held, groups):
    """A long video's rows are never in memory all at once; the file is the same but for its row groups."""
    monkeypatch.setattr(parquet, "_GROUP_BYTES", held)
    rows = [replace(make_rows()[1], key=f"k{i}", crop=bytes([255, 216, i]) * (i + 4)) for i in range(7)]
    coming = iter(rows)
    entered = []

    @contextmanager
    def during(step):
        entered.append((step, len(rows) - len(list(copy(coming)))))
        yield

    digest = parquet.write_faces(folder, "p.parquet", coming, during)
    counts = parquet.count_rows(folder, "p.parquet")
    assert sum(counts) == 7
    assert counts == groups if groups else 1 < len(counts) < 7
    # Opened when there is something to write.
    assert entered == [("write", n) for n in (counts[0], *np.cumsum(counts), 7)] + [("sync", 7)]
    assert plain(parquet.read_table(folder, "p.parquet")) == plain(parquet.rows_to_table(rows))
    assert digest == hashlib.sha256(folder.read("p.parquet")).hexdigest()


def test_rows_that_break_off_leave_no_file(folder):
    """Neither a half file nor an unfinished one."""

    def rows():
        yield from make_rows()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        parquet.write_faces(folder, "p.parquet", rows())
    gc.collect()
    assert os.listdir(folder.local_path()) == []


def test_crops_are_declared_as_pictures(folder):
    """The schema metadata is what Hugging Face's `datasets` looks for, and crops are not compressed again."""
    parquet.write_table(folder, "p.parquet", parquet.rows_to_table(make_rows()))
    file = pq.ParquetFile(folder.local_path("p.parquet"))
    features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    leaves = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    assert features == {"crop": {"_type": "Image"}}
    assert {leaf.path_in_schema: leaf.compression for leaf in leaves}["crop.bytes"] == "UNCOMPRESSED"
    assert {leaf.compression for leaf in leaves if leaf.path_in_schema != "crop.bytes"} == {"ZSTD"}


def test_plan_reads_back_a_part_at_a_time(folder):
    """Sources keep their boxes, labels and names that are no valid UTF-8; a row group is a part."""
    sources = [
        Source("a/1.jpg", "a", box=(1.0, 2.5, 3.0, 4.1), label=7),
        Source(r"b/\xe9.jpg", "b", "v", 3, raw_path="b/\udce9.jpg"),
        Source("c.mp4", "c", "c", is_video=True),
    ]
    listed = ListingBuilder()
    listed.add(Group("a", "", "a", ["1.jpg"], boxes=[(1.0, 2.5, 3.0, 4.1)], labels=[7]))
    listed.add(Group("b", "v", "b", ["\udce9.jpg"], frames=[3]))
    listed.add(Group("c", "c", "", ["c.mp4"], is_video=True))
    parquet.write_table(folder, "plan.pq", listed.finish("identity", []).to_arrow(), groups=[2, 1])
    assert parquet.count_rows(folder, "plan.pq") == [2, 1]
    assert parquet.table_to_sources(parquet.read_table(folder, "plan.pq")) == sources
    assert parquet.table_to_sources(parquet.read_table(folder, "plan.pq", group=1)) == sources[2:]


def test_parts_are_read_in_the_order_of_their_list(folder):
    """Else by name; other files are left out, and only the columns asked for are read."""
    names = [f"part-{name}.parquet" for name in ("00000000000000ff", "fedcba9876543210", "00012")]
    for number, name in enumerate(names):
        parquet.write_table(folder, name, parquet.rows_to_table(make_rows(number + 2)))
    folder.write("part-mine.parquet", b"")
    assert parquet.part_names(folder) == sorted(names)
    write_list(folder, [describe(folder, name) for name in reversed(names)])
    parts = list(parquet.iterate_parts(folder, ["key", "crop.bytes"]))
    assert [(number, table.num_rows) for number, table in parts] == [(0, 4), (1, 3), (2, 2)]
    assert parts[0][1].column_names == ["key", "crop"]
    listed = read_list(folder)
    assert [(part.name, part.counts["ok"], part.images) for part in listed] == [
        (names[2], 2, 4),
        (names[1], 2, 3),
        (names[0], 1, 2),
    ]


def test_damage_is_noticed(folder):
    """A cut, an empty file, a missing column or file, and bits flipped in pages: DamagedFile. (The footer has no checksum of
    its own: `parts.parquet` and `checksums.sha256` tell what the whole file must hash to.)"""
    parquet.write_table(folder, "p.parquet", parquet.rows_to_table(make_rows()))
    good = folder.read("p.parquet")
    expected = plain(parquet.rows_to_table(make_rows()))
    rng = random.Random(1)
    footer = int.from_bytes(good[-8:-4], "little") + 8
    damaged = 0
    for _ in range(300):
        content = bytearray(good)
        content[rng.randrange(len(good) - footer)] ^= 1 << rng.randrange(8)
        folder.write("p.parquet", bytes(content), durable=False)
        try:
            assert plain(parquet.read_table(folder, "p.parquet")) == expected
        except DamagedFile:
            damaged += 1
    assert damaged > 200
    for content in (b"", good[:-1], good[: len(good) // 2], b"PAR1", bytes(2000)):
        folder.write("p.parquet", content)
        with pytest.raises(DamagedFile, match=r"p\.parquet is damaged"):
            parquet.read_table(folder, "p.parquet")
    with pytest.raises(DamagedFile, match="is missing"):
        parquet.read_table(folder, "q.parquet")
    folder.write("p.parquet", good)
    with pytest.raises(DamagedFile, match="no column 'nose'"):
        parquet.read_table(folder, "p.parquet", ["nose"])
