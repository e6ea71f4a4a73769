from __future__ import annotations

import errno
import hashlib
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from facepipe.config import join
from facepipe.errors import InputError, OutputError
from facepipe.storage import Entry, file_at, local, place, read_ahead


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../../x", "/etc/passwd", "//x", "a\0b", "../../" * 20 + "etc/passwd"]
)
@pytest.mark.parametrize("root", ["folder", "s3://bucket/folder"])
def test_no_path_leads_outside(path, root, tmp_path, monkeypatch):
    """Reading, writing, deleting and joining refuse every path that leaves the root, before anything is touched."""
    monkeypatch.chdir(tmp_path)
    outside = place(root)
    for action in (outside.read, outside.delete, outside.join, outside.exists, lambda p: outside.write(p, b"")):
        with pytest.raises(InputError, match="leads outside"):
            action(path)
    assert os.listdir(tmp_path) == []


def test_what_is_written_is_read(tmp_path):
    """Whole files, ranges, sizes, existence, deletion and reading ahead agree; folders are made, with the user's umask."""
    root = place(str(tmp_path / "new"))
    before = os.umask(0o027)
    try:
        root.write("./a//b/c.bin", b"0123456789")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new/a/b/c.bin").stat().st_mode) == 0o640
    assert root.read("a/b/c.bin") == root.read("a/../a/b/c.bin/") == b"0123456789"
    assert root.read_range("a/b/c.bin", 7, 100) == b"789"
    assert root.size("a/b/c.bin") == 10
    assert [root.exists(path) for path in ("a/b/c.bin", "a/b", "", "a/x")] == [True, True, True, False]
    with root.open_input("a/b/c.bin") as file:
        assert file.read_at(2, 4) == b"45"
    ahead = dict(read_ahead(root, ["missing", "a/b/c.bin", "../x"], max_bytes=20))
    assert ahead.pop("a/b/c.bin") == b"0123456789"
    assert [(path, type(error)) for path, error in ahead.items()] == [("missing", InputError), ("../x", InputError)]
    root.delete("a/b/c.bin")
    root.delete("a/b/c.bin")
    assert not root.exists("a/b/c.bin")


