"""Faces under the wrong name."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facepipe import extract
from facepipe.errors import InputError
from facepipe.inputs.fingerprints import Fingerprints, read_fingerprints
from facepipe.report.strangers import find_strangers, show_strangers, thin_out


def made_up(people=6, each=8, seed=0):
    """Vectors around one centre a person, one face of the first person under the second's name."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (people, 16))
    vectors = np.concatenate([centre + rng.normal(0, 0.2, (each, 16)) for centre in centres]).astype(np.float32)
    identities = [f"p{n}" for n in range(people) for _ in range(each)]
    identities[3] = "p1"
    return Fingerprints([f"k{n}" for n in range(len(identities))], identities, vectors)


def test_a_face_under_another_name_is_found_and_nothing_else():
    """It is named with whom it looks like."""
    found = find_strangers(made_up(), 10)
    assert [(row, nearest) for row, nearest, _ in found] == [(3, "p0")]
    assert found[0][2] > 0.5


def test_identities_of_few_faces_say_nothing():
    """Two faces can't tell which of them is wrong."""
    known = made_up()
    rows = [n for n in range(len(known.keys)) if known.identities[n] != "p0" or n < 2]
    few = Fingerprints([known.keys[n] for n in rows], [known.identities[n] for n in rows], known.vectors[rows])
    assert all(few.identities[row] != "p0" and nearest != "p0" for row, nearest, _ in find_strangers(few, 10))
    assert find_strangers(Fingerprints([], [], np.empty((0, 4), np.float32)), 10) == []


def test_at_most_three_of_a_video_are_shown():
    """The clearest ones; the third says how many more there are. Stills stay, and so does another person's video."""
    film = ("anna", "talk.mp4")
    videos = [film, ("berta", ""), film, film, ("berta", ""), film, ("berta", "talk.mp4"), film, ("berta", "")]
    assert thin_out(videos) == [(0, 0), (1, 0), (2, 0), (3, 2), (4, 0), (6, 0), (8, 0)]
    assert thin_out([film] * 3) == [(0, 0), (1, 0), (2, 0)]


def test_the_frames_of_one_video_take_three_tiles(workspace):
    """A video of faces that look like somebody else's: three of them and a count."""
    from facepipe import open_faces

    rows = open_faces(str(workspace / "faces")).to_table(columns=["key", "identity", "video", "status"]).to_pylist()
    rows = [row for row in rows if row["status"] == "ok"]
    rng = np.random.default_rng(0)
    names = sorted({row["identity"] for row in rows})
    centre = {name: rng.normal(0, 1, 8) for name in names}
    other = next(name for name in names if name != "person-000")
    wrong = [row for row in rows if row["identity"] == "person-000" and row["video"]][:5]
    vectors = [list(centre[other if row in wrong else row["identity"]] + rng.normal(0, 0.1, 8)) for row in rows]
    file = write(
        workspace / "of_a_video.parquet",
        key=[r["key"] for r in rows],
        identity=[r["identity"] for r in rows],
        fingerprint=vectors,
    )
    found = show_strangers(str(workspace), fingerprints=file)
    assert [stranger.more for stranger in found] == [0, 0, 2]
    assert {stranger.key for stranger in found} < {row["key"] for row in wrong}


def write(path, **columns):
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"key": ["a"], "identity": ["b"]}, "no column 'fingerprint'"),
        ({"key": ["a", "b"], "identity": ["c", "c"], "fingerprint": [[1.0], [1.0, 2.0]]}, "same number"),
        ({"key": ["a"], "identity": ["c"], "fingerprint": [[float("nan")]]}, "no numbers"),
    ],
)
def test_fingerprints_that_can_not_be_meant_are_refused(tmp_path, columns, message):
    """Each with what is wrong."""
    with pytest.raises(InputError, match=message):
        read_fingerprints(write(tmp_path / "f.parquet", **columns))


