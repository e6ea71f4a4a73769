"""What the documentation shows exists: commands, options, extras, links, columns."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from pathlib import Path

import docpages as pages
import hooks
import modules
import pytest

ROOT = Path(__file__).resolve().parents[2]


SHELL = pages.blocks("sh", "console", "bash", "shell")
PROGRAMS = {"facepipe": ["facepipe"], "python -m train": ["python", "-m", "train"]}
IMAGES = {"facepipe": "facepipe", "facepipe-train": "python -m train"}


def _calls(words: list[str]) -> tuple[str, list[str]] | None:
    """The program that a command line calls and its arguments; in a container too."""
    for program, start in [*PROGRAMS.items(), ("python -m train", ["facepipe-train"])]:
        if words[: len(start)] == start:
            return program, words[len(start) :]
    if words[:2] == ["docker", "run"]:
        image = next(i for i, word in enumerate(words) if word in IMAGES)
        return IMAGES[words[image]], words[image + 1 :]
    return None


def _all_calls() -> list[tuple[str, str, list[str]]]:
    """(page, program, arguments) of every call shown."""
    shown = [(block.page, _calls(words)) for block in SHELL for words in pages.commands(block)]
    inline = [(page, _calls(shlex.split(text))) for page, text in pages.inline_code()]
    # A command's bare name in running text is no call: it only has to exist.
    inline = [(page, (call[0], call[1] + ["--help"] * (len(call[1]) == 1))) for page, call in inline if call]
    return [(page, *call) for page, call in shown + inline if call and call[1]]


@pytest.fixture(scope="module")
def programs():
    return hooks.programs()


@pytest.mark.parametrize(("page", "program", "arguments"), _all_calls(), ids=lambda value: str(value)[:60])
def test_every_command_that_is_shown_can_be_given(programs, page, program, arguments):
    """Its command exists, and so does each option, with a value of the right type."""
    of_the_program = {"--help", "--version", "--install-completion", "--show-completion"}
    if arguments[0] in of_the_program:
        return
    assert arguments[0] in programs[program], f"{page} shows `{program} {arguments[0]}`"
    if "--help" not in arguments:
        programs[program][arguments[0]].make_context(arguments[0], arguments[1:])


def test_every_command_is_shown_somewhere(programs):
    """Each command of both programs stands in a block that a reader can copy."""
    shown = {(program, arguments[0]) for _, program, arguments in _all_calls()}
    assert {(p, name) for p, commands in programs.items() for name in commands} - shown == set()


def test_the_page_of_commands_has_every_option():
    """It is made from the command line, so none is missing."""
    from facepipe.config import CONFIGS, Common
    from facepipe.options import options_of

    page = hooks.commands_page()
    shown = [one for one in options_of(*CONFIGS.values(), Common).values() if not one.retired]
    assert [one.name for one in shown if f"--{one.name}" not in page] == []


def test_extras_and_make_targets_that_are_shown_exist():
    """`facepipe[...]` names extras of pyproject.toml, `make ...` targets of the Makefile."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [words for block in SHELL for words in pages.commands(block)]
    shown_extras = {e for words in lines for w in words for m in re.findall(r"\[([\w,]+)\]", w) for e in m.split(",")}
    shown_targets = {word for words in lines if words[0] == "make" for word in words[1:] if "=" not in word}
    assert shown_extras - set(extras) == set()
    assert shown_targets - targets == set()


@pytest.mark.parametrize("block", pages.blocks("python"), ids=str)
def test_python_that_is_shown_parses(block):
    """A block of Python has no syntax error."""
    ast.parse(block.text)


