"""Against moto's S3 server on loopback, with faults put in by a proxy."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from facepipe.errors import DamagedFile, FacepipeError, InputError, OutputError, StorageDown
from facepipe.storage import Entry, cloud, parquet, place, read_ahead, transfer
from facepipe.storage.checksums import file_sha256
from facepipe.storage.tfrecord import read_records, write_records

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from faulty_proxy import FaultyProxy

SECRETS = ("AKIAEXAMPLE", "a-secret-that-stays-one")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """The retries' own pauses, shortened: what is tested is that they come, not how long they are."""
    monkeypatch.setattr(cloud, "_PAUSES_S", (0.02, 0.05, 0.1))


@pytest.fixture
def proxy(s3_port):
    """A proxy before the S3 server."""
    with contextlib.closing(FaultyProxy(s3_port)) as made:
        yield made


@pytest.fixture
def root(proxy, s3_bucket):
    """An empty folder of a new bucket, reached through the proxy."""
    return place(f"s3://{s3_bucket}/data?endpoint_override=127.0.0.1:{proxy.port}&scheme=http")


def raw_keys(port: int, bucket: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/{bucket}?list-type=2")
    return connection.getresponse().read().decode()


def test_what_is_put_is_read(root, proxy, s3_port, s3_bucket, monkeypatch):
    """Whole objects, ranges, sizes, listings, existence and deletion agree, odd keys included; a small one is one put."""
    contents = {
        "a/z": b"1",
        "a-b/x": b"22",
        "a.txt": b"",
        "a/b/c d?é%20&=+#": b"0123456789",
        "big": os.urandom(7_000_000),
    }
    for path, data in contents.items():
        root.write(path, data)
        assert path == "big" or proxy.seen.pop("PUT") == 1
    assert {path: root.read(path) for path in contents} == contents
    assert root.read_range("a/b/c d?é%20&=+#", 7, 100) == b"789"
    assert root.read_range("a/z", 5, 5) == b""
    assert list(root.list()) == [Entry(path, len(contents[path])) for path in sorted(contents)]
    assert [entry.path for entry in root.list("a")] == ["a/b/c d?é%20&=+#", "a/z"]
    assert list(root.list("nothing")) == []
    assert [root.exists(path) for path in ("big", "a", "", "b")] == [True, True, True, False]
    assert root.size("big") == 7_000_000
    with root.open_input("big") as file:
        assert file.read_at(5, 6_000_000) == contents["big"][6_000_000:6_000_005]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_port}")  # what other tools take
    assert place(f"s3://{s3_bucket}/data").read("a-b/x") == b"22"
    root.delete("a/z")
    root.delete("a/z")
    assert not root.exists("a/z")


