"""Real processes that crash, hang, are killed and are interrupted."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from facepipe.config import Execution
from facepipe.errors import FacepipeError, Interrupted, OutputError
from facepipe.execution import interruptible, run_parts

JOBS = str(Path(__file__).parents[1] / "jobs")
sys.path.insert(0, JOBS)

from parts_of_text import Parts, children_of  # noqa: E402 - children find it through `sys.path`

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Arrow has no jemalloc elsewhere")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_process_is_left():
    """Whatever a test does, no child of this process outlives it."""
    before = set(children_of(os.getpid()))
    yield
    assert set(children_of(os.getpid())) <= before


@pytest.mark.parametrize("workers", [1, 3])
def test_every_part_is_made_once_in_as_many_processes_as_asked_for(workers, tmp_path):
    """All numbers come back with their counts; the output does not depend on the number of workers.

    With one worker, too, the work is done in another process, so that a crash can't end the run.
    """
    parts = Parts(tmp_path, *[[*[f"item {n}.{i}" for i in range(n % 4)], "sleep:0.05", "pid"] for n in range(12)])
    lines = [text.splitlines() for text in parts.run(workers=workers)]
    assert sorted(parts.done) == list(parts.numbers)
    assert [made[:-1] for made in lines] == [
        [*[f"item {n}.{i} ok" for i in range(n % 4)], "sleep:0.05 ok"] for n in parts.numbers
    ]
    assert parts.counts["ok"] == sum(n % 4 + 2 for n in parts.numbers)
    pids = {made[-1].split()[1] for made in lines}
    assert len(pids) == workers
    assert str(os.getpid()) not in pids


@pytest.mark.parametrize("death", ["segfault", "exit", "abort", "memory", "once"])
def test_an_item_that_ends_its_process_costs_one_row(death, tmp_path):
    """It becomes `worker_crash`; the other items of its part and the other parts are done as if nothing had been.

    A death that does not come again, by a neighbour's hunger for memory, say, costs nothing and blames nobody.
    """
    item = f"once:{tmp_path}/flag" if death == "once" else death
    parts = Parts(tmp_path, ["a", item, "b"], ["c", "d"])
    assert parts.run() == [f"a ok\n{item} {'ok' if death == 'once' else 'worker_crash'}\nb ok", "c ok\nd ok"]


@pytest.mark.parametrize("hang", ["sleep:60", "hold"])
def test_an_item_that_hangs_becomes_a_timeout(hang, tmp_path):
    """Also where the code holds the interpreter's lock, so that no thread of the child could end it.

    The time is an item's, not the part's.
    """
    short = ["sleep:0.2"] * 5
    parts = Parts(tmp_path, ["a", hang, "b"], short)
    started = time.monotonic()
    assert parts.run(timeout_s=0.6) == [f"a ok\n{hang} timeout\nb ok", "\n".join(f"{line} ok" for line in short)]
    assert time.monotonic() - started < 10


def test_ten_crashes_in_two_thousand_items_still_end_well(tmp_path):
    """Ten fatal items, some in a row, some in one part: ten rows, 1,990 good ones."""
    fatal = {3, 4, 5, 700, 701, 1100, 1500, 1501, 1998, 1999}
    items = ["segfault" if number in fatal else f"item {number}" for number in range(2000)]
    parts = Parts(tmp_path, *[items[start : start + 500] for start in range(0, 2000, 500)])
    parts.run()
    assert parts.counts == {"ok": 1990, "worker_crash": 10, "timeout": 0}


@pytest.mark.parametrize("pauses_s", [(0.05, 0.2), (0.0, 0.03)], ids=["any time", "start-up"])
def test_workers_killed_from_outside_cost_nothing(pauses_s, tmp_path):
    """`kill -9` of a random worker, twelve times in a run: every row is as in a run that nothing disturbed."""
    lines = [f"sleep:0.0{i}" for i in (1, 2, 3, 4)] * 4
    parts = Parts(tmp_path, *[lines] * 10)
    killed: list[int] = []
    dice = random.Random(4)

    def kill_now_and_then() -> None:
        while len(killed) < 12:
            time.sleep(dice.uniform(*pauses_s))
            if workers := [pid for pid in children_of(os.getpid()) if pid not in killed]:
                killed.append(dice.choice(workers))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    written = parts.run()
    killer.join(0)
    assert len(killed) == 12
    assert written == ["\n".join(f"{line} ok" for line in lines)] * 10


def test_a_worker_that_dies_outside_any_item_ends_the_run_with_a_line(tmp_path):
    """Such as while its part is written: after five deaths the run ends, and says which part it was."""
    with pytest.raises(FacepipeError, match=r"the worker of part 0 died 5 times outside any item: .*exit code 1"):
        Parts(tmp_path, ["a"]).run(crash_at_write=True)


@pytest.mark.parametrize(
    ("item", "kind", "said"),
    [
        ("full", OutputError, "^the disk is full$"),
        ("raise", FacepipeError, r"part 1, item 2 failed: ValueError at parts_of_text.py:\d+: a defect"),
    ],
)
def test_an_error_is_one_line(tmp_path, item, kind, said):
    """A known one keeps its kind and its words on its way out of the child; a defect names part, item and place."""
    with pytest.raises(kind, match=said):
        Parts(tmp_path, ["a"], ["b", "c", item]).run()


def test_an_error_in_on_done_ends_the_run_at_once(tmp_path):
    """Such as too many failures: nobody waits for the parts that are still running."""
    parts = Parts(tmp_path, ["a"], ["sleep:30"], ["sleep:30"])
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        parts.run(on_done=lambda *_: 1 / 0)
    assert time.monotonic() - started < 5


def test_children_have_one_thread_each_and_utf8_names(tmp_path, monkeypatch):
    """Libraries in a worker start no threads of their own, and names are UTF-8 in every locale."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    [text] = Parts(tmp_path, ["environment"]).run()
    assert text == "environment OMP_NUM_THREADS=1 PYTHONUTF8=1 utf-8 ok"


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "65536", "unset"),  # a Dask nanny's: an image takes half as much time again
        ("MALLOC_TRIM_THRESHOLD_", "131072", "131072"),
        pytest.param("ARROW_DEFAULT_MEMORY_POOL", None, "jemalloc", marks=ON_LINUX),  # no waiting for huge pages
        ("ARROW_DEFAULT_MEMORY_POOL", "system", "system"),
    ],
)
def test_how_memory_is_taken_is_set_for_workers(tmp_path, monkeypatch, name, given, kept):
    """What a user sets stays."""
    monkeypatch.delenv(name, raising=False)
    if given:
        monkeypatch.setenv(name, given)
    [text] = Parts(tmp_path, [f"variable:{name}"]).run()
    assert text == f"variable:{name} {kept} ok"


