"""How many workers a machine, or a container's share of it, is good for."""

from __future__ import annotations

import os

import pytest

from facepipe.execution import cores
from facepipe.execution.cores import WORKER_BYTES, default_workers, memory_limit_bytes, usable_cores

V2, V1, NONE = "sys/fs/cgroup", "sys/fs/cgroup/cpu,cpuacct", "9223372036854771712"


def tree(folder, group: str, files: dict[str, str]) -> str:
    """A root folder in which the process is in this control group."""
    for name, text in {"proc/self/cgroup": group, **files}.items() if group else ():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return str(folder)


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": str(quota), f"{folder}/cpu.cfs_period_us": str(period)}


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("", {}, 8),
        ("0::/", {f"{V2}/cpu.max": "max 100000"}, 8),
        ("0::/", {f"{V2}/cpu.max": "200000 100000"}, 2),
        ("0::/", {f"{V2}/cpu.max": "150000 100000"}, 2),
        ("0::/", {f"{V2}/cpu.max": "5000 100000"}, 1),
        ("0::/a/b", {f"{V2}/a/cpu.max": "300000 100000", f"{V2}/a/b/cpu.max": "max 100000"}, 3),
        ("0::/host/path/of/a/container", {f"{V2}/cpu.max": "400000 100000"}, 4),
        ("0::/../other", {f"{V2}/cpu.max": "400000 100000"}, 4),
        ("4:cpu,cpuacct:/", v1(V1, -1), 8),
        ("4:cpu,cpuacct:/d", v1(V1, 250_000), 3),
        ("2:cpu:/d", v1(f"{V2}/cpu/d", 50_000, 50_000), 1),
        ("nonsense", {f"{V2}/cpu.max": "1 1"}, 8),
    ],
)
def test_cores_by_control_group(group, files, expected, tmp_path, monkeypatch):
    """The least quota of all groups above, rounded up, of eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable_cores(tree(tmp_path, group, files)) == expected


def test_cores_by_affinity(tmp_path, monkeypatch):
    """A process tied to one core uses one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert usable_cores(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("", {}, None),
        ("0::/", {f"{V2}/memory.max": "max"}, None),
        ("0::/", {f"{V2}/memory.max": "2147483648"}, 2**31),
        ("0::/a", {f"{V2}/memory.max": "1000", f"{V2}/a/memory.max": "2000"}, 1000),
        ("4:memory:/d", {f"{V2}/memory/memory.limit_in_bytes": NONE}, None),
        ("4:memory:/d", {f"{V2}/memory/d/memory.limit_in_bytes": "4096"}, 4096),
    ],
)
def test_memory_by_control_group(group, files, expected, tmp_path):
    """The least limit of all groups above; version 1's huge number is no limit."""
    assert memory_limit_bytes(tree(tmp_path, group, files)) == expected


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (3 * WORKER_BYTES, 3), (100 * WORKER_BYTES, 8), (1000, 1)])
def test_workers_by_default(limit, expected, monkeypatch):
    """As many as there are cores, fewer where memory is short, never none."""
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    monkeypatch.setattr(cores, "memory_limit_bytes", lambda: limit)
    default_workers.cache_clear()
    assert default_workers() == expected
    default_workers.cache_clear()
