"""What `facepipe bench` makes of two runs, and how long it takes to be sure."""

from __future__ import annotations

import pytest

from facepipe.records import StageReport
from facepipe.stages import bench, demo
from facepipe.stages.summary import print_bench


def report(images: int, wall_s: float, busy_s: float) -> StageReport:
    return StageReport("extract", {"ok": images}, {"detect": busy_s}, wall_s)


def test_the_start_is_what_the_work_leaves_of_a_run():
    told = bench.measured(report(32, 1.5, 0.2), report(1032, 6.5, 10.2), workers=2)
    assert (told.images, told.seconds, told.rate) == (1000, 5.0, 200.0)
    assert told.start_s == pytest.approx(1.5 - 5.0 * 32 / 1000)
    assert not told.is_rough


def test_no_run_is_faster_than_its_workers_clocks_say():
    """A start that took a little longer in the run over few images would make the work almost free."""
    told = bench.measured(report(32, 1.5, 0.04), report(1032, 1.8, 1.04), workers=2)
    assert told.rate == pytest.approx(1000 / 0.5)
    assert told.is_rough


def test_only_images_count_and_those_that_failed_are_told(capsys):
    """A picture of three faces is one image; broken ones are quick to refuse, so they stand beside the rate."""
    few = StageReport("extract", {"ok": 30, "other_face": 60, "decode_error": 2}, {"detect": 0.2}, 1.5)
    many = StageReport("extract", {"ok": 900, "other_face": 1800, "decode_error": 132}, {"detect": 10.2}, 6.5)
    told = bench.measured(few, many, workers=2)
    assert (told.images, told.failed) == (1000, {"decode_error": 132})
    print_bench(told, 10_000)
    printed = capsys.readouterr().out
    assert "132 decode_error" in printed
    assert f"{10_200 / 1032:6.2f} ms an image" in printed


def test_without_a_number_it_takes_as_many_images_as_some_seconds_need(tmp_path, monkeypatch):
    demo.write_images(str(tmp_path), 2)
    monkeypatch.setattr(bench, "LONG_ENOUGH_S", 1e-6)
    enough_at_once = bench.run(str(tmp_path / "images"), None, 1)
    assert enough_at_once.seconds == pytest.approx(sum(enough_at_once.steps_s.values()))
    monkeypatch.setattr(bench, "LONG_ENOUGH_S", 60.0)
    assert bench.run(str(tmp_path / "images"), None, 1).images > enough_at_once.images
