"""The built documentation, as a browser shows it from disk."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A page of ours around the built one: what it finds becomes its title.
LOOK = """<!DOCTYPE html><title></title><iframe src="site/{page}" style="width: 1285px; height: 900px"></iframe>
<script>const frame = document.querySelector('iframe');
setTimeout(() => {{ const page = frame.contentDocument; document.title = JSON.stringify({{
  found: page.querySelectorAll('.md-search-result__item').length,
  box: page.querySelectorAll('.md-search__input').length,
  tables: page.querySelectorAll('table').length,
  wide: [...page.querySelectorAll('.md-typeset__scrollwrap')].filter(e => e.scrollWidth > e.clientWidth).length,
}}) }}, 5000)</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What `make docs` writes."""
    pytest.importorskip("nbconvert")
    folder = tmp_path_factory.mktemp("documentation")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder / "site")]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    return folder


def look(site: Path, page: str) -> dict[str, int]:
    """What a browser 1,300 px wide finds in a page that it opens from disk."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if chromium is None:
        pytest.skip("no chromium to look at the pages with; install it to run this test")
    (site / "look.html").write_text(LOOK.format(page=page), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--window-size=1300,1000",
    ]
    options += [f"--user-data-dir={site / 'browser'}", "--virtual-time-budget=12000", "--dump-dom"]
    done = subprocess.run(
        [chromium, *options, (site / "look.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1]))


def test_the_search_works_from_disk(site):
    """A word of the pages is found without a server."""
    found = look(site, "index.html?q=landmark")
    assert found["box"] == 1
    assert found["found"] > 3


@pytest.mark.parametrize("page", ["how/detection.html", "benchmarks.html", "formats.html", "tasks/autoencoder.html"])
def test_tables_show_all_their_columns(site, page):
    """In a window 1,300 px wide nothing has to be scrolled sideways."""
    found = look(site, page)
    assert found["tables"] > 0
    assert found["wide"] == 0
