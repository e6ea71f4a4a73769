"""The notebook of the documentation: its outputs are those of its code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell) -> list[tuple[str, str]]:
    """(kind, text) of each output; numbers, which differ from processor to processor, as #, and pictures by kind alone."""
    found = []
    for output in cell["outputs"]:
        text = "".join(output.get("text", output.get("data", {}).get("text/plain", "")))
        kinds = "+".join(sorted(output.get("data", {}))) or output["output_type"]
        found.append((kinds, re.sub(r"\s+", " ", re.sub(r"-?\d+(\.\d+)?", "#", text))))
    return found


def test_every_cell_has_run_in_order_and_without_an_error():
    """What the page shows is of one run; it names no folder of the machine that it ran on."""
    cells = code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [kind for cell in cells for kind, _ in shown(cell)]
    assert sum("image/jpeg" in kind for kind in kinds) == 3
    assert "error" not in kinds
    assert not re.search(r"/(tmp|home|root|work|Users)/", NOTEBOOK.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_running_it_again_shows_the_same(tmp_path):
    """Every cell runs, and its words are those that the page shows; numbers may differ in their last digits."""
    pytest.importorskip("nbconvert")
    pytest.importorskip("ipykernel")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(NOTEBOOK)],
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    again = json.loads((tmp_path / NOTEBOOK.name).read_text(encoding="utf-8"))
    before = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert [shown(cell) for cell in code_cells(again)] == [shown(cell) for cell in code_cells(before)]
