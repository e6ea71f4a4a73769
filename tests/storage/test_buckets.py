"""The stages from bucket to bucket, against an S3 server on loopback."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import boto3
import cv2
import numpy as np
import pytest

from facepipe.config import Execution, ExtractConfig, SelectConfig, ShardConfig, join
from facepipe.errors import OutputError, StorageDown, TooManyFailed
from facepipe.execution.progress import QuietProgress
from facepipe.report import page
from facepipe.stages import extract, pipeline, review, select, shard, verify
from facepipe.storage import Place, parquet, place

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
sys.path.insert(0, str(Path(__file__).parents[1] / "stages"))

from facesets import make_rows, write_faces
from faulty_proxy import FaultyProxy
from people import stages_of, write_people

QUIET = QuietProgress()


def extract_config(data: str, **options) -> ExtractConfig:
    settings = {"part_size": 8, "min_face": 30, "execution": Execution(workers=1), **options}
    return ExtractConfig(input=join(data, "images"), output=join(data, "faces"), **settings)


def contents(root: Place) -> dict[str, bytes | str]:
    """Every file with its bytes; `run.json` with what may not differ."""
    found = {entry.path: root.read(entry.path) for entry in root.list()}
    return {
        path: json.dumps(json.loads(data)["counts"]) if path.endswith("run.json") else data
        for path, data in found.items()
    }


@pytest.fixture
def bucket(s3_port, s3_bucket) -> str:
    """The URI of a workspace in a new bucket."""
    return f"s3://{s3_bucket}/some/data?endpoint_override=127.0.0.1:{s3_port}&scheme=http"


def test_faces_in_a_bucket_are_what_they_are_in_a_folder(bucket, tmp_path, astronaut):
    """Images read from a bucket, parts written into it: the same files, byte for byte; a rerun makes nothing."""
    for data in (bucket, str(tmp_path)):
        write_people(place(join(data, "images")), astronaut, 4, 5)
        extract.run(extract_config(data), QUIET)
    assert contents(place(bucket)) == contents(place(str(tmp_path)))
    assert extract.run(extract_config(bucket), QUIET).done_before == 3


def test_single_files_of_a_workspace_in_a_bucket(bucket, tmp_path):
    """Corrections and the page lie in the bucket that the URI's options lead to, and are found there."""
    pytest.importorskip("matplotlib")
    root, corrections = place(bucket), tmp_path / "corrections.csv"
    key = "p001/v0/0003.jpg#0"
    write_faces(tmp_path / "faces", make_rows(3, 6))
    for entry in place(str(tmp_path / "faces")).list():
        root.write(f"faces/{entry.path}", (tmp_path / "faces" / entry.path).read_bytes())
    corrections.write_text(f"key,action\n{key},target\n")
    review.run(str(corrections), bucket)
    assert root.read("overrides.csv").decode() == corrections.read_text()
    remembered = pipeline.corrections_of(bucket)
    select.run(SelectConfig(join(bucket, "faces"), join(bucket, "targets"), **remembered), QUIET)
    chosen = parquet.read_table(root.join("targets"), "targets.parquet").column("target_key").to_pylist()
    page.build(bucket, join(bucket, "report.html"))
    assert chosen[1] == key
    assert root.read("report.html").startswith(b"<!DOCTYPE html>")


@pytest.mark.slow
def test_a_run_into_a_bucket_that_is_killed_goes_on(bucket, tmp_path, astronaut):
    """`kill -9` at five moments; the last run ends with the bytes of a folder that nothing disturbed."""
    for data in (bucket, str(tmp_path)):
        write_people(place(join(data, "images")), astronaut, 10, 8)
    options = ["--part-size", "8", "--min-face", "30", "--workers", "2", "--quiet"]
    command = [sys.executable, "-m", "facepipe", "extract", *options, "--data"]
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    for seed in range(5):
        run = subprocess.Popen([*command, bucket], stdout=subprocess.DEVNULL)
        time.sleep(random.Random(seed).uniform(0.3, 1) * seconds)
        run.send_signal(signal.SIGKILL)
        run.wait()
    subprocess.run([*command, bucket], check=True, stdout=subprocess.DEVNULL)
    assert contents(place(bucket)) == contents(place(str(tmp_path)))


