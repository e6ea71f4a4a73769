"""verify: silent about what is whole, and names every file that is not, and every rule that is broken."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil

import pytest
from facesets import make_failure, make_row, make_rows, run_in_process, write_faces

from facepipe.config import Execution, ExtractConfig, SelectConfig, ShardConfig, SplitConfig
from facepipe.errors import InputError
from facepipe.execution.progress import QuietProgress
from facepipe.inputs.listing import Group, ListingBuilder
from facepipe.records import StageReport
from facepipe.stages import output, select, shard, split, verify
from facepipe.stages.runfile import write_run_file
from facepipe.storage import parquet, place, tables
from facepipe.storage.tfrecord import decode_example, encode_example, read_records, write_records

QUIET = QuietProgress()
STAGES = {
    "faces": "faces",
    "targets": "targets",
    "pairs": "pairs",
    "shards": "shards/pairs/1.0.0",
    "face shards": "shards/faces/1.0.0",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished workspace of ten people."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "run_parts", run_in_process)
        write_faces(folder / "faces", make_rows(10, 6), 32)
        report = StageReport("extract", {"ok": 50, "no_face": 10})
        write_run_file(place(str(folder / "faces")), ExtractConfig(), report, {})
        paths = {name: str(folder / name) for name in ("faces", "targets", "pairs")}
        select.run(SelectConfig(input=paths["faces"], output=paths["targets"]), QUIET)
        split.run(SplitConfig(paths["faces"], paths["targets"], paths["pairs"], validation=0.3), QUIET)
        for examples in ("pairs", "faces"):
            options = {"size": 16, "shards": 2, "examples": examples}
            config = ShardConfig(input=paths["pairs"], faces=paths["faces"], output=str(folder / "shards"), **options)
            shard.run(config, QUIET)
    return folder


@pytest.fixture
def workspace(whole, tmp_path):
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "data")


def check(folder):
    return [str(problem) for problem in verify.run(str(folder), QUIET)]


@pytest.mark.parametrize("below", ["", *STAGES.values(), "shards", "shards/pairs"])
def test_whole_folders_have_no_problem(whole, below):
    """A workspace, each stage's folder alone, and the folders above the shards."""
    assert check(whole / below) == []


def test_foreign_folders_are_refused(tmp_path):
    """Nothing of ours is an error, not a clean bill."""
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="nothing that facepipe wrote"):
        check(tmp_path)


DAMAGES = {
    "cut": lambda content, _: content[: len(content) * 2 // 3],
    "emptied": lambda _c, _r: b"",
    "flipped": lambda content, at: bytes([*content[:at], content[at] ^ 16, *content[at + 1 :]]),
    "deleted": lambda _c, _r: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_is_named(workspace, damage):
    """Each file of each stage in turn: the problem names it, and all is well again when it is restored."""
    rng = random.Random(damage)
    root = place(str(workspace))
    for entry in list(root.list()):
        good = root.read(entry.path)
        at = rng.randrange(len(good) - 1)
        content = DAMAGES[damage](good, at)
        root.delete(entry.path)
        if content is not None:
            root.write(entry.path, content)
        stage = next(below for below in STAGES.values() if entry.path.startswith(below))
        problems = check(workspace / stage)
        name = entry.path.removeprefix(f"{stage}/")
        assert any(name in problem for problem in problems), f"{entry.path} {damage}: {problems}"
        root.write(entry.path, good)
    assert check(workspace) == []


def rewrite(folder, name, table):
    """Writes a table and its checksum, as a stage that went wrong would have."""
    root = place(str(folder))
    digest = parquet.write_table(root, name, table)
    note(folder, name, digest)


def note(folder, name, digest):
    lines = (folder / "checksums.sha256").read_text().splitlines()
    lines = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in lines]
    (folder / "checksums.sha256").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"add": make_row(0, 0)}, "is there twice"),
        ({"add": make_failure(0, 0)}, "more than one status"),
        ({"add": make_row(0, 0, key="p000/v0/0000.jpg#1")}, "has 2 faces of its identity"),
        ({"add": make_row(0, 30, crop=None)}, "is ok and has no crop"),
        ({"add": make_row(0, 30, status="fine")}, "the status 'fine'"),
        ({"drop": 1}, "the parts hold"),
    ],
)
def test_rows_that_break_the_contract(workspace, changes, said):
    """Intact files with wrong rows are noticed as well."""
    rows = make_rows(10, 6)[:32]
    rows = rows[: -changes["drop"]] if "drop" in changes else [*rows, changes["add"]]
    rewrite(workspace / "faces", "part-00000.parquet", parquet.rows_to_table(rows))
    assert any(said in problem for problem in check(workspace / "faces"))


