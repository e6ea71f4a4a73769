"""Filters and thinning: what is left out is in no target, pair or shard, has its reason, and a person's word counts more."""

from __future__ import annotations

import json
from collections import Counter

import cv2
import numpy as np
import pytest
from facesets import encode_crop, hash_folder, make_row, make_rows, write_faces

from facepipe.config import Execution, SelectConfig, ShardConfig, SplitConfig
from facepipe.errors import SettingsChanged, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import select, shard, split, verify
from facepipe.storage import parquet, place

pytestmark = pytest.mark.usefixtures("in_process")
NAN = float("nan")


def run(folder, output="targets", **options):
    config = SelectConfig(input=str(folder / "faces"), output=str(folder / output), **options)
    return select.run(config, QuietProgress())


def pair(folder, **options):
    paths = {name: str(folder / name) for name in ("faces", "targets")}
    return split.run(SplitConfig(**paths, output=str(folder / "pairs"), **options), QuietProgress())


def read(folder, name):
    return parquet.read_table(place(str(folder)), name).to_pylist()


def left_out(folder):
    return {row["key"]: (row["reason"], row["value"]) for row in read(folder, "left_out.parquet")}


def key(person, frame):
    return f"p{person:03d}/v{frame // 4}/{frame:04d}.jpg#0"


FRAMES = [
    {"angle": 20.0, "sharpness": 0.5},
    {"angle": 2.0, "sharpness": 0.125},
    {"angle": 30.0, "yaw": -60.0},
    {"angle": 25.0, "yaw": NAN},
    {"angle": 40.0, "pitch": 35.0},
    {"angle": 1.0, "bbox": [10.0, 10.0, 50.0, 60.0]},
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_sharpness": 0.2}, {1: ("min_sharpness", 0.125)}),
        ({"min_size": 60}, {5: ("min_size", 50.0)}),
        ({"max_yaw": 45}, {2: ("max_yaw", -60.0), 3: ("max_yaw", NAN)}),
        ({"max_pitch": 30}, {4: ("max_pitch", 35.0)}),
        (  # the first reason counts
            {"min_sharpness": 0.2, "max_frames": 2},
            {
                1: ("min_sharpness", 0.125),
                0: ("max_frames", NAN),
                3: ("max_frames", NAN),
                4: ("max_frames", NAN),
            },
        ),
    ],
)
def test_what_a_filter_leaves_out_is_taken_nowhere_and_has_its_reason(tmp_path, options, expected):
    """Neither target, feature nor single face; counted in the report and in run.json; the target's reason tells it."""
    write_faces(tmp_path / "faces", [make_row(0, frame, **changes) for frame, changes in enumerate(FRAMES)])
    report = run(tmp_path, **options)
    expected = {key(0, frame): why for frame, why in expected.items()}
    assert str(left_out(tmp_path / "targets")) == str(dict(sorted(expected.items())))
    counts = Counter(why for why, _ in expected.values())
    assert report.counts == {
        "targets": 1,
        "without a target": 0,
        **{f"left out by --{why.replace('_', '-')}": count for why, count in counts.items()},
    }
    assert json.loads((tmp_path / "targets" / "run.json").read_text())["left_out"] == counts
    (target,) = read(tmp_path / "targets", "targets.parquet")
    assert target["frames"] == 6 - len(expected)
    assert all(f"{count} by --{why.replace('_', '-')}" in target["reason"] for why, count in counts.items())
    pair(tmp_path)
    pairs = read(tmp_path / "pairs", "part-00000.parquet")
    taken = {row[name] for row in pairs for name in ("feature_key", "target_key")}
    assert taken == {key(0, frame) for frame in range(6)} - expected.keys()
    paths = {"faces": str(tmp_path / "faces"), "input": str(tmp_path / "pairs"), "output": str(tmp_path / "shards")}
    made = shard.run(ShardConfig(**paths, examples="faces", size=16), QuietProgress())
    assert sum(made.counts.values()) == len(taken)
    assert not [one for one in verify.run(str(tmp_path), QuietProgress()) if "/faces/run.json" not in one.path]


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"min_sharpness": 0.2}, {1: "min_sharpness"}),
        ({"max_yaw": 45}, {2: "max_yaw"}),
        ({"max_pitch": 30, "max_frames": 3}, {4: "max_pitch", 1: "max_frames"}),
        ({"min_size": 60, "min_frames": 6}, dict.fromkeys((0, 1, 2, 4, 5), "min_frames")),
    ],
)
def test_filters_of_split_leave_out_features_while_targets_stay(tmp_path, options, gone):
    """Besides what select left out; the small target stays. Counted, and in no pair and no single face."""
    write_faces(tmp_path / "faces", [make_row(0, frame, **changes) for frame, changes in enumerate(FRAMES)])
    run(tmp_path, max_yaw=45 if "min_sharpness" in options else 180)  # of one face the yaw is unknown
    before = left_out(tmp_path / "targets")
    pair(tmp_path)
    with pytest.raises(SettingsChanged, match=f"--{next(iter(options)).replace('_', '-')}"):
        pair(tmp_path, **options)
    report = pair(tmp_path, **options, execution=Execution(overwrite=True))
    expected = {key(0, frame): why for frame, why in gone.items()}
    found = {name: why for name, (why, _) in left_out(tmp_path / "pairs").items()}
    assert found == {name: why for name, (why, _) in before.items()} | expected
    for why, count in Counter(gone.values()).items():
        assert report.counts[f"left out by --{why.replace('_', '-')}"] == count
    taken = {row["feature_key"] for row in read(tmp_path / "pairs", "part-00000.parquet")}
    assert taken == {key(0, frame) for frame in range(5)} - found.keys()
    assert pair(tmp_path, **options).done_before == 1
    assert not [one for one in verify.run(str(tmp_path), QuietProgress()) if "/faces/run.json" not in one.path]


