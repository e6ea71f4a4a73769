"""Makes `facesets`, the maker of small face folders, importable for the tests beside it."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
