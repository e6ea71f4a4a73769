"""The built documentation, as a browser shows it from disk."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What `make docs` writes; a warning ends it."""
    pytest.importorskip("nbconvert")
    folder = tmp_path_factory.mktemp("documentation") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_asks_nobody(site):
    """No page loads anything from another server."""
    html = "".join(path.read_text() for path in site.rglob("*.html"))
    loads = r"<(?:script|img|iframe)[^>]*\ssrc=\"(https?:[^\"]*)\"|<link[^>]*rel=\"stylesheet\"[^>]*href=\"(https?:[^\"]*)\""
    assert len(html) > 100_000
    assert re.findall(loads, html) == []


@pytest.fixture
def open_page(browser, site):
    """A function that opens a page from disk in a window 1,285 px wide."""
    tab = browser.new_page(viewport={"width": 1285, "height": 900})

    def go(page):
        tab.goto(f"{site.as_uri()}/{page}")
        return tab

    yield go
    tab.close()


def test_the_search_works_from_disk(open_page):
    """A word of the pages is found without a server."""
    results = open_page("index.html?q=landmark").locator(".md-search-result__item")
    results.nth(3).wait_for(state="attached")
    assert results.count() > 3


@pytest.mark.parametrize("page", ["how/detection.html", "benchmarks.html", "formats.html", "tasks/autoencoder.html"])
def test_tables_show_all_their_columns(open_page, page):
    """Nothing has to be scrolled sideways."""
    tab = open_page(page)
    tab.locator(".md-typeset__scrollwrap").first.wait_for()
    wide = "all => all.filter(e => e.scrollWidth > e.clientWidth).length"
    assert tab.locator(".md-typeset__scrollwrap").evaluate_all(wide) == 0
