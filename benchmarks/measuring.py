#!/usr/bin/env python3
"""What a command takes, all its processes together: CPU seconds (user + system), wall seconds, the largest one's peak.

    python benchmarks/measuring.py COMMAND [ARGUMENT]...

The other scripts measure with this. The command's parent is a small process of its own, so that neither the memory of
who measures nor what else it started counts.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from typing import NamedTuple

RSS_MB = 1 / 2**20 if sys.platform == "darwin" else 1 / 2**10


class Used(NamedTuple):
    """CPU and wall in seconds; the peak, of the largest process, in MB."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def measure(*command: str, environment: dict[str, str] | None = None) -> Used:
    """Runs a command, its output thrown away, with `environment` added to this process's."""
    done = subprocess.run(
        [sys.executable, __file__, *command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {done.returncode}:\n{done.stderr}")
    return Used(*json.loads(done.stdout))


def main() -> None:
    """Runs the command of the command line, prints its figures as JSON and ends as it did."""
    if len(sys.argv) == 1:
        raise SystemExit(__doc__)
    started = time.perf_counter()
    done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=False)
    wall_s, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps(Used(used.ru_utime + used.ru_stime, wall_s, used.ru_maxrss * RSS_MB)))
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
