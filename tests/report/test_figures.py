"""The page's drawings."""

from __future__ import annotations

import re
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from facepipe.report.figures import draw_figures
from facepipe.report.readings import Readings


def draw(yaw=(), **settings):
    """Figures of faces whose every measure is `yaw`."""
    names = ("yaw", "pitch", "angle", "error", "size", "sharpness", "score")
    people = SimpleNamespace(numbers=dict.fromkeys(names, np.array(yaw, np.float32)), targets=[])
    return draw_figures(Readings("data", {"extract": {}, "select": {"settings": settings}}), people)


def test_a_drawing_is_whole_takes_the_pages_colours_and_hides_from_readers_that_have_its_words():
    """Well-formed SVG, only the page's own colours, aria-hidden, ids of its own."""
    figures = draw(yaw=np.linspace(-40, 40, 101))
    ids = []
    for figure in figures:
        root = ET.fromstring(figure.svg.replace("xlink:href", "href"))
        assert root.get("aria-hidden") == "true"
        assert re.findall(r"(?:fill|stroke): (#[0-9a-f]+)", figure.svg) == []
        assert "var(--mark)" in figure.svg
        ids += re.findall(r' id="([^"]+)"', figure.svg)
    assert len(figures) == 7
    assert len(ids) == len(set(ids))


def test_the_words_say_what_is_drawn():
    """Median and percentiles, and how many are unknown."""
    (yaw, *_) = draw(yaw=[*np.linspace(0, 100, 101), np.nan, np.nan])
    assert yaw.summary == "Yaw: median 50, 5th to 95th percentile 5 to 95; 2 unknown."
    (unknown, *_) = draw(yaw=[np.nan])
    assert (unknown.svg, unknown.summary) == ("", "Yaw: no value is known.")


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0], [0.0, 1e6]])
def test_any_spread_can_be_drawn(values):
    """One value, equal values, far ones."""
    assert all("<path" in figure.svg for figure in draw(yaw=values))


def test_limits_that_were_given_are_drawn():
    """As full lines, told in words; of yaw on both sides."""
    yaw, pitch, *_ = draw(yaw=np.linspace(-40, 40, 101), max_yaw=25.0, max_pitch=0.0)
    assert yaw.summary.endswith("Limit: 25 and -25.")
    assert "Limit" not in pitch.summary
    assert yaw.svg.count("stroke-width: 2") == pitch.svg.count("stroke-width: 2") + 2