def test_a_picture_listed_for_two_people_has_a_face_of_each(workspace):
    """A manifest may name a picture twice; `~1` in the key tells the second time."""
    rows = make_rows(10, 6)[:32]
    rows.append(make_row(0, 0, key="p000/v0/0000.jpg~1#0", identity="p001"))
    rewrite(workspace / "faces", "part-00000.parquet", parquet.rows_to_table(rows))
    assert not any("0000.jpg" in problem for problem in check(workspace / "faces"))


def test_inputs_without_a_row(workspace):
    """A path of the plan that has no row is named."""
    listed = ListingBuilder()
    for number, row in enumerate(make_rows(10, 6)):
        listed.add(Group(row.identity, "", "", ["lost.jpg" if number == 3 else row.path]))
    plan = listed.finish("manifest", []).to_arrow()
    parquet.write_table(place(str(workspace / "faces")), "plan.pq", plan, groups=[32, 28])
    problems = check(workspace / "faces")
    assert any("no row for lost.jpg" in problem for problem in problems)
    assert any("row for p000/v0/0003.jpg, which the plan does not name" in problem for problem in problems)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("subset", "test", "is in two subsets"),
        ("feature_key", "p000/v0/0002.jpg#0", "is its own target"),
        ("feature_row", 7, "do not lie where it says"),
        ("target_part", 99, "do not lie where it says"),
        ("key", "p000/v0/0001.jpg#0", "is there twice"),
    ],
)
def test_pairs_that_break_a_rule(workspace, column, value, said):
    """One wrong value in one pair is enough."""
    table = parquet.read_table(place(str(workspace / "pairs")), "part-00000.parquet")
    rows = table.to_pylist()
    rows[0][column] = value
    changed = tables.make_table(parquet.PAIRS, {name: [row[name] for row in rows] for name in parquet.PAIRS.names})
    rewrite(workspace / "pairs", "part-00000.parquet", changed)
    assert any(said in problem for problem in check(workspace))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_key": "nobody#0"}, "the target 'nobody#0' is none of the faces"),
        ({"target_key": "p000/v1/0005.jpg#-1"}, "is no usable face of 'p000'"),
        ({"target_key": "p001/v0/0002.jpg#0"}, "is no usable face of 'p000'"),
        ({"identity": "p001"}, "'p001' '' is there 2 times"),
        ({"identity": "p001"}, "'p000' is among the faces and not listed"),
    ],
)
def test_targets_that_break_a_rule(workspace, changes, said):
    """The first person's row changed."""
    rows = parquet.read_table(place(str(workspace / "targets")), "targets.parquet").to_pylist()
    rows[0] |= changes
    changed = tables.make_table(parquet.TARGETS, {name: [row[name] for row in rows] for name in parquet.TARGETS.names})
    rewrite(workspace / "targets", "targets.parquet", changed)
    assert any(said in problem for problem in check(workspace))


def test_a_person_where_the_settings_put_nobody(workspace):
    """All of somebody's pairs in another subset than seed and shares say."""
    rows = parquet.read_table(place(str(workspace / "pairs")), "part-00000.parquet").to_pylist()
    other = {"train": "validation", "validation": "train"}[rows[0]["subset"]]
    for row in rows:
        row["subset"] = other if row["identity"] == rows[0]["identity"] else row["subset"]
    changed = tables.make_table(parquet.PAIRS, {name: [row[name] for row in rows] for name in parquet.PAIRS.names})
    rewrite(workspace / "pairs", "part-00000.parquet", changed)
    said = f"{rows[0]['identity']!r} is in {other}, the settings put it elsewhere"
    assert any(said in problem for problem in check(workspace))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": bytes(256)}, "is not its clean picture"),
        ({"feature": bytes(256), "noise": b""}, "the feature of"),
        ({"feature": b"short"}, "pictures of another size"),
        ({"noise": b"gaussian"}, "says noise"),
        ({"copy": 1, "noise": b"gaussian", "noise_strength": 0.03}, "is noisy in validation"),
        ({"identity": b"stranger"}, "identities are not those of the shards, such as '"),
        ({"key": b"stranger"}, "is none of the pairs"),
        ({"extra": b"x"}, "has the features"),
    ],
)
def test_records_that_break_a_rule(workspace, changes, said):
    """Shards that read well and hold something wrong."""
    folder = workspace / "shards/pairs/1.0.0"
    (name,) = [p.name for p in folder.glob("*-validation.tfrecord-00000*")]
    with open(folder / name, "rb") as file:
        records = [{k: v[0] for k, v in decode_example(message).items()} for message in read_records(file)]
    records = [record | changes for record in records]
    with open(folder / name, "wb") as file:
        write_records(file, map(encode_example, records))
    note(folder, name, hashlib.sha256((folder / name).read_bytes()).hexdigest())
    assert any(said in problem for problem in check(workspace))


