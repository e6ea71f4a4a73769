"""How many processors and how much memory this process may use: affinity and the limits of its control groups."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER_BYTES = 700 * 2**20
"""What one worker is counted with when memory is limited: networks and libraries, and pictures of ordinary size."""
_NO_LIMIT_BYTES = 2**60
"""Control groups of version 1 say "no limit" with a number beyond this."""


def usable_cores(root: str = "/") -> int:
    """Whole processors for this process, at least 1: its affinity, cut by its control groups' CPU quota.

    `root` is where `proc` and `sys` are looked for (tests give a made-up tree).
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _cpu_quotas(root))]))


def memory_limit_bytes(root: str = "/") -> int | None:
    """The least memory limit of this process's control groups; None where there is none."""
    limits = [
        int(text)
        for group in _groups(root, "memory", "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _text(os.path.join(group, name))).isdigit()
    ]
    least = min(limits, default=_NO_LIMIT_BYTES)
    return least if least < _NO_LIMIT_BYTES else None


@lru_cache(maxsize=1)
def default_workers() -> int:
    """What `--workers` is when it is not given: the usable cores, fewer where the memory limit holds fewer workers."""
    limit = memory_limit_bytes()
    return max(1, min(usable_cores(), limit // WORKER_BYTES if limit else usable_cores()))


def _cpu_quotas(root: str) -> Iterator[float]:
    for group in _groups(root, "cpu", "cpu,cpuacct"):
        quota, _, period = _text(os.path.join(group, "cpu.max")).partition(" ")
        if not quota:
            quota = _text(os.path.join(group, "cpu.cfs_quota_us"))
            period = _text(os.path.join(group, "cpu.cfs_period_us"))
        if quota.isdigit() and period.isdigit() and int(period) and int(quota):
            yield int(quota) / int(period)


def _groups(root: str, controller: str, combined: str) -> Iterator[str]:
    """The folders of this process's control groups, and of all above them: every one of them limits."""
    mounts = os.path.join(root, "sys/fs/cgroup")
    for line in _text(os.path.join(root, "proc/self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if not separator:
            continue
        if not controllers:
            bases = [mounts, os.path.join(mounts, "unified")]
        elif controller in controllers.split(","):
            bases = [os.path.join(mounts, name) for name in dict.fromkeys((controllers, controller, combined))]
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for base in bases:
            # In a container the path can be the host's, and only the mount's root is there to be read.
            yield from (os.path.join(base, part) for part in (inner, *inner.parents) if ".." not in part.parts)


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""
