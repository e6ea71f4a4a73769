"""All stages in a row: what is said before the first one starts."""

from __future__ import annotations

import dataclasses

import pytest

from facepipe import parquet
from facepipe.detection import weights
from facepipe.errors import MissingExtra, SettingsChanged, WeightsError
from facepipe.progress import QuietProgress
from facepipe.stages import demo, pipeline
from facepipe.storage import place


def start(folder, recipe, **given):
    """The report of the first stage of a whole run."""
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "one.jpg").write_bytes(b"no picture")
    reports = pipeline.run_all(str(folder / "images"), str(folder / "data"), recipe, given, QuietProgress())
    return next(reports)


def test_a_missing_mesh_is_told_before_extract_starts(tmp_path, monkeypatch):
    """Without its weights, a run whose `select` will refine ends at once and has written nothing; with `none` it starts."""
    monkeypatch.setattr(weights, "FACE_MESH", dataclasses.replace(weights.FACE_MESH, package="installed_nowhere"))
    options = {"dry-run": True, "workers": 1}
    for recipe, given in [({}, {}), ({}, {"refine": "mesh"}), ({"select": {"refine": "mesh"}}, {})]:
        with pytest.raises(MissingExtra, match=r"pip install 'facepipe\[mesh\]'.*--refine none"):
            start(tmp_path, recipe, **given)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert start(tmp_path, {}, refine="none", **options).stage == "extract"
    assert start(tmp_path, {"select": {"refine": "none"}}, **options).stage == "extract"


def test_a_mesh_of_ones_own_is_tried_before_extract_starts(tmp_path):
    """A path that can't be read, and a file that is no network."""
    (tmp_path / "text.tflite").write_text("no network")
    for name, message in (("missing.tflite", "can't be read"), ("text.tflite", "no TFLite model")):
        with pytest.raises(WeightsError, match=message):
            start(tmp_path, {}, **{"mesh-model": str(tmp_path / name)})
    assert not (tmp_path / "data").exists()


def dry_run(folder, **given):
    images, data = str(folder / "images"), str(folder / "data")
    return list(pipeline.run_all(images, data, {}, {"dry-run": True, "refine": "none", **given}, QuietProgress()))


def test_a_dry_run_of_a_fresh_workspace_tells_of_every_stage(tmp_path):
    """What a stage reads is not there yet: no error."""
    demo.write_images(str(tmp_path), 0, 2)
    reports = dry_run(tmp_path)
    assert [report.stage for report in reports] == ["extract", "select", "split", "shard", "shard"]
    assert all("dry run: would" in report.notes[-1] for report in reports)
    assert not (tmp_path / "data").exists()


def test_a_dry_run_says_what_would_be_refused(tmp_path):
    demo.write_images(str(tmp_path), 0, 2)
    list(pipeline.run_all(str(tmp_path / "images"), str(tmp_path / "data"), {}, {"refine": "none"}, QuietProgress()))
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


def test_a_whole_run_honours_the_workspace_s_corrections(tmp_path):
    """What `review` wrote takes effect by the same command, unless others are given."""
    data = tmp_path / "data"
    data.mkdir()

    assert pipeline.corrections_of(str(data)) == {}
    (data / "overrides.csv").write_text("key,action\n")
    assert pipeline.corrections_of(str(data)) == {"overrides": str(data / "overrides.csv")}
    demo.write_images(str(tmp_path), 0, 2)
    given = {"refine": "none", "workers": 1}
    run = list(pipeline.run_all(str(tmp_path / "images"), str(data), {}, given, QuietProgress()))
    target = next(iter(targets_of(data)))
    (data / "overrides.csv").write_text(f"key,action\n{target},drop\n")
    run = list(pipeline.run_all(str(tmp_path / "images"), str(data), {}, given, QuietProgress()))
    assert [report.done_before > 0 for report in run] == [True, False, False, False, False]
    assert target not in targets_of(data)
    (tmp_path / "mine.csv").write_text("key,action\n")
    mine = {"select": {"overrides": str(tmp_path / "mine.csv")}}
    with pytest.raises(SettingsChanged, match="a person's corrections"):
        list(pipeline.run_all(str(tmp_path / "images"), str(data), mine, given, QuietProgress()))


def targets_of(data):
    return parquet.read_table(place(str(data / "targets")), "targets.parquet").column("target_key").to_pylist()