def test_an_output_appears_when_its_block_ends_well(tmp_path):
    """Inside the block the old file stands; an exception leaves it standing and nothing beside it."""
    root = place(str(tmp_path))
    root.write("part", b"old")
    with pytest.raises(ZeroDivisionError), root.open_output("part") as file:
        file.write(b"half of the n")
        1 / 0  # noqa: B018
    assert (root.read("part"), os.listdir(tmp_path)) == (b"old", ["part"])
    with root.open_output("part") as file:
        file.write(b"new")
        file.flush()
        assert root.read("part") == b"old"
    assert (root.read("part"), os.listdir(tmp_path)) == (b"new", ["part"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_writer_that_is_stopped_leaves_the_old_file(tmp_path, number):
    """In the middle of a write. What a killed one left is removed by `clean_leftovers`; a signal leaves no rest."""
    root = place(str(tmp_path))
    root.write("deep/part", b"old")
    code = (
        "import sys, time; from facepipe.storage import place; from facepipe.execution import interruptible\n"
        "with interruptible(), place(sys.argv[1]).open_output('deep/part') as file:\n"
        "    file.write(b'x' * 100_000); file.flush(); print('half', flush=True); time.sleep(60)"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **streams) as writer:
        writer.stdout.readline()
        assert root.clean_leftovers() == 0  # it lives
        writer.send_signal(number)
    rests = int(number == signal.SIGKILL)
    assert len(os.listdir(tmp_path / "deep")) == 1 + rests
    assert [entry.path for entry in root.list()] == ["deep/part"]
    assert root.clean_leftovers() == rests
    assert (os.listdir(tmp_path / "deep"), root.read("deep/part")) == (["part"], b"old")


def test_a_cleaner_between_making_and_locking_costs_no_output(tmp_path, monkeypatch):
    """A writer whose unfinished file was removed before it had its lock makes another one."""
    root = place(str(tmp_path))
    attempts = []

    def lock_late(fd: int) -> bool:
        attempts.append(fd)
        if len(attempts) == 1:
            for name in os.listdir(tmp_path):
                os.unlink(tmp_path / name)
        return True

    monkeypatch.setattr(local, "try_lock", lock_late)
    root.write("part", b"whole")
    assert (root.read("part"), len(attempts)) == (b"whole", 2)


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path):
    """Eight threads writing the same path never mix their bytes, and readers see whole files only."""
    root = place(str(tmp_path))
    contents = {bytes([65 + i]) * (50_000 + i) for i in range(8)}
    root.write("part", b"A" * 50_000)
    threads = [
        threading.Thread(target=lambda c=c: [root.write("part", c, durable=False) for _ in range(20)]) for c in contents
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert root.read("part") in contents
    assert (root.read("part") in contents, os.listdir(tmp_path)) == (True, ["part"])


def test_a_full_disk_is_said_so(tmp_path, monkeypatch):
    """ENOSPC becomes one line that says what to do, and leaves neither a file nor a rest; so does a folder that takes none."""

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="the disk is full; free some space and run the same command again"):
            place(str(tmp_path)).write("part", b"x")
    assert os.listdir(tmp_path) == []
    if os.path.isdir("/proc/self"):  # which says that what is to be made is not there, however often it is asked
        with pytest.raises(OutputError, match="can't write /proc/x: the folder can't be made; give another output"):
            place("/proc").write("x", b"")


def test_denied_permissions_are_said_so():
    """A folder that may not be written and a file that may not be read: a line each, naming the file."""
    with tempfile.TemporaryDirectory() as name:
        root = place(name)
        root.write("secret", b"x")
        os.chmod(f"{name}/secret", 0)
        os.chmod(name, 0o555)
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:  # a process without root's powers
            if os.geteuid() == 0:
                os.setuid(65534)
            for action in (lambda: root.read("secret"), lambda: root.write("new", b"")):
                try:
                    action()
                except Exception as error:
                    os.write(writing, f"{type(error).__name__} {error}\n".encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading) as pipe:
            said = pipe.read().splitlines()
        os.chmod(name, 0o755)
    advice = "no permission to write there; change the folder's owner or mode, or give another output"
    assert said == [
        f"InputError can't read {name}/secret: permission denied",
        f"OutputError can't write {name}/new: {advice}",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (str, "no such file or directory"),
        (os.mkfifo, "it is no regular file"),
        (os.mkdir, "it is no regular file"),
        (lambda p: socket.socket(socket.AF_UNIX).bind(p), "can't read"),
        (lambda p: os.symlink("missing", p), "no such file or directory"),
        (lambda p: os.symlink(p, p), "too many levels of symbolic links"),
        (lambda p: os.symlink("/dev/zero", p), "it is no regular file"),
        (lambda p: os.close(os.open(p, os.O_CREAT)) or os.truncate(p, 3 * 2**30), "3,221,225,472 bytes"),
    ],
    ids=["missing", "fifo", "folder", "socket", "broken-link", "circular-link", "device", "huge"],
)
def test_what_is_no_readable_file_is_an_error_at_once(make, message, tmp_path, monkeypatch):
    """Nothing blocks and nothing endless is read."""
    monkeypatch.chdir(tmp_path)
    make("odd")
    started = time.monotonic()
    with pytest.raises(InputError, match=message):
        place(".").read("odd")
    assert time.monotonic() - started < 10


def test_a_file_that_grows_is_read_as_it_was(tmp_path):
    """Reading ends where the file ended when it was opened, however fast another process appends."""
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1000)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set() and file.tell() < 200_000_000:
                file.write(b"y" * 100_000)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        sizes = [(path.stat().st_size, len(place(str(tmp_path)).read("log")), path.stat().st_size) for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert all(before <= read <= after for before, read, after in sizes)


ODD_NAMES = [
    b"line\nbreak", b"quote'\"", b"caf\xc3\xa9", b"\xff\xfe not utf-8", b"n" * 255, b"-rf *", b" ", b"a\\b", b"\xf0\x9f\x98\x80",
]  # fmt: skip


def test_odd_names_are_listed_and_read(tmp_path):
    """Any name the file system takes is listed, read, replaced and deleted; messages about it stay one valid line."""
    root, folder = place(str(tmp_path)), os.fsencode(tmp_path)
    for name in ODD_NAMES:
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"there")
    assert [(os.fsencode(entry.path), entry.size) for entry in root.list()] == [
        (name, 5) for name in sorted(ODD_NAMES, key=os.fsdecode)
    ]
    for path in map(os.fsdecode, ODD_NAMES):
        with root.open_input(path) as file:
            assert file.read() == root.read(path) == b"there"
        root.write(path, b"new")
        assert os.listdir(folder).count(os.fsencode(path)) == 1
        root.delete(path)
        with pytest.raises(InputError) as raised:
            root.read(path)
        assert len(str(raised.value).encode().splitlines()) == 1
    assert os.listdir(folder) == []


