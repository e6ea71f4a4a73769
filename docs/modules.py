"""Writes the table of modules into `docs/how/index.md`: a line a module, its docstring's first.

python docs/modules.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "how" / "index.md"
START, END = "<!-- modules -->\n", "<!-- end of modules -->\n"


def table() -> str:
    """Markdown: packages in bold, each with its modules."""
    lines = ["| module | what is in it |", "| --- | --- |"]
    for package in ("facepipe", "train"):
        folders = sorted({path.parent for path in (ROOT / package).rglob("*.py")})
        for folder in folders:
            lines.append(f"| **{folder.relative_to(ROOT)}/** | {_first(folder / '__init__.py')} |")
            modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
            lines += [f"| {path.stem} | {_first(path)} |" for path in modules]
    return "\n".join(lines) + "\n"


def _first(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else ""
    return " ".join((said or "").split("\n\n")[0].split()).replace("|", "\\|").rstrip(".")


def page() -> str:
    """The page with the table of now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    return f"{before}{START}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
