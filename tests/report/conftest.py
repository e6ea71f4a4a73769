"""A small workspace with everything in it: several people, a name full of markup, and inputs that fail."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from facepipe.config import Execution, ExtractConfig, SelectConfig, ShardConfig, SplitConfig
from facepipe.execution.progress import QuietProgress
from facepipe.stages import demo, extract, select, shard, split

sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))
MARKUP = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="session")
def facesets():
    """The maker of small folders of faces."""
    import facesets

    return facesets


@pytest.fixture(scope="session")
def markup():
    """The name of a person in `workspace`."""
    return MARKUP


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """Images to shards, in several parts."""
    root = tmp_path_factory.mktemp("workspace")
    demo.write_images(str(root), identities=4)
    images = root / "images"
    (images / "person-001").rename(images / MARKUP)
    flat = np.full((200, 240, 3), 90, np.uint8)
    cv2.imwrite(str(images / "person-002" / "wall.png"), flat)
    (images / "person-002" / "broken.jpg").write_bytes((images / "person-002" / "00.jpg").read_bytes()[:40])
    paths = {name: str(root / name) for name in ("images", "faces", "targets", "pairs", "shards")}
    one = Execution(workers=1)
    quiet = QuietProgress()
    extract.run(
        ExtractConfig(input=paths["images"], output=paths["faces"], layout="identity", part_size=16, execution=one),
        quiet,
    )
    select.run(SelectConfig(input=paths["faces"], output=paths["targets"], execution=one), quiet)
    split.run(
        SplitConfig(
            faces=paths["faces"], targets=paths["targets"], output=paths["pairs"], validation=0.3, execution=one
        ),
        quiet,
    )
    shard.run(
        ShardConfig(input=paths["pairs"], faces=paths["faces"], output=paths["shards"], size=32, execution=one),
        quiet,
    )
    return root


# Measures, in the browser, what can't be told from the text.
PROBE = """() => {
  const at = (e, p) => getComputedStyle(e)[p], rgb = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = c => rgb(c).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const contrast = (a, b) => (Math.max(light(a), light(b)) + .05) / (Math.min(light(a), light(b)) + .05);
  document.querySelectorAll('details').forEach(d => d.open = true);
  const paper = at(document.body, 'backgroundColor');
  const texts = [...document.querySelectorAll('h1,h2,h3,p,a,summary,figcaption,dt,dd,td,th,li,code')];
  const stops = [...document.querySelectorAll('a[href],summary,[tabindex]')];
  return {
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    wide: [...document.querySelectorAll('main *')].filter(e => !e.closest('svg') && !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).length,
    smallest: Math.min(...texts.map(e => parseFloat(at(e, 'fontSize')))),
    contrast: Math.min(...texts.map(e => contrast(at(e, 'color'), paper))), paper,
    unreachable: stops.filter(e => { e.focus(); return document.activeElement !== e; }).length, stops: stops.length,
    scrollers: [...document.querySelectorAll('*')].filter(e => /auto|scroll/.test(at(e, 'overflowX')) && e.scrollWidth > e.clientWidth && !e.matches('[tabindex]')).length,
    broken: [...document.images].filter(i => i.loading !== 'lazy' && !(i.complete && i.naturalWidth)).length,
    bars: [...document.querySelectorAll('#funnel .bar')].map(b => [b.getBoundingClientRect().width, parseInt(b.nextSibling.textContent.replace(',', ''))]),
    figures: document.querySelectorAll('.figures svg path').length };
}"""


@pytest.fixture(scope="session")
def looks_well():
    """A function that checks a tab, and gives what it has measured.

    Nothing overflows or is broken, text is large and dark enough, every control can be reached by keyboard, the colours
    are those of the scheme.
    """

    def look(tab, scheme):
        found = tab.evaluate(PROBE)
        assert (found["paper"] == "rgb(255, 255, 255)") == (scheme == "light")
        assert [found[name] for name in ("overflow", "wide", "unreachable", "scrollers", "broken")] == [0, 0, 0, 0, 0]
        assert found["smallest"] >= 11
        assert found["contrast"] >= 4.5
        return found

    return look
