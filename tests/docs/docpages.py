"""The documentation's pages, and the code blocks in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"^(?:<!-- test: (?P<test>\w+) -->\n)?```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)
_OUTSIDE = {".venv", "site", "build", "dist", "scratch", "demo-data"}


@dataclass(frozen=True)
class Block:
    """A fenced block. `test` says how it is run: empty, it is only parsed."""

    page: str
    language: str
    text: str
    test: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"


def pages() -> list[Path]:
    """README and all other Markdown files of the repository."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted(path for path in found if not _OUTSIDE & set(path.relative_to(ROOT).parts))


def blocks(*languages: str) -> list[Block]:
    """Every fenced block in these languages."""
    return [
        Block(str(page.relative_to(ROOT)), match["language"], match["text"], match["test"] or "")
        for page in pages()
        for match in _FENCE.finditer(page.read_text(encoding="utf-8"))
        if match["language"] in languages
    ]


def inline_code() -> list[tuple[str, str]]:
    """(page, text) of every call of a program in running text; those with a placeholder in capitals are left out."""
    calls = re.compile(r"`((?:facepipe|facepipe-train|python -m train) [^`\n]+)`")
    outside = {
        page: re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for page in pages()
    }
    found = [(page, text) for page in outside for text in calls.findall(outside[page])]
    return [
        (str(page.relative_to(ROOT)), text) for page, text in found if not re.search(r"\b[A-Z]{2,}\b|\[|\.\.\.", text)
    ]


def commands(block: Block) -> list[list[str]]:
    """A block's command lines as words; continued lines are joined, prompts and leading assignments left out."""
    text = block.text.replace("\\\n", " ")
    lines = [line.removeprefix("$ ").strip() for line in text.splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in (_without_assignments(line) for line in split) if words]


def _without_assignments(words: list[str]) -> list[str]:
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    return words


def sections(page: str) -> dict[str, list[list[str]]]:
    """Heading (its anchor, where it has one) -> the rows of the tables below it, as cells without backticks."""
    found: dict[str, list[list[str]]] = {}
    current = ""
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            anchor = re.search(r"\{#([\w-]+)\}", line)
            current = anchor[1] if anchor else line.lstrip("# ")
        elif line.startswith("| `"):
            cells = [cell.strip().replace("`", "").replace("&lt;", "<") for cell in line.strip("|").split("|")]
            found.setdefault(current, []).append(cells)
    return found
