"""shard: records that TensorFlow reads, shuffled across everything in bounded memory; resumed and repaired."""

from __future__ import annotations

import json
import random
import shutil
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from facesets import Guard, encode_crop, hash_folder, make_row, make_rows, prepare, turnable_rows, write_faces

from facepipe.config import Execution, ShardConfig
from facepipe.dataset.noise import Noise, add_noise
from facepipe.dataset.seeding import Draws
from facepipe.errors import DamagedFile, Incomplete, InputError, SettingsChanged, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import output, shard, verify
from facepipe.stages.sharding import order, pixels, plan, records
from facepipe.storage import place, scratch
from facepipe.storage.checksums import read_checksums
from facepipe.storage.tfds import VERSION
from facepipe.storage.tfrecord import decode_example, read_records

QUIET = QuietProgress()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """20 people with 7 pictures each, 6 of them usable: 5 pairs a person."""
    return prepare(tmp_path_factory.mktemp("workspace"), make_rows(20, 7))


def run(workspace, output, **options):
    execution = options.pop("execution", Execution(workers=1))
    options = {"size": 32, "shards": 3, **options}
    config = ShardConfig(
        input=str(workspace / "pairs"),
        faces=str(workspace / "faces"),
        output=str(output),
        execution=execution,
        **options,
    )
    return shard.run(config, QUIET)


def folder_of(output, examples="pairs"):
    return output / examples / VERSION


def read(output, examples="pairs", subset="*"):
    """All examples in the order of the files, each feature a single value."""
    found = []
    for path in sorted(folder_of(output, examples).glob(f"{examples}-{subset}.tfrecord-*")):
        with open(path, "rb") as file:
            found += [{k: v[0] for k, v in decode_example(r).items()} for r in read_records(file)]
    return found


@pytest.fixture(scope="module")
def shards(workspace, tmp_path_factory):
    """The default shards at 32 px."""
    output = tmp_path_factory.mktemp("shards")
    run(workspace, output)
    return output


def expected_pixels(person, frame, size, color):
    """A crop's pixels as they should stand in a record."""
    crop = np.frombuffer(encode_crop(person, frame), np.uint8)
    image = cv2.imdecode(crop, cv2.IMREAD_GRAYSCALE if color == "gray" else cv2.IMREAD_COLOR_RGB)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA).reshape(size, size, -1)


def place_of(key: str) -> tuple[int, int]:
    person, _, frame = key.split("#", maxsplit=1)[0].removesuffix(".jpg").split("/")
    return int(person[1:]), int(frame)


def pixels_of(content, encoding, size, channels):
    if encoding == "raw":
        return np.frombuffer(content, np.uint8).reshape(size, size, channels)
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag).reshape(size, size, channels)


def test_run_file_tells_how_faces_were_cut_out(shards):
    """Who is to draw other faces like them needs to know, and shards may lie where the faces do not."""
    assert json.loads((folder_of(shards) / "run.json").read_text())["crops"] == {"margin": 0.4}


def test_every_pair_in_every_copy_once(shards):
    """Train has a clean copy and one a strength of each pair, validation the clean one: a permutation, nothing else."""
    names = json.loads((folder_of(shards) / "run.json").read_text())["identities"]
    frames = (0, 1, 3, 4, 5)
    expected = {
        (f"p{p:03d}/v{f // 4}/{f:04d}.jpg#0", copy)
        for subset in ("train", "validation")
        for p in (int(name[1:]) for name in names[subset])
        for f in frames
        for copy in range(5 if subset == "train" else 1)
    }
    found = [(example["key"].decode(), example["copy"]) for example in read(shards)]
    assert len(found) == len(expected)
    assert set(found) == expected
    assert len(names["train"]) + len(names["validation"]) == 20
    assert {e["identity"].decode() for e in read(shards, subset="validation")} == set(names["validation"])