def test_a_file_that_is_none_is_refused(tmp_path):
    """Missing, or not Parquet."""
    (tmp_path / "f.parquet").write_text("hello")
    with pytest.raises(InputError, match=r"f\.parquet"):
        read_fingerprints(str(tmp_path / "f.parquet"))
    with pytest.raises(InputError, match=r"g\.parquet"):
        read_fingerprints(str(tmp_path / "g.parquet"))


def pooling_model(path):
    """The mean colour of 8 x 8 fields: enough to tell people's skin, hair and clothes apart."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[8, 8], strides=[8, 8])],
        "embed",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 32, 32])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3, 4, 4])],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def test_a_model_of_the_users_looks_at_every_crop(workspace, tmp_path):
    """The strangers it names come with their pictures and are faces of the workspace."""
    found = show_strangers(str(workspace), embedder=pooling_model(tmp_path / "m.onnx"))
    assert all(stranger.identity != stranger.nearest and stranger.picture for stranger in found)
    assert [stranger.margin for stranger in found] == sorted((s.margin for s in found), reverse=True)


def test_fingerprints_by_key_find_their_crops(workspace):
    """A face of somebody among somebody else's is shown with its crop."""
    from facepipe import open_faces

    rows = open_faces(str(workspace / "faces")).to_table(columns=["key", "identity", "status"]).to_pylist()
    rows = [row for row in rows if row["status"] == "ok"]
    rng = np.random.default_rng(0)
    centre = {name: rng.normal(0, 1, 8) for name in sorted({row["identity"] for row in rows})}
    planted = next(row["key"] for row in rows if row["identity"] == "person-002")
    vectors = [
        list(centre["person-000" if row["key"] == planted else row["identity"]] + rng.normal(0, 0.1, 8)) for row in rows
    ]
    file = write(
        workspace / "fingerprints.parquet",
        key=[r["key"] for r in rows],
        identity=[r["identity"] for r in rows],
        fingerprint=vectors,
    )
    (stranger,) = show_strangers(str(workspace), fingerprints=file)
    assert (stranger.key, stranger.nearest) == (planted, "person-000")
    assert stranger.picture[:2] == b"\xff\xd8" or stranger.picture[:4] in (b"RIFF", b"\x89PNG")


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_model_that_is_none_is_refused(workspace, tmp_path, content):
    """With the file's name."""
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.onnx"):
        show_strangers(str(workspace), embedder=str(tmp_path / "m.onnx"))


def test_what_embed_wrote_is_used_when_it_is_there(shared_data, tmp_path):
    """A picture under two names comes first, then a stranger, each with its similarity, the threshold and false alarms."""
    people = [one for one in sorted((shared_data / "lfw").iterdir()) if len(list(one.iterdir())) >= 5][:5]
    for number, person in enumerate(people):
        (tmp_path / "images" / f"p{number}").mkdir(parents=True)
        for path in sorted(person.iterdir())[:4]:
            shutil.copy(path, tmp_path / "images" / f"p{number}")
    shutil.copy(sorted(people[1].iterdir())[4], tmp_path / "images" / "p0" / "stranger.jpg")
    copied = cv2.imread(str(min(people[2].iterdir())))
    cv2.imwrite(str(tmp_path / "images" / "p3" / "copy.jpg"), copied, [cv2.IMWRITE_JPEG_QUALITY, 60])
    extract(input=tmp_path / "images", output=tmp_path / "faces", identity="check", workers=1)
    copy, stranger, *_ = show_strangers(str(tmp_path))
    assert (copy.key, stranger.key) == ("p3/copy.jpg#0", "p0/stranger.jpg#0")
    assert copy.nearest.startswith("p2: the same picture is there, or its neighbour (0.99")
    assert stranger.nearest.startswith("p1 (0.9")
    assert stranger.nearest.endswith("; below 0.945 lie 2 % of a person's own faces at most")
