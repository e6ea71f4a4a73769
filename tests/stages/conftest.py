"""Makes `facesets`, the maker of small face folders, importable for the tests beside it."""

from __future__ import annotations

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))


@pytest.fixture
def in_process(monkeypatch):
    """Runs the later stages' jobs in this process. Tests of workers leave it out."""
    from facesets import run_in_process

    from facepipe.stages import output

    monkeypatch.setattr(output, "run_parts", run_in_process)
