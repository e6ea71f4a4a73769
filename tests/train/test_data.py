"""Both backends see the same pictures in the same order, and a resumed run goes on where it stopped."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
from runfolders import without_records

from facepipe.errors import DamagedFile, InputError
from train.config import TrainConfig
from train.data import Arrays, load_arrays, read_columns
from train.feeds import check_apart, open_feed
from train.order import Order
from train.shards import ImageView, View, find_shards


def view(size=16, channels=1, **options):
    return View((ImageView("feature", size, channels), ImageView("target", size, channels)), **options)


def first(feed, count):
    return [tuple(np.asarray(a) for a in batch) for batch in itertools.islice(iter(feed), count)]


def config(backend, **options):
    return TrainConfig(backend=backend, batch_size=8, seed=3, **options)


def same(left, right, tolerance=0.0):
    return all(
        np.allclose(a, b, rtol=0, atol=tolerance)
        for x, y in zip(left, right, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.tensorflow
@pytest.mark.parametrize("encoding", ["raw", "png", "jpeg"])
@pytest.mark.parametrize(("size", "channels", "stored"), [(16, 1, 1), (8, 1, 1), (12, 1, 3), (8, 3, 3)])
def test_backends_agree(make_pairs, encoding, size, channels, stored):
    """tf.data and the reader without TensorFlow decode, resize, gray, shuffle, mirror and scale alike."""
    shards = find_shards(str(make_pairs(channels=stored, encoding=encoding)), "pairs")
    wanted = view(size, channels, mirror=True, label=True)
    feeds = [open_feed(shards, "train", wanted, config(backend)) for backend in ("tensorflow", "jax")]
    batches = [first(feed, 6) for feed in feeds]
    assert [batch.shape for batch in batches[0][0]] == [(8, size, size, channels)] * 2 + [(8,)]
    assert same(*batches, tolerance=1.01 / 255)
    assert np.mean(np.abs(batches[0][0][0] - batches[1][0][0])) < 1e-4


@pytest.mark.tensorflow
@pytest.mark.parametrize("cache_bytes", [0, 2**31])
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_resumes_mid_stream(make_pairs, backend, cache_bytes):
    """Batch 7 of a run is the first batch of one that starts at step 7, in memory and streamed."""
    shards = find_shards(str(make_pairs(files=3)), "pairs")
    settings = config(backend, cache_bytes=cache_bytes)
    feed = open_feed(shards, "train", view(mirror=True), settings)
    assert (feed.steps, feed.count, feed.arrays is not None) == (5, 40, bool(cache_bytes))
    whole = first(feed, 14)
    late = first(open_feed(shards, "train", view(mirror=True), settings, start_step=7), 7)
    assert same(whole[7:], late)
    assert not same(whole[:5], whole[5:10])


@pytest.mark.tensorflow
@pytest.mark.parametrize("cache_bytes", [0, 2**31])
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_labels_may_be_any_whole_number(make_faces, backend, cache_bytes):
    """Numbers from somebody's data base need 64 bits; they come as they were written, in memory and streamed."""
    shards = find_shards(str(make_faces(labels=3, lowest=5_000_000_000)), "faces")
    wanted = View((ImageView("image", 16, 3, "raw"),), label=True)
    feed = open_feed(shards, "validation", wanted, config(backend, cache_bytes=cache_bytes), training=False)
    written = read_columns(shards, "validation", ["label"])["label"]
    assert np.concatenate([labels for _, labels in first(feed, feed.steps)]).tolist() == written


@pytest.mark.tensorflow
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**32 - 1])
def test_every_seed_streams(pairs, seed):
    """After `backend.prepare` has set it, each seed gives an order, again the same one, that no global seed changes."""
    import tensorflow as tf

    from train import backend

    settings = TrainConfig(batch_size=8, seed=seed, cache_bytes=0)
    shards = find_shards(str(pairs), "pairs")
    backend.prepare(settings)
    orders = []
    for global_seed in (seed, seed, 5):
        tf.random.set_seed(global_seed)
        orders.append(first(open_feed(shards, "train", view(), settings), 7))
    assert same(orders[0], orders[1])
    assert same(orders[0], orders[2])