def test_access_that_ends_in_the_middle_ends_the_run(s3_port, s3_bucket, tmp_path, astronaut):
    """Eight images in a row that the store refuses are not the images' fault: no rows say so, and a rerun goes on."""
    write_people(place(str(tmp_path / "images")), astronaut, 4, 5)
    extract.run(extract_config(str(tmp_path), part_size=10), QUIET)
    with contextlib.closing(FaultyProxy(s3_port)) as proxy:
        bucket = f"s3://{s3_bucket}/data/images?endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
        write_people(place(bucket), astronaut, 4, 5)
        config = replace(extract_config(str(tmp_path), part_size=10), input=bucket, output=str(tmp_path / "stored"))
        made = place(str(tmp_path / "faces"))
        first, second, *_ = (len(table) for _, table in parquet.iterate_parts(made))
        assert second >= 8
        proxy.verb, proxy.plan = "HEAD", [*["ok"] * first, *["403"] * 8]
        with pytest.raises(StorageDown, match=r"access denied.*8 files in a row could not be read, so the run ends"):
            extract.run(config, QUIET)
        assert not proxy.plan
        assert [path.name for path in (tmp_path / "stored").glob("part-*")] == parquet.part_names(made)[:1]
        assert extract.run(config, QUIET).done_before == 1
        proxy.plan = ["403"] * 20
        config = replace(config, output=str(tmp_path / "all"), max_failed=1.0)
        assert extract.run(config, QUIET).counts == {"read_error": 20}
        with pytest.raises(TooManyFailed, match="20 of them failed in an earlier run: --retry-failed reads them again"):
            extract.run(replace(config, max_failed=0.5), QUIET)
    for part in (tmp_path / "faces").glob("part-*"):
        assert (tmp_path / "stored" / part.name).read_bytes() == part.read_bytes()


def test_a_film_that_can_t_be_fetched(s3_port, s3_bucket, tmp_path, astronaut, monkeypatch, small_disk):
    """Denied after a part of it: a row that says so. No room for its copy: what to do, and the run goes on with room."""
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 25, (256, 256))
    for shift in range(5):
        writer.write(np.ascontiguousarray(astronaut[shift : shift + 256, 100:356, ::-1]))
    writer.release()
    with contextlib.closing(FaultyProxy(s3_port)) as proxy:
        bucket = f"s3://{s3_bucket}/data?endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
        config = replace(extract_config(bucket), output=str(tmp_path / "faces"), max_failed=1.0)
        # Larger than what is fetched by one request.
        place(config.input).write("anna/film.avi", film.read_bytes() + bytes(9_000_000))
        monkeypatch.setenv("TMPDIR", str(small_disk(4_000)))
        with pytest.raises(
            OutputError, match=r"can't copy anna/film.avi to .*No space left on device; set TMPDIR to a"
        ):
            extract.run(config, QUIET)
        monkeypatch.delenv("TMPDIR")
        proxy.seen.clear()
        extract.run(replace(config, execution=Execution(dry_run=True)), QUIET)
        proxy.verb, proxy.plan = "GET", [*["ok"] * (proxy.seen["GET"] + 1), *["403"] * 9]  # from its second piece on
        assert extract.run(config, QUIET).counts == {"read_error": 1}
        proxy.plan = []
        config = replace(config, execution=Execution(workers=1, retry_failed=True))
        assert extract.run(config, QUIET).counts == {"ok": 5}


def test_a_byte_of_a_film_that_changes_on_its_way_is_noticed(s3_port, s3_bucket, tmp_path):
    """In any of its pieces: the film is asked for again, from its beginning."""
    content = np.random.default_rng(0).bytes(9_000_000)
    endpoint = f"http://127.0.0.1:{s3_port}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").put_object(
        Bucket=s3_bucket, Key="films/film.avi", Body=content
    )
    with contextlib.closing(FaultyProxy(s3_port)) as proxy:
        films = place(f"s3://{s3_bucket}/films?endpoint_override=127.0.0.1:{proxy.port}&scheme=http")
        films.exists("film.avi")  # connects
        proxy.verb, proxy.plan = "GET", ["ok", "alter"]
        with (tmp_path / "film.avi").open("w+b") as local:
            films.copy_to("film.avi", local)
        assert not proxy.plan
        assert (tmp_path / "film.avi").read_bytes() == content


