"""File names: their order, and how odd ones are shown."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepipe.execution.progress import say
from facepipe.inputs.names import (
    IMAGE,
    OTHER,
    VIDEO,
    frame_number,
    is_container,
    kind_of,
    natural_key,
    published_subset,
    stem,
)
from facepipe.text import printable, to_unicode


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


@given(st.text(alphabet="012a./\0b", max_size=12), st.text(alphabet="012a./\0b", max_size=12))
def test_no_two_names_are_equal(one, other):
    """The order is total: equal keys mean equal names."""
    if "\0" not in one + other:
        assert (natural_key(one) == natural_key(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "unicode", "printed"),
    [
        ("é.jpg", "é.jpg", "é.jpg"),
        ("caf\udce9.jpg", "caf\\xe9.jpg", "caf\\xe9.jpg"),
        ("a\nb'\".png", "a\nb'\".png", "a\\nb'\".png"),
        ("back\\slash", "back\\slash", "back\\slash"),
        ("\x1b[2Jgone\r", "\x1b[2Jgone\r", "\\x1b[2Jgone\\r"),
        ("a\u202egpj.exe", "a\u202egpj.exe", "a\\u202egpj.exe"),
    ],
)
def test_odd_names_in_tables_and_on_terminals(name, unicode, printed):
    """A table holds valid Unicode; a terminal gets one line without escape sequences or turned text."""
    assert (to_unicode(name), printable(name)) == (unicode, printed)


def test_no_name_makes_a_line_of_its_own(capsys):
    """Whatever is said of a name is said on its line, whatever the name holds."""
    say("left out: a\nerror: forged", "next\x1b[2J")
    assert capsys.readouterr().out == "left out: a\\nerror: forged\nnext\\x1b[2J\n"


@given(*[st.text(alphabet="\\xe9a\udce9\udcff", max_size=9)] * 2)
def test_different_names_stay_different(one, other):
    """Bytes that are no UTF-8, and names that look like their escapes, never become one person."""
    assert (to_unicode(one) == to_unicode(other)) == (one == other)


TS = b"\x47" + b"\xff" * 187
KINDS = {
    IMAGE: [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\1\0\0\0WEBPVP8 ", b"II*\0", b"BM\1\0\0\0\0\0\0\0",
            b"\0\0\0\x1cftypavif", b"\0\0\0\x1cftypmif1", b"\0\0\0\x1cftypheic", b"\0\0\0\x1cftypmiaf"],
    VIDEO: [b"\0\0\0\x20ftypisom", b"\0\0\0\x14ftypqt  ", b"\0\0\0\x08wide", b"RIFF\1\0\0\0AVI LIST", b"\x1a\x45\xdf\xa3\1",
            b"FLV\1", b"OggS\0", b"\0\0\1\xba", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", TS * 2 + b"\x47", b"\0\0\0\0" + (TS + b"\0" * 4) * 2 + b"\x47"],
    OTHER: [b"", b"text", b"BMW is a car", b"%PDF-1.7", b"PK\3\4", b"RIFF\1\0\0\0WAVE", b"ID3\4", b"P5\n2 2", b"for free: words", b"G" * 512, bytes(512)],
}  # fmt: skip


@pytest.mark.parametrize(("head", "kind"), [(head, kind) for kind, heads in KINDS.items() for head in heads])
def test_kinds_by_first_bytes(head, kind):
    """Pictures and videos are known by their first bytes, and little else is taken for one."""
    assert kind_of(head + b"\0" * (kind != OTHER)) == kind


@pytest.mark.parametrize(
    ("path", "identity", "expected"),
    [
        ("train/Ann/1.jpg", "Ann", "train"), ("Val/Ann/v/1.jpg", "Ann", "validation"), ("images/test set/x/1.jpg", "x", "test"),
        ("val2017/a/1.jpg", "a", "validation"), ("dev/1.jpg", "1", "validation"), ("Ann/test/1.jpg", "Ann", ""),
        ("Test/1.jpg", "Test", ""), ("test1/1.jpg", "test1", ""), ("train_images/a/1.jpg", "a", "train"), ("1.jpg", "1", ""),
    ],
)  # fmt: skip
def test_subsets_by_folder(path, identity, expected):
    """Folders that a path begins with stand for a subset; a person's own folder does not."""
    assert published_subset(path, identity) == expected
    assert [is_container(name) for name in ("raw Images", "test1", "Person")] == [True, False, False]


@pytest.mark.parametrize(
    ("name", "frame", "name_of_the_person"),
    [
        ("3.618.jpg", 618, "3.618"), ("aligned_detect_3.618.jpg", 618, "aligned_detect_3.618"), ("a.JPG", None, "a"), ("0.mp4", 0, "0"),
        ("x99999999999.jpg", None, "x99999999999"), ("a.b.tiff", None, "a.b"), ("J. R. Smith", None, "J. R. Smith"),
    ],
)  # fmt: skip
def test_frames_and_stems(name, frame, name_of_the_person):
    """A frame's number is the last one in its name, of 31 bits; a dot in a person's name begins no extension."""
    assert (frame_number(name), stem(name)) == (frame, name_of_the_person)