def test_features_of_a_record(shards):
    """Angles, label and noise are those of the pair and its copy; the clean copy's noise is empty."""
    kinds = {
        0: (b"", 0.0),
        1: (b"gaussian", 0.03),
        2: (b"gaussian", 0.06),
        3: (b"gaussian", 0.09),
        4: (b"gaussian", 0.1),
    }
    for example in read(shards):
        person, frame = place_of(example["key"].decode())
        angle = 1.5 + 6 * abs(frame - 2)
        noise, strength = kinds[example["copy"]]
        assert (example["identity"], example["label"], example["noise"]) == (
            f"p{person:03d}".encode(),
            person % 2,
            noise,
        )
        assert (example["feature_angle"], example["feature_yaw"], example["target_angle"]) == (angle, -angle, 1.5)
        assert example["noise_strength"] == pytest.approx(strength)


def test_targets_are_clean_and_noise_is_drawn_from_the_key(shards):
    """Target and clean feature are the crops' pixels; a noisy feature is exactly the noise of its key and seed."""
    draws = Draws()
    for example in read(shards):
        person, frame = place_of(example["key"].decode())
        feature, target = (pixels_of(example[name], "raw", 32, 1) for name in ("feature", "target"))
        clean = expected_pixels(person, frame, 32, "gray")
        assert np.array_equal(target, expected_pixels(person, 2, 32, "gray"))
        if example["copy"]:
            strength = (0.03, 0.06, 0.09, 0.1)[example["copy"] - 1]
            names = ("noise", 0, "gaussian", strength, example["key"].decode())
            clean = add_noise(clean[None], Noise("gaussian", strength), lambda _, names=names: draws.at(*names))[0]
        assert np.array_equal(feature, clean)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("color", ["gray", "rgb"])
@pytest.mark.parametrize("encoding", ["raw", "png", "jpeg"])
def test_encodings_and_colours(workspace, tmp_path, encoding, color):
    """raw and png give the pixels back, jpeg nearly; red stays red."""
    run(workspace, tmp_path, encoding=encoding, color=color, noise=("none",))
    channels = 1 if color == "gray" else 3
    for example in read(tmp_path)[::7]:
        expected = expected_pixels(*place_of(example["key"].decode()), 32, color)
        error = np.abs(pixels_of(example["feature"], encoding, 32, channels).astype(int) - expected)
        assert error.max() <= (0 if encoding != "jpeg" else 40)
        assert error.mean() <= (0 if encoding != "jpeg" else 4)


def test_shuffle_reaches_across_everything(shards):
    """Neighbours in a shard come from far apart: the mean distance of their people is that of random pairs."""
    people = np.array([place_of(example["key"].decode())[0] for example in read(shards, subset="train")])
    everyone = np.unique(people)
    rank = np.searchsorted(everyone, people)
    expected = np.abs(np.subtract.outer(np.arange(len(everyone)), np.arange(len(everyone)))).mean()
    assert abs(np.abs(np.diff(rank)).mean() - expected) < 0.15 * expected


def test_shards_are_of_even_size(shards):
    """Sizes of a subset's shards differ by one at most, and are as declared."""
    lengths = json.loads((folder_of(shards) / "run.json").read_text())["lengths"]
    assert max(lengths["train"]) - min(lengths["train"]) <= 1
    assert len(lengths["train"]) == 3
    for subset, counts in lengths.items():
        assert sum(counts) == len(read(shards, subset=subset))


@pytest.mark.parametrize("options", [{"execution": Execution(workers=2)}, {"shards": 1}, {"shards": 7}])
def test_workers_and_shards_change_no_example(workspace, shards, tmp_path, options):
    """Two workers: equal files. Another number of shards: the same examples in the same global order."""
    run(workspace, tmp_path, **options)
    if "execution" in options:
        assert hash_folder(tmp_path) == hash_folder(shards)
    assert [(e["key"], e["copy"], e["feature"]) for e in read(tmp_path, subset="train")] == [
        (e["key"], e["copy"], e["feature"]) for e in read(shards, subset="train")
    ]


@pytest.mark.usefixtures("in_process")
def test_seed_changes_order_and_noise(workspace, shards, tmp_path):
    """Another seed: other order, other noise, the same clean pictures."""
    run(workspace, tmp_path, seed=1)
    one, two = ({(e["key"], e["copy"]): e["feature"] for e in read(output)} for output in (shards, tmp_path))
    assert list(one) != list(two)
    assert {k: v for k, v in one.items() if not k[1]} == {k: v for k, v in two.items() if not k[1]}
    assert not any(one[k] == two[k] for k in one if k[1])


