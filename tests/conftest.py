"""Real photographs for the tests: scikit-image's bundled ones, and the labelled set beside the checkout where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("FACEPIPE_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of labelled photographs; the test is skipped, saying so, where it is missing."""
    if not (SHARED_DATA / "ytf_labels.csv").is_file():
        pytest.skip(f"the labelled photographs are not at {SHARED_DATA}; set FACEPIPE_SHARED_DATA")
    return SHARED_DATA


@pytest.fixture(scope="session")
def astronaut():
    """A real photograph of one person: (512, 512, 3) uint8 RGB."""
    from skimage import data

    return data.astronaut()
