"""The picture of people."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facepipe.errors import InputError
from facepipe.report.contact_sheet import write_contact_sheet
from facepipe.report.people import People
from facepipe.report.pictures import decode_crop


def test_a_row_a_person_with_the_target_first(workspace, tmp_path):
    """As many rows as people, as wide as target and features, the crops in their places."""
    sheet = tmp_path / "sheet.png"
    assert write_contact_sheet(str(workspace), str(sheet), rows=4, features=4, tile=64) == 4
    picture = np.asarray(Image.open(sheet))
    assert picture.shape[1] == 3 * 8 + 5 * (64 + 8)
    people = People(str(workspace), {})
    target = decode_crop(people.crops.read(*people.person(people.number["person-000", ""]).target.at), 64)
    rows = [y for y in range(picture.shape[0] - 64) if np.array_equal(picture[y : y + 64, 8 : 8 + 64], target)]
    assert len(rows) == 1


def test_faces_stand_in_the_order_of_yaw(workspace):
    """From the one profile to the other, at most as many as asked for, the target not among them."""
    people = People(str(workspace), {})
    for number in people.order("name").tolist():
        person = people.person(number, 5)
        yaws = [face.yaw for face in person.others]
        assert yaws == sorted(yaws)
        assert len(yaws) == 5
        assert person.target.key not in [face.key for face in person.others]


def test_people_can_be_chosen_and_a_jpeg_asked_for(workspace, tmp_path):
    """By name; the suffix decides the format."""
    sheet = tmp_path / "sheet.jpg"
    assert write_contact_sheet(str(workspace), str(sheet), identities=["person-000", "nobody"]) == 1
    assert Image.open(sheet).format == "JPEG"


def test_without_faces_it_says_what_to_run(tmp_path):
    """An empty workspace is an error with the command."""
    with pytest.raises(InputError, match="facepipe extract"):
        write_contact_sheet(str(tmp_path), str(tmp_path / "sheet.png"))


def test_the_demo_says_how_many_people_its_picture_shows(workspace, tmp_path, capsys):
    """As many as there are, not as many as there may be."""
    import shutil

    from facepipe.stages.summary import print_demo

    shutil.copytree(workspace, tmp_path / "demo")
    print_demo(str(tmp_path / "demo"))
    assert "contact_sheet.png: the chosen frame of 4 people, and" in capsys.readouterr().out