@pytest.mark.usefixtures("in_process")
def test_small_blocks_give_the_same_bytes(workspace, shards, tmp_path, monkeypatch):
    """Gathered three at a time, from faces in parts of another size: memory bounds change nothing."""
    monkeypatch.setattr(shard, "make_plan", lambda config: replace(plan.make_plan(config), block_bytes=3 * 2 * 32 * 32))
    run(workspace, tmp_path)
    assert hash_folder(tmp_path) == hash_folder(shards)


@pytest.mark.usefixtures("in_process")
def test_memory_does_not_grow_with_the_data(tmp_path):
    """Ten times the examples through a bound of 64 KB: the peak while a shard is written grows by less than half."""
    peaks = []
    for people in (20, 200):
        folder = prepare(tmp_path / str(people), make_rows(people, 5), part_size=32, validation=0.0)
        config = ShardConfig(input=str(folder / "pairs"), faces=str(folder / "faces"), output="", size=32, shards=1)
        small = replace(plan.make_plan(config), block_bytes=1 << 16)
        inputs, scratch = shard.open_inputs(config), str(folder / "scratch")
        examples = order.Examples(small, inputs)
        examples.write(scratch, examples.shards[0])
        for part in inputs.faces.parts:
            pixels.PixelsJob(small, inputs.faces.place.uri, scratch, "")(part, Guard())
        job = records.RecordsJob(small, (examples.shards[0].name,), scratch, str(folder / "out"), "")
        job(0, Guard())  # caches are filled once
        tracemalloc.start()
        report = job(0, Guard())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.items == len(examples.shards[0]) > people * 14
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 12 * (1 << 16)


def test_pixels_that_another_run_left_are_used_as_they_were_written_alone(workspace, tmp_path):
    """A changed byte in what waits between two runs, the length as it was: it is decoded again."""
    config = ShardConfig(input=str(workspace / "pairs"), faces=str(workspace / "faces"), output="", size=32)
    small, faces = plan.make_plan(config), workspace / "faces"
    made = pixels.PixelsJob(small, str(faces), str(tmp_path), "")(0, Guard())
    assert pixels.is_whole(place(str(tmp_path)), 0, "", made.items, small)
    [file] = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:999] + bytes(4) + content[1003:])
    assert not pixels.is_whole(place(str(tmp_path)), 0, "", made.items, small)


def test_arrays_that_another_run_left_carry_a_checksum(tmp_path):
    """NULs in what a run left to the next one are damage, and no other result."""
    scratch.store(str(tmp_path), "a.npy", np.arange(99))
    assert (scratch.load(str(tmp_path), "a.npy") == np.arange(99)).all()
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:400] + bytes(8) + content[408:])
    with pytest.raises(DamagedFile, match=r"a\.npy is damaged; run the same command again"):
        scratch.load(str(tmp_path), "a.npy")


@pytest.mark.usefixtures("in_process")
def test_faces_for_gans(workspace, tmp_path):
    """Every usable face, in colour, with its pose and label, by the same split; single-image people too."""
    run(workspace, tmp_path, examples="faces")
    found = read(tmp_path, "faces")
    names = json.loads((folder_of(tmp_path, "faces") / "run.json").read_text())["identities"]
    assert len(found) == 20 * 6
    pairs = json.loads((workspace / "pairs" / "summary.json").read_text())["identities"]
    assert (names["train"], names["validation"]) == (pairs["train"], pairs["validation"])
    for example in found[::11]:
        person, frame = place_of(example["key"].decode())
        assert set(example) == {"key", "identity", "image", "yaw", "pitch", "label"}
        assert np.array_equal(pixels_of(example["image"], "raw", 32, 3), expected_pixels(person, frame, 32, "rgb"))
        assert (example["yaw"], example["pitch"]) == (-1.5 - 6 * abs(frame - 2), 0.0)


