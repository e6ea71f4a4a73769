"""The page, as it is written and as a browser shows it."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from facepipe import open_faces
from facepipe.config import ExtractConfig
from facepipe.errors import InputError
from facepipe.execution.progress import QuietProgress
from facepipe.records import StageReport
from facepipe.report import page, readings, sections, thumbnails
from facepipe.report.people import People
from facepipe.stages import extract
from facepipe.stages.runfile import write_run_file
from facepipe.storage import place
from facepipe.storage.parquet import part_name

VOID = {"meta", "link", "img", "br"}


@pytest.fixture(scope="module")
def written(workspace):
    file = workspace / "report.html"
    page.build(str(workspace), str(file))
    return file


class Outline(HTMLParser):
    """Checks nesting; collects tags, texts and attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.texts, self.ids, self.links = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        assert not [name for name in found if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def outline(written):
    parsed = Outline()
    parsed.feed(written.read_text(encoding="utf-8"))
    parsed.close()
    return parsed


def test_the_page_is_whole_and_stands_alone(outline):
    """Well nested, ids once, links only into itself or to data, no scripts."""
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert "script" not in outline.tags
    for link in outline.links:
        assert link.startswith(("data:", "#"))
        assert not link.startswith("#") or link[1:] in outline.ids


def test_names_with_markup_are_shown_as_text(outline, markup):
    """As they are called, and nowhere as tags."""
    text = "".join(outline.texts)
    assert markup in text
    assert "img" in outline.tags
    assert not [link for link in outline.links if link == "x"]


def test_the_verdict_comes_first(written, workspace):
    """How many inputs are usable, and how many people to look at: each of them has a row that says why."""
    text = written.read_text(encoding="utf-8")
    usable, inputs, looked = re.search(r"<h1>(\d+) of (\d+) usable; (\d+|nobody)", text).groups()
    counts = json.loads((workspace / "faces" / "run.json").read_text())["counts"]
    assert int(usable) == counts["ok"]
    assert int(inputs) == sum(counts.values()) - counts.get("other_face", 0)
    assert text.count("<p><strong>") == (0 if looked == "nobody" else int(looked))
    assert text.count('<article class="person">') == 4


def test_the_counts_are_those_of_the_stages(outline, workspace):
    """Every status with its number, pairs, and the subsets' rows."""
    text = re.sub(r"\s+", " ", "".join(outline.texts))
    counts = json.loads((workspace / "faces" / "run.json").read_text())["counts"]
    assert {"ok", "no_face", "decode_error"} <= set(counts)
    for status, count in counts.items():
        assert f"{status} {count:,} (" in text
    split = json.loads((workspace / "pairs" / "run.json").read_text())
    assert f"train{split['identities']['train']}{split['counts']['train pairs']}".replace(",", "") in text.replace(
        " ", ""
    )
    for word in ("gaussian 0.03", "gaussian 0.1", "clean", "wall.png", "broken.jpg"):
        assert word in text


def test_the_commands_it_shows_print_the_rows(written):
    """Run as they stand, with markup undone."""
    found = re.search(r"<code>(facepipe list [^<]*no_face)</code>", written.read_text(encoding="utf-8"))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        html.unescape(found[1]), shell=True, capture_output=True, text=True, check=True, env=environment
    )
    assert "wall.png" in done.stdout
    assert "00.jpg" not in done.stdout


