from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from facepipe.errors import OutputError
from facepipe.storage import place, share_lock

HOLD = (
    "import sys, time; from facepipe.storage import share_lock; from facepipe.storage import place\n"
    "with share_lock(place(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])):\n"
    "    print('held', flush=True); sys.stdin.read()"
)


def hold(folder, k: int = 1, n: int = 1) -> subprocess.Popen:
    """Another process that holds a share's lock until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(k), str(n)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.held = process.stdout.readline()
    return process


def test_a_second_run_of_one_share_is_refused(tmp_path):
    """The error names the process and the machine; when the first has ended, the second may."""
    with hold(tmp_path / "out") as first:
        with (
            pytest.raises(
                OutputError, match=rf"another run \(process {first.pid} on {socket.gethostname()}\) is writing"
            ),
            share_lock(place(str(tmp_path / "out"))),
        ):
            pass
        second = hold(tmp_path / "out")
        assert (second.held, second.wait()) == ("", 1)
        second.communicate()
        with share_lock(place(str(tmp_path / "out")), 2, 10), share_lock(place(str(tmp_path / "out")), 3, 10):
            pass  # ten machines may write their shares into one output at the same time
        first.stdin.close()
    with share_lock(place(str(tmp_path / "out"))):
        pass
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_the_lock_of_a_dead_process_is_not_in_the_way(number, tmp_path):
    """It ends with its process, though its file is still there."""
    with hold(tmp_path) as first:
        first.send_signal(number)
    assert os.listdir(tmp_path) == [".facepipe-1-of-1.lock"]
    with share_lock(place(str(tmp_path))):
        pass
    assert os.listdir(tmp_path) == []


def test_of_many_at_once_one_gets_it(tmp_path):
    """Six processes that start together: never two of them hold it."""
    code = (
        "import os, sys, time; from facepipe.errors import OutputError\n"
        "from facepipe.storage import share_lock; from facepipe.storage import place\n"
        "sys.stdin.read()\n"
        "for _ in range(40):\n"
        "    try:\n"
        "        with share_lock(place(sys.argv[1])):\n"
        "            os.close(os.open(sys.argv[1] + '/inside', os.O_CREAT | os.O_EXCL))\n"
        "            time.sleep(0.001); os.unlink(sys.argv[1] + '/inside'); print('in')\n"
        "    except OutputError:\n"
        "        time.sleep(0.001)"
    )
    crowd = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    for process in crowd:
        process.stdin.close()
        process.stdin = None
    entered = [process.communicate()[0].count(b"in") for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 6
    assert sum(entered) > 6


def test_an_output_that_can_not_be_written_is_said_so(tmp_path):
    """A file where the output folder should be: one line. An object store needs no lock, and is not asked."""
    with share_lock(place("s3://bucket-that-is-nowhere/out")):
        pass  # there a part written twice is the same bytes, each in one put
    (tmp_path / "out").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="a file stands where a folder is needed"),
        share_lock(place(str(tmp_path / "out"))),
    ):
        pass


def test_nothing_is_written_through_a_symbolic_link(tmp_path):
    """Where the lock, its folder or an output is a link that was there before, what it leads to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    root = place(str(tmp_path / "out"))
    root.write("other", b"")
    for name in (".facepipe-1-of-1.lock", "checksums.sha256"):
        (tmp_path / "out" / name).symlink_to(victim)
    with (
        pytest.raises(OutputError, match=r"\.lock: a symbolic link stands there, .*; move it away, or give another"),
        share_lock(root),
    ):
        pass
    root.write("checksums.sha256", b"ours")
    assert (root.read("checksums.sha256"), victim.read_text()) == (b"ours", "mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / ".facepipe-scratch").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="a symbolic link stands there"):
        root.join(".facepipe-scratch").write("x", b"")
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(number, tmp_path, monkeypatch):
    """A second run is refused there too, with what to do; nobody's unfinished file is removed."""

    def flock(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    root = place(str(tmp_path))
    with share_lock(root):
        with (
            pytest.raises(OutputError, match=rf"another run \({os.getpid()} .*if no such process runs, remove"),
            share_lock(root),
        ):
            pass
        with root.open_output("part") as file:
            file.write(b"whole")
            assert root.clean_leftovers() == 0
    assert os.listdir(tmp_path) == ["part"]
    with share_lock(root):
        pass
