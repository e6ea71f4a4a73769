"""facepipe.torch: every format in the same batches, whoever iterates, from wherever a run ended."""

from __future__ import annotations

import hashlib
import pickle
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "stages"))

from facesets import make_rows, prepare, turnable_rows

from facepipe.config import FORMATS, Execution, ShardConfig
from facepipe.errors import DamagedFile, InputError, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import shard
from facepipe.torch import ShardDataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pairs of 14 people, PNG, by format; and single faces in colour, raw."""
    root = prepare(tmp_path_factory.mktemp("workspace"), make_rows(14, 6))
    common = {"input": str(root / "pairs"), "faces": str(root / "faces"), "size": 32, "shards": 3}
    found = {}
    for name in FORMATS:
        output, one = str(root / name), Execution(workers=1)
        config = ShardConfig(**common, output=output, format=name, encoding="png", noise=("blur:0.5",), execution=one)
        found[name] = shard.run(config, QuietProgress()).outputs["pairs"]
    config = ShardConfig(**common, output=str(root / "faces-out"), examples="faces", execution=one)
    return {**found, "faces": shard.run(config, QuietProgress()).outputs["faces"]}


def loaded(dataset, workers):
    """What a DataLoader gives: one batch of each worker in turn, each worker with a copy of its own."""
    shares = [pickle.loads(pickle.dumps(dataset)).batches(k, workers) for k in range(workers)]
    return [batch for batch in chain(*zip_longest(*shares)) if batch is not None]


def digest(batch):
    """Tells batches apart by every value in them."""
    told = hashlib.sha256()
    for name, values in sorted(batch.items()):
        told.update(name.encode() + (values.tobytes() if isinstance(values, np.ndarray) else repr(values).encode()))
    return told.hexdigest()


def keys(batches):
    return [(key, int(copy)) for batch in batches for key, copy in zip(batch["key"], batch["copy"], strict=True)]


def test_every_format_gives_the_same_batches(folders):
    """To the last bit, as arrays of the types that are told."""
    digests = {name: [digest(b) for b in ShardDataset(folders[name], batch_size=7)] for name in FORMATS}
    assert len(set(map(tuple, digests.values()))) == 1
    batch = next(iter(ShardDataset(folders["parquet"], batch_size=7)))
    assert {(v.dtype.name, v.shape) for v in batch.values() if isinstance(v, np.ndarray)} == {
        ("uint8", (7, 32, 32, 1)), ("float32", (7,)), ("int64", (7,)),
    }  # fmt: skip
    faces = next(iter(ShardDataset(folders["faces"], batch_size=5)))
    assert faces["image"].shape == (5, 32, 32, 3)


@pytest.mark.parametrize("name", FORMATS)
def test_turned_faces_come_from_every_format(tmp_path, name):
    """With the feature's pitch, and from TFRecord with the flow."""
    prepare(tmp_path, turnable_rows())
    paths = {"input": str(tmp_path / "pairs"), "faces": str(tmp_path / "faces"), "output": str(tmp_path / "out")}
    config = ShardConfig(
        **paths, examples="turned", size=32, format=name, flow=name == "tfrecord", execution=Execution(workers=1)
    )
    dataset = ShardDataset(shard.run(config, QuietProgress()).outputs["turned"], batch_size=4)
    batch = next(iter(dataset))
    assert batch["feature_pitch"].dtype == np.float32
    assert batch["target"].shape == (4, 32, 32, 1)
    if name == "tfrecord":
        assert batch["flow"].shape == (4, 32, 32, 3)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("ranks", "workers", "window"), [(1, 1, 2048), (1, 3, 10), (2, 2, 16), (3, 1, 3), (1, 60, 5)])
def test_each_example_comes_once_an_epoch(folders, name, ranks, workers, window):
    """Shared by ranks, which have as many batches each, and by workers; mixed anew in every epoch and by every seed."""
    everything = keys(ShardDataset(folders[name], shuffle=False))
    options = {"batch_size": 5, "ranks": ranks, "window": window}
    seen = []
    for rank in range(ranks):
        dataset = ShardDataset(folders[name], rank=rank, **options)
        batches = loaded(dataset, workers)
        assert len(batches) == len(dataset) == len(ShardDataset(folders[name], rank=0, **options))
        seen += keys(batches)
    assert len(seen) == len(set(seen)) == len(everything) // ranks * ranks
    assert set(seen) <= set(everything)
    assert seen != everything[: len(seen)]
    dataset = ShardDataset(folders[name], **options)
    orders = []
    for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0)):
        dataset = ShardDataset(folders[name], seed=seed, **options)
        dataset.set_epoch(epoch)
        orders.append(keys(loaded(dataset, workers)))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]