@pytest.mark.tensorflow
@pytest.mark.parametrize("cache_bytes", [0, 2**31])
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_example_once(make_pairs, backend, cache_bytes):
    """A pass over the training subset shows each pair once; validation comes in the shards' order, nothing left out."""
    shards = find_shards(str(make_pairs(files=3)), "pairs")
    settings = config(backend, cache_bytes=cache_bytes)
    for subset, training in (("train", True), ("validation", False)):
        feed = open_feed(shards, subset, view(), settings, training=training)
        seen = np.concatenate([batch[0] for batch in first(feed, feed.steps)])
        stored = load_arrays(shards, subset, view()).images[0].astype(np.float32) / 255
        order = [np.lexsort(a.reshape(len(a), -1).T) for a in (seen, stored)]
        assert np.allclose(seen[order[0]], stored[order[1]])
        assert training or np.allclose(seen, stored)


@pytest.mark.parametrize(
    ("scale", "low", "high"), [("unit", 0, 1), ("signed", -1, 1), ("bytes", 0, 255), ("raw", 0, 255)]
)
def test_scales(pairs, scale, low, high):
    """0..255 becomes the range the model takes; raw stays uint8."""
    wanted = View((ImageView("feature", 16, 1, scale),))
    (batch,) = first(open_feed(find_shards(str(pairs), "pairs"), "train", wanted, config("jax")), 1)[0]
    assert batch.dtype == (np.uint8 if scale == "raw" else np.float32)
    assert low <= batch.min() < low + (high - low) / 4
    assert high >= batch.max() > high - (high - low) / 4


@pytest.mark.tensorflow
@pytest.mark.parametrize("cache_bytes", [0, 2**31])
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_flipped_bit(pairs, tmp_path, backend, cache_bytes):
    """One wrong bit in a record is noticed and the file named."""
    shutil.copytree(pairs, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "pairs" / "1.0.0" / "pairs-train.tfrecord-00001-of-00002"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    shards = find_shards(str(tmp_path), "pairs")
    with pytest.raises(DamagedFile, match="00001-of-00002"):
        feed = open_feed(shards, "train", view(), config(backend, cache_bytes=cache_bytes))
        first(feed, feed.steps)


@pytest.mark.tensorflow
@pytest.mark.parametrize(("subset", "kept"), [("train", 39), ("train", 3), ("train", 0), ("validation", 15)])
@pytest.mark.parametrize("cache_bytes", [0, 2**31])
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_missing_records(pairs, tmp_path, backend, cache_bytes, subset, kept):
    """Fewer records than were written, down to none, are noticed within a pass: where, how many, what to do."""
    shards = find_shards(str(without_records(pairs, tmp_path, subset, kept)), "pairs")
    written = shards.lengths[subset]
    said = rf"{subset} shards in {tmp_path}.* hold {kept} of the {written} records.*`facepipe shard --examples pairs` again with"
    with pytest.raises(DamagedFile, match=said):
        feed = open_feed(shards, subset, view(), config(backend, cache_bytes=cache_bytes), training=subset == "train")
        first(feed, feed.steps)
    with pytest.raises(DamagedFile, match=said):
        read_columns(shards, subset, ["key"])


def test_identities_of_the_records():
    """Records are believed before run.json."""

    def arrays(*names):
        return Arrays([], np.zeros(len(names), np.int64), np.array([n.encode() for n in names], object))

    check_apart(train=arrays("a", "b"), validation=arrays("c"), test=None)
    with pytest.raises(InputError, match=r"1 identities are in both train and validation \(b\)"):
        check_apart(train=arrays("a", "b"), validation=arrays("b", "c"))


def test_columns(pairs):
    """Plain features come in the shards' order: file by file."""
    columns = read_columns(find_shards(str(pairs), "pairs"), "validation", ("key", "feature_yaw"))
    assert columns["key"][:3] == [b"p10/0", b"p10/2", b"p11/0"]
    assert columns["feature_yaw"][:3] == [-70.0, 25.0, -70.0]


def test_smaller_than_a_batch(pairs):
    """A subset smaller than a batch is one batch."""
    feed = open_feed(find_shards(str(pairs), "pairs"), "train", view(), TrainConfig(backend="jax", batch_size=64))
    assert (feed.batch_size, feed.steps, len(first(feed, 1)[0][0])) == (40, 1, 40)


def test_whoever_computes_in_a_batch_s_arrays_changes_no_other_batch():
    """TensorFlow may: the permutation that is kept for a whole pass must not be what it is given."""
    order = Order(count=20, batch_size=4, seed=3)
    wanted = [column.copy() for column in order.batch(2)]
    for column in order.batch(2):
        column[:] = 0
    for column, before in zip(order.batch(2), wanted, strict=True):
        np.testing.assert_array_equal(column, before)
