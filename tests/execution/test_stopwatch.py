"""Seconds by step."""

from __future__ import annotations

import time

import pytest

from facepipe.execution.stopwatch import Stopwatch


def test_an_inner_step_is_taken_out_of_the_outer_one():
    """Steps add up to what passed, each moment counted once, a step that is used again included."""
    watch = Stopwatch()
    started = time.perf_counter()
    with watch.step("outer"):
        time.sleep(0.02)
        with watch.step("inner"):
            time.sleep(0.02)
        with watch.step("inner"), watch.step("innermost"):
            time.sleep(0.03)
    passed = time.perf_counter() - started
    assert sum(watch.seconds.values()) == pytest.approx(passed, abs=0.02)
    assert 0.02 <= watch.seconds["outer"] <= passed - 0.05
    assert 0.02 <= watch.seconds["inner"] <= passed - 0.05
    assert 0.03 <= watch.seconds["innermost"] <= passed - 0.04


def test_a_step_that_raises_is_timed_and_ended():
    """What follows an error is not counted for the step that raised it."""
    watch = Stopwatch()
    started = time.perf_counter()
    with pytest.raises(ValueError, match="broken"), watch.step("decode"):
        raise ValueError("broken")
    with watch.step("write"):
        time.sleep(0.02)
    passed = time.perf_counter() - started
    assert watch.seconds["write"] >= 0.02
    assert 0 < watch.seconds["decode"] <= passed - 0.02


def test_every_moment_belongs_to_the_step_turned_to_last():
    """Turned from step to step nothing is left out, `with` goes back to the step around it, no name is no step."""
    watch = Stopwatch()
    watch.turn_to("read")
    started = time.perf_counter()
    time.sleep(0.02)
    watch.turn_to("write")
    with watch.step("sync"):
        time.sleep(0.03)
    time.sleep(0.02)
    passed = time.perf_counter() - started
    found = watch.seconds
    assert set(found) == {"read", "write", "sync"}
    assert sum(found.values()) >= passed
    assert found["write"] >= 0.02
    assert 0.03 <= found["sync"] <= passed - 0.04
    watch.turn_to("")
    found = watch.seconds
    time.sleep(0.01)
    assert watch.seconds == found