@pytest.mark.parametrize(("workers", "window"), [(1, 2048), (1, 6), (2, 12), (3, 7)])
@pytest.mark.parametrize("name", FORMATS)
def test_an_epoch_goes_on_from_any_batch(folders, name, workers, window):
    """After so many batches the rest is what it would have been."""
    dataset = ShardDataset(folders[name], batch_size=6, window=window)
    dataset.set_epoch(4)
    whole = [digest(batch) for batch in loaded(dataset, workers)]
    for start in (0, 1, 5, len(whole) - 1, len(whole)):
        dataset.set_epoch(4, start)
        assert [digest(batch) for batch in loaded(dataset, workers)] == whole[start:]


def test_without_shuffling_it_is_the_order_of_the_shards(folders):
    """Every epoch alike; drop_last leaves the part of a batch out; raw and decoded pictures agree."""
    dataset = ShardDataset(folders["tfrecord"], batch_size=9, shuffle=False, drop_last=True)
    first = [digest(batch) for batch in dataset]
    dataset.set_epoch(3)
    assert [digest(batch) for batch in dataset] == first
    assert len(first) == len(dataset) < len(ShardDataset(folders["tfrecord"], batch_size=9))


def test_what_is_wrong_is_told(folders, tmp_path):
    """In one line: no such subset, no shards, a rank that there is not, a shard that was cut."""
    with pytest.raises(InputError, match=r"has no test shards; it has \['train', 'validation'\]"):
        ShardDataset(folders["parquet"], "test")
    with pytest.raises(DamagedFile, match=r"dataset_info.json is missing"):
        ShardDataset(str(tmp_path))
    with pytest.raises(UsageError, match="rank 2 of 2"):
        ShardDataset(folders["parquet"], rank=2, ranks=2)
    path = min(Path(folders["faces"]).glob("faces-validation.tfrecord*"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(DamagedFile, match="damaged"):
        list(ShardDataset(folders["faces"], "validation"))
    path.write_bytes(whole)


@pytest.mark.tensorflow
def test_arrays_are_those_that_tensorflow_reads(folders):
    """Image, text and number of every example, against TensorFlow Datasets."""
    import tensorflow_datasets as tfds

    for kind, subset in (("tfrecord", "train"), ("faces", "validation")):
        theirs = tfds.as_numpy(tfds.builder_from_directory(folders[kind]).as_dataset(split=subset))
        rows = {(row["key"].decode(), int(row.get("copy", 0))): row for row in theirs}
        for batch in ShardDataset(folders[kind], subset, batch_size=8):
            for at, key in enumerate(batch["key"]):
                row = rows.pop((key, int(batch["copy"][at]) if "copy" in batch else 0))
                for name, values in batch.items():
                    mine = values[at].encode() if isinstance(values, list) else values[at]
                    assert np.array_equal(mine, row[name]), name
        assert not rows


TORCH = """
import sys, torch
from test_torch import digest
from facepipe.torch import ShardDataset
from torch.utils.data import DataLoader
for workers in (0, 2):
    dataset = ShardDataset(sys.argv[1], batch_size=6)
    for epoch, start in ((0, 0), (1, 2)):
        dataset.set_epoch(epoch, start)
        loader = DataLoader(dataset, batch_size=None, num_workers=workers)
        for batch in loader:
            assert all(isinstance(v, (torch.Tensor, list)) for v in batch.values())
            print(workers, epoch, digest({n: v.numpy() if isinstance(v, torch.Tensor) else v for n, v in batch.items()}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_real_dataloader_gives_the_same(folders, name):
    """PyTorch's, without workers and with two: tensors of the same values, in the order that `loaded` tells."""
    if find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    done = subprocess.run(
        [sys.executable, "-c", TORCH, folders[name]], cwd=ROOT / "tests", capture_output=True, text=True, check=True
    )
    expected = []
    for workers in (0, 2):
        dataset = ShardDataset(folders[name], batch_size=6)
        for epoch, start in ((0, 0), (1, 2)):
            dataset.set_epoch(epoch, start)
            expected += [f"{workers} {epoch} {digest(batch)}" for batch in loaded(dataset, max(workers, 1))]
    assert done.stdout.splitlines() == expected


@pytest.mark.slow
def test_the_code_of_the_page_runs(folders, tmp_path):
    """docs/tasks/elsewhere.md as it stands, over the pairs in a workspace."""
    if find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    page = (ROOT / "docs" / "tasks" / "elsewhere.md").read_text(encoding="utf-8")
    shown = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "DataLoader(" in block)
    (tmp_path / "data" / "shards" / "pairs").mkdir(parents=True)
    (tmp_path / "data" / "shards" / "pairs" / "1.0.0").symlink_to(folders["tfrecord"])
    done = subprocess.run([sys.executable, "-c", shown], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "torch.Size([" in done.stdout
