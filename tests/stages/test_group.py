"""group: pictures without names become people, corrections and additions are kept, everything is counted."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from facepipe.cli.commands import app
from facepipe.config import Execution, ExtractConfig, GroupConfig
from facepipe.errors import InputError, OutputError
from facepipe.execution.progress import QuietProgress
from facepipe.face.association import overlap
from facepipe.stages import extract, group
from facepipe.storage import parquet, place

ONE = Execution(workers=1)
PEOPLE, PHOTOGRAPHS = 6, 5


def run(folder, images="images", **options):
    """Groups the pictures; gives the last report and the rows of people.csv."""
    config = GroupConfig(input=str(folder / images), output=str(folder / "people.csv"), **options)
    extraction = ExtractConfig(output=str(folder / "group" / "faces"), execution=ONE)
    *_, report = group.run(config, extraction, QuietProgress())
    with (folder / "people.csv").open(encoding="utf-8") as file:
        return report, list(csv.DictReader(file))


def of_file(rows):
    """File -> name."""
    return {row["path"]: row["identity"] for row in rows}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, shared_data):
    """Six people's photographs of LFW in one folder, without their names; the fifth ones aside."""
    folder = tmp_path_factory.mktemp("group")
    (folder / "images").mkdir()
    (folder / "later").mkdir()
    people = [one for one in sorted((shared_data / "lfw").iterdir()) if len(list(one.iterdir())) >= PHOTOGRAPHS]
    for number, person in enumerate(people[:PEOPLE]):
        for index, path in enumerate(sorted(person.iterdir())[:PHOTOGRAPHS]):
            shutil.copy(path, folder / ("later" if index == PHOTOGRAPHS - 1 else "images") / f"{index}{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def grouped(photographs):
    return photographs, *run(photographs)


def test_people_are_found_and_extract_takes_them(grouped):
    """Each person's photographs have one name, no two people the same; every face is counted; the manifest is one."""
    folder, report, rows = grouped
    names = of_file(rows)
    for number in range(PEOPLE):
        own = Counter(name for path, name in names.items() if path[1] == str(number))
        assert own.most_common(1)[0][1] >= PHOTOGRAPHS - 2, own
    assert len({names[f"0{number}.jpg"] for number in range(PEOPLE) if f"0{number}.jpg" in names}) >= PEOPLE - 1
    assert min(names.values()) == "person-0001"
    assert report.counts["their faces"] == len(rows)
    listed = sum(table.num_rows for _, table in parquet.iterate_parts(place(str(folder / "group" / "embeddings"))))
    assert sum(report.counts.values()) - report.counts["people"] == listed
    sheet = cv2.imread(report.outputs["look at"])
    assert sheet.shape[1] > 1000
    config = ExtractConfig(
        input=str(folder / "images"),
        output=str(folder / "faces"),
        manifest=str(folder / "people.csv"),
        execution=ONE,
    )
    assert extract.run(config, QuietProgress()).counts["ok"] == len(rows)


def test_names_are_kept_when_pictures_come_and_names_are_corrected(grouped):
    """Nothing changes where nothing has; a new name stays, added photographs join the people, those gone leave."""
    folder, _, rows = grouped
    before = (folder / "people.csv").read_bytes()
    report, _ = run(folder)
    assert (report.done_before, (folder / "people.csv").read_bytes()) == (1, before)
    name = of_file(rows)["00.jpg"]
    (folder / "people.csv").write_bytes(before.replace(name.encode(), b"Ada"))
    for path in (folder / "later").iterdir():
        shutil.copy(path, folder / "images")
    _, after = run(folder)
    names = of_file(after)
    assert {path: names[path] for path in of_file(rows)} == {
        path: "Ada" if one == name else one for path, one in of_file(rows).items()
    }
    joined = [names.get(f"4{number}.jpg") == names.get(f"0{number}.jpg") for number in range(PEOPLE)]
    assert sum(joined) >= PEOPLE - 1


def test_a_list_that_says_more_is_left_alone(grouped, tmp_path):
    """A table with a column of its own is refused: it would be written without."""
    folder, *_ = grouped
    shutil.copytree(folder / "group", tmp_path / "group")
    (tmp_path / "people.csv").write_text("path,identity,label\n00.jpg,Ada,1\n")
    with pytest.raises(OutputError, match="has a column 'label', which would be lost"):
        run(tmp_path, images="group/faces")


def test_one_person_under_two_names_is_told(grouped, tmp_path):
    """The two names stay, and a note says that they are alike."""
    folder, *_ = grouped
    shutil.copytree(folder / "group", tmp_path / "group")
    (tmp_path / "people.csv").write_text("path,identity\n00.jpg,Ada\n10.jpg,Ben\n")
    report, rows = run(tmp_path, images="group/faces")
    assert {of_file(rows)["00.jpg"], of_file(rows)["10.jpg"]} == {"Ada", "Ben"}
    assert any(note.startswith("perhaps one person (similarity 0.9") for note in report.notes)


@pytest.mark.slow
def test_a_whole_run_of_pictures_without_names(grouped, tmp_path):
    """`run --group --identity check`: each person's photographs are pairs, all that was made is whole; again, it stays."""
    folder, *_ = grouped
    images = str(folder / "images")
    words = ["run", "--group", "--identity", "check", "-i", images, "-o", str(tmp_path), "-q"]
    for _ in range(2):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert "done and verified" in done.output
    targets = parquet.read_table(place(str(tmp_path / "targets")), "targets.parquet").to_pylist()
    with (tmp_path / "people.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["identity"]: row["frames"] for row in targets} == Counter(row["identity"] for row in rows)
    embedded = sum(table.num_rows for _, table in parquet.iterate_parts(place(str(tmp_path / "embeddings"))))
    assert embedded == len(rows)
    (tmp_path / "people.csv").write_text((tmp_path / "people.csv").read_text().replace("person-0001", "Ada"))
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0, again.output
    assert (
        "Ada" in parquet.read_table(place(str(tmp_path / "targets")), "targets.parquet").column("identity").to_pylist()
    )
    refused = CliRunner().invoke(app, [*words, "--layout", "lfw"])
    assert "leave out --layout and --manifest" in str(refused.exception)


def test_nothing_of_identity_is_loaded_unasked(tmp_path, astronaut):
    """A whole run, verify included, goes where the network's module can't be imported in any process; embed does not."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['facepipe.face.identity'] = None")
    for number in range(3):
        (tmp_path / "images" / "p").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / "p" / f"{number}.jpg"), np.roll(astronaut, 9 * number, axis=1)[..., ::-1])
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH"), os.getcwd()])])

    def facepipe(*words):
        command = [sys.executable, "-m", "facepipe", *words, "--data", str(tmp_path), "-q", "--workers", "1"]
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
        )

    done = facepipe("run")
    assert done.returncode == 0, done.stderr
    assert "facepipe.face.identity" in facepipe("embed").stderr


def test_people_of_one_video_are_listed_frame_by_frame(shared_data, tmp_path):
    """The singer and some of the audience: `extract --manifest` takes each one's own faces; a new name is kept."""
    (tmp_path / "images").mkdir()
    shutil.copy(shared_data / "video" / "one_face.mp4", tmp_path / "images")
    names = tmp_path / "people.csv"
    config = GroupConfig(input=str(tmp_path / "images"), output=str(names))
    extraction = ExtractConfig(output=str(tmp_path / "group" / "faces"), every=10, execution=ONE)
    *_, report = group.run(config, extraction, QuietProgress())
    rows = list(csv.DictReader(names.open()))
    people = Counter(row["identity"] for row in rows)
    assert report.counts["people"] == len(people) >= 3
    assert report.counts["their faces"] == len(rows)
    extraction = replace(extraction, input=config.input, output=str(tmp_path / "faces"), manifest=str(names))
    extract.run(extraction, QuietProgress())
    found = [row for _, table in parquet.iterate_parts(place(extraction.output)) for row in table.to_pylist()]
    boxes = {(row["identity"], row["frame_index"]): row["bbox"] for row in found if row["status"] == "ok"}
    assert len(boxes) > 0.97 * len(rows)
    listed = {
        (row["identity"], int(row["frame_index"])): [float(row[x]) for x in ("x1", "y1", "x2", "y2")] for row in rows
    }
    assert all(overlap(box, listed[at]) > 0.7 for at, box in boxes.items())
    names.write_text(names.read_text().replace("person-0002", "Ada"))
    *_, report = group.run(
        config, replace(extraction, output=str(tmp_path / "group" / "faces"), manifest=""), QuietProgress()
    )
    renamed = Counter(row["identity"] for row in csv.DictReader(names.open()))
    assert renamed == Counter({name.replace("person-0002", "Ada"): count for name, count in people.items()})


def test_a_video_of_one_person_is_listed_once(tmp_path, astronaut):
    """Without a frame or a box: it is taken whole."""
    (tmp_path / "images").mkdir()
    path, size = tmp_path / "images" / "clip.avi", astronaut.shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, size)
    for number in range(6):
        writer.write(np.roll(astronaut, 4 * number, axis=1)[..., ::-1])
    writer.release()
    _, rows = run(tmp_path)
    assert [list(row.values())[:7] for row in rows] == [["clip.avi", "person-0001", "", "", "", "", ""]]


def test_faces_of_no_known_pose_make_no_person(shared_data, tmp_path):
    """Behind two men somebody else is half to be seen, of whom little more can be told than that."""
    (tmp_path / "images").mkdir()
    for path in ("Adam_Sandler/Adam_Sandler_0004.jpg", "Amer_al-Saadi/Amer_al-Saadi_0002.jpg"):
        shutil.copy(shared_data / "lfw" / path, tmp_path / "images")
    report, rows = run(tmp_path, min_faces=2)
    assert report.counts["people"] == 0
    assert not rows
    assert report.counts["unsure"] >= 2


def test_pictures_without_faces_are_told(tmp_path):
    """One line says where to look."""
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((90, 90, 3), np.uint8))
    with pytest.raises(InputError, match="no usable face; `facepipe list -i"):
        run(tmp_path)
