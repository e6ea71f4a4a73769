"""Makes `docpages`, what the documentation shows, and the site's hooks importable for the tests beside it."""

from __future__ import annotations

import os
import sys

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "..", "..", "docs")]
