"""Everybody in a workspace, in the order in which to look at them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.config import SelectConfig
from facepipe.execution.progress import QuietProgress
from facepipe.report.people import People
from facepipe.stages import select
from facepipe.stages.overrides import Correction
from facepipe.storage import parquet, place, tables


@pytest.fixture
def people_of(facesets, tmp_path):
    """A function from rows (person, frame, angle, changes) to the people of a workspace with their targets."""

    def make(*rows, corrections=None, per="identity"):
        made = [facesets.make_row(person, frame, angle, **changes) for person, frame, angle, changes in rows]
        facesets.write_faces(tmp_path / "faces", made)
        config = SelectConfig(str(tmp_path / "faces"), str(tmp_path / "targets"), per=per)
        select.run(config, QuietProgress())
        return People(str(tmp_path), corrections or {})

    return make


def told(people):
    """Name -> why to look, of everybody by doubt."""
    persons = [people.person(number) for number in people.order("doubt").tolist()]
    return {person.identity: person.why for person in persons}


def test_the_most_doubtful_come_first_and_say_why(people_of):
    """A pose that is not told well, then targets turned away, then near-ties, then those without a doubt."""
    people = people_of(
        (0, 0, 2, {}), (0, 1, 9, {}),
        (1, 0, 25, {}), (1, 1, 40, {}),
        (2, 0, 6, {}), (2, 1, 6.2, {}),
        (3, 0, 3, {"pose_error": 20.0}), (3, 1, 9, {"pose_error": 20.0}),
        (4, 0, 2, {}), (4, 1, 2.1, {}),
    )  # fmt: skip
    found = told(people)
    assert list(found)[:3] == ["p003", "p001", "p002"]
    assert found["p003"].startswith("its pose is not told well")
    assert found["p001"] == "turned away: even the most frontal frame is at 25.0°"
    assert found["p002"] == "a near-tie: the runner-up is only 0.2° behind"
    assert found["p000"] == found["p004"] == ""  # of two nearly frontal frames one is as good as the other


@pytest.mark.parametrize(
    ("others", "end"),
    [((4.8, 12), "4.8° was there"), ((), "no other is more frontal"), ((12,), "no other is more frontal")],
)
def test_a_target_chosen_by_hand_is_told_as_such(people_of, others, end):
    """Not as the most frontal frame there was."""
    rows = [(0, 0, 11, {}), *((0, number, angle, {}) for number, angle in enumerate(others, 1))]
    people = people_of(*rows, corrections={"p000/v0/0000.jpg#0": Correction("target")})
    assert told(people)["p000"] == f"turned away by 11.0°: chosen by hand; {end}"
    tied = people_of((0, 0, 6, {}), (0, 1, 6.2, {}), corrections={"p000/v0/0000.jpg#0": Correction("target")})
    assert told(tied)["p000"] == ""


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("angle", "p002"),
        ("sharpness", "p001"),
        ("size", "p000"),
        ("score", "p001"),
        ("frames", "p002"),
        ("name", "p000"),
    ],
)
def test_people_are_sorted_by_what_is_worst(people_of, by, first):
    """The one to look at stands in front."""
    people = people_of(
        (0, 0, 2, {"bbox": [0.0, 0.0, 30.0, 35.0]}), (1, 0, 3, {"sharpness": 0.05, "score": 0.7}),
        (2, 0, 20, {}), (2, 1, 30, {}),
    )  # fmt: skip
    assert people.names[people.order(by)[0]][0] == first


def test_corrections_take_effect_at_once(people_of):
    """A dropped target is replaced, a face given away is somebody else's, one may be the first of somebody new."""
    corrections = {
        "p000/v0/0000.jpg#0": Correction("drop"),
        "p000/v0/0002.jpg#0": Correction("person", "p001"),
        "p001/v0/0001.jpg#0": Correction("target", "Ada"),
        "nobody#0": Correction("drop"),
    }
    rows = [(person, frame, 2 + 5 * frame, {}) for person in range(2) for frame in range(3)]
    people = people_of(*rows, corrections=corrections)
    by_name = {people.names[number][0]: people.person(number, 9) for number in people.order("name").tolist()}
    assert {name: person.target.key for name, person in by_name.items()} == {
        "Ada": "p001/v0/0001.jpg#0", "p000": "p000/v0/0001.jpg#0", "p001": "p001/v0/0000.jpg#0",
    }  # fmt: skip
    assert {name: person.frames for name, person in by_name.items()} == {"Ada": 1, "p000": 1, "p001": 3}
    assert "from p000" in [flag for face in by_name["p001"].others for flag in face.flags]


def test_where_every_video_has_a_target_each_is_a_row(people_of):
    """By identity and video; the row has the video's name."""
    people = people_of((0, 0, 2, {}), (0, 5, 3, {}), per="video")
    assert people.names == [("p000", "v0"), ("p000", "v1")]


def test_a_face_unlike_the_others_is_found_by_the_embeddings(people_of, tmp_path):
    """Its person comes first by doubt and by similarity, the face is flagged; so do people without one say nothing."""
    rows = [(person, frame, 2 + frame, {}) for person in range(2) for frame in range(4)]
    keys = people_of(*rows).keys.column("key").to_pylist()
    rng = np.random.default_rng(0)
    centre = rng.normal(0, 1, (2, 128))
    vectors = np.stack([centre[int((key[:4] == "p001") != (key == keys[1]))] for key in keys]) + rng.normal(
        0, 0.1, (8, 128)
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    table = tables.make_table(parquet.EMBEDDINGS, {"key": keys, "embedding": list(vectors)})
    parquet.write_table(place(str(tmp_path / "embeddings")), "part-00000.parquet", table)
    people = People(str(tmp_path), {})
    for by in ("doubt", "similarity"):
        assert people.names[people.order(by)[0]][0] == "p000"
    assert told(people)["p000"].startswith("a face is unlike the others: similarity ")
    odd = [people.face(row).key for row in range(8) if "unlike the others" in people.face(row).flags]
    assert keys[1] in odd
    assert told(people)["p001"] == ""


def test_crops_are_as_they_are_stored(workspace):
    """The bytes that `extract` wrote, whichever row group they are in; none where there is none."""
    people = People(str(workspace), {})
    assert len(people.crops.read(*people.face(0).at)) > 500
    assert cv2.imdecode(np.frombuffer(people.crops.read(*people.face(5).at), np.uint8), 1).shape == (128, 128, 3)