@pytest.mark.usefixtures("in_process")
def test_what_a_person_dropped_is_in_no_shard(tmp_path):
    """A face with a corrected key stands neither among the single faces nor in the pairs; its person stays."""
    dropped = "p001/v0/0001.jpg#0"
    (tmp_path / "overrides.csv").write_text(f"key,action\n{dropped},drop\n")
    prepare(tmp_path, make_rows(3, 6), overrides=str(tmp_path / "overrides.csv"))
    for examples in ("faces", "pairs"):
        run(tmp_path, tmp_path / "out", examples=examples)
        keys = {record["key"].decode() for record in read(tmp_path / "out", examples)}
        assert not any(key.startswith(dropped) for key in keys)
        assert any(key.startswith("p001/") for key in keys)


@pytest.mark.usefixtures("in_process")
def test_without_the_clean_copy(workspace, tmp_path):
    """--no-keep-clean leaves noisy copies in train only; validation stays clean."""
    run(workspace, tmp_path, noise=("blur:0.5", "jpeg:0.9"), keep_clean=False)
    assert {e["noise"] for e in read(tmp_path, subset="train")} == {b"blur", b"jpeg"}
    assert {e["noise"] for e in read(tmp_path, subset="validation")} == {b""}


@pytest.mark.usefixtures("in_process")
def test_unknown_labels_are_minus_one(tmp_path):
    """A face without a label says -1."""
    prepare(tmp_path, [make_row(0, f, label=None) for f in range(3)], validation=0.0)
    run(tmp_path, tmp_path / "s")
    assert {e["label"] for e in read(tmp_path / "s")} == {-1}


@pytest.mark.usefixtures("in_process")
def test_more_shards_than_examples(tmp_path):
    """No shard is left empty, and the report says that there are fewer than were asked for."""
    prepare(tmp_path, make_rows(6, 5))
    report = run(tmp_path, tmp_path / "s", shards=5000)
    made = len(list(folder_of(tmp_path / "s").glob("pairs-train.*")))
    assert report.notes == [f"{made} training shards, not 5,000: so few examples, and none is left empty"]
    assert made == report.counts["train"]
    assert not run(tmp_path, tmp_path / "t", shards=2).notes


@pytest.mark.usefixtures("in_process")
def test_nothing_to_write(tmp_path):
    """People with one picture each make no pairs: metadata without splits, and a note; faces are still made."""
    prepare(tmp_path, [make_row(p, 2) for p in range(3)], validation=0.0)
    report = run(tmp_path, tmp_path / "s")
    assert (report.counts, report.notes) == ({}, ["no pairs: nothing could be written"])
    assert run(tmp_path, tmp_path / "s", examples="faces").counts == {"train": 3}


@pytest.fixture(params=["local", "dask"])
def execution(request):
    """On this machine, and on a Dask cluster within this process."""
    if request.param == "local":
        yield Execution()
        return
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        yield Execution(engine="dask", scheduler=cluster.scheduler_address)


@pytest.mark.usefixtures("in_process")
def test_object_stores(workspace, shards, s3_port, s3_bucket, execution):
    """Shards written to S3 are those of a local disk, wherever the pixels waited; nothing else is left there."""
    uri = f"s3://{s3_bucket}/shards?endpoint_override=127.0.0.1:{s3_port}&scheme=http"
    run(workspace, uri, execution=execution)
    folder = place(uri).join("pairs", VERSION)
    there = {entry.path: folder.read(entry.path) for entry in folder.list()}
    here = {path.name: path.read_bytes() for path in folder_of(shards).iterdir()}
    assert there.keys() == here.keys()
    assert {name for name in here if there[name] != here[name]} == {"run.json"}


def test_a_rerun_does_nothing(workspace, shards):
    """All shards are found whole, none is written again."""
    before = {p: p.stat().st_mtime_ns for p in folder_of(shards).glob("*tfrecord*")}
    report = run(workspace, shards)
    assert report.done_before == len(before)
    assert {p: p.stat().st_mtime_ns for p in before} == before


