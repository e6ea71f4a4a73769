"""`facepipe review`, as a browser and as strangers see it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import pytest

from facepipe.config import SelectConfig
from facepipe.execution.progress import QuietProgress
from facepipe.report import page
from facepipe.stages import pipeline, select
from facepipe.stages.leftout import read_left_out
from facepipe.stages.overrides import read_overrides
from facepipe.storage import parquet, place

LONG = "a-name-as-long-as-names-of-files-can-be-" * 5


def make_workspace(facesets, folder, people, **limits):
    """Six faces a person, the first of them with a long name full of markup; targets chosen."""
    rows = [facesets.make_row(person, frame) for person in range(people) for frame in range(6)]
    for row in rows[-6:]:
        row.identity = f"<b>{LONG}"
    facesets.write_faces(folder / "faces", rows, part_size=512)
    choose(folder, **limits)
    return folder


def choose(folder, **limits):
    """What `facepipe run` does with the corrections."""
    options = pipeline.corrections_of(str(folder)) | limits
    select.run(SelectConfig(str(folder / "faces"), str(folder / "targets"), **options), QuietProgress())
    table = parquet.read_table(place(str(folder / "targets")), "targets.parquet")
    return {row["identity"]: row["target_key"] for row in table.to_pylist()}


@contextmanager
def reviewing(folder, *options):
    """The address of a running `facepipe review`; ended as a person ends it."""
    command = [sys.executable, "-m", "facepipe", "review", "--data", str(folder), "--no-browser", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as done:
        try:
            yield re.search(r"http://\S+/", done.stdout.readline())[0]
        finally:
            done.send_signal(signal.SIGINT)
            try:
                told, _ = done.communicate(timeout=60)
            finally:
                done.kill()
    assert done.returncode == 0
    assert "`facepipe run` again as before follows them" in told


@pytest.fixture(scope="module")
def folder(facesets, tmp_path_factory):
    return make_workspace(facesets, tmp_path_factory.mktemp("review"), 60)


@pytest.fixture
def tab(browser):
    """A tab that notes what the browser complains about."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    page.close()


def press(tab, *keys):
    """Presses keys; the last one sends the form."""
    for key in keys[:-1]:
        tab.keyboard.press(key)
    with tab.expect_navigation():
        tab.keyboard.press(keys[-1])
    return tab.locator("[role=status]").inner_text()


def test_a_person_corrects_by_click_and_key_and_the_next_run_follows(facesets, tmp_path, tab):
    """Found by name, one taken as the target, dropped, given away, undone, kept whatever a filter says; saved at once."""
    make_workspace(facesets, tmp_path, 40, max_yaw=15)
    with reviewing(tmp_path) as address:
        tab.goto(address)
        assert tab.locator("article").count() == 24
        tab.keyboard.press("/")
        tab.keyboard.type("P003")
        with tab.expect_navigation():
            tab.keyboard.press("Enter")
        tab.get_by_role("link", name="p003").click()
        tab.get_by_label("0000.jpg").check()
        tab.get_by_role("button", name="Take as target").click()
        tab.get_by_text("p003/v0/0000.jpg#0 is the target").wait_for()
        assert read_overrides(str(tmp_path / "overrides.csv")) == {"p003/v0/0000.jpg#0": ("target", "")}
        # The one that was corrected has the focus: by keys from there, in the order of yaw.
        assert press(tab, "ArrowRight", "d") == "p003/v1/0004.jpg#0 dropped"
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("p")
        tab.keyboard.type("Zoë O'Hara")
        assert press(tab, "Enter") == "p003/v0/0001.jpg#0 of Zoë O'Hara"
        assert tab.locator(".face").count() == 5
        assert press(tab, "ArrowRight", "d").endswith("dropped")
        assert press(tab, "u").startswith("undone: ")
        assert press(tab, "u") == "undone: p003/v0/0001.jpg#0"
        assert tab.locator(".face").count() == 6
        assert press(tab, "p", "Enter") == "whose face is it? Write the name first"
        assert "left out by --max-yaw" in tab.locator(".face", has_text="0005.jpg").inner_text()
        tab.get_by_label("0005.jpg").check()
        assert press(tab, "k") == "p003/v1/0005.jpg#0 kept"
        assert tab.complaints == []
    assert choose(tmp_path, max_yaw=15)["p003"] == "p003/v0/0000.jpg#0"
    left_out = set(read_left_out(place(str(tmp_path / "targets"))))
    assert {f"p00{n}/v1/0005.jpg#0" for n in (2, 3, 4)} & left_out == {f"p00{n}/v1/0005.jpg#0" for n in (2, 4)}
    page.build(str(tmp_path), str(tmp_path / "report.html"))
    assert "40 left out: 1 by hand, 39 by --max-yaw" in (tmp_path / "report.html").read_text()
    with reviewing(tmp_path) as address:
        tab.goto(f"{address}?show=corrected")
        assert tab.locator("h3").all_inner_texts() == ["p003"]
        assert "chosen by a person" in tab.locator("article").inner_text()
        tab.get_by_role("link", name="p003").click()
        assert "kept" in tab.locator(".face", has_text="0005.jpg").inner_text()
        assert tab.get_by_role("button", name="Keep").count() == 0


