"""split: pairs by key and place, nobody in two subsets, duplicates once; resumed and repaired as promised."""

from __future__ import annotations

import dataclasses
import json

import cv2
import facesets
import numpy as np
import pytest
from facesets import encode_crop, hash_folder, make_failure, make_row, make_rows, write_faces

from facepipe.config import Execution, SelectConfig, ShardConfig, SplitConfig
from facepipe.errors import Incomplete, InputError, SettingsChanged, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.media.image import decode
from facepipe.stages import pairs, select, shard, split, verify
from facepipe.storage import parquet, place


@pytest.fixture
def faces(tmp_path):
    return write_faces(tmp_path / "faces", make_rows(12))


def run(folder, output="pairs", *, per="identity", overrides="", **options):
    quiet = QuietProgress()
    select.run(
        SelectConfig(
            input=str(folder / "faces"),
            output=str(folder / "targets"),
            per=per,
            overrides=overrides,
            execution=Execution(overwrite=True),
        ),
        quiet,
    )
    execution = options.pop("execution", Execution(workers=1))
    config = SplitConfig(
        faces=str(folder / "faces"),
        targets=str(folder / "targets"),
        output=str(folder / output),
        execution=execution,
        **options,
    )
    return split.run(config, quiet)


def read(folder):
    return [row for _, table in parquet.iterate_parts(place(str(folder))) for row in table.to_pylist()]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.usefixtures("in_process")
def test_pairs_say_where_their_crops_lie(faces, tmp_path):
    """Part and row lead to the rows with the pair's keys; angles, yaw and label are theirs; the target is no feature."""
    run(tmp_path)
    parts = [table.to_pylist() for _, table in parquet.iterate_parts(place(faces))]
    rows = read(tmp_path / "pairs")
    assert len(rows) == 12 * 4
    for pair in rows:
        feature = parts[pair["feature_part"]][pair["feature_row"]]
        target = parts[pair["target_part"]][pair["target_row"]]
        assert (feature["key"], target["key"]) == (pair["feature_key"], pair["target_key"])
        assert (pair["key"], pair["feature_angle"], pair["feature_yaw"], pair["label"], pair["video"]) == (
            feature["key"],
            feature["frontal_angle"],
            feature["yaw"],
            feature["label"],
            feature["video"],
        )
        assert (target["identity"], target["frame_index"], pair["target_angle"]) == (pair["identity"], 2, 1.5)
        assert feature["key"] != target["key"]


@pytest.mark.usefixtures("in_process")
def test_no_identity_in_two_subsets(faces, tmp_path):
    """With half for validation and a quarter for test, everybody's pairs lie in one subset, all three are used."""
    report = run(tmp_path, validation=0.5, test=0.25)
    by_identity = {}
    for pair in read(tmp_path / "pairs"):
        by_identity.setdefault(pair["identity"], set()).add(pair["subset"])
    assert {len(subsets) for subsets in by_identity.values()} == {1}
    assert set().union(*by_identity.values()) == {"train", "validation", "test"}
    assert sum(n for name, n in report.counts.items() if name.endswith("pairs")) == 48
    assert {i for names in summary(tmp_path / "pairs")["identities"].values() for i in names} == set(by_identity)


@pytest.mark.usefixtures("in_process")
def test_adding_people_moves_nobody(faces, tmp_path):
    """Everybody's subset stays when eight people come."""
    run(tmp_path, validation=0.5)
    before = {pair["identity"]: pair["subset"] for pair in read(tmp_path / "pairs")}
    write_faces(tmp_path / "faces", make_rows(20))
    run(tmp_path, validation=0.5)
    after = {pair["identity"]: pair["subset"] for pair in read(tmp_path / "pairs")}
    assert {name: after[name] for name in before} == before
    assert len(after) == 20


@pytest.mark.usefixtures("in_process")
def test_exact_duplicates_are_kept_once(tmp_path):
    """A frame that shows the same as another one, or as the target, makes no second pair."""
    rows = [make_row(0, f) for f in range(4)]
    rows.append(make_row(0, 7, crop=encode_crop(0, 0)))  # as frame 0
    rows.append(make_row(0, 8, crop=encode_crop(0, 2)))  # as the target
    rows.append(make_row(1, 0, crop=encode_crop(0, 0)))  # under another identity: reported, not dropped
    rows.append(make_row(1, 2))
    write_faces(tmp_path / "faces", rows)
    report = run(tmp_path)
    features = [pair["feature_key"] for pair in read(tmp_path / "pairs")]
    assert features == [f"p000/v0/000{f}.jpg#0" for f in (0, 1, 3)] + ["p001/v0/0000.jpg#0"]
    assert report.counts["duplicates left out"] == 2
    (alike,) = summary(tmp_path / "pairs")["alike"]
    assert alike["identities"] == ["p000", "p001"]
    assert alike["keys"] == ["p000/v0/0000.jpg#0", "p001/v0/0000.jpg#0"]
    assert any("share a picture" in note for note in report.notes)


