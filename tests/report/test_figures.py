"""The page's drawings."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from facepipe.report.figures import draw_figures, draw_throughput
from facepipe.report.readings import Readings, Sample


def made_up(yaw=(), finished_s=(), targets=()):
    names = ("yaw", "pitch", "frontal_angle", "pose_error", "face_size", "sharpness", "score")
    numbers = {name: np.array(yaw, np.float32) for name in names}
    return Readings("data", {}, Sample(len(yaw), 1, 1, numbers, {}, {}), np.array(finished_s, float), list(targets))


def test_a_drawing_is_whole_takes_the_pages_colours_and_hides_from_readers_that_have_its_words():
    """Well-formed SVG, only the page's own colours, aria-hidden, ids of its own."""
    figures = draw_figures(made_up(yaw=np.linspace(-40, 40, 101)))
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
    (yaw, *_) = draw_figures(made_up(yaw=[*np.linspace(0, 100, 101), np.nan, np.nan]))
    assert yaw.summary == "Yaw: median 50, 5th to 95th percentile 5 to 95; 2 unknown."
    (unknown, *_) = draw_figures(made_up(yaw=[np.nan]))
    assert (unknown.svg, unknown.summary) == ("", "Yaw: no value is known.")


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0, 2.0], [0.0, 1e6]])
def test_any_spread_can_be_drawn(values):
    """One value, equal values, far ones."""
    assert all("<path" in figure.svg for figure in draw_figures(made_up(yaw=values)))


def test_throughput_is_parts_a_minute():
    """Over the time the parts took; nothing where there are too few or all came at once."""
    figure = draw_throughput(made_up(finished_s=np.arange(0, 630, 30)))
    assert figure.summary == "21 parts in 10 minutes by their files' times, 2 a minute."
    assert draw_throughput(made_up(finished_s=[0, 10, 20])) is None
    assert draw_throughput(made_up(finished_s=[0] * 20)) is None