@pytest.mark.parametrize("size", [10, 40_000_000], ids=["small", "large"])
def test_an_output_appears_when_its_block_ends_well(root, size):
    """A block that ends with an exception puts nothing; what was there stays."""
    root.write("shard", b"old")
    with pytest.raises(ZeroDivisionError), root.open_output("shard") as file:
        file.write(b"x" * size)
        1 / 0  # noqa: B018
    assert root.read("shard") == b"old"
    with root.open_output("shard") as file:
        for _ in range(10):
            file.write(b"y" * (size // 10))
    assert root.read("shard") == b"y" * size


def test_a_killed_writer_leaves_no_object(root, s3_port, s3_bucket):
    """`kill -9` in the middle of a large write: nothing of it is seen."""
    code = (
        "import sys, time; from facepipe.storage import place\n"
        "with place(sys.argv[1]).open_output('shard') as file:\n"
        "    file.write(b'x' * 40_000_000); print('half', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, root.uri], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        writer.kill()
    assert "<Key>" not in raw_keys(s3_port, s3_bucket)


def write_and_read(root, data):
    root.write("f", data)
    return root.read("f")


ACTIONS = {
    "HEAD": lambda root, _: root.read("f"),
    "GET": lambda root, _: root.read("f"),
    "PUT": write_and_read,
    "list": lambda root, data: [entry.path for entry in root.list()] == ["f"] and data,
}


@pytest.mark.parametrize("verb", ACTIONS)
@pytest.mark.parametrize("fault", ["500", "503", "reset"])
def test_a_fault_is_tried_again(verb, fault, root, proxy):
    """Errors of the server and broken connections, also in the middle of an object: the right bytes, a whole listing."""
    data = os.urandom(300_000)
    root.write("f", data)
    proxy.verb, proxy.plan = verb.replace("list", "GET"), [fault, fault]
    assert ACTIONS[verb](root, data) == data
    assert proxy.plan == []


@pytest.mark.parametrize("encrypted", [False, True], ids=["MD5", "no MD5"])
def test_a_byte_that_changes_on_its_way_is_noticed(encrypted, root, proxy, s3_port, s3_bucket):
    """Such an object is asked for again, by each way to read it; so is one whose ETag is none of its own MD5."""
    data = os.urandom(300_000)
    root.write("f", data)
    proxy.verb = "GET"
    if encrypted:
        proxy.plan = ["alter", "alter"]
        assert root.read("f") == data[:-1] + bytes([data[-1] ^ 1])  # what comes twice alike is what lies there
    reads = (root.read, lambda path: root.open_input(path).read(), lambda path: next(read_ahead(root, [path]))[1])
    for read in reads:
        proxy.plan = ["alter"]
        assert (read("f"), proxy.plan) == (data, [])


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["HEAD", "GET", "PUT"])
def test_a_store_that_falls_silent_is_asked_again(verb, root, proxy):
    """A transfer that stalls is given up after some seconds, not waited for until the end."""
    data = os.urandom(300_000)
    root.write("f", data)
    proxy.verb, proxy.plan, proxy.stall_s = verb, ["stall"], 120
    started = time.monotonic()
    root.write("f", data)
    assert root.read("f") == data
    assert time.monotonic() - started < 40


def test_a_store_that_stays_broken_is_a_line(root, proxy, monkeypatch, capfd):
    """After the last try: what the store answered, and no secret. The second failure is a line on stderr, once.

    A folder by the name of an error is none: what fails there for a while is tried again as well.
    """
    monkeypatch.setattr(transfer, "_told", set())
    path = "ACCESS_DENIED/TOKEN_NOT_FOUND.jpg"
    root.write(path, b"1")
    capfd.readouterr()
    proxy.verb, proxy.plan = "HEAD", ["503"] * 2
    assert root.read(path) == b"1"
    assert capfd.readouterr().err == f"facepipe: {root}: HTTP status 503; trying again\n"
    proxy.plan = ["503"] * 100
    said = rf"can't read s3://bucket-.*/data/{path}: HTTP status 503; check the network and the address, or try again later"
    with pytest.raises(InputError, match=said):
        root.read(path)
    assert len(proxy.plan) == 100 - 4


@pytest.mark.parametrize(("scheme", "number"), [("s3", signal.SIGINT), ("gs", signal.SIGTERM)])
def test_a_signal_ends_the_waiting_for_a_store(scheme, number, proxy, tmp_path):
    """While the store's client tries again by itself, for many seconds, in the main thread."""
    proxy.plan = ["503"] * 10_000
    images = f"{scheme}://bucket/images?endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
    images += "&anonymous=true" if scheme == "gs" else ""
    command = [sys.executable, "-m", "facepipe", "extract", "-i", images, "-o", str(tmp_path / "faces")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        while not proxy.seen:
            assert run.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        run.send_signal(number)
        started = time.monotonic()
        assert run.wait(30) == 130
        assert time.monotonic() - started < 5
        assert f"stopped by {number.name}" in run.stderr.read()


@pytest.mark.parametrize(
    ("verb", "action"),
    [
        ("HEAD", lambda root: root.read("f")),
        ("GET", lambda root: root.read("f")),
        ("PUT", lambda root: root.write("f", b"")),
        ("GET", lambda root: list(root.list())),
        ("HEAD", lambda root: root.open_input("f")),
        ("HEAD", lambda root: root.exists("f")),
    ],
    ids=["head", "get", "put", "list", "open", "exists"],
)
def test_denied_access_is_a_line_at_once(verb, action, root, proxy):
    """A 403 isn't tried again, says where to look, and holds no secret."""
    root.write("f", b"1")
    before = sum(proxy.seen.values())
    proxy.verb, proxy.plan = verb, ["403"] * 10
    with pytest.raises(FacepipeError, match="access denied; check the credentials in the environment or the") as raised:
        action(root)
    assert not any(secret in str(raised.value) for secret in SECRETS)
    assert sum(proxy.seen.values()) - before <= 2


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("400", "refuses the request .HTTP status 400.; renew credentials that may have expired, or set AWS_REGION"),
        ("301", "the bucket is in another region; set AWS_REGION to it"),
    ],
)
def test_what_waiting_does_not_help_is_said_at_once(status, meaning, root, proxy):
    """S3 answers so where credentials have expired, and where the bucket is elsewhere."""
    root.write("f", b"1")
    proxy.verb, proxy.plan = "HEAD", [status] * 10
    with pytest.raises(StorageDown, match=meaning):
        root.read("f")
    assert len(proxy.plan) >= 8


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda root: root.read("f"), InputError),
        (lambda root: list(root.list()), InputError),
        (lambda root: root.write("f", b""), OutputError),
    ],
    ids=["read", "list", "write"],
)
def test_a_missing_bucket_or_object_is_a_line(action, error, root, proxy):
    """It names what is missing."""
    nowhere = place(f"s3://no-such-bucket/x?endpoint_override=127.0.0.1:{proxy.port}&scheme=http")
    with pytest.raises(error, match="there is no bucket 'no-such-bucket'"):
        action(nowhere)
    with pytest.raises(InputError, match=r"can't read s3://bucket-.*/data/f: there is no such object"):
        root.read("f")