def test_the_same_workspace_gives_the_same_page(workspace, written, tmp_path):
    """Nothing in it depends on when it was made."""
    page.build(str(workspace), str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_bytes() == written.read_bytes()


def test_a_workspace_with_faces_alone_has_a_page(workspace, tmp_path):
    """It names the stages that have not run."""
    shutil.copytree(workspace / "faces", tmp_path / "faces")
    page.build(str(tmp_path), str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Not run yet: select, split, shard pairs" in text


def test_while_a_share_is_missing_the_parts_that_are_there_are_counted(workspace, tmp_path):
    """Whatever the run file says; the page tells how many parts are missing, and how many files there are to be."""
    faces = shutil.copytree(workspace / "faces", tmp_path / "faces")
    run = readings.read_workspace(str(tmp_path)).runs["extract"]
    lost = sorted(faces.glob("part-*"))[2::3]
    for part in lost:
        part.unlink()
    rows = Counter(row.as_py() for row in open_faces(str(faces)).to_table(["status"]).column("status"))
    found = readings.read_workspace(str(tmp_path))
    assert Counter(found.counts("extract")) == rows != Counter(run["counts"])
    page.build(str(tmp_path), str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{len(lost)} of the {run['parts']} parts of the faces are not there yet." in text
    assert f"of {run['images']} files" in text


def test_counts_of_an_earlier_input_are_not_shown(workspace, tmp_path):
    """A `run.json` from before images were added says nothing of the parts there now."""
    faces = shutil.copytree(workspace / "faces", tmp_path / "faces")
    counts = readings.read_workspace(str(tmp_path)).counts("extract")
    report = StageReport("extract", {"ok": 1})
    write_run_file(place(str(faces)), ExtractConfig(), report, {"plan": "another"})
    assert Counter(readings.read_workspace(str(tmp_path)).counts("extract")) == Counter(counts)


def test_without_faces_it_says_what_to_run(tmp_path):
    """An empty workspace is an error with the command."""
    with pytest.raises(InputError, match="facepipe extract"):
        page.build(str(tmp_path), str(tmp_path / "report.html"))


def test_shares_are_of_the_inputs(workspace):
    """Faces beside the identity's own are no inputs: they come last and have no share."""
    found = readings.read_workspace(str(workspace))
    found.runs["extract"] = {"counts": {"ok": 3, "no_face": 1, "other_face": 5}}
    lines = sections.list_statuses(found)
    assert [(line.status, line.share) for line in lines] == [("ok", 0.75), ("no_face", 0.25), ("other_face", None)]


def test_what_is_empty_is_left_out(workspace, tmp_path):
    """Of a workspace that holds no usable face and no run file there are neither headings nor links to them."""
    from facepipe.storage import parquet, tables

    faces = place(str(workspace / "faces"))
    everything = tables.concatenate([table for _, table in parquet.iterate_parts(faces)])
    failed = [at for at, status in enumerate(everything.column("status").to_pylist()) if status == "no_face"]
    (tmp_path / "faces").mkdir()
    parquet.write_table(place(str(tmp_path / "faces")), part_name(0), tables.take(everything, failed))
    page.build(str(tmp_path), str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(\w+)"', text) == ["funnel", "statuses"]
    assert re.findall(r'<li><a href="#(\w+)"', text) == ["funnel", "statuses"]


def test_examples_stand_under_their_keys(workspace):
    """What a correction names, with the frame's number in videos."""
    from facepipe.report.pictures import show_examples

    found, people = readings.read_workspace(str(workspace)), People(str(workspace), {})
    keys = set(open_faces(str(workspace / "faces")).to_table(columns=["key"]).column("key").to_pylist())
    shown = show_examples(found, people, sections.list_statuses(found))[0]
    assert len(shown) == 6
    assert all(example.uri.startswith("data:image/jpeg") for example in shown)
    assert {example.caption for example in shown} <= keys


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
def test_a_browser_shows_it_well(browser, looks_well, written, width, scheme):
    """Nothing overflows, text is large and dark enough, every control can be reached by keyboard, nothing complains."""
    tab = browser.new_page(viewport={"width": width, "height": 1500}, color_scheme=scheme)
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto(written.as_uri())
    found = looks_well(tab, scheme)
    assert tab.pdf().startswith(b"%PDF")
    tab.close()
    assert complaints == []
    assert found["stops"] > 15
    assert found["figures"] > 50
    longest, most = found["bars"][0]
    assert len(found["bars"]) == 3
    assert [width / longest for width, _ in found["bars"]] == pytest.approx(
        [count / most for _, count in found["bars"]], abs=0.01
    )


@pytest.mark.slow
def test_the_size_of_youtube_faces_takes_seconds(workspace, tmp_path):
    """1,213 parts of 512 rows: under 30 s of CPU (the parts are copies of one, which costs the same to read)."""
    from facepipe.storage import parquet, tables

    faces = place(str(workspace / "faces"))
    everything = tables.concatenate([table for _, table in parquet.iterate_parts(faces)])
    import numpy as np

    (tmp_path / "faces").mkdir()
    many = tables.take(everything, np.arange(512) % everything.num_rows)
    parquet.write_table(place(str(tmp_path / "faces")), part_name(0), many)
    for number in range(1, 1213):
        (tmp_path / "faces" / part_name(number)).hardlink_to(tmp_path / "faces" / part_name(0))
    shutil.copy(workspace / "faces" / "run.json", tmp_path / "faces")
    started = time.process_time()
    report = page.build(str(tmp_path), str(tmp_path / "report.html"))
    assert time.process_time() - started < 30
    assert report.counts["faces"] > 300_000


def test_a_picture_that_takes_too_long_costs_itself(workspace, monkeypatch, tmp_path):
    """Inputs are made small in a process of their own: one of 48 megapixels is ended, the others are shown."""
    monkeypatch.setattr(thumbnails, "TIMEOUT_S", 0.4)
    folder = shutil.copytree(workspace / "images" / "person-002", tmp_path / "person")
    (folder / "huge.png").write_bytes(cv2.imencode(".png", np.zeros((8000, 6000, 3), np.uint8))[1].tobytes())
    wanted = [(f"person/{name}", ()) for name in ("huge.png", "wall.png", "broken.jpg")]
    made = thumbnails.make_thumbnails(str(tmp_path), wanted)
    assert list(made) == [("person/wall.png", ())]
    assert made["person/wall.png", ()].startswith("data:image/jpeg;base64,")


def test_the_face_that_is_meant_is_boxed(tmp_path):
    """Where it lies in the picture made small; a tiny one still shows."""
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((640, 1280, 3), 90, np.uint8))
    wanted = [("wall.png", box) for box in ((320.0, 160.0, 960.0, 480.0), (100.0, 100.0, 110.0, 110.0))]
    for box, (x1, y1, x2, y2) in zip(wanted, ((32, 16, 96, 48), (10, 10, 18, 18)), strict=True):
        data = base64.b64decode(thumbnails.make_thumbnails(str(tmp_path), wanted)[box].partition(",")[2])
        rows, columns = np.nonzero(np.ptp(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), axis=2) > 60)
        found = [columns.min(), rows.min(), columns.max(), rows.max()]
        assert found == pytest.approx([x1, y1, x2, y2], abs=2)


def test_inputs_are_shown_from_where_they_lie(tmp_path):
    """Not in the workspace: of a picture without a face the page shows the picture."""
    (tmp_path / "elsewhere" / "anna").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "elsewhere" / "anna" / "wall.png"), np.full((80, 120, 3), 90, np.uint8))
    extract.run(ExtractConfig(input=str(tmp_path / "elsewhere"), output=str(tmp_path / "faces")), QuietProgress())
    page.build(str(tmp_path), str(tmp_path / "report.html"))
    shown = (tmp_path / "report.html").read_text()
    assert "anna/wall.png" in shown
    assert "no picture" not in shown
