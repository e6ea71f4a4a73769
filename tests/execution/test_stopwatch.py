"""Seconds by step."""

from __future__ import annotations

import time

import pytest

from facepipe.execution.stopwatch import Stopwatch


def test_every_moment_is_counted_for_one_step():
    """An inner step is taken out of the outer one, an error ends its step, `turn_to` the one before; no name is no step."""
    watch = Stopwatch()
    started = time.perf_counter()
    watch.turn_to("read")
    time.sleep(0.02)
    with pytest.raises(ValueError, match="broken"), watch.step("decode"):
        time.sleep(0.02)
        raise ValueError("broken")
    watch.turn_to("write")
    with watch.step("sync"), watch.step("inner"):
        time.sleep(0.03)
    time.sleep(0.02)
    watch.turn_to("")
    passed = time.perf_counter() - started
    found = watch.seconds
    time.sleep(0.01)
    assert watch.seconds == found
    assert set(found) == {"read", "decode", "write", "sync", "inner"}
    assert sum(found.values()) == pytest.approx(passed, abs=0.01)
    for step, least in {"read": 0.02, "decode": 0.02, "write": 0.02, "inner": 0.03, "sync": 0.0}.items():
        assert least <= found[step] <= passed - 0.09 + least
