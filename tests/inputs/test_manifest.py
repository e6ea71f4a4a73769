"""A manifest names the images: what it may look like, and what is said of its mistakes."""

from __future__ import annotations

import csv
import math

import pyarrow as pa
import pytest
from pyarrow import parquet

from facepipe.config import ExtractConfig
from facepipe.errors import UsageError
from facepipe.inputs import list_sources
from facepipe.storage import place


def listed(tmp_path, content, **options):
    path = tmp_path / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
    config = ExtractConfig(input=str(tmp_path), manifest=str(path), **options)
    return list_sources(place(str(tmp_path)), config).sources()


def rows(sources):
    return [(s.path, s.identity, s.video, s.frame_index, s.box, s.label) for s in sources]


PLAIN = "path,identity\nb/1.jpg,bob\na/2.jpg,ann\na/10.jpg,ann\n"
PLAIN_ROWS = [
    ("a/2.jpg", "ann", "", 0, None, None),
    ("a/10.jpg", "ann", "", 0, None, None),
    ("b/1.jpg", "bob", "", 0, None, None),
]


WAYS = [
    PLAIN, PLAIN.replace("\n", "\r\n"), PLAIN.rstrip("\n"), "\ufeff" + PLAIN, PLAIN.encode("utf-16"), PLAIN.replace("\nb/", "\n\n\nb/"),
    *(PLAIN.replace(",", separator) for separator in ";\t|"), PLAIN.replace("path,identity", " Path ,IDENTITY"),
    PLAIN.replace("b/1.jpg", '"b/1.jpg"').replace("a/2.jpg", "./a//2.jpg"), "identity,x,path\nbob,1,b/1.jpg\nann,,a/2.jpg\nann,,a/10.jpg,more\n",
]  # fmt: skip


@pytest.mark.parametrize("content", WAYS)
def test_ways_to_write_it(tmp_path, content):
    """Line ends, marks, separators, quotes, case, order of columns: all the same list."""
    assert rows(listed(tmp_path, content)) == PLAIN_ROWS


FULL = """path,identity,video,frame_index,x1,y1,x2,y2,label,yaw
v/9.jpg,ann,v,9,1,2,3.5,4,7,1.0
v/10.jpg,ann,v,10.0,,,,,,
c/1.jpg,ann,10,3,0,0,1,1,-1,x
c/2.jpg,ann,9,,,,,,2.0,
clip.mp4,ann,,,5,5,9,9,1,
"""


def test_all_columns(tmp_path):
    """Videos, frames, boxes and labels are carried, in order of identity, video and frame."""
    sources = listed(tmp_path, FULL)
    assert rows(sources) == [
        ("clip.mp4", "ann", "clip.mp4", 0, (5.0, 5.0, 9.0, 9.0), 1),
        ("c/2.jpg", "ann", "9", 0, None, 2),
        ("c/1.jpg", "ann", "10", 3, (0.0, 0.0, 1.0, 1.0), -1),
        ("v/9.jpg", "ann", "v", 9, (1.0, 2.0, 3.5, 4.0), 7),
        ("v/10.jpg", "ann", "v", 10, None, None),
    ]
    assert [source.is_video for source in sources] == [True, False, False, False, False]
    header, *lines = FULL.splitlines()
    assert rows(listed(tmp_path, "\n".join([header, *reversed(lines)]))) == rows(sources)


def test_labels_and_frames_that_are_not_there(tmp_path):
    """`--label` takes any column of whole numbers, to 64 bits, and it must be there; frames are counted in natural order."""
    content = f"path,identity,smiling\na.jpg,a,1\nb.jpg,b,{2**62 + 1}\n"
    assert [source.label for source in listed(tmp_path, content, label="Smiling")] == [1, 2**62 + 1]
    with pytest.raises(UsageError, match="no column 'smile' for --label; did you mean smiling"):
        listed(tmp_path, content, label="smile")
    with pytest.raises(UsageError, match="--manifest: can't read"):
        list_sources(place(str(tmp_path)), ExtractConfig(manifest=str(tmp_path / "no.csv")))
    sources = listed(tmp_path, "path,identity,video\nv/10.jpg,ann,v\nv/9.jpg,ann,v\nv/100.jpg,ann,v\n")
    assert [(s.path, s.frame_index) for s in sources] == [("v/9.jpg", 0), ("v/10.jpg", 1), ("v/100.jpg", 2)]


