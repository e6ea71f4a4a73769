"""shard --format: whatever the format, the same examples in the same order, verified and resumed alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from facesets import hash_folder, make_rows, prepare

from facepipe.config import FORMATS, Execution, ShardConfig
from facepipe.errors import DamagedFile, SettingsChanged, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import shard, verify
from facepipe.storage import place
from facepipe.storage.checksums import Hashed, file_sha256, read_checksums, write_checksums
from facepipe.storage.formats import find_format
from facepipe.storage.tfds import read_info

QUIET = QuietProgress()
pytestmark = pytest.mark.usefixtures("in_process")
OTHERS = [name for name in FORMATS if name != "tfrecord"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """12 people with 5 pictures each, 4 of them usable."""
    return prepare(tmp_path_factory.mktemp("workspace"), make_rows(12, 5))


def run(workspace, output, **options):
    """Makes shards; gives their folder."""
    paths = {"input": str(workspace / "pairs"), "faces": str(workspace / "faces"), "output": str(output)}
    execution = options.pop("execution", Execution(workers=1))
    report = shard.run(ShardConfig(**paths, size=32, shards=3, execution=execution, **options), QUIET)
    return place(str(next(iter(report.outputs.values()))))


def read(folder):
    """Subset -> its examples, in order."""
    kind, name, splits = read_info(folder)
    stored = find_format(name)
    return {
        split.name: [
            example
            for number in range(len(split.shard_lengths))
            for example in stored.read(
                folder, stored.shard_name(kind, split.name, number, len(split.shard_lengths)), kind
            )
        ]
        for split in splits
    }


@pytest.mark.parametrize("options", [{}, {"examples": "faces", "encoding": "jpeg"}], ids=str)
@pytest.mark.parametrize("name", OTHERS)
def test_every_format_holds_what_tfrecord_does(workspace, tmp_path, name, options):
    """Every feature of every example to the last bit, in the same order, in as many shards."""
    options = {"encoding": "png", **options}
    theirs = read(run(workspace, tmp_path / "tfrecord", **options))
    assert theirs["train"]
    assert read(run(workspace, tmp_path / name, format=name, **options)) == theirs


@pytest.mark.parametrize("name", FORMATS)
def test_a_shard_that_is_lost_or_cut_is_made_again_and_verify_names_it(workspace, tmp_path, name):
    """As after a kill: the other shards are not touched, and the bytes are the old ones."""
    folder = run(workspace, tmp_path, format=name)
    before = hash_folder(tmp_path)
    shards = sorted(entry.path for entry in folder.list() if "-of-00003" in entry.path)
    kept = os.stat(folder.local_path(shards[2])).st_mtime_ns
    folder.delete(shards[0])
    whole = folder.read(shards[1])
    folder.write(shards[1], whole[: len(whole) // 2])
    told = " ".join(str(problem) for problem in verify.run(str(tmp_path), QUIET))
    assert shards[0] in told
    assert shards[1] in told
    assert shards[2] not in told
    run(workspace, tmp_path, format=name)
    assert hash_folder(tmp_path) == before
    assert os.stat(folder.local_path(shards[2])).st_mtime_ns == kept
    assert verify.run(str(tmp_path), QUIET) == []


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[1:], "records, dataset_info.json declares"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "its examples are not those that the pairs and faces give"),
        (lambda rows: [{**rows[0], "noise_strength": 0.7}, *rows[1:]], "says noise"),
        (lambda rows: [{**row, "target": rows[0]["target"]} for row in rows], "target"),
    ],
)
def test_verify_looks_into_every_format(workspace, tmp_path, name, change, said):
    """Shards whose checksums agree and whose examples are wrong."""
    folder = run(workspace, tmp_path / "shards", format=name, noise=("blur:0.5",))
    for stage in ("faces", "targets", "pairs"):
        (tmp_path / stage).symlink_to(workspace / stage)
    stored, path = find_format(name), min(e.path for e in folder.list() if "train" in e.path and "-of-" in e.path)
    rows = change(list(stored.read(folder, path, "pairs")))
    with folder.open_output(path) as file:
        stored.write(Hashed(file), path, "pairs", rows)
    write_checksums(folder, {**read_checksums(folder), path: file_sha256(folder, path)})
    assert any(said in str(problem) for problem in verify.run(str(tmp_path), QUIET))


@pytest.mark.parametrize("name", OTHERS)
def test_damage_is_told_in_one_line(workspace, tmp_path, name):
    """Half a shard is `DamagedFile`, wherever it ends."""
    folder, stored = run(workspace, tmp_path, format=name), find_format(name)
    whole = folder.read(stored.shard_name("pairs", "validation", 0, 1))
    for end in (0, 1, 512, len(whole) // 3, len(whole) - 2000):
        folder.write("cut", whole[:end])
        with pytest.raises(DamagedFile, match="damaged"):
            list(stored.read(folder, "cut", "pairs"))


def test_another_format_is_another_setting(workspace, tmp_path):
    """Refused by name; --overwrite leaves none of the old shards and indexes; --encoding raw is TFRecord's alone."""
    run(workspace, tmp_path)
    with pytest.raises(SettingsChanged, match="--format tfrecord -> webdataset"):
        run(workspace, tmp_path, format="webdataset")
    over = Execution(workers=1, overwrite=True)
    run(workspace, tmp_path, format="webdataset", execution=over)
    folder = run(workspace, tmp_path, format="parquet", execution=over)
    assert {e.path.rpartition(".")[2] for e in folder.list()} == {"parquet", "json", "md", "sha256"}
    assert not any("index" in entry.path for entry in folder.list())
    with pytest.raises(UsageError, match="--encoding raw is none of --format parquet; give png or jpeg"):
        run(workspace, tmp_path, format="parquet", encoding="raw")


