"""Pages that mkdocs adds while it builds: every command, the executed notebook, and files beside the README."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import typer

from facepipe.cli.arguments import help_groups

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = {"facepipe": "facepipe.cli.commands", "python -m train": "train.__main__"}
"""How a program is called -> the module whose `app` it is."""
NOTEBOOK = "notebook.ipynb"
COPIED = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
"""Page -> file of the repository."""
INTRODUCTION = """# Every command

Made from the programs' own `--help`. Defaults stand in square brackets; `DATA` is the workspace, the folder `data`
unless `--data` or the environment variable `FACEPIPE_DATA` says otherwise. Exit codes: 0 done, 1 a known error,
2 usage error, 130 interrupted (run the same command again to go on).
"""


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages."""
    from mkdocs.structure.files import File

    pages = {"commands.md": commands_page()} | {page: copied_page(name) for page, name in COPIED.items()}
    page, pictures = notebook_page()
    for path, content in (pages | {NOTEBOOK.replace(".ipynb", ".md"): page} | pictures).items():
        files.append(File.generated(config, path, content=content))
    return files


def notebook_page() -> tuple[str, dict[str, bytes]]:
    """The executed notebook as Markdown, and its pictures by path; tables are left to the site's own style."""
    from nbconvert import MarkdownExporter

    text, resources = MarkdownExporter().from_filename(ROOT / "docs" / NOTEBOOK)
    text = re.sub(r"<style scoped>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"</?div>\n?", "", text).replace('<table border="1" class="dataframe">', "<table>")
    pictures = {f"notebook_pictures/{name}": content for name, content in resources["outputs"].items()}
    return re.sub(r"!\[\w+\]\(([^)]+)\)", r"![What the code above draws](notebook_pictures/\1)", text), pictures


def copied_page(name: str) -> str:
    """A file of the repository as a page: its links lead to pages."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for page, file in COPIED.items():
        text = text.replace(f"]({file})", f"]({page})")
    return text


def commands_page() -> str:
    """Markdown for every command of every program."""
    sections = [INTRODUCTION]
    for program, commands in programs().items():
        sections += [command_section(program, name, command) for name, command in commands.items()]
    return "\n".join(sections)


def programs() -> dict[str, dict[str, Any]]:
    """How a program is called -> its commands by name."""
    groups = {name: typer.main.get_command(importlib.import_module(module).app) for name, module in PROGRAMS.items()}
    return {name: dict(group.commands) for name, group in groups.items()}  # type: ignore[attr-defined]


def command_section(program: str, name: str, command: Any) -> str:
    """Title, description, and a table of what the command takes."""
    context = typer.Context(command, info_name=f"{program} {name}")
    usage = [piece for p in command.get_params(context) for piece in p.get_usage_pieces(context)]
    called = " ".join(
        [program, name, *(re.sub(r"^[\[{]([\[\w.].*)[\]}]$", r"\1", piece) for piece in usage), "[OPTIONS]"]
    )
    lines = [f"## `{program} {name}`", "", command.help or "", "", "```text", called, "```", ""]
    for title, rows in help_groups(command, context).items():
        lines += [f"| {title.lower()} | meaning |", "| --- | --- |"]
        lines += [f"| `{_cell(names)}` | {_cell(text).replace('<', '&lt;')} |" for names, text in map(_shown, rows)]
        lines.append("")
    return "\n".join([*lines, ""])


def _shown(row: tuple[str, str]) -> tuple[str, str]:
    """Names and help of a row of `--help`, the library's own words for types put plainly."""
    names, text = row
    for kind, shown in {"<str>": "TEXT", "<int>": "N", "<float>": "F"}.items():
        names = names.replace(kind, shown)
    return names, re.sub(r"\s*\[default: (.*?)\]$", r" [\1]", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