def test_a_listing_is_sorted_by_path_and_follows_links_but_no_circles(tmp_path):
    """The order is that of the whole paths, as on an object store; a folder that contains itself is entered once."""
    for name in ("b/1", "a.txt", "a/z", "a/b/c", "a-b/x", "B"):
        place(str(tmp_path / "in")).write(name, b"12")
    place(str(tmp_path / "other")).write("linked", b"123")
    (tmp_path / "in" / "c").symlink_to("../other")
    (tmp_path / "in" / "a" / "up").symlink_to("..")
    (tmp_path / "in" / "broken").symlink_to("nowhere")
    (tmp_path / "in" / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "in" / "fifo")
    found = list(place(str(tmp_path / "in")).list())
    paths = [entry.path for entry in found]
    assert paths == ["B", "a-b/x", "a.txt", "a/b/c", "a/z", "b/1", "broken", "c/linked", "fifo", "loop"]
    assert paths == sorted(paths)
    assert [entry for entry in found if entry.size] == [
        Entry(p, 3 if p == "c/linked" else 2) for p in paths if p not in {"broken", "fifo", "loop"}
    ]
    assert [entry.path for entry in place(str(tmp_path / "in")).list("b")] == ["b/1"]
    assert list(place(str(tmp_path / "in")).list("nothing")) == []


def test_places_pickle_compare_and_join():
    """A place travels to workers as its URI."""
    local, remote = place("data/faces/"), place("s3://bucket/data?region=eu-west-1")
    for root in (local, remote):
        assert pickle.loads(pickle.dumps(root)) == root
        assert len(pickle.dumps(root)) < 200
    assert (local.uri, local.join("a", "b").uri, place("/").uri) == ("data/faces", "data/faces/a/b", "/")
    assert remote.join("faces").uri == join(remote.uri, "faces") == "s3://bucket/data/faces?region=eu-west-1"
    assert (str(remote), remote.is_local, place("file:///tmp/x").uri) == ("s3://bucket/data", False, "/tmp/x")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "a path is empty"),
        ("ftp://host/x", "ftp:// is no storage"),
        ("s3://", "names no bucket"),
        ("s3://KEY:SECRET@bucket/x", "carries credentials"),
        ("s3://bucket/x?secret_key=SECRET", "can't have the option 'secret_key'"),
        ("gs://bucket/../x", "leads outside"),
    ],
)
def test_uris_that_can_not_be_meant(uri, message):
    """Each is one line, and no secret stands in it."""
    with pytest.raises(InputError, match=message) as raised:
        place(uri)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "folder", "name"),
    [
        ("page.html", ".", "page.html"),
        ("a/b/page.html", "a/b", "page.html"),
        ("/page.html", "/", "page.html"),
        ("file:///page.html", "/", "page.html"),
        ("a/odd\\name?.html", "a", "odd\\name?.html"),
        ("s3://bucket/page.html", "s3://bucket", "page.html"),
        (
            "s3://bucket/a/page.html?endpoint_override=http://host:9000&region=x",
            "s3://bucket/a?endpoint_override=http://host:9000&region=x",
            "page.html",
        ),
    ],
)
def test_a_single_file_has_a_place_and_a_name(given, folder, name):
    """At the root too, and with a URI's options, which may hold slashes of their own."""
    found, called = file_at(given)
    assert (found.uri, called) == (folder, name)


@pytest.mark.slow
def test_a_folder_of_a_million_files_is_listed_sorted(tmp_path):
    """A million files in one folder: every one of them, in order, within a minute of processor time."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for number in range(1_000_000):
        os.close(os.open(f"{number:07d}.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    started = time.process_time()
    digest, count = hashlib.sha256(), 0
    for entry in place(str(tmp_path)).list():
        digest.update(entry.path.encode())
        count += 1
    assert time.process_time() - started < 60
    expected = hashlib.sha256(b"".join(b"%07d.jpg" % number for number in range(1_000_000)))
    assert (count, digest.hexdigest()) == (1_000_000, expected.hexdigest())
    for number in range(1_000_000):
        os.unlink(f"{number:07d}.jpg", dir_fd=folder)
    os.close(folder)