def test_webdataset_reads_them(workspace, tmp_path):
    """The package's own reader: every key once, pictures decoded as ours, the rest in the JSON."""
    webdataset = pytest.importorskip("webdataset")
    folder = run(workspace, tmp_path, format="webdataset")
    shards = [folder.local_path(e.path) for e in folder.list() if "train" in e.path and e.path.endswith(".tar")]
    found = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    ours = read(folder)["train"]
    assert len({sample["__key__"] for sample in found}) == len(found) == len(ours)
    for sample, example in zip(found, ours, strict=True):
        gray = cv2.imdecode(np.frombuffer(example["feature"], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert (sample["feature.png"] == gray[..., None]).all()
        assert (sample["json"]["key"].encode(), sample["json"]["copy"]) == (example["key"], example["copy"])


def test_the_index_tells_every_shard_and_its_samples(workspace, tmp_path):
    """As `wids` wants it: paths beside the index, and as many samples as there are."""
    folder = run(workspace, tmp_path, format="webdataset")
    for subset, examples in read(folder).items():
        index = json.loads(folder.read(f"pairs-{subset}.index.json"))
        assert sum(one["nsamples"] for one in index["shardlist"]) == len(examples)
        assert all(folder.exists(one["url"]) for one in index["shardlist"])


@pytest.mark.slow
def test_wids_reads_them_by_index(workspace, tmp_path):
    """The package's own reader, by number, from the last example to the first; it needs PyTorch."""
    if find_spec("torch") is None:
        pytest.skip("wids needs PyTorch, which is not installed")
    wids = pytest.importorskip("wids")
    folder = run(workspace, tmp_path, format="webdataset")
    found = wids.ShardListDataset(folder.local_path("pairs-train.index.json"), cache_dir=str(tmp_path / "cache"))
    ours = read(folder)["train"]
    assert len(found) == len(ours)
    for number in range(len(ours) - 1, -1, -7):
        assert found[number][".json"]["key"].encode() == ours[number]["key"]
        assert np.asarray(found[number][".feature.png"]).shape == (32, 32)


HUGGING_FACE = """
import sys
from datasets import load_dataset
found = load_dataset(sys.argv[1], cache_dir=sys.argv[2])
for subset, rows in found.items():
    print(subset, type(rows.features["feature"]).__name__, type(rows.features["target"]).__name__)
    for row in rows:
        print(row["key"], row["copy"], row["feature"].mode, sum(row["feature"].tobytes()), sum(row["target"].tobytes()))
"""


def test_hugging_face_datasets_loads_the_folder(workspace, tmp_path):
    """`load_dataset` on the folder itself: subsets by name from the card, pictures as such, in order."""
    folder = run(workspace, tmp_path / "shards", format="parquet")
    done = subprocess.run(
        [sys.executable, "-c", HUGGING_FACE, folder.uri, str(tmp_path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = []
    for subset, examples in read(folder).items():
        expected.append(f"{subset} Image Image")
        for one in examples:
            sums = [cv2.imdecode(np.frombuffer(one[n], np.uint8), 0).sum() for n in ("feature", "target")]
            expected.append(f"{one['key'].decode()} {one['copy']} L {sums[0]} {sums[1]}")
    assert done.stdout.splitlines() == expected