@pytest.mark.slow
def test_two_thousand_people_are_looked_through_and_ten_corrected(facesets, tmp_path, tab):
    """Page by page all are there, once; the next run has what was corrected, and shows it."""
    make_workspace(facesets, tmp_path, 2000)
    chosen = [f"p{number:03d}" for number in range(5, 2000, 199)][:10]
    with reviewing(tmp_path) as address:
        tab.goto(f"{address}?sort=name")
        names = tab.locator("h3").all_inner_texts()
        while tab.get_by_role("link", name="Next").count():
            tab.get_by_role("link", name="Next").click()
            names += tab.locator("h3").all_inner_texts()
        assert len(names) == len(set(names)) == 2000
        for name in chosen:
            tab.goto(f"{address}?{urlencode({'q': name})}")
            tab.get_by_role("link", name=name, exact=True).click()
            tab.get_by_label("0001.jpg").check()
            assert press(tab, "t").endswith("is the target")
    targets = choose(tmp_path)
    assert [targets[name] for name in chosen] == [f"{name}/v0/0001.jpg#0" for name in chosen]
    with reviewing(tmp_path) as address:
        tab.goto(f"{address}?show=corrected&sort=name")
        assert sorted(tab.locator("h3").all_inner_texts()) == sorted(chosen)


def test_it_works_without_scripts(folder, browser):
    """By click alone; a name that is entered gives a face away, and nothing else happens."""
    with reviewing(folder, "--output", str(folder / "plain.csv")) as address:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{address}person/7")
        page.get_by_label("0001.jpg").check()
        page.get_by_label("Other person").fill("Ada")
        page.get_by_label("Other person").press("Enter")
        page.get_by_text("p006/v0/0001.jpg#0 of Ada").wait_for()
        context.close()
    assert read_overrides(str(folder / "plain.csv")) == {"p006/v0/0001.jpg#0": ("person", "Ada")}


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1400, "light")])
@pytest.mark.parametrize("at", ["", "person/0"])
def test_it_shows_well(folder, browser, looks_well, at, width, scheme):
    """Nothing overflows, text is large and dark enough, every control can be reached by keyboard, nothing complains."""
    with reviewing(folder) as address:
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        complaints = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.goto(address + at)
        looks_well(tab, scheme)
        unnamed = "all => all.filter(e => !e.innerText && !e.labels?.[0]?.innerText).map(e => e.outerHTML)"
        assert tab.locator("input:not([type=hidden]), select, button, a").evaluate_all(unnamed) == []
        tab.close()
    assert complaints == []


def ask(address, path=None, method="GET", body=None, **headers):
    """Status and text of an answer."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    path = parts.path + path if path is not None else "/"
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, text


def test_strangers_get_nothing(folder):
    """Without the token, under another name, from another origin; what changes something needs our own origin."""
    form, form_type = urlencode({"key": "p001/v0/0001.jpg#0", "action": "drop"}), "application/x-www-form-urlencoded"
    with reviewing(folder) as address:
        us = f"http://{urlsplit(address).netloc}"
        assert ask(address, "")[0] == ask(address, "person/1", Origin=us)[0] == 200
        refused = [
            ask(address),
            ask(address.replace(urlsplit(address).path, "/guess/"), ""),
            ask(address, "", Host="evil.example"),
            ask(address, "crop/0/0", Origin="http://evil.example"),
            ask(address, "person/1", "POST", form, Content_Type=form_type),
            ask(address, "person/1", "POST", form, Content_Type=form_type, Origin="null"),
            ask(address, "person/1", "POST", form, Content_Type=form_type, Origin="http://evil.example"),
        ]
        assert [status for status, _ in refused] == [403] * 7
        assert not [text for _, text in refused if "p001" in text]
        for path in ("crop/99/0", "crop/0/99999", "crop/0/-1", "person/99999", "../overrides.csv"):
            assert ask(address, path)[0] in (403, 404)
        assert ask(address, "person/1", "POST", urlencode({"key": "nobody#0", "action": "drop"}), Origin=us)[0] == 303
    assert not (folder / "overrides.csv").exists() or read_overrides(str(folder / "overrides.csv")) == {}


def test_read_only_corrects_nothing_and_a_file_changed_meanwhile_is_not_lost(folder):
    """Both are refused, and say why."""
    form = urlencode({"key": "p001/v0/0001.jpg#0", "action": "drop"})
    with reviewing(folder, "--read-only", "--output", str(folder / "other.csv")) as address:
        us = f"http://{urlsplit(address).netloc}"
        assert "<button name" not in ask(address, "person/1")[1]
        assert ask(address, "person/1", "POST", form, Origin=us)[0] == 403
    with reviewing(folder, "--output", str(folder / "other.csv")) as address:
        (folder / "other.csv").write_text("key,action\np002/v0/0001.jpg#0,drop\n")
        us = f"http://{urlsplit(address).netloc}"
        status, text = ask(address, "person/1", "POST", form, Origin=us)
        assert (status, "was changed by somebody else" in text) == (409, True)
    assert list(read_overrides(str(folder / "other.csv"))) == ["p002/v0/0001.jpg#0"]