def test_a_file_that_is_too_large_is_not_fetched(root, proxy):
    """Its size is asked for first."""
    root.write("f", b"x" * 1000)
    proxy.seen.clear()
    with pytest.raises(InputError, match="it has 1,000 bytes, 999 are allowed"):
        root.read("f", max_bytes=999)
    assert dict(proxy.seen) == {"HEAD": 1}


def test_files_are_read_ahead_in_order(root, proxy):
    """Each path comes once, in order, with its bytes or its error, and enough are under way for a store that is far away.

    Each takes two calls: a worker of a thousand images a second behind calls of 50 ms needs a hundred at once.
    """
    contents = {f"n/{number:03d}": b"%d" % number * number for number in range(150)}
    for path, data in contents.items():
        root.write(path, data)
    paths = [*contents, "missing", "n/000"]
    proxy.delay_s, proxy.at_once = 0.5, 0
    found = list(read_ahead(root, paths))
    assert proxy.at_once >= 100
    assert [path for path, _ in found] == paths
    assert dict(found[:150]) == contents
    assert isinstance(found[150][1], InputError)
    assert found[151][1] == b""


def test_read_ahead_is_bounded(root, proxy):
    """Never more than `ahead` requests at once, never more bytes than allowed; closed, it ends those that wait for room.

    A file larger than the bound is read alone: the bound slows reading down, it never stops it.
    """
    paths = [f"n/{number:02d}" for number in range(30)]
    for path in paths:
        root.write(path, b"x" * 10_000)
    proxy.delay_s, proxy.at_once = 0.02, 0
    reading = read_ahead(root, paths, ahead=6, bound_bytes=25_000)
    proxy.seen.clear()
    next(reading)
    time.sleep(0.5)
    assert proxy.at_once <= 6
    assert proxy.seen["GET"] <= 2  # 25,000 bytes are two files of 10,000
    started = time.monotonic()
    reading.close()
    assert time.monotonic() - started < 10
    assert [len(data) for _, data in read_ahead(root, paths[:5], ahead=4, bound_bytes=10)] == [10_000] * 5