DAMAGES = {
    "cut": lambda content, _: content[: len(content) // 2],
    "emptied": lambda _c, _r: b"",
    "flipped": lambda content, at: bytes([*content[:at], content[at] ^ 4, *content[at + 1 :]]),
    "deleted": lambda _c, _r: None,
}


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_repaired_by_making_just_that_piece_again(workspace, tmp_path, damage):
    """Shards, metadata, settings, checksums: as before after a rerun, and no other shard was written."""
    options = {"shards": 2, "noise": ("none",)}
    run(workspace, tmp_path, **options)
    folder, before = place(str(folder_of(tmp_path))), hash_folder(tmp_path)
    rng = random.Random(damage)
    names = [name for name in read_checksums(folder) if "tfrecord-00001" not in name]
    for name in [*sorted(names), "checksums.sha256"]:
        good = folder.read(name)
        content = DAMAGES[damage](good, rng.randrange(len(good)))
        folder.delete(name)
        if content is not None:
            folder.write(name, content)
        others = {p: p.stat().st_mtime_ns for p in folder_of(tmp_path).glob("*tfrecord*") if p.name != name}
        run(workspace, tmp_path, **options)
        assert hash_folder(tmp_path) == before, name
        if name != "checksums.sha256":
            assert {p: p.stat().st_mtime_ns for p in others} == others, name


@pytest.mark.usefixtures("in_process")
def test_what_a_person_keeps_beside_the_shards_stays(workspace, tmp_path):
    """Copies in a folder below, and files of other names, outlive shards that are made anew and are no problem."""
    run(workspace, tmp_path)
    folder = folder_of(tmp_path)
    kept = folder / "before"
    shutil.copytree(folder, kept)
    (folder / "notes.tfrecord-list").write_text("mine")
    before = hash_folder(kept)
    run(workspace, tmp_path, shards=2, execution=Execution(workers=1, overwrite=True))
    assert hash_folder(kept) == before
    assert (folder / "notes.tfrecord-list").read_text() == "mine"
    assert sorted(path.name for path in folder.glob("pairs-train*")) == [
        f"pairs-train.tfrecord-{number:05d}-of-00002" for number in range(2)
    ]
    assert verify.run(str(tmp_path), QUIET) == []


def test_the_way_to_the_disk_has_no_time_limit(workspace, tmp_path, monkeypatch):
    """When a file of pixels or a shard is closed nothing is being looked at: a slow store ends no worker."""
    last = {}

    class Told(Guard):
        def on(self, item):
            self.now = item

        def off(self):
            self.now = None

    def run_and_note(job, numbers, *, on_done, **_):
        for number in numbers:
            guard = Told()
            on_done(number, job(number, guard))
            last[type(job).__name__] = guard.now

    monkeypatch.setattr(output, "run_parts", run_and_note)
    run(workspace, tmp_path)
    assert (last["PixelsJob"], last["RecordsJob"]) == (None, None)


@pytest.mark.usefixtures("in_process")
def test_settings_and_inputs(workspace, tmp_path):
    """Other settings are refused with the difference; other pairs make other shards; stale pairs are refused."""
    prepare(tmp_path, make_rows(6, 5))
    run(tmp_path, tmp_path / "s")
    with pytest.raises(SettingsChanged, match=r"--size 32 -> 16"):
        run(tmp_path, tmp_path / "s", size=16)
    write_faces(tmp_path / "faces", make_rows(7, 5))
    with pytest.raises(Incomplete, match="run `facepipe split` again"):
        run(tmp_path, tmp_path / "s")
    prepare(tmp_path, make_rows(7, 5))
    run(tmp_path, tmp_path / "s")
    run(tmp_path, tmp_path / "t")
    assert hash_folder(tmp_path / "s") == hash_folder(tmp_path / "t")
    with pytest.raises(InputError, match="run `facepipe split` first"):
        shard.run(ShardConfig(input=str(tmp_path / "x"), faces=str(tmp_path / "faces"), output="y"), QUIET)
    with pytest.raises(UsageError, match="did you mean gaussian"):
        run(tmp_path, tmp_path / "u", noise=("gausian:0.1",))


@pytest.mark.tensorflow
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("encoding", "examples"), [("raw", "pairs"), ("png", "pairs"), ("jpeg", "faces")])
def test_tensorflow_datasets_reads_them(workspace, tmp_path, encoding, examples):
    """By folder and by name; every example is ours, pictures come decoded."""
    import tensorflow_datasets as tfds

    run(workspace, tmp_path, encoding=encoding, examples=examples, noise=("none",))
    builder = tfds.builder_from_directory(str(folder_of(tmp_path, examples)))
    ours = {e["key"]: e for e in read(tmp_path, examples, "train")}
    assert builder.info.splits["train"].num_examples == len(ours)
    picture, channels = ("feature", 1) if examples == "pairs" else ("image", 3)
    seen = 0
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        mine = ours[example["key"]]
        theirs = pixels_of(mine[picture], encoding, 32, channels).astype(int)
        # Decoders of JPEG differ in how they interpolate colour.
        assert np.abs(example[picture] - theirs).max() <= (16 if encoding == "jpeg" else 0)
        assert (example["identity"], example["label"]) == (mine["identity"], mine["label"])
        seen += 1
    loaded = tfds.load(examples, data_dir=str(tmp_path), split="train+validation")
    assert (seen, len(list(loaded))) == (len(ours), len(read(tmp_path, examples)))


