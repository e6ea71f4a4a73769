"""All stages in a row: what is said before the first one starts."""

from __future__ import annotations

import re
import shutil

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from facepipe.cli.commands import app
from facepipe.errors import InputError, SettingsChanged
from facepipe.execution.progress import QuietProgress
from facepipe.stages import demo, pipeline
from facepipe.stages.outcome import tell_outcome
from facepipe.storage import parquet, place


def dry_run(folder, **given):
    images, data = str(folder / "images"), str(folder / "data")
    return list(pipeline.run_all(images, data, {}, {"dry_run": True, **given}, QuietProgress()))


def test_a_dry_run_of_a_fresh_workspace_tells_of_every_stage(tmp_path):
    """What a stage reads is not there yet: no error."""
    demo.write_images(str(tmp_path), 2)
    reports = dry_run(tmp_path)
    assert [report.stage for report in reports] == ["extract", "select", "split", "shard pairs", "shard faces"]
    assert all("dry run: would" in report.notes[-1] for report in reports)
    assert not (tmp_path / "data").exists()


def test_a_dry_run_says_what_would_be_refused(tmp_path):
    demo.write_images(str(tmp_path), 2)
    list(pipeline.run_all(str(tmp_path / "images"), str(tmp_path / "data"), {}, {}, QuietProgress()))
    dry_run(tmp_path)
    for stage, option in (
        ("faces", {"margin": 0.5}),
        ("targets", {"candidates": 3}),
        ("pairs", {"validation": 0.2}),
        ("shards", {"size": 32}),
    ):
        with pytest.raises(SettingsChanged, match=f"{stage}.* was made with other settings"):
            dry_run(tmp_path, **option)
    dry_run(tmp_path, validation=0.2, overwrite=True)
    # Grouping takes minutes.
    with pytest.raises(
        SettingsChanged, match=r"faces was made with other .*--manifest none -> .*people.csv.*--overwrite"
    ):
        list(pipeline.run_all(str(tmp_path / "images"), str(tmp_path / "data"), {}, {}, QuietProgress(), group=True))
    assert not (tmp_path / "data" / "group").exists()


def test_a_whole_run_honours_the_workspace_s_corrections(tmp_path):
    """What `review` wrote takes effect by the same command, unless others are given."""
    data = tmp_path / "data"
    data.mkdir()

    assert pipeline.corrections_of(str(data)) == {}
    (data / "overrides.csv").write_text("key,action\n")
    assert pipeline.corrections_of(str(data)) == {"overrides": str(data / "overrides.csv")}
    demo.write_images(str(tmp_path), 2)
    given = {"workers": 1}
    run = list(pipeline.run_all(str(tmp_path / "images"), str(data), {}, given, QuietProgress()))
    target = next(iter(targets_of(data)))
    (data / "overrides.csv").write_text(f"key,action\n{target},drop\n")
    run = list(pipeline.run_all(str(tmp_path / "images"), str(data), {}, given, QuietProgress()))
    assert [report.done_before > 0 for report in run] == [True, False, False, False, False]
    assert target not in targets_of(data)
    (tmp_path / "mine.csv").write_text("key,action\n")
    mine = {"select": {"overrides": str(tmp_path / "mine.csv")}}
    list(pipeline.run_all(str(tmp_path / "images"), str(data), mine, given, QuietProgress()))
    assert target in targets_of(data)


def targets_of(data):
    return parquet.read_table(place(str(data / "targets")), "targets.parquet").column("target_key").to_pylist()


def test_a_run_without_any_face_is_an_error(tmp_path):
    """The one line says how many images had which status and what to look at; what was made is kept, and no stage follows."""
    images, data = tmp_path / "images" / "anna", tmp_path / "data"
    images.mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(images / f"{number}.png"), np.full((90, 90, 3), 60 * number, np.uint8))
    (images / "3.jpg").write_bytes(b"no picture")
    reports = []
    for said in (
        "3 no_face, 1 decode_error",
        "`facepipe report --data",
        "the boxes where they are labelled, --min-face",
    ):
        with pytest.raises(InputError, match=said) as caught:
            reports.extend(pipeline.run_all(str(tmp_path / "images"), str(data), {}, {}, QuietProgress()))
        assert "\n" not in str(caught.value)
    assert [(report.stage, report.done_before) for report in reports] == [
        ("extract", 0),
        ("extract", 1),
        ("extract", 1),
    ]
    assert sorted(path.name for path in data.iterdir()) == ["faces"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "done and verified;"),
        (["--min-frames", "50"], "nobody has a target, .*: 2 with fewer usable frames than --min-frames 50;"),
        (["--max-angle", "0.001"], "nobody has a target, .*: 2 with none within --max-angle 0.001;"),
        (
            ["--layout", "flat", "--limit", "4"],
            "no pairs: nobody has two usable frames, as every file counts as a person .*--group --overwrite",
        ),
        (["--layout", "flat", "--limit", "4", "--examples", "faces"], "done and verified;"),
    ],
)
def test_the_last_line_of_a_run_says_why_there_are_no_pairs(tmp_path, options, said):
    """Single faces are there, so it is no error; but nobody takes it for a data set of pairs."""
    demo.write_images(str(tmp_path), 2)
    (tmp_path / "images" / "person-000" / "turning.mp4").unlink()
    folders = ["-i", str(tmp_path / "images"), "-o", str(tmp_path / "data")]
    done = CliRunner().invoke(app, ["run", *folders, "--quiet", "--workers", "1", *options])
    assert done.exit_code == 0, done.output
    assert re.search(said, done.output.splitlines()[-1])
    assert ("done and verified" in done.output) == ("done and verified" in said)


def test_targets_without_another_picture_make_no_pairs(tmp_path):
    """Copies of one photograph are one picture; who has none but those has nothing to pair."""
    demo.write_images(str(tmp_path), 2)
    shutil.rmtree(tmp_path / "images" / "person-000")
    photographs = sorted((tmp_path / "images" / "person-001").iterdir())
    for other in photographs[1:]:
        shutil.copy(photographs[0], other)
    given = {"workers": 1}
    reports = list(pipeline.run_all(str(tmp_path / "images"), str(tmp_path / "data"), {}, given, QuietProgress()))
    said = tell_outcome(reports, str(tmp_path / "data"))
    assert said.endswith("there are no pairs: the other frames of those who have a target show the same picture")
