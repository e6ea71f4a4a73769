"""Whole stages as users run them: killed, interrupted, out of disk, damaged, and run under other circumstances."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from facepipe.config import Execution, ExtractConfig
from facepipe.execution.progress import QuietProgress
from facepipe.stages import extract
from facepipe.storage import parquet, place, share_lock

JOBS = str(Path(__file__).parent / "jobs")
sys.path.insert(0, JOBS)

from parts_of_text import children_of  # noqa: E402
from people import contents, write_people  # noqa: E402

STAGES = ("extract", "embed", "select", "split", "shard")
FOLDERS = {"extract": "faces", "embed": "embeddings", "select": "targets", "split": "pairs", "shard": "shards"}
OPTIONS = {
    "extract": ["--part-size", "8", "--workers", "2", "--min-face", "30"],
    "embed": ["--workers", "2"],
    "select": ["--workers", "2"],
    "split": ["--validation", "0.3"],
    "shard": ["--shards", "4", "--size", "32", "--workers", "2"],
}
PEOPLE, FRAMES = 10, 6


def slowly(*values):
    """These values in the long suite alone."""
    return pytest.param(*values, marks=pytest.mark.slow)


def write_photographs(folder: Path, photograph) -> None:
    """Ten people with six photographs each, and two files that are none."""
    write_people(place(str(folder)), photograph, PEOPLE, FRAMES)
    (folder / "person-00" / "torn.jpg").write_bytes((folder / "person-00" / "0.jpg").read_bytes()[:300])
    (folder / "person-01" / "empty.jpg").write_bytes(b"")


def command(stage: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "facepipe", stage, *OPTIONS.get(stage, []), *options]


def start(workspace: Path, stage: str, *options: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(stage, "--quiet", *options),
        cwd=workspace,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(workspace: Path, stage: str, *options: str, **environment: str) -> str:
    """Runs a stage to its end."""
    run = start(workspace, stage, *options, **environment)
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, out + err
    return out + err


def copy_until(reference: Path, folder: Path, stage: str) -> Path:
    """A workspace in which everything before `stage` is done."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "images").symlink_to(reference / "data" / "images")
    for before in STAGES[: STAGES.index(stage)]:
        shutil.copytree(reference / "data" / FOLDERS[before], folder / "data" / FOLDERS[before])
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory, astronaut):
    """A workspace that nothing disturbed, and how long each stage took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_photographs(folder / "data" / "images", astronaut)
    seconds = {}
    for stage in STAGES:
        started = time.monotonic()
        finish(folder, stage)
        seconds[stage] = time.monotonic() - started
    return folder, seconds


def kill(run: subprocess.Popen, victim: str, dice: random.Random) -> bool:
    """Kills the parent, one worker, or all at once; whether anything was there to be killed."""
    workers = children_of(run.pid)
    one = dice.sample(workers, min(1, len(workers)))
    struck = False
    for pid in {"parent": [run.pid], "worker": one, "all": [run.pid, *workers]}[victim]:
        if run.poll() is None or pid != run.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                struck = True
    return struck


def run_and_kill(reference, folder: Path, stage: str, victim: str, seed: int) -> bool:
    """One kill at a random moment of a stage, then a rerun: what is there must be what an undisturbed run left."""
    undisturbed, seconds = reference
    dice = random.Random(f"{stage} {victim} {seed}")
    workspace = copy_until(undisturbed, folder, stage)
    run = start(workspace, stage)
    time.sleep(dice.uniform(0.15, 1.0) * seconds[stage])
    struck = kill(run, victim, dice)
    _, said = run.communicate(timeout=300)
    if run.returncode == -signal.SIGKILL:
        finish(workspace, stage)
    else:
        assert run.returncode == 0, said  # a worker that dies is nothing to end a run for
    assert contents(workspace / "data" / FOLDERS[stage]) == contents(undisturbed / "data" / FOLDERS[stage])
    return struck


@pytest.mark.parametrize(("stage", "victim"), [("extract", "parent"), ("shard", "all")])
def test_a_kill_costs_nothing(stage, victim, reference, tmp_path):
    """`kill -9` at some moment, the same command again: byte-identical outputs, and no rest of the dead run."""
    run_and_kill(reference, tmp_path, stage, victim, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_kills_at_twenty_moments_cost_nothing(stage, reference, tmp_path):
    """Of the parent, of one worker, of all, at 20 random moments of every stage: rerun, then byte-identical outputs."""
    victims = ("parent", "worker", "all")
    struck = 0
    for n in range(40):  # more where the undisturbed run was slow: then many moments come when the stage is over
        struck += run_and_kill(reference, tmp_path / str(n), stage, victims[n % 3], n)
        if n >= 19 and struck >= 10:
            return
    pytest.fail(f"{struck} of 40 kills struck while the stage ran")


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_well(reference, tmp_path):
    """Ten kills of the same extract, each a little later than the last one got: it still gets there."""
    undisturbed, seconds = reference
    workspace = copy_until(undisturbed, tmp_path, "extract")
    for attempt in range(10):
        run = start(workspace, "extract")
        time.sleep(seconds["extract"] * (0.3 + 0.05 * attempt))
        kill(run, "all", random.Random(attempt))
        run.communicate()
    finish(workspace, "extract")
    assert contents(workspace / "data" / "faces") == contents(undisturbed / "data" / "faces")


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("extract", signal.SIGTERM),
        *(slowly(stage, number) for stage in STAGES for number in (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_signals_end_every_stage_in_good_order(stage, number, reference, tmp_path):
    """Exit code 130 within 10 s, one line that says how to go on, and going on leads to the same bytes."""
    undisturbed, seconds = reference
    workspace = copy_until(undisturbed, tmp_path, stage)
    run = start(workspace, stage)
    output = workspace / "data" / FOLDERS[stage]
    while run.poll() is None and not output.exists():
        time.sleep(0.005)
    time.sleep(0.1 * seconds[stage])
    workers = children_of(run.pid)
    started = time.monotonic()
    run.send_signal(number)
    out, err = run.communicate(timeout=30)
    if run.returncode == 0:
        pytest.skip(f"{stage} was over before the signal came")
    assert (run.returncode, time.monotonic() - started < 10) == (130, True), out + err
    assert f"stopped by {number.name}; what is finished is kept: run the same command again to go on" in err
    assert len(err.strip().splitlines()) == 1
    assert not any(
        Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in workers
    )
    finish(workspace, stage)
    assert contents(output) == contents(undisturbed / "data" / FOLDERS[stage])


@pytest.mark.parametrize("stage", ["extract", slowly("select"), slowly("split")])
def test_a_second_run_into_the_same_output_is_refused(stage, reference, tmp_path):
    """It says who is there, and touches nothing."""
    undisturbed, _ = reference
    workspace = copy_until(undisturbed, tmp_path, stage)
    with share_lock(place(str(workspace / "data" / FOLDERS[stage]))):
        run = start(workspace, stage)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert f"another run (process {os.getpid()} on " in said
    assert len(said.strip().splitlines()) == 1
    assert contents(workspace / "data" / FOLDERS[stage]) == {}


@pytest.mark.parametrize("stage", ["extract", *map(slowly, STAGES[1:])])
def test_a_full_disk_is_one_line_and_a_rerun_goes_on(stage, reference, tmp_path, small_disk):
    """Onto a disk that holds half of it: exit code 1 and what to do; with room, the same bytes."""
    undisturbed, _ = reference
    workspace = copy_until(undisturbed, tmp_path, stage)
    needed = sum(path.stat().st_size for path in (undisturbed / "data" / FOLDERS[stage]).rglob("*") if path.is_file())
    output = workspace / "data" / FOLDERS[stage]

    def refused() -> str:
        run = start(workspace, stage)
        _, said = run.communicate(timeout=120)
        assert (run.returncode, len(said.strip().splitlines())) == (1, 1)
        return said

    small_disk(max(8, needed // 2048), output)
    assert "the disk is full; free some space and run the same command again" in refused()
    subprocess.run(["mount", "-o", "remount,size=1g", str(output)], check=True)
    finish(workspace, stage)
    assert contents(output) == contents(undisturbed / "data" / FOLDERS[stage])
    subprocess.run(["mount", "-o", "remount,ro", str(output)], check=True)
    assert "the file system is read-only; give another output" in refused()


def test_an_input_that_vanishes_costs_rows(reference, tmp_path):
    """Files that go between listing and reading become `read_error`, the rest is done."""
    undisturbed, _ = reference
    images = tmp_path / "images"
    shutil.copytree(undisturbed / "data" / "images", images)
    config = ExtractConfig(
        input=str(images), output=str(tmp_path / "faces"), part_size=8, min_face=30, execution=Execution(workers=1)
    )

    class Vandal(QuietProgress):
        def advance(self, *_) -> None:
            shutil.rmtree(images / f"person-{PEOPLE - 1:02d}", ignore_errors=True)

    report = extract.run(config, Vandal())
    assert report.counts["read_error"] == FRAMES
    assert sum(report.counts.values()) == PEOPLE * FRAMES + 2


def rows_of(faces: Path) -> list[dict]:
    return [row for _, table in parquet.iterate_parts(place(str(faces))) for row in table.to_pylist()]


def extract_with_fatal_photographs(folder: Path, images: Path, monkeypatch, **config) -> list[dict]:
    from fatal_extract import FatalExtractJob

    monkeypatch.setattr(extract, "ExtractJob", FatalExtractJob)
    settings = {"part_size": 16, "min_face": 30, "execution": Execution(workers=2), **config}
    extract.run(ExtractConfig(input=str(images), output=str(folder / "faces"), **settings), QuietProgress())
    return rows_of(folder / "faces")


def mark(path: Path, what: str) -> None:
    with path.open("ab") as file:
        file.write(b"MEET:" + what.encode())


def test_a_photograph_that_kills_or_hangs_its_process_is_one_row(reference, tmp_path, monkeypatch):
    """Crashes become `worker_crash`, a hang `timeout`; every other row is as it is without them."""
    undisturbed, _ = reference
    images = tmp_path / "images"
    shutil.copytree(undisturbed / "data" / "images", images)
    fatal = {"person-03/2.jpg": "segfault", "person-03/3.jpg": "abort", "person-08/1.jpg": "hold"}
    for name, what in fatal.items():
        mark(images / name, what)
    rows = extract_with_fatal_photographs(tmp_path, images, monkeypatch, timeout_s=2.0)
    found = {row["path"]: row for row in rows}
    expected = dict.fromkeys(fatal, "worker_crash") | {"person-08/1.jpg": "timeout"}
    assert {name: found[name]["status"] for name in fatal} == expected
    assert all(found[name]["error"] for name in fatal)
    others = [row for row in rows_of(undisturbed / "data" / "faces") if row["path"] not in fatal]
    assert repr([row for row in rows if row["path"] not in fatal]) == repr(others)


@pytest.mark.slow
def test_ten_fatal_photographs_in_two_thousand(tmp_path, astronaut, monkeypatch):
    """Ten rows `worker_crash`, 1,990 good ones."""
    write_people(place(str(tmp_path / "images")), astronaut, 100, 20)
    for person in range(0, 100, 10):
        mark(tmp_path / "images" / f"person-{person:02d}" / "7.jpg", "segfault")
    rows = extract_with_fatal_photographs(tmp_path, tmp_path / "images", monkeypatch, part_size=512)
    counts = Counter(row["status"] for row in rows)
    assert (counts["worker_crash"], sum(counts.values())) == (10, 2000)


VARIATIONS = {
    "one worker": {"options": ["--workers", "1"]},
    "five workers": {"options": ["--workers", "5"]},
    "another order on disk": {"shuffled": True},
    "another locale": {"environment": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
    "another time zone": {"environment": {"TZ": "Asia/Kathmandu"}},
    "another hash seed": {"environment": {"PYTHONHASHSEED": "123"}},
    "a copied tree": {"copied": True},
    "everything": {
        "options": ["--workers", "5"],
        "shuffled": True,
        "environment": {"LC_ALL": "C", "TZ": "America/St_Johns", "PYTHONHASHSEED": "7"},
    },
}


def run_differently(reference, folder: Path, name: str, stages: tuple[str, ...]) -> None:
    undisturbed, _ = reference
    vary = {"options": [], "environment": {}, "shuffled": False, "copied": False, **VARIATIONS[name]}
    images = undisturbed / "data" / "images"
    workspace = folder / "söme where else"
    if vary["copied"]:
        shutil.copytree(images, workspace / "data" / "images")
    elif vary["shuffled"]:
        files = sorted(path for path in images.rglob("*") if path.is_file())
        random.Random(5).shuffle(files)
        for path in files:
            target = workspace / "data" / "images" / path.relative_to(images)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    else:
        (workspace / "data").mkdir(parents=True)
        (workspace / "data" / "images").symlink_to(images)
    for stage in stages:
        finish(workspace, stage, *vary["options"], **vary["environment"])
    for made in (FOLDERS[stage] for stage in stages):
        assert contents(workspace / "data" / made) == contents(undisturbed / "data" / made)


def test_bytes_of_faces_depend_on_inputs_and_settings_alone(reference, tmp_path):
    """Not on the number of workers, the order of files on disk, the locale, the time zone or the place."""
    run_differently(reference, tmp_path, "everything", ("extract",))


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIATIONS)
def test_all_bytes_depend_on_inputs_settings_and_seed_alone(name, reference, tmp_path):
    """The same for all stages, and for each of these on its own."""
    run_differently(reference, tmp_path, name, STAGES)