def test_what_libraries_print_stays_off_the_terminal(tmp_path, capfd):
    """A decoder's warnings, a million of them, neither spoil the progress bar nor fill a disk."""
    Parts(tmp_path, ["print"]).run()
    assert capfd.readouterr() == ("", "")


def test_memory_stays_flat_over_many_parts(tmp_path):
    """The parent holds a few reports at a time: 1,000 parts cost no more than 200."""
    job, given = Parts(tmp_path, ["a"]).job(same=True), {"timeout_s": 60, "on_done": lambda *_: None}

    def peak_after(n: int) -> int:
        run_parts(job, range(n), execution=Execution(workers=2), **given)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = peak_after(200)
    assert peak_after(1000) - before < 5_000  # kB


RUN = f"""
import sys
sys.path.insert(0, {JOBS!r})
from parts_of_text import TextJob
from facepipe.config import Execution
from facepipe.errors import FacepipeError
from facepipe.execution import interruptible, run_parts
try:
    with interruptible():
        run_parts(TextJob(sys.argv[1] + "/in", sys.argv[1] + "/out"), range(int(sys.argv[2])),
                  execution=Execution(workers=2), timeout_s=float(sys.argv[3]), on_done=lambda number, _: print(number, flush=True))
except FacepipeError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def start(folder: Path, parts: int, timeout_s: float = 60.0, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(parts), str(timeout_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    ("number", "whole_group", "last"),
    [
        (signal.SIGINT, True, "sleep:60"),
        (signal.SIGINT, False, "hold"),
        (signal.SIGTERM, False, "sleep:60"),
        (signal.SIGTERM, True, "hold"),
    ],
)
def test_a_signal_ends_a_run_in_good_order(number, whole_group, last, tmp_path):
    """Exit code 130 within 10 s, one line and no traceback, finished parts kept, no process left."""
    parts = Parts(tmp_path, ["a"], [last], [last])
    run = start(tmp_path, 3, start_new_session=True)
    assert run.stdout.readline() == "0\n"
    wait_until(lambda: len(children_of(run.pid)) == 2)
    children = children_of(run.pid)
    started = time.monotonic()
    if whole_group:
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    _, said = run.communicate(timeout=15)
    assert (run.returncode, time.monotonic() - started < 10) == (130, True)
    assert said == f"stopped by {number.name}; what is finished is kept: run the same command again to go on\n"
    assert parts.written() == ["a ok"]
    wait_until(lambda: not any(is_alive(pid) for pid in children))


def test_killing_the_parent_ends_its_children(tmp_path):
    """After `kill -9` of the parent nothing goes on working; a rerun makes what is missing."""
    parts = Parts(tmp_path, ["a"], ["sleep:3", "b"], ["sleep:3", "c"])
    run = start(tmp_path, 3)
    assert run.stdout.readline() == "0\n"
    wait_until(lambda: len(children_of(run.pid)) == 2)
    children = children_of(run.pid)
    run.kill()
    run.communicate()
    wait_until(lambda: not any(is_alive(pid) for pid in children), 5)
    assert parts.written() == ["a ok"]
    assert parts.run() == ["a ok", "sleep:3 ok\nb ok", "sleep:3 ok\nc ok"]
    assert sorted(parts.done) == [1, 2]


def test_a_run_that_is_stopped_for_a_while_blames_nobody(tmp_path):
    """Ctrl-Z, and `fg` after twice the time that an item may take."""
    parts = Parts(tmp_path, ["a"], ["sleep:1"], ["sleep:1"])
    run = start(tmp_path, 3, 1.5, start_new_session=True)
    assert run.stdout.readline() == "0\n"
    os.killpg(run.pid, signal.SIGSTOP)
    time.sleep(2.5)
    os.killpg(run.pid, signal.SIGCONT)
    run.communicate(timeout=15)
    assert parts.written() == ["a ok", "sleep:1 ok", "sleep:1 ok"]


def test_signals_are_errors_only_inside(tmp_path):
    """`interruptible` gives the handlers back when it ends, and in another thread it leaves them alone."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="stopped by SIGTERM"), interruptible():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    elsewhere = []

    def enter() -> None:
        with interruptible():
            elsewhere.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert elsewhere == [before[0]]


def test_a_signal_that_something_makes_another_error_of_is_still_a_signal():
    """A compiled module that is being imported turns whatever is raised into an ImportError of its own."""
    with pytest.raises(Interrupted, match="stopped by SIGTERM") as raised, interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Interrupted as error:
            raise ImportError("initialization failed") from error
    assert isinstance(raised.value.__cause__, ImportError)
    with pytest.raises(ImportError), interruptible():
        raise ImportError("no signal came")


def test_a_run_starts_soon(tmp_path):
    """From nothing to the first finished part of a light job: under a second of processor time."""
    Parts(tmp_path, ["a"])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = start(tmp_path, 1)
    run.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