@pytest.mark.usefixtures("in_process")
def test_per_video_targets(faces, tmp_path):
    """With targets a video, a frame is paired with its own video's target."""
    run(tmp_path, per="video")
    videos = {
        (pair["feature_key"].split("/")[1], pair["target_key"].split("/")[1]) for pair in read(tmp_path / "pairs")
    }
    assert videos == {("v0", "v0")}  # the second video has one usable frame: its target


@pytest.mark.usefixtures("in_process")
def test_dropped_faces_are_no_features(faces, tmp_path):
    """What a person took out with --overrides is in no pair."""
    (tmp_path / "o.csv").write_text("key,action\np000/v0/0000.jpg#0,drop\n")
    run(tmp_path, overrides=str(tmp_path / "o.csv"))
    assert len(read(tmp_path / "pairs")) == 47
    assert "p000/v0/0000.jpg#0" not in {pair["feature_key"] for pair in read(tmp_path / "pairs")}


@pytest.mark.usefixtures("in_process")
def test_people_with_one_frame_make_no_pair(tmp_path):
    """Without any pair the stage still ends, with an empty part and a note."""
    write_faces(tmp_path / "faces", [make_row(0, 2), make_row(1, 2), make_failure(2, 0)])
    report = run(tmp_path)
    assert read(tmp_path / "pairs") == []
    assert any("no pairs" in note for note in report.notes)


def test_missing_targets_are_named(faces, tmp_path):
    """Without targets the error says what to run."""
    with pytest.raises(InputError, match="run `facepipe select` first"):
        split.run(SplitConfig(faces=faces, targets=str(tmp_path / "t"), output=str(tmp_path / "p")), QuietProgress())


def test_same_bytes_for_any_number_of_workers(faces, tmp_path):
    """One worker, two workers and a rerun give the same files; the rerun writes nothing."""
    run(tmp_path, "a")
    run(tmp_path, "b", execution=Execution(workers=2))
    before = (tmp_path / "a" / "part-00000.parquet").stat().st_mtime_ns
    assert run(tmp_path, "a").done_before == 1
    assert (tmp_path / "a" / "part-00000.parquet").stat().st_mtime_ns == before
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")