def test_without_a_filter_nothing_is_written_and_no_setting_is_noted(tmp_path):
    """So what was made before there were filters stays as it is; with one, the difference is told."""
    write_faces(tmp_path / "faces", make_rows(2))
    run(tmp_path)
    assert sorted(hash_folder(tmp_path / "targets")) == ["checksums.sha256", "settings.json", "targets.parquet"]
    settings = json.loads((tmp_path / "targets" / "settings.json").read_text())["settings"]
    assert sorted(settings) == ["candidates", "inputs", "max_angle", "per", "stage"]
    with pytest.raises(SettingsChanged, match=r"\(--max-frames keep all -> 2; --min-sharpness keep all -> 0\.2\)"):
        run(tmp_path, min_sharpness=0.2, max_frames=2)


def test_everything_left_out_is_a_reason_for_no_target(tmp_path):
    """The person stays listed, with what left the faces out."""
    write_faces(tmp_path / "faces", [make_row(0, 0), make_row(0, 1, sharpness=0.1), make_row(1, 0, sharpness=0.5)])
    report = run(tmp_path, min_sharpness=0.4)
    first, second = read(tmp_path / "targets", "targets.parquet")
    assert (first["target_key"], first["frames"], second["frames"]) == ("", 0, 1)
    assert first["reason"] == "none is left of its 2 usable faces (left out: 2 by --min-sharpness)"
    assert report.notes == [f"no target for 'p000': {first['reason']}"]


@pytest.mark.parametrize("action", ["target", "keep"])
def test_a_person_s_word_counts_more_than_a_filter(tmp_path, action):
    """What is to be a target or to stay does; what was dropped is, whatever else holds."""
    write_faces(tmp_path / "faces", [make_row(0, frame, sharpness=0.1 + 0.1 * frame) for frame in range(5)])
    (tmp_path / "o.csv").write_text(f"key,action\n{key(0, 0)},{action}\n{key(0, 4)},drop\n")
    run(tmp_path, min_sharpness=0.35, max_frames=2, overrides=str(tmp_path / "o.csv"))
    assert {name: why for name, (why, _) in left_out(tmp_path / "targets").items()} == {
        key(0, 1): "min_sharpness",
        key(0, 2): "min_sharpness",
        key(0, 4): "dropped",
    }
    (target,) = read(tmp_path / "targets", "targets.parquet")
    assert target["target_key"] == key(0, 0 if action == "target" else 3)


def test_the_best_frames_of_a_person_are_spread_over_yaw(tmp_path):
    """The target and a frame of each band of yaw, the better picture of two alike; of few frames all stay."""
    yaws = [-40.0, -39.0, -38.0, -20.0, 1.0, 2.0, 19.0, 41.0, 40.0, NAN]
    rows = [
        make_row(0, frame, abs(yaw) if yaw == yaw else NAN, yaw=yaw, sharpness=0.2 + 0.01 * frame)  # noqa: PLR0124
        for frame, yaw in enumerate(yaws)
    ]
    write_faces(tmp_path / "faces", [*rows, *(make_row(1, frame) for frame in range(3))])
    run(tmp_path, max_frames=5)
    kept = [frame for frame in range(len(yaws)) if key(0, frame) not in left_out(tmp_path / "targets")]
    assert kept == [2, 3, 4, 6, 8]
    assert not [name for name in left_out(tmp_path / "targets") if name.startswith("p001")]
    with pytest.raises(UsageError, match="--max-frames 2 leaves nobody with --min-frames 3"):
        run(tmp_path, max_frames=2, min_frames=3)


