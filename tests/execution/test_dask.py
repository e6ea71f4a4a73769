"""A real scheduler and real worker processes, on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

distributed = pytest.importorskip("distributed")

JOBS = str(Path(__file__).parents[1] / "jobs")
sys.path.insert(0, JOBS)

from parts_of_text import Parts, TextJob  # noqa: E402 - workers find it through their path
from people import write_people  # noqa: E402

from facepipe.config import Execution  # noqa: E402
from facepipe.errors import FacepipeError, Interrupted  # noqa: E402
from facepipe.execution import interruptible, run_parts  # noqa: E402
from facepipe.storage import place  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes: dict[str, subprocess.Popen] = {}
        module, port = "distributed.cli.dask_scheduler", str(self.port)
        self.scheduler = self.start("scheduler", module, "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        end = time.monotonic() + 120
        while not self.answers():
            assert time.monotonic() < end, "the scheduler did not start"
            time.sleep(0.1)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self, name: str, module: str, *arguments: str) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": JOBS, "DASK_LOGGING__DISTRIBUTED": "critical"}
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        return self.processes[name]

    def add_worker(self, name: str) -> subprocess.Popen:
        return self.start(
            name, "distributed.cli.dask_worker", self.address, "--name", name, "--nthreads", "1", "--no-nanny",
            "--no-dashboard", "--host", "127.0.0.1",
        )  # fmt: skip

    def wait_for(self, workers: int) -> None:
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def three_workers():
    made = Cluster()
    for name in ("one", "two", "three"):
        made.add_worker(name)
    made.wait_for(3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def cluster():
    """A scheduler with three workers, for tests that leave it as it was."""
    yield from three_workers()


@pytest.fixture
def own_cluster():
    """The same, for tests that break it."""
    yield from three_workers()


def wait_until_its_children_have_ended(cluster: Cluster) -> None:
    """The processes that do a part's work, begun by the cluster's workers."""
    workers = {str(process.pid) for process in cluster.processes.values()}

    def working() -> bool:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                ours = stat.read_text().rpartition(")")[2].split()[1] in workers
                if ours and b"execution.guard" in stat.with_name("cmdline").read_bytes():
                    return True
        return False

    end = time.monotonic() + 10
    while working():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_cluster_makes_what_this_machine_makes(cluster, tmp_path):
    """The same parts, crashes and hangs included, come out with the same bytes; nothing of the run is left there."""
    lines = [["a", "segfault", "b"], ["hold", "c"], *[[f"item {n}"] for n in range(10)]]
    there, here = Parts(tmp_path / "dask", *lines), Parts(tmp_path / "local", *lines)
    written = there.run(cluster.address, timeout_s=1)
    assert written == here.run(timeout_s=1)
    assert sorted(there.done) == list(there.numbers)
    wait_until_its_children_have_ended(cluster)


@pytest.mark.parametrize(("cap", "most"), [(2, 2), (0, 3)])
def test_workers_is_a_cap_that_holds(cluster, tmp_path, cap, most):
    """With --workers 2 on three workers, never more than two parts are being made; without it three."""
    parts = Parts(tmp_path, *[["time", "sleep:0.2", "time"] for _ in range(9)])
    spans = []
    for text in parts.run(cluster.address, workers=cap):
        first, _, last = text.splitlines()
        spans.append((float(first.split()[1]), float(last.split()[1])))
    assert max(sum(start <= moment < end for start, end in spans) for moment, _ in spans) == most


@pytest.mark.slow
def test_workers_may_come_and_go(own_cluster, tmp_path):
    """One is killed in the middle: the others make its parts. One joins: it gets parts of the run that is going."""
    parts = Parts(tmp_path, *[["parent", "sleep:0.2"] for _ in range(60)])
    victim = own_cluster.processes["two"]

    def change(*_) -> None:
        if len(parts.done) == 1:
            own_cluster.add_worker("late")
            own_cluster.wait_for(4)  # on a busy machine it would take longer to start than the run
        if len(parts.done) == 4:
            victim.send_signal(signal.SIGKILL)

    written = parts.run(own_cluster.address, workers=0, on_done=change)
    assert victim.wait(10) == -signal.SIGKILL
    assert sorted(parts.done) == list(parts.numbers)
    assert [text.splitlines()[1] for text in written] == ["sleep:0.2 ok"] * 60
    assert str(own_cluster.processes["late"].pid) in {text.split()[1] for text in written}


@pytest.mark.slow
def test_a_lost_scheduler_is_a_line_and_a_rerun_goes_on(own_cluster, tmp_path):
    """The error comes soon and says what to do; with a new scheduler the same run makes only what is missing."""
    parts = Parts(tmp_path, *[["a", "sleep:0.1"] for _ in range(30)])

    def kill_once(*_) -> None:
        if len(parts.done) == 4:
            own_cluster.scheduler.kill()

    started = time.monotonic()
    said = r"the Dask scheduler at .* was lost; .*start it and its workers again, then run"
    with pytest.raises(FacepipeError, match=said):
        parts.run(own_cluster.address, workers=0, on_done=kill_once)
    assert time.monotonic() - started < 30
    own_cluster.close()
    left = parts.missing()
    assert 0 < len(left) < 27
    parts.done.clear()
    again = Cluster()
    try:
        again.add_worker("new")
        assert parts.run(again.address, workers=0) == ["a ok\nsleep:0.1 ok"] * 30
    finally:
        again.close()
    assert sorted(parts.done) == left


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.6, 1.5])
def test_a_scheduler_that_dies_at_any_moment_is_a_line(own_cluster, tmp_path, seconds):
    """While the run connects, sends its first parts, or waits for the last ones."""
    parts = Parts(tmp_path, *[["a", "sleep:1"] for _ in range(9)])
    threading.Timer(seconds, own_cluster.scheduler.kill).start()
    started = time.monotonic()
    with pytest.raises(FacepipeError, match=r"start (it and its workers again|one with `dask scheduler`)") as raised:
        parts.run(own_cluster.address, workers=0)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - started < 60


def test_no_scheduler_is_a_line(monkeypatch):
    """Nothing listens there: which address, and how to start one."""
    monkeypatch.setattr("facepipe.execution.dask.CONNECT_S", 1)
    execution = Execution(engine="dask", scheduler=f"tcp://127.0.0.1:{free_port()}")
    said = r"no Dask scheduler answers at tcp://127.0.0.1:\d+: .*start one with `dask scheduler`"
    with pytest.raises(FacepipeError, match=said):
        run_parts(TextJob("in", "out"), [0], execution=execution, timeout_s=1, on_done=lambda *_: None)


@pytest.mark.slow
def test_a_scheduler_without_workers_is_a_line(monkeypatch, tmp_path):
    """The run doesn't wait for ever, and says at once that it waits; a worker that comes meanwhile is used."""
    monkeypatch.setattr("facepipe.execution.dask.WORKERS_S", 1)
    alone = Cluster()
    notes = []
    try:
        execution = Execution(engine="dask", scheduler=alone.address)
        given = {"execution": execution, "timeout_s": 60, "on_done": lambda *_: None, "note": notes.append}
        with pytest.raises(FacepipeError, match="has no worker; start some with `dask worker tcp://"):
            run_parts(TextJob("in", "out"), [0], **given)
        said = f"{alone.address} has no worker yet; waiting 1 s for `dask worker {alone.address}`"
        assert notes == [f"the Dask scheduler at {said}"]
        monkeypatch.setattr("facepipe.execution.dask.WORKERS_S", 60)
        parts = Parts(tmp_path, ["a"])
        given["note"] = lambda _: alone.add_worker("late")
        run_parts(parts.job(), [0], **given)
        assert parts.missing() == []
    finally:
        alone.close()


