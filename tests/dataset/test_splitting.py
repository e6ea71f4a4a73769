"""Subsets are stable, duplicates go once, folder names are safe."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepipe.dataset import splitting

IDENTITIES = st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=30)


@given(IDENTITIES, IDENTITIES, st.integers(0, 5))
def test_adding_people_moves_nobody(people, newcomers, seed):
    """An identity's subset is the same whoever else is there."""
    before = {name: splitting.choose_subset(name, seed, 0.2, 0.1) for name in people}
    after = {name: splitting.choose_subset(name, seed, 0.2, 0.1) for name in [*newcomers, *people]}
    assert {name: after[name] for name in people} == before


NAMES = {
    "Zoë": "test", "José Ñandú": "train", "Ångström": "test", "Nguyễn": "validation", "anna": "train", "김연아": "validation",
}  # fmt: skip


def test_unicode_forms_of_a_name_are_one_person():
    """A name composed or decomposed, as file systems give it, is in the one subset of its composed form; bytes have one too."""
    assert splitting.choose_subset(os.fsdecode(b"Zo\xeb"), 0, 0.3, 0.3) in {"train", "validation", "test"}
    for form in ("NFC", "NFD"):
        found = {n: splitting.choose_subset(unicodedata.normalize(form, n), 0, 0.3, 0.3) for n in NAMES}
        assert found == NAMES


def test_shares_are_kept():
    """Of 5,000 people a tenth goes to test, a fifth to validation, within three standard deviations."""
    counts = Counter(splitting.choose_subset(f"n{i:06d}", 0, 0.2, 0.1) for i in range(5000))
    assert abs(counts["test"] - 500) < 64
    assert abs(counts["validation"] - 1000) < 85


def test_a_larger_test_share_takes_from_validation_only():
    """Nobody leaves train when only the border between test and validation moves."""
    names = [f"n{i}" for i in range(500)]
    train = [n for n in names if splitting.choose_subset(n, 1, 0.2, 0.1) == "train"]
    assert [n for n in names if splitting.choose_subset(n, 1, 0.1, 0.2) == "train"] == train


def test_seeds_give_other_splits():
    """Two seeds agree on about as many people as chance has it."""
    names = [f"n{i}" for i in range(2000)]
    one, two = ([splitting.choose_subset(n, seed, 0.5, 0) for n in names] for seed in (0, 1))
    assert 900 < sum(a == b for a, b in zip(one, two, strict=True)) < 1100


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans()), max_size=40))
def test_each_content_is_kept_once_a_group(rows):
    """Every (group, content) keeps one row: a preferred one where there is one, else the first."""
    groups, contents, preferred = (np.array([row[i] for row in rows]) for i in range(3))
    keep = splitting.keep_distinct(groups.astype(np.int64), contents.astype(np.uint64), preferred.astype(bool))
    expected = set()
    for pair in {row[:2] for row in rows}:
        members = [i for i, row in enumerate(rows) if row[:2] == pair]
        expected.add(next((i for i in members if rows[i][2]), members[0]))
    assert set(np.flatnonzero(keep).tolist()) == expected


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "/etc/passwd",
        "..",
        ".",
        "con",
        "NUL.txt",
        "a/b",
        "a\\b",
        "x" * 300,
        "ends.",
        "ends ",
        "Zoë",
        "-rf",
        "a\nb",
        "\udce9",
    ],
)
def test_other_names_are_made_safe(name, tmp_path):
    """They become one short name of plain letters, below the folder; a safe name is its own folder."""
    for plain in ("Aaron_Eckhart", "n000001", "J. K. Rowling", "7"):
        assert splitting.name_folders([plain, name])[plain] == plain
    folder = splitting.name_folders([name])[name]
    os.makedirs(tmp_path / folder)
    assert os.listdir(tmp_path) == [folder]
    assert (len(folder) <= 80, folder.isascii(), folder[0] not in ".-") == (True, True, True)
    assert folder.split(".")[0].lower() not in splitting._RESERVED


@given(st.lists(st.text(min_size=1, max_size=10), unique=True, max_size=30))
def test_no_two_people_share_a_folder(names):
    """Not even on a file system that does not tell case apart."""
    folders = splitting.name_folders([*names, "Ann", "ann", "ANN"]).values()
    assert len({folder.casefold() for folder in folders}) == len(set(names) | {"Ann", "ann", "ANN"})


def test_keys_become_file_names():
    """Keys that differ in their folders only give two names."""
    names = {splitting.name_file(key, ".png") for key in ("a/1.jpg#0", "b/1.jpg#0", "../1.jpg#0")}
    assert len(names) == 3
    assert all("/" not in name and name.endswith(".png") for name in names)