def test_parts_are_fetched_some_at_once(root, proxy):
    """A table of each part, in order, several under way together: not two calls' time a part; a damaged one is told."""
    for number in range(24):
        parquet.write_table(root, parquet.part_name(number), pa.table({"n": [number, -number], "other": ["x", "y"]}))
    proxy.delay_s, proxy.at_once = 0.1, 0
    started = time.monotonic()
    read = [(number, table.to_pydict()) for number, table in parquet.iterate_parts(root, ["n"])]
    assert read == [(number, {"n": [number, -number]}) for number in range(24)]
    assert time.monotonic() - started < 24 * 0.2 / 2
    assert 1 < proxy.at_once <= 8
    proxy.delay_s = 0
    root.delete(parquet.part_name(20))
    parts = parquet.iterate_parts(root, ["n"], [parquet.part_name(number) for number in range(24)])
    assert [next(parts)[0] for _ in range(20)] == list(range(20))
    with pytest.raises(DamagedFile, match=r"part-00020.parquet is missing"):
        next(parts)


def test_a_small_file_is_opened_by_one_request(root, proxy):
    """Reads here and there of a file up to eight megabytes cost nothing more; of a larger one, a piece comes for each."""
    root.write("small", bytes(range(256)) * 4)
    root.write("large", bytes(9_000_000) + b"end")
    for name, size, requests in (("small", 1024, 1), ("large", 9_000_003, 2)):
        proxy.seen.clear()
        with root.open_input(name) as file:
            assert file.size() == size
            assert [len(file.read_at(3, offset)) for offset in (0, 7, size - 3)] == [3, 3, 3]
        assert (name, proxy.seen["GET"]) == (name, requests)


def test_a_large_part_that_can_t_be_read_now_is_not_taken_for_damaged(root, proxy):
    """Else it would be made again, or deleted: a store that answers no more is waited for, and one that refuses named."""
    table = pa.table({"crop": [os.urandom(100_000) for _ in range(120)]})
    digest = parquet.write_table(root, "part-00000.parquet", table)
    reads = {
        "table": lambda: parquet.read_table(root, "part-00000.parquet").equals(table),
        "hash": lambda: file_sha256(root, "part-00000.parquet") == digest,
    }
    proxy.verb = "GET"
    for read in reads.values():
        proxy.plan = ["ok"] + ["503"] * 3
        assert read()
        assert proxy.plan == []
        proxy.plan = ["ok"] + ["403"] * 10
        with pytest.raises(StorageDown, match="access denied; check the credentials"):
            read()
        proxy.plan = []


def test_a_large_shard_is_read_in_pieces(root, proxy):
    """Not by a request for each of a record's three pieces: a store answers some dozens a second."""
    payloads = [os.urandom(20_000) for _ in range(600)]
    with root.open_output("shard") as file:
        write_records(file, payloads)
    proxy.seen.clear()
    with root.open_input("shard") as file:
        assert list(read_records(file)) == payloads
    assert proxy.seen["GET"] <= 8


@pytest.mark.parametrize("name", ["Eve//double.jpg", "Eve/./dot.jpg"])
def test_a_key_that_can_t_be_asked_for_is_named_as_it_is(root, s3_port, s3_bucket, name):
    """Nor is another object read in its place; what lies beside it is read."""
    root.write(name.replace("//", "/").replace("./", ""), b"another")
    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", f"/{s3_bucket}/data/{name}", b"odd")
    assert connection.getresponse().status == 200
    assert name in [entry.path for entry in root.list()]
    for reads in (root.read, root.open_input, lambda path: next(read_ahead(root, [path]))[1]):
        try:
            outcome = reads(name)
        except InputError as error:
            outcome = error
        assert isinstance(outcome, InputError)
        assert f"can't read s3://{s3_bucket}/data/{name}: a key with `//`" in str(outcome)


@pytest.mark.parametrize("keys", [2_500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_listing_comes_in_pages(root, proxy, s3_server, s3_bucket, keys):
    """Every key once, in order, by a request for each thousand, in little memory.

    Two faults in the middle change nothing but that it begins anew.
    """
    s3_server.fill(s3_bucket, "data/identity-", keys)
    pages = -(-keys // 1000)
    proxy.verb, proxy.plan = "GET", ["ok"] * (pages // 2) + ["503", "reset"]
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    paths = [entry.path for entry in root.list()]
    spent_s, grown_kb = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert paths == sorted(f"identity-{number % 97:02d}/{number:06d}.jpg" for number in range(keys))
    assert (proxy.seen["GET"] <= 1.5 * pages + 4, proxy.plan) == (True, [])
    assert (spent_s < 20, grown_kb < 200_000) == (True, True)
