"""All stages in a row: what is said before the first one starts."""

from __future__ import annotations

import dataclasses

import pytest

from facepipe.detection import weights
from facepipe.errors import MissingExtra, WeightsError
from facepipe.progress import QuietProgress
from facepipe.stages import pipeline


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