def encode(picture, quality):
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def again(person, frame, quality=70):
    """A frame's crop in another encoding."""
    return encode(cv2.imdecode(np.frombuffer(encode_crop(person, frame), np.uint8), cv2.IMREAD_COLOR), quality)


def test_of_near_duplicates_the_best_stays(tmp_path):
    """A burst keeps its best picture, each other one says which, and how far it is; other people's stay."""
    rows = [make_row(0, 0, 5.0), make_row(0, 9, 5.2, crop=again(0, 0), sharpness=0.4), make_row(0, 6, 30.0)]
    rows += [make_row(1, 0, crop=again(0, 0, 60)), make_row(1, 1, 12.0, crop=encode_crop(2, 1))]
    write_faces(tmp_path / "faces", rows)
    run(tmp_path, thin=24)
    (row,) = read(tmp_path / "targets", "left_out.parquet")
    assert (row["key"], row["reason"], row["kept_key"]) == (key(0, 0), "thin", key(0, 9))
    assert 0 <= row["value"] <= 24
    run(tmp_path, "all", thin=120)
    assert len(read(tmp_path / "all", "left_out.parquet")) > 1
    (tmp_path / "o.csv").write_text(f"key,action\n{key(0, 0)},keep\n")
    run(tmp_path, "by hand", thin=24, overrides=str(tmp_path / "o.csv"))
    (row,) = read(tmp_path / "by hand", "left_out.parquet")
    assert (row["key"], row["kept_key"]) == (key(0, 9), key(0, 0))


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({}, 1),
        ({"landmarks": [v + 0.4 for v in range(10)]}, 1),
        ({"landmarks": [v + 2.0 for v in range(10)]}, 2),  # the face moved
        ({"width": 500}, 2),
        ({"crop": encode_crop(0, 8)}, 2),
    ],
)
def test_a_copy_of_the_target_in_another_encoding_makes_no_pair(tmp_path, changes, pairs):
    """It is one picture: the same size, the same face in the same place. A frame in which the face moved is none."""
    rows = [make_row(0, 2), make_row(0, 5, 8.0, **{"crop": again(0, 2), **changes}), make_row(0, 0)]
    write_faces(tmp_path / "faces", rows)
    run(tmp_path)
    report = pair(tmp_path)
    assert report.counts == {"train pairs": pairs, "duplicates left out": 2 - pairs}
    assert not [one for one in verify.run(str(tmp_path), QuietProgress()) if "/faces/run.json" not in one.path]


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_a_list_that_is_damaged_is_made_anew(tmp_path, content):
    """Beside the targets and beside the pairs; the rerun of what is whole does nothing."""
    write_faces(tmp_path / "faces", make_rows(3))
    folders = ("targets", "pairs")
    for number in range(2):
        reports = [run(tmp_path, max_frames=2, thin=10), pair(tmp_path)]
        assert [report.done_before for report in reports] == [number, number]
    before = [hash_folder(tmp_path / name) for name in folders]
    for name in folders:
        place(str(tmp_path / name)).delete("left_out.parquet")
        if content is not None:
            (tmp_path / name / "left_out.parquet").write_bytes(content)
        assert [one for one in verify.run(str(tmp_path), QuietProgress()) if "left_out.parquet" in str(one)]
        run(tmp_path, max_frames=2, thin=10)
        pair(tmp_path)
    assert [hash_folder(tmp_path / name) for name in folders] == before


def test_verify_tells_a_list_that_contradicts_the_targets_and_pairs(tmp_path):
    """A key that is taken as well, one that is no usable face, a reason that there is none of."""
    write_faces(tmp_path / "faces", make_rows(3))
    run(tmp_path, max_frames=4)
    pair(tmp_path)
    for name in ("targets", "pairs"):
        folder = place(str(tmp_path / name))
        rows = [dict(row, reason="mood") for row in read(tmp_path / name, "left_out.parquet")[:1]]
        rows += [dict(rows[0], key=other) for other in (key(0, 2), "nobody#0")]
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        parquet.write_table(folder, "left_out.parquet", parquet.Table.from_pydict(columns, schema=parquet.LEFT_OUT))
    told = [str(one) for one in verify.run(str(tmp_path), QuietProgress())]
    for name in ("targets", "pairs"):
        for what in (
            f"'{key(0, 2)}' is left out and taken as well",
            "'nobody#0' is no usable face",
            "no reason 'mood'",
        ):
            assert [line for line in told if f"/{name}/left_out.parquet" in line and what in line], (name, what)


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path):
    """Nor on a second run into another folder."""
    write_faces(tmp_path / "faces", make_rows(6))
    for name, workers in (("a", 1), ("b", 2)):
        run(tmp_path, name, thin=60, max_frames=3, execution=Execution(workers=workers))
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")