@pytest.mark.usefixtures("in_process")
def test_other_settings_are_refused(faces, tmp_path):
    """Another seed needs --overwrite."""
    run(tmp_path)
    with pytest.raises(SettingsChanged, match=r"\(--seed 0 -> 1\)"):
        run(tmp_path, seed=1)
    run(tmp_path, seed=1, execution=Execution(overwrite=True))


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("name", ["part-00000.parquet", "summary.json", "settings.json", "checksums.sha256"])
def test_damage_is_repaired(faces, tmp_path, name):
    """A file cut, emptied, changed or deleted is as before after a rerun."""
    run(tmp_path)
    before, out = hash_folder(tmp_path / "pairs"), place(str(tmp_path / "pairs"))
    good = out.read(name)
    for content in (good[: len(good) // 2], bytes([*good[:50], good[50] ^ 1, *good[51:]]), None):
        out.delete(name)
        if content is not None:
            out.write(name, content)
        run(tmp_path)
        assert hash_folder(tmp_path / "pairs") == before


@pytest.mark.usefixtures("in_process", "faces")
def test_parts_beside_a_damaged_one_are_not_written_again(tmp_path, monkeypatch):
    """Of several parts only the damaged one is a new file."""
    monkeypatch.setattr(pairs, "PART_ROWS", 8)
    run(tmp_path)
    files = sorted((tmp_path / "pairs").glob("part-*.parquet"))
    before = {file: (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files}
    assert len(files) > 2
    files[1].write_bytes(b"damaged")
    run(tmp_path)
    after = {file: (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files}
    assert [file for file in files if after[file] != before[file]] == [files[1]]
    assert after[files[1]][2] == before[files[1]][2]


@pytest.mark.usefixtures("faces", "in_process")
def test_the_time_limit_of_images_is_for_one(tmp_path, monkeypatch):
    """Each crop is told before it is looked for and before it is written: a long film's take what they take."""
    told = []
    monkeypatch.setattr(facesets.Guard, "on", lambda _, item: told.append(item))
    run(tmp_path)
    told.clear()
    run(tmp_path, images=str(tmp_path / "images"))
    assert len(told) == 2 * len(list((tmp_path / "images").rglob("*.png")))


@pytest.mark.usefixtures("in_process")
def test_images(tmp_path):
    """Every pair's crops lie as PNG in their identity's folder, pixel for pixel; odd names stay inside."""
    rows = make_rows(2, 4) + [
        make_row(3, f, identity=name) for f, name in ((0, "../../x"), (1, "../../x"), (5, "P000"), (6, "P000"))
    ]
    for row in rows[-4:]:
        row.key = row.identity + row.key
    write_faces(tmp_path / "faces", rows)
    run(tmp_path, images=str(tmp_path / "out" / "images"))
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png"))
    features = [name for name in files if "/features/" in name]
    assert len(features) == len(read(tmp_path / "pairs"))
    assert all(name.startswith(("images/train/", "images/validation/")) for name in files)
    people = {name.split("/")[2].casefold() for name in files}
    assert len(people) == 4
    (file,) = [p for p in (tmp_path / "out").rglob("*.png") if "p001" in str(p) and "0000" in p.name]
    expected = decode(encode_crop(1, 0), max_pixels=10**6)
    assert {pair["identity"] for pair in read(tmp_path / "pairs")} == {"p000", "p001", "../../x", "P000"}
    assert np.array_equal(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB), expected)
    before = hash_folder(tmp_path / "out")
    file.unlink()
    run(tmp_path, images=str(tmp_path / "out" / "images"))
    assert hash_folder(tmp_path / "out") == before
    with pytest.raises(SettingsChanged, match=r"images was made .*\(--seed 0 -> 1\); .* another --images, or"):
        run(tmp_path, "other", images=str(tmp_path / "out" / "images"), seed=1)


def test_it_is_told_that_nobody_is_in_a_subset(tmp_path):
    """Few people may all fall beside a small share: training would have nothing to be judged by."""
    write_faces(tmp_path / "faces", make_rows(4, 6), 16)
    report = run(tmp_path, validation=0.01, test=0.01)
    assert [note for note in report.notes if note.startswith("nobody is in")] == [
        f"nobody is in {subset}: of 4 people none fell into a share of 0.01; give a larger --{subset}, or another --seed"
        for subset in ("validation", "test")
    ]
    write_faces(tmp_path / "faces", make_rows(12), 16)
    assert not run(tmp_path, "halves", validation=0.5).notes


def test_targets_of_other_faces_are_refused(faces, tmp_path):
    """They may not be the most frontal frames any more."""
    run(tmp_path)
    write_faces(tmp_path / "faces", make_rows(9, 6), 16)
    config = SplitConfig(str(tmp_path / "faces"), str(tmp_path / "targets"), str(tmp_path / "pairs"))
    with pytest.raises(
        Incomplete, match=r"targets was chosen from other faces than .*faces; run `facepipe select` again"
    ):
        split.run(config, QuietProgress())


def in_folders(*folders):
    """Rows of person after person, whose pictures lie in a folder above their own."""
    rows = []
    for person, folder in enumerate(folders):
        own = [make_row(person, frame) for frame in range(4)]
        rows += [dataclasses.replace(row, path=f"{folder}/{row.identity}/{row.path}") for row in own]
    return rows


@pytest.mark.usefixtures("in_process")
def test_published_subsets_are_kept(tmp_path):
    """`--keep-subsets` puts people where their folders say, for pairs, for single faces, and before `verify`."""
    folders = ("train", "val", "test", "raw/train", "Training")
    write_faces(tmp_path / "faces", rows := in_folders(*folders))
    report = run(tmp_path, keep_subsets=True)
    names = [row.identity for row in rows[::4]]
    expected = {"train": [names[0], names[3], names[4]], "validation": [names[1]], "test": [names[2]]}
    assert summary(tmp_path / "pairs")["identities"] == expected
    assert [note for note in report.notes if note.startswith("only one person is in")] == [
        f"only one person is in {subset}: figures on {expected[subset][0]} alone say little"
        for subset in ("validation", "test")
    ]
    shard.run(
        ShardConfig(
            input=str(tmp_path / "pairs"),
            faces=str(tmp_path / "faces"),
            output=str(tmp_path / "shards"),
            examples="faces",
            execution=Execution(workers=1),
        ),
        QuietProgress(),
    )
    made = json.loads((tmp_path / "shards/faces/1.0.0/run.json").read_text())
    assert made["identities"] == expected
    assert [found for found in verify.run(str(tmp_path), QuietProgress()) if "/faces/run.json" not in found.path] == []


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("train", "Ann"), "lies in no folder train"),
        (("train", "val"), "lies in (train and in validation|validation and in train)"),
    ],
)
def test_subsets_that_are_not_published_can_t_be_kept(tmp_path, folders, said):
    """Who lies in no subset's folder, or in two, is named."""
    rows = in_folders(*folders)
    if folders[1] == "val":
        rows = [
            dataclasses.replace(row, identity="Ann", path=f"{row.path.split('/')[0]}/Ann/{row.key}") for row in rows
        ]
    write_faces(tmp_path / "faces", rows)
    with pytest.raises(UsageError, match=said):
        run(tmp_path, keep_subsets=True)