@pytest.mark.slow
def test_a_whole_workspace_in_a_bucket(s3_port, s3_bucket, tmp_path, astronaut):
    """Every stage from bucket to bucket, every ninth request answered by an error or broken off: the bytes of a folder."""
    with contextlib.closing(FaultyProxy(s3_port)) as proxy:
        bucket = f"s3://{s3_bucket}/data?endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
        for data in (bucket, str(tmp_path)):
            write_people(place(join(data, "images")), astronaut, 8, 5)
        proxy.plan = [fault for fault in ("503", "reset", "500") * 40 for fault in ("ok",) * 8 + (fault,)]
        for data in (bucket, str(tmp_path)):
            for make in stages_of(data).values():
                make()
            assert verify.run(data, QUIET) == []
        assert len(proxy.plan) < 900
        proxy.plan = []
        assert contents(place(bucket)) == contents(place(str(tmp_path)))


@pytest.mark.slow
def test_extract_hides_the_latency_of_a_store(s3_port, s3_bucket, astronaut):
    """50 ms more on each call: at least 0.9 of the images a second that the same server gives without them.

    What starting and ending a run and a part takes is taken out, by runs over few images; of each kind the shortest
    counts.
    """
    few, many = 20, 600
    with contextlib.closing(FaultyProxy(s3_port)) as proxy:
        bucket = f"s3://{s3_bucket}/data?endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
        write_people(place(join(bucket, "images")), astronaut, 30, 20, side=300)

        def seconds(delay_s: float, limit: int) -> float:
            proxy.delay_s = delay_s
            again = Execution(workers=1, overwrite=True)
            started = time.monotonic()
            report = extract.run(extract_config(bucket, part_size=4096, limit=limit, execution=again), QUIET)
            assert sum(report.counts.values()) == limit
            return time.monotonic() - started

        seconds(0.0, few)
        runs = [(delay_s, limit) for delay_s in (0.0, 0.05) for limit in (few, few, few, many)]
        best = dict.fromkeys(runs, math.inf)
        for _ in range(7):  # what else the machine does only makes a run longer
            for run in runs:
                best[run] = min(best[run], seconds(*run))
            soon, late = (best[delay_s, many] - best[delay_s, few] for delay_s in (0.0, 0.05))
            if soon / late >= 0.9:
                return
    pytest.fail(f"{soon / late:.2f} of the images a second: {best}")


@pytest.mark.slow
@pytest.mark.tensorflow
def test_training_reads_its_shards_from_a_bucket(s3_port, s3_bucket, tmp_path, astronaut):
    """A step of an autoencoder on shards in the store ends with the loss of the same step on a local copy of them."""
    pytest.importorskip("tensorflow")
    bucket = f"s3://{s3_bucket}/data?endpoint_override=127.0.0.1:{s3_port}&scheme=http"
    write_people(place(str(tmp_path / "images")), astronaut, 8, 5)
    for make in stages_of(str(tmp_path)).values():
        make()
    names = {name: str(tmp_path / name) for name in ("pairs", "faces")}
    shard.run(ShardConfig(input=names["pairs"], faces=names["faces"], output=str(tmp_path / "large")), QUIET)
    shards, copy = place(str(tmp_path / "large")), place(join(bucket, "shards"))
    for entry in shards.list():
        copy.write(entry.path, shards.read(entry.path))
    losses = []
    for number, source in enumerate((shards.uri, copy.uri)):
        command = [sys.executable, "-m", "train", "autoencoder", "--preset", "v4", "--set", "encoder=[8,8]"]
        command += ["--epochs", "1", "--steps-per-epoch", "2", "--batch-size", "4", "--deterministic"]
        run = tmp_path / f"run-{number}"
        subprocess.run([*command, "--shards", source, "-o", str(run)], check=True, stdout=subprocess.DEVNULL)
        with (run / "log.csv").open(newline="") as log:
            losses.append([{name: row[name] for name in row if "loss" in name} for row in csv.DictReader(log)])
    assert losses[0] == losses[1]
    assert len(losses[0]) == 1
    assert float(losses[0][0]["loss"]) > 0