@pytest.mark.parametrize("page", pages.pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_files(page):
    """Every relative link and picture of every Markdown file is there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(\s*([^)\s#]+)(?:#[^)\s]*)?\)|(?:src|href)=\"([^\"#]+)\"", text)
    made = {(ROOT / "docs" / name) for name in ("commands.md", "notebook.md", *hooks.COPIED)}
    paths = [page.parent / (a or b) for a, b in links if not re.match(r"[a-z]+:", a or b)]
    assert [str(path) for path in paths if not path.resolve().exists() and path.resolve() not in made] == []


@pytest.mark.parametrize(
    ("anchor", "schema"), [("faces", "FACES"), ("targets", "TARGETS"), ("pairs", "PAIRS"), ("plan", "PLAN")]
)
def test_formats_describe_every_column(anchor, schema):
    """docs/formats.md lists the columns of each table, in order, with their types."""
    from facepipe.storage import schemas

    expected = [(name, kind.replace("image", "struct<bytes, path>")) for name, kind in getattr(schemas, schema).items()]
    assert expected == [(row[0], row[1]) for row in pages.sections("docs/formats.md")[anchor]]


def test_formats_describe_every_status():
    """docs/formats.md lists the statuses a row can have."""
    from facepipe.records import Status

    assert {status.value for status in Status} == {row[0] for row in pages.sections("docs/formats.md")["status"]}


def test_every_kind_of_noise_is_described():
    """docs/how/shard.md lists the kinds that --noise takes."""
    from facepipe.dataset.noise import KINDS

    assert set(KINDS) == {row[0] for row in pages.sections("docs/how/shard.md")["Noise"]}


def test_tests_named_in_the_reliability_page_exist():
    """Each promise names tests that are there."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / "reliability.md").read_text()))
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_benchmarks_that_are_named_exist():
    """Each script that a page names is there."""
    named = {name for page in pages.pages() for name in re.findall(r"\bbenchmarks/\w+\.py\b", page.read_text())}
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_every_benchmark_is_listed():
    """docs/benchmarks.md has a row for each script, and each says in its first lines how it is called."""
    scripts = sorted(f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.py"))
    assert sorted(row[0] for row in pages.sections("docs/benchmarks.md")["Benchmarks"]) == scripts
    for name in scripts:
        assert f"python {name}" in (ast.get_docstring(ast.parse((ROOT / name).read_text())) or ""), name


def test_what_is_reckoned_from_the_speed_agrees():
    """README and the cloud page start from one rate, and what they say of many images follows from it."""
    readme, cloud = (" ".join((ROOT / name).read_text().split()) for name in ("README.md", "docs/cloud.md"))
    rate = int(re.search(r"That is (\d+) images a second and core", readme)[1])
    told = re.search(r"621,126 frames of YouTube Faces take (\d+) seconds on 24 such cores", readme)
    assert int(told[1]) == pytest.approx(621_126 / rate / 24, rel=0.03)
    assert int(re.search(r"At the (\d+) images a second and core", cloud)[1]) == rate
    told = re.search(r"take ([\d.]+) core-hours: (\d+) seconds on 32 such cores, for ([\d.]+) times", cloud)
    hours = 1_000_000 / rate / 3600
    assert [float(value) for value in told.groups()] == pytest.approx([hours, 3600 * hours / 32, hours], rel=0.02)


def test_the_recipe_in_formats_is_the_shipped_one():
    """docs/formats.md shows pipelines/lfw.toml."""
    block = next(block for block in pages.blocks("toml") if block.page == "docs/formats.md")
    assert tomllib.loads((ROOT / "pipelines" / "lfw.toml").read_text()) == tomllib.loads(block.text)


def test_the_changelog_keeps_its_form():
    """CHANGELOG.md follows Keep a Changelog: each version begins with a kind of change; notes may follow."""
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    first = re.findall(r"^## [^#]*^### (.*)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\[?\d+\.\d+\.\d+\]? - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    assert len(first) == len(versions)
    assert set(first) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_every_module_stands_on_the_page_that_shows_the_way():
    """With its docstring's first line; `python docs/modules.py` writes them."""
    assert modules.page() == modules.PAGE.read_text(encoding="utf-8")
