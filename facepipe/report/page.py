"""One HTML page that a person reads in two minutes: self-contained, without scripts, without the network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.records import StageReport
from facepipe.report import sections
from facepipe.report.figures import draw_figures
from facepipe.report.people import People
from facepipe.report.pictures import crop_uri, show_examples, show_noise
from facepipe.report.readings import read_workspace
from facepipe.report.rendering import load_templates, read_asset
from facepipe.report.strangers import show_strangers
from facepipe.stages.guard import tell_identities
from facepipe.stages.overrides import read_corrections
from facepipe.storage import file_at, place

if TYPE_CHECKING:
    from facepipe.report.people import Person
    from facepipe.report.readings import Readings

MOST_DOUBTFUL, MOST_PEOPLE, OTHERS = 60, 120, 4
"""People with a row, the doubtful among them; and faces beside a person's target."""


def build(data: str, output: str, fingerprints: str = "", embedder: str = "") -> StageReport:
    """Writes the page.

    Args:
        data: The workspace; stages that have not run are left out of the page.
        output: The page's path or URI.
        fingerprints: A Parquet file with key, identity and fingerprint of faces, to look for wrong people, in place of
            what `facepipe embed` wrote.
        embedder: An ONNX model that turns crops into fingerprints, for the same.

    Raises:
        InputError: there are no faces, or the fingerprints can't be read.
        MissingExtra: Jinja2 or matplotlib is not installed.
    """
    started = time.monotonic()
    readings = read_workspace(data)
    people = People(data, read_corrections(place(data).join("targets")))
    render = load_templates(lambda at: crop_uri(people.crops.read(*at)), style=read_asset("style.css"))
    sought = bool(fingerprints or embedder) or place(data).exists("embeddings")
    strangers = show_strangers(data, fingerprints, embedder) if sought else []
    content = _make_content(readings, people)
    html = render("report.html.j2", **content, strangers=strangers, strangers_sought=sought, crop=crop_uri)
    folder, name = file_at(output)
    folder.write(name, html.encode("utf-8", "xmlcharrefreplace"))
    report = StageReport("report", outputs={"page": output}, wall_s=time.monotonic() - started)
    report.counts = {"faces": len(people.of), "bytes": len(html)}
    return report


def _make_content(readings: Readings, people: People) -> dict[str, Any]:
    statuses = sections.list_statuses(readings)
    return {
        "readings": readings,
        "verdict": sections.tell_verdict(readings, people),
        "funnel": sections.make_funnel(readings, people),
        "statuses": list(zip(statuses, show_examples(readings, people, statuses), strict=True)),
        "figures": draw_figures(readings, people),
        "people": _choose(people),
        "total": int((people.counts > 0).sum()),
        "identities": tell_identities(place(readings.data).join("targets")),
        "without_target": [row for row in people.targets if not row["target_key"]],
        "noise": show_noise(readings),
        "subsets": sections.list_subsets(readings),
        "times": sections.list_times(readings),
        "settings": sections.list_settings(readings),
        "versions": sections.list_versions(readings.runs["extract"]),
        "unfinished": sections.tell_missing(readings.missing),
        "missing": [stage for stage in ("select", "split", "shard pairs") if stage not in readings.runs],
    }


def _choose(people: People) -> list[Person]:
    """The most doubtful first, then others with a target at even distances."""
    order = people.order("doubt")
    doubtful = order[people.doubt[order] > 0][:MOST_DOUBTFUL]
    rest = np.sort(order[(people.doubt[order] == 0) & (people.target[order] >= 0)])
    room = min(MOST_PEOPLE - len(doubtful), len(rest))
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, room).round().astype(int))]
    return [people.person(number, OTHERS) for number in [*doubtful.tolist(), *spread.tolist()]]
