"""Cuts that stay where they are when files are added."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepipe.inputs.cuts import FEWEST, MOST, cut

NAMES = {
    "a camera's": [f"IMG_{number:05d}.JPG" for number in range(20_000)],
    "people's": [f"Person {number // 7:04d}/{number % 7}.jpg" for number in range(20_000)],
    "hashes": [f"{random.Random(number).getrandbits(64):016x}.png" for number in range(20_000)],
}


def parts_of(paths, size=512, weight=1):
    column = pa.chunked_array([pa.array(paths)])
    parts = cut(column, np.ones(len(paths), np.int64), np.full(len(paths), weight), size)
    assert [row for part in parts for row in part] == list(range(len(paths)))
    return [tuple(paths[part.start : part.stop]) for part in parts]


@pytest.mark.parametrize("paths", NAMES.values(), ids=NAMES)
def test_parts_have_about_the_size_asked_for(paths):
    """Every part but the last has three to five quarters of it, and they have it in the mean."""
    sizes = [len(part) for part in parts_of(paths)][:-1]
    assert min(sizes) >= FEWEST * 512
    assert max(sizes) <= MOST * 512
    assert np.mean(sizes) == pytest.approx(512, rel=0.1)


@pytest.mark.parametrize("paths", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("count", [1, 50])
def test_files_that_are_added_change_few_parts(paths, count):
    """Wherever files are added, the cuts soon fall where they fell before; likewise where some have gone."""
    before = set(parts_of(paths))
    changed = []
    for at in range(50, len(paths), 1500):
        added = parts_of([*paths[:at], *(f"{paths[at]} {number}.jpg" for number in range(count)), *paths[at:]])
        gone = parts_of([*paths[:at], *paths[at + count :]])
        changed += [len(set(parts) - before) for parts in (added, gone)]
    assert np.median(changed) <= 3
    assert max(changed) <= len(before) // 2


def test_films_that_are_added_change_few_parts():
    """Units that count as many images are cut by the same rule."""
    films = [f"holiday {number}.mp4" for number in range(1000)]
    before = parts_of(films, weight=200)
    after = parts_of([*films[:5], "holiday 4 again.mp4", *films[5:]], weight=200)
    assert {len(part) for part in before} == {2, 3}
    assert len(set(after) - set(before)) < 12


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 300)), max_size=60),
    st.integers(1, 600),
    st.integers(0, 2**32),
)
def test_units_stay_whole(units, size, seed):
    """Every row is in one part, in order; no cut is inside a unit; only a unit that is too large makes a large part."""
    rows, weights = (np.array([unit[i] for unit in units], np.int64) for i in (0, 1))
    paths = [f"{random.Random(seed + row).random()}" for row in range(rows.sum())]
    parts = cut(pa.array(paths, pa.string()), rows, weights, size)
    assert [row for part in parts for row in part] == list(range(len(paths)))
    ends = np.cumsum(rows).tolist()
    assert {part.stop for part in parts} <= set(ends)
    for part in parts:
        inside = [weight for end, weight in zip(ends, weights.tolist(), strict=True) if part.start < end <= part.stop]
        assert sum(inside[:-1]) <= MOST * size
        assert sum(inside) <= MOST * size or len(inside) == 1 or sum(inside[:-1]) < FEWEST * size