def test_relative_paths_mean_the_folder_of_the_run(cluster, tmp_path, monkeypatch):
    """Workers that were started elsewhere read and write where the user stands; a machine without that folder says so."""
    parts, gone = Parts(tmp_path, ["a"]), tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getcwd", lambda: str(gone))
        said = r"the folder .*gone is not there on .*; share it between the machines"
        with pytest.raises(FacepipeError, match=said):
            parts.run(cluster.address, workers=0)
    monkeypatch.chdir(tmp_path)
    execution = Execution(engine="dask", scheduler=cluster.address)
    run_parts(TextJob("in", "out"), [0], execution=execution, timeout_s=60, on_done=lambda *_: None)
    assert parts.written() == ["a ok"]


def test_a_signal_ends_a_cluster_run_too(cluster, tmp_path):
    """Within seconds, with the parts that are under way on the cluster stopped."""
    parts = Parts(tmp_path, ["a"], *[["sleep:100"]] * 3)
    threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    started = time.monotonic()
    with pytest.raises(Interrupted, match="stopped by SIGTERM"), interruptible():
        parts.run(cluster.address, workers=0)
    assert time.monotonic() - started < 13
    wait_until_its_children_have_ended(cluster)


@pytest.mark.slow
def test_stages_on_a_cluster_make_the_bytes_of_this_machine(cluster, tmp_path, astronaut):
    """The command line's extract and shard, with relative paths: every file is what it is without a cluster."""
    here, there = tmp_path / "here", tmp_path / "there"
    engine = ["--engine", "dask", "--scheduler", cluster.address]
    stages = {
        "extract": ["--part-size", "8", "--min-face", "30"],
        "select": [],
        "split": ["--validation", "0.3"],
        "shard": ["--shards", "3", "--size", "16"],
    }
    for folder in (here, there):
        write_people(place(str(folder / "data" / "images")), astronaut, 6, 5)
        for stage, options in stages.items():
            given = engine if folder == there and stage in {"extract", "shard"} else []
            subprocess.run(
                [sys.executable, "-m", "facepipe", stage, *options, *given, "--quiet"],
                cwd=folder, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
    files = {entry.path for entry in place(str(here / "data")).list()}
    assert files == {entry.path for entry in place(str(there / "data")).list()}
    for path in files:
        if not path.endswith("run.json"):
            assert (there / "data" / path).read_bytes() == (here / "data" / path).read_bytes(), path
