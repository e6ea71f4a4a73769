"""The demo's images, their truth, and what the estimates make of them."""

from __future__ import annotations

import csv
import hashlib
import math
import re
import zipfile
from pathlib import Path  # noqa: TC003

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from facepipe.config import Execution, ExtractConfig, SelectConfig
from facepipe.errors import DamagedFile, InputError, SettingsChanged, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import demo, extract, select
from facepipe.stages.demo import compare_with_truth
from facepipe.storage import place
from facepipe.storage.parquet import FACES, part_name, write_table
from facepipe.storage.tables import make_table

PEOPLE = 5


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*.*"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A demo of five people."""
    root = tmp_path_factory.mktemp("demo")
    return root, demo.write_images(str(root), PEOPLE)


@pytest.fixture(scope="module")
def truth(made):
    with open(made[0] / "truth.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_shipped_pictures_are_small_and_of_every_kind():
    """At most 6 MB; 32 people of nine pictures and more, one of them frontal; copies, damage, nobody, two people."""
    assert demo.PICTURES.stat().st_size < 6 * 2**20
    notice = (demo.PICTURES.parent / "NOTICE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(demo.PICTURES.read_bytes()).hexdigest() in notice
    with zipfile.ZipFile(demo.PICTURES) as pictures:
        assert pictures.testzip() is None
        files = {name for name in pictures.namelist() if name != demo.TRUTH}
        rows = list(csv.DictReader(pictures.read(demo.TRUTH).decode().splitlines()))
    people = {name.split("/")[1] for name in files}
    assert len(people) == demo.PEOPLE
    extra = {name.split("/")[-1] for name in files - {f"images/{row['path']}" for row in rows}}
    assert extra == {"copy.jpg", "nobody.jpg", "broken.jpg", "two-people.jpg"}
    for person in people:
        turns = [r for r in rows if r["identity"] == person and r["path"].endswith(".jpg")]
        assert 9 <= len(turns) <= 12
        assert min(abs(float(r["yaw_turn"])) + abs(float(r["pitch_turn"])) for r in turns) < 3
    assert max(abs(float(r["yaw_turn"])) for r in rows) > 65


def test_what_is_written_is_what_the_truth_says(made, truth):
    """A file a still, a folder a clip, all frames of the video, and nothing else."""
    root, report = made
    files = {p.relative_to(root / "images").as_posix() for p in (root / "images").rglob("*") if p.is_file()}
    assert files == {row["path"] for row in truth}
    assert report.counts == {"people": PEOPLE, "files": len(files)}
    assert any(path.count("/") == 2 for path in files)
    assert min(cv2.imread(str(root / "images" / "person-001" / "00.jpg")).shape[:2]) >= 220
    with av.open(str(root / "images" / "person-000" / "turning.mp4")) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert frames == sum(row["path"] == "person-000/turning.mp4" for row in truth) == 24


def test_what_is_missing_is_written_again(made, tmp_path):
    """What is there is kept; a person's pictures do not depend on who else is there."""
    before = digests(made[0])
    for path in sorted((made[0] / "images").rglob("*.*"))[::7]:
        path.unlink()
    report = demo.write_images(str(made[0]), PEOPLE)
    assert 0 < report.done_before < report.counts["files"]
    assert digests(made[0]) == before
    demo.write_images(str(tmp_path), 2)
    anew = {path: digest for path, digest in digests(tmp_path).items() if path.startswith("images/")}
    assert anew.items() <= before.items()
    assert len(anew) > 10


def test_another_demo_into_the_same_folder_is_refused(made):
    """The pictures of two demos never mix."""
    with pytest.raises(SettingsChanged, match="number of people"):
        demo.write_images(str(made[0]), PEOPLE + 1)


@pytest.mark.parametrize("identities", [0, 33])
def test_more_people_than_there_are_are_refused(tmp_path, identities):
    """The message gives the range."""
    with pytest.raises(UsageError, match="between 1 and 32"):
        demo.write_images(str(tmp_path), identities)


def test_the_estimates_follow_the_turn_and_targets_are_frontal(made, truth):
    """By facepipe itself: faces found in at least 95 %, correlation >= 0.97, slope 0.8 to 1.2, targets within 8 degrees."""
    root = made[0]
    config = ExtractConfig(
        input=str(root / "images"), output=str(root / "faces"), layout="identity", execution=Execution(workers=1)
    )
    extract.run(config, QuietProgress())
    figures = compare_with_truth(str(root / "faces"), str(root / "truth.csv"))
    assert (figures.people, figures.small_turns > 30) == (PEOPLE, True)
    assert figures.found >= 0.95
    assert figures.yaw_correlation >= 0.97
    assert 0.8 <= figures.yaw_slope <= 1.2
    assert figures.pitch_correlation >= 0.8
    assert "degrees estimated for a degree of turn" in figures.sentences()[-1]
    select.run(SelectConfig(input=str(root / "faces"), output=str(root / "targets")), QuietProgress())
    turns = {(r["path"], int(r["frame"])): (float(r["yaw_turn"]), float(r["pitch_turn"])) for r in truth}
    targets = pq.read_table(root / "targets" / "targets.parquet").to_pylist()
    assert len(targets) == PEOPLE
    for target in targets:
        frame = re.search(r"@(\d+)#", target["target_key"])
        assert max(map(abs, turns[target["target_path"], int(frame[1]) if frame else 0])) < 8, target["target_key"]


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
