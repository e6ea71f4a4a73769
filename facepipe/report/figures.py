"""Distributions as SVG that takes its colours from the page, so that light, dark and print all fit."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.report.people import People
    from facepipe.report.readings import Readings

# Drawn in these, shown in what the page's style says they are.
_COLORS = {"#010203": "var(--ink)", "#040506": "var(--quiet)", "#070809": "var(--mark)", "#0a0b0c": "var(--line)"}
_INK, _QUIET, _MARK, _LINE = _COLORS
_SIZE_INCHES = (3.5, 2.1)
_DISTRIBUTIONS = (
    ("yaw", "Yaw", "degrees; above 0 faces the image's left"),
    ("pitch", "Pitch", "degrees; above 0 looks up"),
    ("angle", "Angle from frontal", "degrees"),
    ("error", "Error of the pose", "degrees, as estimated"),
    ("size", "Face size", "px, longer side of the box"),
    ("sharpness", "Sharpness", "of the crop"),
    ("score", "Detector's confidence", "0 to 1"),
    ("similarity", "Similarity", "to the others of the person"),
)
_RANGES = {"yaw": (-90.0, 90.0), "pitch": (-60.0, 60.0), "angle": (0.0, 90.0)}
"""What is shown of an angle however little of it there is, so that pages can be compared."""
_LIMITS = {
    "yaw": ("max_yaw",), "pitch": ("max_pitch",), "size": ("min_face", "min_size"), "sharpness": ("min_sharpness",),
    "score": ("min_score",), "target": ("max_angle",), "frames": ("min_frames", "max_frames"),
}  # fmt: skip
"""The options that leave faces out by a measure."""
_ON_BOTH_SIDES = ("yaw", "pitch")


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot. svg: to stand in the page as it is. summary: the same in words."""

    title: str
    svg: str
    summary: str


def draw_figures(readings: Readings, people: People) -> list[Figure]:
    """A histogram of every measure of the usable faces, of frames an identity, and of the targets' angles.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figures = [
        _histogram(title, unit, people.numbers[name], _limits(readings, name), _RANGES.get(name))
        for name, title, unit in _DISTRIBUTIONS
        if len(people.numbers.get(name, ()))
    ]
    if people.targets:
        frames = people.counts[people.counts > 0].astype(np.float64)
        angles = people.numbers["angle"][people.target[people.target >= 0]]
        figures.append(_histogram("Frames a target is chosen from", "frames", frames, _limits(readings, "frames")))
        figures.append(_histogram("The targets' angle", "degrees from frontal", angles, _limits(readings, "target")))
    return figures


def _limits(readings: Readings, measure: str) -> list[float]:
    """What `extract`, `select` and `split` were told to keep to."""
    settings = [readings.runs.get(stage, {}).get("settings", {}) for stage in ("extract", "select", "split")]
    wanted = _LIMITS.get(measure, ())
    given = list(dict.fromkeys(float(of_stage[name]) for of_stage in settings for name in wanted if of_stage.get(name)))
    return [*given, *(-limit for limit in given if measure in _ON_BOTH_SIDES)]


def _plots() -> Any:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise MissingExtra("the report needs matplotlib; install it with: pip install 'facepipe[report]'") from None
    mpl.use("svg")
    return mpl, Canvas


def _histogram(
    title: str, unit: str, values: NDArray[Any], limits: list[float], shown: tuple[float, float] | None = None
) -> Figure:
    known = values[np.isfinite(values)].astype(np.float64)
    unknown = len(values) - len(known)
    if not len(known):
        return Figure(title, "", f"{title}: no value is known.")
    low, middle, high = np.percentile(known, [5, 50, 95])
    summary = f"{title}: median {_short(middle)}, 5th to 95th percentile {_short(low)} to {_short(high)}"
    summary += f"; {unknown:,} unknown." if unknown else "."
    if limits:
        summary += f" Limit: {' and '.join(f'{limit:g}' for limit in limits)}."
    edges = _edges(known, shown)
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
    return Figure(title, _draw(title, unit, counts, edges, float(middle), limits), summary)


def _edges(known: NDArray[np.float64], shown: tuple[float, float] | None) -> NDArray[np.float64]:
    # A thousandth at either end may lie far away; it is drawn into the outermost bars.
    low, high = shown or np.percentile(known, [0.1, 99.9])
    if (known == known.round()).all():  # counts: bars of whole numbers, or some would hold more of them than others
        step = max(round((high - low) / 40), 1)
        return np.arange(np.floor(low), high + step + 1, step) - 0.5
    return np.linspace(low, high if high > low else low + 1, 41)


def _draw(
    title: str, unit: str, counts: NDArray[Any], edges: NDArray[np.float64], middle: float, limits: list[float]
) -> str:
    mpl, canvas = _plots()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9}):
        figure = canvas(figsize=_SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.stairs(counts, edges, fill=True, color=_MARK)
        axes.axvline(middle, color=_INK, linewidth=1, linestyle=(0, (3, 2)))
        for limit in limits:
            axes.axvline(limit, color=_INK, linewidth=2)
        axes.set_xlabel(unit, color=_QUIET)
        axes.tick_params(colors=_QUIET, length=3)
        axes.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        axes.locator_params(axis="y", nbins=4, integer=True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(_LINE)
        axes.grid(axis="y", color=_LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        return _as_part_of_page(figure, title)


def _as_part_of_page(figure: Any, title: str) -> str:
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for drawn_in, shown_in in _COLORS.items():
        svg = svg.replace(drawn_in, shown_in)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font)", svg)
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'id="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    # Words beside the figure say what it shows.
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.3g}"