@pytest.mark.tensorflow
def test_plain_tf_data_reads_them(shards):
    """`tf.data` with a hand-written parser gives the same pixels."""
    import tensorflow as tf

    files = sorted(str(p) for p in folder_of(shards).glob("*-train.tfrecord-*"))
    spec = {"key": tf.io.FixedLenFeature([], tf.string), "feature": tf.io.FixedLenFeature([], tf.string)}
    parsed = tf.data.TFRecordDataset(files).map(lambda record: tf.io.parse_single_example(record, spec))
    theirs = [(e["key"].numpy(), tf.io.decode_raw(e["feature"], tf.uint8).numpy().tobytes()) for e in parsed]
    assert theirs == [(e["key"], e["feature"]) for e in read(shards, subset="train")]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_turned_faces(tmp_path, color):
    """Every frontal face N times, the photograph itself being the target; noise and subsets as for pairs; a shard that
    is lost is made again to the byte."""
    options = {"examples": "turned", "turns": 3, "turn_yaw": "uniform:60", "flow": True, "color": color, "shards": 2}
    prepare(tmp_path, turnable_rows())
    run(tmp_path, tmp_path / "shards", noise=("gaussian:0.1",), **options)
    found = read(tmp_path / "shards", "turned")
    clean = [example for example in found if not example["copy"]]
    frontal = {(person, frame) for person in range(4) for frame in (1, 2, 3)} | {(4, 0)}
    assert sorted(place_of(e["key"].decode()) for e in clean) == sorted(3 * list(frontal))
    channels = 1 if color == "gray" else 3
    for example in clean:
        person, frame = place_of(example["key"].decode())
        target = pixels_of(example["target"], "raw", 32, channels)
        assert np.array_equal(target, expected_pixels(person, frame, 32, color))
        assert abs(example["feature_yaw"]) <= 60
        assert example["feature_angle"] >= max(abs(example["feature_yaw"]), abs(example["feature_pitch"])) - 0.1
        assert len(example["flow"]) == 32 * 32 * 3
    straight = min(clean, key=lambda e: e["feature_angle"])
    turned = max(clean, key=lambda e: e["feature_angle"])
    errors = [
        np.abs(np.subtract(*(pixels_of(e[n], "raw", 32, channels).astype(int) for n in ("feature", "target")))).mean()
        for e in (straight, turned)
    ]
    assert errors[0] < errors[1]
    assert {e["noise"] for e in found} == {b"", b"gaussian"}
    assert [p for p in verify.run(str(tmp_path), QUIET) if "shards" in p.path] == []
    before = hash_folder(tmp_path / "shards")
    next(folder_of(tmp_path / "shards", "turned").glob("turned-train.tfrecord-00001*")).unlink()
    run(tmp_path, tmp_path / "shards", noise=("gaussian:0.1",), **options)
    assert hash_folder(tmp_path / "shards") == before
    run(tmp_path, tmp_path / "more", noise=("none",), **{**options, "turns": 5})
    more = {e["key"]: e["feature"] for e in read(tmp_path / "more", "turned")}
    assert len(more) == 5 * len(frontal)
    assert all(more[e["key"]] == e["feature"] for e in clean)
    with pytest.raises(UsageError, match=r"--turn-yaw unifrom:60: .*did you mean uniform"):
        run(tmp_path, tmp_path / "u", **{**options, "turn_yaw": "unifrom:60"})
