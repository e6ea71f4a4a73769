"""Other faces of a person as targets: only that person's, nearly frontal and without noise, alike on both backends."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from train.config import TrainConfig
from train.data import load_arrays, read_columns
from train.feeds import open_feed
from train.order import FRONTAL, find_companions
from train.shards import ImageView, View, find_shards

VIEW = View((ImageView("feature", 16, 1, "raw"), ImageView("target", 16, 1, "raw")))
SWAPPED = View(VIEW.images, mirror=True, swap=0.5)


def first(feed, count):
    return [tuple(np.asarray(a) for a in batch) for batch in itertools.islice(iter(feed), count)]


def near(rows):
    """The made-up pairs with smaller angles: the first of each person's four is turned too far, the second has noise."""
    return [row | {"feature_yaw": row["feature_yaw"] / 4, "copy": int(at % 4 == 1)} for at, row in enumerate(rows)]


@pytest.fixture(scope="module")
def shards(lfw_faces, tmp_path_factory):
    from pairs_of_faces import pair_rows, write_shards

    rows = {"train": near(pair_rows(lfw_faces, 40, 16, 1)), "validation": pair_rows(lfw_faces, 8, 16, 1, 10)}
    return find_shards(str(write_shards(tmp_path_factory.mktemp("shards"), "pairs", rows)), "pairs")


def test_who_may_be_a_target():
    """Of the same person, within 15 degrees, without noise; who has none such keeps the target."""
    people = np.array([b"b", b"a", b"b", b"a", b"c", b"b", b"c"])
    copies = np.array([0, 0, 1, 0, 0, 0, 0])
    yaws = np.array([3.0, -15.0, 0.0, 40.0, np.nan, -9.0, FRONTAL + 0.1])
    companions = find_companions(people, copies, yaws, share=1.0, seed=0)
    drawn = np.array([companions.choose(step, np.arange(7)) for step in range(40)])
    assert [set(column) for column in drawn.T] == [{0, 5}, {1}, {0, 5}, {1}, {-1}, {0, 5}, {-1}]


def test_nobody_is_frontal():
    """Then nothing is swapped."""
    companions = find_companions(np.array([b"a", b"a"]), np.zeros(2), np.array([60.0, np.nan]), 1.0, 0)
    assert companions.choose(3, np.array([1, 0])).tolist() == [-1, -1]


def test_share():
    """The asked share is swapped, each companion as often as another, and every step draws anew from the seed."""
    people = np.repeat([b"a", b"b"], 50)
    a, b = (find_companions(people, np.zeros(100), np.zeros(100), 0.3, seed) for seed in (1, 2))
    drawn = np.array([a.choose(step, np.arange(100)) for step in range(400)])
    assert abs((drawn >= 0).mean() - 0.3) < 0.01
    counts = np.bincount(drawn[drawn >= 0], minlength=100)
    assert 0.5 < counts.min() / counts.mean() < counts.max() / counts.mean() < 1.5
    assert np.array_equal(drawn[7], a.choose(7, np.arange(100)))
    assert not np.array_equal(drawn[7], drawn[8])
    assert not np.array_equal(drawn[7], b.choose(7, np.arange(100)))


@pytest.mark.tensorflow
def test_feed(shards):
    """Both backends give the same batches; each target is the pair's own or an eligible feature of that person, and
    both kinds are there; features are as ever."""
    feeds = [first(open_feed(shards, "train", SWAPPED, TrainConfig(backend=b, batch_size=8)), 10) for b in BACKENDS]
    for left, right in zip(*feeds, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))
    plain = View(VIEW.images, mirror=True)
    without = first(open_feed(shards, "train", plain, TrainConfig(backend="jax", batch_size=8)), 10)
    arrays = load_arrays(shards, "train", VIEW)
    columns = read_columns(shards, "train", ("copy", "feature_yaw"))
    able = (np.array(columns["copy"]) == 0) & (np.abs(columns["feature_yaw"]) <= FRONTAL)
    assert 0 < able.sum() < len(able)
    own = other = 0
    for (feature, target), (same, old) in zip(feeds[0], without, strict=True):
        assert np.array_equal(feature, same)
        for drawn, usual in zip(target, old, strict=True):
            if np.array_equal(drawn, usual):
                own += 1
                continue
            other += 1
            person = {arrays.identities[at] for at in range(40) if holds(arrays.images[1][at], usual)}
            assert {
                arrays.identities[at] for at in np.flatnonzero(able) if holds(arrays.images[0][at], drawn)
            } == person
    assert own > 20
    assert other > 20


def holds(image, shown):
    """Whether `shown` is `image` or its mirror."""
    return np.array_equal(image, shown) or np.array_equal(image[:, ::-1], shown)


BACKENDS = ("tensorflow", "jax")


@pytest.mark.tensorflow
@pytest.mark.parametrize("backend", BACKENDS)
def test_resumes(shards, backend):
    """Batch 7 of a run is the first of one that starts at step 7."""
    settings = TrainConfig(backend=backend, batch_size=8, seed=3)
    whole = first(open_feed(shards, "train", SWAPPED, settings), 10)
    late = first(open_feed(shards, "train", SWAPPED, settings, start_step=7), 3)
    for left, right in zip(whole[7:], late, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.tensorflow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("training", "cache_bytes"), [(False, 2**31), (True, 0)])
def test_left_alone(shards, backend, training, cache_bytes):
    """Nothing is swapped in what is evaluated, nor in what is streamed."""
    settings = TrainConfig(backend=backend, batch_size=8, cache_bytes=cache_bytes)
    views = (View(VIEW.images, swap=1.0), VIEW)
    left, right = (first(open_feed(shards, "train", v, settings, training=training), 5) for v in views)
    assert all(np.array_equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True))
