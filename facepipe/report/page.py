"""One HTML page that a person reads in two minutes: self-contained, without scripts, without the network."""

from __future__ import annotations

import re
import time
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import MissingExtra
from facepipe.records import StageReport
from facepipe.report import sections
from facepipe.report.doubts import find_doubts
from facepipe.report.figures import draw_figures, draw_throughput
from facepipe.report.people import read_people
from facepipe.report.pictures import crop_uri, show_examples, show_noise
from facepipe.report.readings import read_workspace
from facepipe.report.strangers import show_strangers
from facepipe.storage import file_at, place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facepipe.report.doubts import Doubt
    from facepipe.report.people import Person
    from facepipe.report.readings import Readings

_DOUBTS = 12
_SHEETS = 24


def build(data: str, output: str, fingerprints: str = "", embedder: str = "") -> StageReport:
    """Writes the page.

    Args:
        data: The workspace; stages that have not run are left out of the page.
        output: The page's path or URI.
        fingerprints: A Parquet file with key, identity and fingerprint of faces, to look for wrong people.
        embedder: An ONNX model that turns crops into fingerprints, for the same.

    Raises:
        InputError: there are no faces, or the fingerprints can't be read.
        MissingExtra: Jinja2 or matplotlib is not installed.
    """
    started = time.monotonic()
    render = _load_template()
    readings = read_workspace(data)
    sought = bool(fingerprints or embedder) or place(data).exists("embeddings")
    strangers = show_strangers(data, fingerprints, embedder) if sought else []
    unlike = {one.key: one.nearest for one in strangers}
    html = render(**_make_content(readings, unlike), strangers=strangers, strangers_sought=sought)
    folder, name = file_at(output)
    folder.write(name, html.encode("utf-8", "xmlcharrefreplace"))
    report = StageReport("report", outputs={"page": output}, wall_s=time.monotonic() - started)
    report.counts = {"rows read": readings.sample.rows, "bytes": len(html)}
    return report


def _load_template() -> Any:
    """A function from content to HTML in which every value is escaped."""
    try:
        import jinja2
        import markupsafe
    except ImportError:
        raise MissingExtra("the report needs Jinja2; install it with: pip install 'facepipe[report]'") from None
    source = files("facepipe.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["crop"] = crop_uri
    environment.filters["degrees"] = lambda angle: "unknown" if np.isnan(angle) else f"{angle:.1f}°"
    environment.filters["signed"] = lambda angle: "unknown" if np.isnan(angle) else f"{round(angle):+d}°"
    environment.filters["code"] = lambda text: _mark(text, r"`([^`]*)`", "<code>{}</code>", markupsafe)
    environment.filters["whole_options"] = lambda text: _mark(
        text, r"(--[\w-]+)", '<span class="whole">{}</span>', markupsafe
    )
    template = environment.from_string((source / "page.html.j2").read_text(encoding="utf-8"))
    style = (source / "page.css").read_text(encoding="utf-8")

    def render(**content: Any) -> str:
        return template.render(style=style, **content)

    return render


def _mark(text: str, pattern: str, element: str, markup: Any) -> Any:
    """Escaped text in which what `pattern`'s one group matches stands inside `element`."""
    pieces = [markup.escape(piece) for piece in re.split(pattern, text)]
    return markup.Markup("").join(
        markup.Markup(element).format(piece) if number % 2 else piece for number, piece in enumerate(pieces)
    )


def _make_content(readings: Readings, unlike: Mapping[str, str]) -> dict[str, Any]:
    doubts = find_doubts(readings.targets, _DOUBTS, unlike)
    others = _spread(readings, doubts)
    statuses = sections.list_statuses(readings)
    has_pairs = "split" in readings.runs
    return {
        "readings": readings,
        "funnel": sections.make_funnel(readings),
        "statuses": list(zip(statuses, show_examples(readings, [line.status for line in statuses]), strict=True)),
        "figures": draw_figures(readings),
        "throughput": draw_throughput(readings),
        "doubts": _with_why(readings, doubts) if has_pairs else [],
        "people": read_people(readings.data, others) if has_pairs and others else [],
        "without_target": [row for row in readings.targets if not row["target_key"]],
        "noise": show_noise(readings),
        "subsets": sections.list_subsets(readings),
        "times": sections.list_times(readings),
        "settings": sections.list_settings(readings),
        "versions": sections.list_versions(readings.runs["extract"]),
        "unfinished": sections.tell_missing(readings.missing),
        "missing": [stage for stage in ("select", "split", "shard pairs") if stage not in readings.runs],
    }


def _with_why(readings: Readings, doubts: Sequence[Doubt]) -> list[tuple[Person, str]]:
    people = read_people(readings.data, [doubt.target for doubt in doubts]) if doubts else []
    why = {(doubt.target["identity"], doubt.target["video"]): doubt.why for doubt in doubts}
    return [(person, why[person.identity, person.video]) for person in people]


def _spread(readings: Readings, doubts: Sequence[Doubt]) -> list[dict[str, Any]]:
    """People at even distances over all who are not shown already."""
    taken = {id(doubt.target) for doubt in doubts}
    rest = [row for row in readings.targets if row["target_key"] and row["frames"] > 1 and id(row) not in taken]
    if not rest:
        return []
    chosen = np.unique(np.linspace(0, len(rest) - 1, min(_SHEETS, len(rest))).round().astype(int))
    return [rest[number] for number in chosen.tolist()]
