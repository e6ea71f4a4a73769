"""File names: their order, and how odd ones are shown."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepipe.sources.names import frame_number, is_video, natural_key, shown, stem


@pytest.mark.parametrize(
    "names",
    [
        ["3.2.jpg", "3.9.jpg", "3.10.jpg", "3.100.jpg", "12.1.jpg"],
        ["img1.png", "img01.png", "img2.png", "img010.png", "imgA.png"],
        ["0", "1", "9", "10", "99", "100", "a"],
        ["9" * 98, "1" * 99, "1" * 100, "1" * 5000],
        ["", "0", "A", "a", "é", "中", "\udce9"],
    ],
)
def test_natural_order(names):
    """Numbers count by their value however many digits they have, texts by their code points."""
    random.Random(0).shuffle(shuffled := list(names))
    assert sorted(shuffled, key=natural_key) == names


def test_numbers_count_by_value():
    """`3.9` comes before `3.10`."""
    assert sorted(["3.10.jpg", "3.9.jpg", "3.1.jpg"], key=natural_key) == ["3.1.jpg", "3.9.jpg", "3.10.jpg"]


@given(st.text(alphabet="012a./\0b", max_size=12), st.text(alphabet="012a./\0b", max_size=12))
def test_no_two_names_are_equal(one, other):
    """The order is total: equal keys mean equal names."""
    if "\0" not in one + other:
        assert (natural_key(one) == natural_key(other)) == (one == other)


@given(st.integers(0, 10**40), st.integers(0, 10**40))
def test_order_of_numbers(one, other):
    """Names that differ in a number are ordered as the numbers are."""
    assert (natural_key(f"a{one}b") < natural_key(f"a{other}b")) == (one < other)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("3.618.jpg", 618), ("aligned_detect_3.618.jpg", 618), ("a.jpg", None), ("0.mp4", 0), ("x99999999999.jpg", None)],
)
def test_frame_number(name, expected):
    """A frame's number is the last one in its name; what does not fit 31 bits is none."""
    assert frame_number(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("é.jpg", "é.jpg"), ("caf\udce9.jpg", "caf\\xe9.jpg"), ("a\nb'\".png", "a\nb'\".png")]
)
def test_shown(name, expected):
    """Names that are no UTF-8 are shown as valid Unicode; all others as they are."""
    assert shown(name) == expected


@pytest.mark.parametrize(("name", "expected"), [("a.JPG", "a"), ("a.b.tiff", "a.b"), ("J. R. Smith", "J. R. Smith")])
def test_stem(name, expected):
    """Only a picture's or video's extension is taken off: a dot in a person's name is none."""
    assert stem(name) == expected


def test_is_video():
    """Videos are told by their extension, in any case."""
    assert [is_video(name) for name in ("a.MP4", "a.avi", "a.mov", "a.webm", "a.jpg", "mp4")] == [True] * 4 + [
        False
    ] * 2