def test_single_faces_are_their_crops(workspace):
    """One face in place of another, with all checksums right, is named."""
    folder = workspace / "shards/faces/1.0.0"
    shard_file = min(folder.glob("*-train.tfrecord-*"))
    with open(shard_file, "rb") as file:
        records = [{k: v[0] for k, v in decode_example(message).items()} for message in read_records(file)]
    records[0]["image"], records[1]["image"] = records[1]["image"], records[0]["image"]
    with open(shard_file, "wb") as file:
        write_records(file, map(encode_example, records))
    note(folder, shard_file.name, hashlib.sha256(shard_file.read_bytes()).hexdigest())
    keys = sorted(record["key"].decode() for record in records[:2])
    said = sorted(problem.partition(": ")[2] for problem in check(workspace))
    assert said == [f"the image of {key!r} is not its clean picture" for key in keys]


def test_a_person_in_two_subsets_of_the_shards(workspace):
    """The same record in train and validation is a leak."""
    folder = workspace / "shards/faces/1.0.0"
    train = min(folder.glob("*-train.tfrecord-*"))
    with open(train, "rb") as file:
        leaked = next(read_records(file))
    (validation,) = folder.glob("*-validation.tfrecord-00000*")
    with open(validation, "ab") as file:
        write_records(file, [leaked])
    problems = check(workspace)
    assert any("is in two subsets" in problem for problem in problems)
    assert any("records, dataset_info.json declares" in problem for problem in problems)


@pytest.mark.parametrize("alone", [False, True])
def test_a_shard_that_was_copied_over_another(workspace, alone):
    """Whole in itself, of the right length, with the right checksum: a part of the examples is lost, another doubled."""
    folder = workspace / "shards/faces/1.0.0"
    first, second = sorted(folder.glob("*-train.tfrecord-*"))
    shutil.copyfile(first, second)
    note(folder, second.name, hashlib.sha256(second.read_bytes()).hexdigest())
    said = [str(problem) for problem in verify.run(str(folder if alone else workspace), QUIET)]
    assert any("examples of train are there twice" in problem for problem in said)
    missing = [problem for problem in said if "its examples are not those that the pairs and faces give" in problem]
    assert [problem.split(":")[0] for problem in missing] == ([] if alone else [str(second)])


def test_run_files_that_say_something_else(workspace):
    """People listed in another subset than they are in."""
    path = workspace / "shards/pairs/1.0.0/run.json"
    run = json.loads(path.read_text())
    run["identities"]["validation"].append(run["identities"]["train"].pop())
    facts = {name: run[name] for name in ("identities", "lengths")}
    write_run_file(place(str(path.parent)), ShardConfig(), StageReport("shard"), facts)
    assert any("identities are not those" in problem for problem in check(workspace))


def test_what_is_older_than_its_inputs_is_named(workspace):
    """Each stage's output whole in itself, and one of them made from what is not there any more: the first one counts."""
    faces, targets, pairs = (str(workspace / name) for name in ("faces", "targets", "pairs"))
    force = Execution(workers=1, overwrite=True)
    split.run(SplitConfig(faces, targets, pairs, validation=0.3, seed=1, execution=force), QUIET)
    stale = [problem for problem in check(workspace) if "other pairs or faces" in problem]
    assert [problem.split(":")[0] for problem in stale] == [
        str(workspace / STAGES[n]) for n in ("face shards", "shards")
    ]
    again = re.compile(r"run `facepipe shard --examples (pairs|faces)` again with the options it was made with$")
    assert all(again.search(problem) for problem in stale)
    select.run(SelectConfig(faces, targets, max_angle=0.5, execution=force), QUIET)
    each = "again with the options each was made with"
    said = f"{pairs}: it was made from other faces or targets; run `facepipe split` and `shard` {each}"
    assert said in check(workspace)
    write_faces(workspace / "faces", make_rows(11, 6), 32)
    said = f"{targets}: it was chosen from other faces; run `facepipe select`, `split` and `shard` {each}"
    assert said in check(workspace)


def test_pairs_of_faces_that_are_gone_are_named(workspace):
    """Where the faces were made anew, and a target's row has no face any more, that is told."""
    write_faces(workspace / "faces", [make_failure(person, frame) for person in range(10) for frame in range(6)], 32)
    assert any("it was chosen from other faces" in problem for problem in check(workspace))
