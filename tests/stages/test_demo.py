"""The demo's images, their truth, and what the estimates make of them."""

from __future__ import annotations

import csv
import hashlib
import math
from pathlib import Path  # noqa: TC003

import cv2
import numpy as np
import pytest

from facepipe.config import Execution, ExtractConfig
from facepipe.errors import DamagedFile, InputError, SettingsChanged, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.photographs import load_photographs
from facepipe.stages import demo, extract
from facepipe.stages.demo_truth import compare_with_truth
from facepipe.storage import place
from facepipe.storage.parquet import FACES, part_name, write_table
from facepipe.storage.tables import make_table

PEOPLE = 5


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*.*"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A demo of the astronaut and four faces."""
    root = tmp_path_factory.mktemp("demo")
    report = demo.write_images(str(root), seed=0, identities=PEOPLE, workers=2)
    return root, report


@pytest.fixture(scope="module")
def truth(made):
    with open(made[0] / "truth.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_person_has_eight_to_twelve_frames_and_one_unturned():
    """In the plan of the whole demo."""
    shots = demo.plan_shots(load_photographs(), seed=0)
    by_person: dict[str, list] = {}
    for shot in shots:
        if not shot.path.endswith(demo.VIDEO):
            by_person.setdefault(shot.identity, []).append(shot.turn)
    assert len(by_person) == 101
    assert {len(turns) for turns in by_person.values()} == {8, 9, 10, 11, 12}
    assert max(min(turn.angle for turn in turns) for turns in by_person.values()) < 3


def test_a_persons_pictures_do_not_depend_on_who_else_is_there():
    """The plan of five people is the beginning of the plan of all."""
    everyone = load_photographs()
    few = demo.plan_shots(everyone[:PEOPLE], seed=3)
    assert few == demo.plan_shots(everyone, seed=3)[: len(few)]
    assert few != demo.plan_shots(everyone[:PEOPLE], seed=4)


def test_what_is_written_is_what_the_truth_says(made, truth):
    """A file a still, a folder a clip, all frames of the video, and nothing else."""
    root, report = made
    files = {p.relative_to(root / "images").as_posix() for p in (root / "images").rglob("*") if p.is_file()}
    assert files == {row["path"] for row in truth}
    assert report.counts == {"people": PEOPLE, "files": len(files), "frames": len(truth)}
    assert any(path.count("/") == 2 for path in files)
    image = cv2.imread(str(root / "images" / "person-001" / "00.jpg"))
    assert min(image.shape[:2]) >= 220
    video = cv2.VideoCapture(str(root / "images" / "astronaut" / demo.VIDEO))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == sum(row["path"].endswith(demo.VIDEO) for row in truth) == 24


def test_the_same_seed_gives_the_same_bytes_also_when_it_was_stopped(made, tmp_path):
    """What is missing is made as it was; what is there is kept; and with any number of workers."""
    before = digests(made[0])
    for path in sorted((made[0] / "images").rglob("*.*"))[::7]:
        path.unlink()
    report = demo.write_images(str(made[0]), seed=0, identities=PEOPLE)
    assert report.done_before > 0
    assert digests(made[0]) == before
    demo.write_images(str(tmp_path), seed=0, identities=2, workers=1)
    anew = {path: digest for path, digest in digests(tmp_path).items() if path.startswith("images/")}
    assert anew.items() <= before.items()
    assert len(anew) > 10


def test_another_seed_into_the_same_folder_is_refused(made):
    """The pictures of two demos never mix."""
    with pytest.raises(SettingsChanged, match="another seed"):
        demo.write_images(str(made[0]), seed=1, identities=PEOPLE)


@pytest.mark.parametrize("identities", [0, 102])
def test_more_people_than_there_are_photographs_of_are_refused(tmp_path, identities):
    """The message gives the range."""
    with pytest.raises(UsageError, match="between 1 and 101"):
        demo.write_images(str(tmp_path), identities=identities)


def test_the_estimates_follow_the_turn(made):
    """Extracted by facepipe itself: faces found in at least 90 %, correlation >= 0.95, slope 0.75 to 1.2."""
    root = made[0]
    config = ExtractConfig(
        input=str(root / "images"), output=str(root / "faces"), layout="identity", execution=Execution(workers=1)
    )
    extract.run(config, QuietProgress())
    figures = compare_with_truth(str(root / "faces"), str(root / "truth.csv"))
    assert (figures.people, figures.small_turns > 30) == (PEOPLE, True)
    assert figures.found >= 0.9
    assert figures.yaw_correlation >= 0.95
    assert 0.75 <= figures.yaw_slope <= 1.2  # the whole demo's median lies above 0.8
    assert figures.pitch_correlation >= 0.8
    assert len(figures.sentences()) == 6
    assert "degrees estimated for a degree of turn" in figures.sentences()[-2]


def write_faces(folder: Path, rows: list[tuple[str, str, float, float]]) -> None:
    """A part with rows of path, status, yaw, pitch."""
    empty = {name: [None] * len(rows) for name in FACES.names}
    columns = {
        "path": [r[0] for r in rows],
        "status": [r[1] for r in rows],
        "yaw": [r[2] for r in rows],
        "pitch": [r[3] for r in rows],
    }
    table = make_table(FACES, {**empty, **columns, "frame_index": [0] * len(rows)})
    write_table(place(str(folder)), part_name(0), table)


def test_figures_are_what_the_rows_say(tmp_path):
    """Known estimates give known slopes; frames without a face count as not found; other faces don't count."""
    yaws = [-40.0, -20.0, -10.0, 0.0, 10.0, 20.0]
    lines = ["path,identity,frame,yaw_turn,pitch_turn,roll_turn"]
    lines += [f"a/{n}.jpg,a,0,{yaw},{-yaw / 4},0" for n, yaw in enumerate(yaws)]
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    rows = [(f"a/{n}.jpg", "ok", 0.9 * yaw + 5, -yaw / 8) for n, yaw in enumerate(yaws[:5])]
    write_faces(
        tmp_path / "faces", [*rows, ("a/0.jpg", "other_face", 77.0, 7.0), ("a/5.jpg", "no_face", math.nan, math.nan)]
    )
    figures = compare_with_truth(str(tmp_path / "faces"), str(tmp_path / "truth.csv"))
    assert figures.found == pytest.approx(4 / 5)
    assert figures.small_turns == 5
    np.testing.assert_allclose([figures.yaw_correlation, figures.yaw_slope], [1, 0.9], atol=1e-5)
    np.testing.assert_allclose([figures.pitch_correlation, figures.pitch_slope], [1, 0.5], atol=1e-5)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, InputError),
        ("path,other\na,b\n", DamagedFile),
        ("path,identity,frame,yaw_turn,pitch_turn,roll_turn\na,b,x,1,2,3\n", DamagedFile),
    ],
)
def test_a_truth_that_is_none_is_refused(tmp_path, content, error):
    """With a sentence that names the file."""
    if content is not None:
        (tmp_path / "truth.csv").write_text(content)
    with pytest.raises(error, match=r"truth\.csv"):
        compare_with_truth(str(tmp_path), str(tmp_path / "truth.csv"))