def test_one_picture_for_several_people(tmp_path):
    """A group photograph may be named once for each person; the rows are told apart."""
    content = "path,identity,x1,y1,x2,y2\ng.jpg,ann,0,0,9,9\ng.jpg,bob,20,0,29,9\ng.jpg,bob,40,0,49,9\n"
    assert [(s.path, s.identity, s.repeat) for s in listed(tmp_path, content)] == [
        ("g.jpg", "ann", 0), ("g.jpg", "bob", 1), ("g.jpg", "bob", 2),
    ]  # fmt: skip


def test_frames_of_a_video_file_with_the_face_s_place(tmp_path):
    """Are one source a person, whatever lies between."""
    content = "path,identity,frame_index,x1,y1,x2,y2\nv.mp4,ann,7,1,2,3,4\nv.mp4,bob,7,5,2,8,4\na.jpg,ann,8,,,,\nv.mp4,ann,9,1,2,4,4\nv.mp4,cy,,,,,\n"
    sources = listed(tmp_path, content)
    assert [(s.path, s.identity, s.repeat, s.boxes) for s in sources] == [
        ("v.mp4", "ann", 0, {7: (1, 2, 3, 4), 9: (1, 2, 4, 4)}),
        ("a.jpg", "ann", 0, {}),
        ("v.mp4", "bob", 1, {7: (5, 2, 8, 4)}),
        ("v.mp4", "cy", 2, {}),
    ]


def test_keys_are_different_whatever_paths_are_called(tmp_path):
    """A file called as the second row of another one would be has a key of its own."""
    listed_twice = "path,identity,x1,y1,x2,y2\nx,ann,0,0,9,9\nx,ann,9,0,18,9\nx~1,ann,,,,\nx~1~1,ann,,,,\n"
    sources = listed(tmp_path, listed_twice)
    assert len({source.key(0, 0) for source in sources}) == 4
    clip, still = listed(tmp_path, "path,identity\nv.mp4,a\nv.mp4@1,b\n")
    assert clip.key(1, 0) != still.key(0, 0)


def test_names_that_are_no_unicode(tmp_path):
    """A path in another encoding names the file of those bytes."""
    (source,) = listed(tmp_path, "path,identity\ncaf\udce9.jpg,J\udcf6rg\n")
    assert (source.path, source.file, source.identity) == ("caf\\xe9.jpg", "caf\udce9.jpg", "J\\xf6rg")


MISTAKES = [
    ("file,identity\na.jpg,a\n", "no column 'path'; it can be file, identity"),
    ("paht,identity\na.jpg,a\n", "no column 'path'; did you mean paht?"),
    ("path,person\na.jpg,a\n", "no column 'identity'"),
    ("", "no column 'path'"),
    ("path,identity\n", "names no image"),
    ("path,identity,label\na.jpg,a,happy\n", "line 2: label is 'happy'; labels are whole numbers, such as 0, 1, 2"),
    ("path,identity,frame_index\na.jpg,a,x\n", "line 2: frame_index is 'x', not a whole number from 0"),
    ("path,path,identity\na.jpg,a.jpg,a\n", "two columns 'path'"),
    ("path,identity\na.jpg,a\n,b\n", "line 3: the path is empty"),
    ("path,identity\na.jpg,\n", "line 2: the identity of 'a.jpg' is empty"),
    ("path,identity\na.jpg\n", "line 2: the identity of 'a.jpg' is empty"),
    ("path,identity\n../a.jpg,a\n", "line 2: the path '../a.jpg' is not one inside the input"),
    ("path,identity\nb/../../a.jpg,a\n", "line 2: the path"),
    ("path,identity\n/etc/passwd,a\n", "line 2: the path '/etc/passwd'"),
    ("path,identity\na\0.jpg,a\n", "line 2: the path"),
    ("path,identity,x1,y1\na.jpg,a,1,2\n", "has x1, y1 but not all"),
    ("path,identity,x1,y1,x2,y2\na.jpg,a,1,2,3,\n", "line 2: x1, y1, x2, y2 are not four numbers"),
    ("path,identity,x1,y1,x2,y2\na.jpg,a,1,2,3,nan\n", "line 2: x1, y1, x2, y2 are not four numbers"),
    ("path,identity,x1,y1,x2,y2\na.jpg,a,1,2,1,4\n", "line 2: the box 1, 2, 1, 4 is empty"),
    ("path,identity,frame_index\na.jpg,a,-1\n", "line 2: frame_index is '-1'"),
    ("path,identity,frame_index\na.jpg,a,2147483648\n", "line 2: frame_index is '2147483648'"),
    ("path,identity,label\na.jpg,a,1e30\n", "line 2: label is '1e30'"),
    (f"path,identity,label\na.jpg,a,{2**63}\n", "line 2: label is '9223372036854775808'"),
    ("path,identity\na.jpg,a\nb.jpg,a\n./a.jpg,a\n", "lines 2 and 4 both name 'a.jpg' for 'a'"),
    ("path,identity,frame_index\na.mp4,a,0\na.mp4,a,1\n", "line 3: a.mp4 is a video and taken whole: list it once"),
    ("path,identity,video\na.mp4,a,v\na.mp4,b,v\na.mp4,a,w\n", "line 4: a.mp4 is a video and taken whole"),
    (
        "path,identity,frame_index,x1,y1,x2,y2\na.mp4,a,5,0,0,9,9\na.mp4,b,,,,,\na.mp4,a,,,,,\n",
        "line 4: a.mp4 is a video",
    ),
    ("path,identity,frame_index,x1,y1,x2,y2\na.mp4,a,5,0,0,9,9\na.mp4,a,5,1,0,9,9\n", "line 3: a.mp4 is a video"),
    ('path,identity\n"a\nb.jpg",a\nc.jpg,\n', "line 4: the identity of 'c.jpg'"),
    ("path,identity\n" + "a" * 200_000 + ".jpg,a\n", "line 2: field larger than field limit"),
    (b"PAR1 is no Parquet file", "no Parquet file that can be read"),
]


@pytest.mark.parametrize(("content", "said"), MISTAKES)
def test_mistakes_name_the_line(tmp_path, content, said):
    """What can't be meant is said in one line, with the file and where in it."""
    with pytest.raises(UsageError) as caught:
        listed(tmp_path, content)
    message = str(caught.value)
    assert said in message
    assert "list.csv" in message
    assert "\n" not in message
    assert len(message) < 500


def write_parquet(tmp_path, columns):
    path = tmp_path / "list.parquet"
    parquet.write_table(pa.table(columns), path)
    return list_sources(place(str(tmp_path)), ExtractConfig(manifest=str(path))).sources()


def test_parquet(tmp_path):
    """A Parquet file works like the CSV, with nulls and NaN as empty cells."""
    columns = {
        "path": ["v/10.jpg", "v/9.jpg"],
        "identity": pa.array(["ann", "ann"]).dictionary_encode(),
        "video": pa.array([3, 3], pa.int64()),
        "frame_index": pa.array([10, 9], pa.int16()),
        "label": pa.array([None, 4], pa.int8()),
        "nested": [{"a": 1}, None],
    }
    box = {name: pa.array([i + 1, math.nan], pa.float32()) for i, name in enumerate(("x1", "y1", "x2", "y2"))}
    assert rows(write_parquet(tmp_path, columns | box)) == [
        ("v/9.jpg", "ann", "3", 9, None, 4),
        ("v/10.jpg", "ann", "3", 10, (1.0, 2.0, 3.0, 4.0), None),
    ]


@pytest.mark.parametrize(
    ("columns", "said"),
    [({"path": [1], "identity": ["a"]}, "line 2: the path is empty"), ({"path": ["a.jpg"], "identity": [["a"]]}, "line 2"),
     ({"path": [b"a.jpg"], "identity": ["a"]}, "line 2"), ({"path": ["a.jpg"], "identity": ["a"], "label": [{"a": 1}]}, "line 2: label"),
     ({"path": pa.array([b"caf\xe9.jpg"], pa.binary()).view(pa.string()), "identity": ["a"]}, "no Parquet file that can be read"),
     ({"path": ["a.jpg"] * 1001, "identity": ["a"] * 1001}, "has 1,001 rows")],
)  # fmt: skip
def test_parquet_mistakes(tmp_path, columns, said, monkeypatch):
    """Columns of a type that can't be meant are a mistake, with the row; text that is no UTF-8 makes a file unreadable.

    A small file that stands for more rows than anybody has is refused from its footer.
    """
    monkeypatch.setattr("facepipe.inputs.tables._MAX_ROWS", 1000)
    with pytest.raises(UsageError, match=said):
        write_parquet(tmp_path, columns)


def test_the_labelled_frames(shared_data):
    """The real labels of YouTube Faces frames work as they are."""
    config = ExtractConfig(input=str(shared_data / "ytf"), manifest=str(shared_data / "ytf_labels.csv"))
    sources = list_sources(place(config.input), config).sources()
    with open(shared_data / "ytf_labels.csv", newline="") as file:
        expected = {row["path"]: row for row in csv.DictReader(file)}
    assert {source.path for source in sources} == set(expected)
    for source in sources:
        row = expected[source.path]
        assert (source.identity, source.video, source.frame_index) == (
            row["identity"],
            row["video"],
            int(row["frame_index"]),
        )
        assert source.box == tuple(float(row[name]) for name in ("x1", "y1", "x2", "y2"))
