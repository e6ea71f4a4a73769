from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from facepipe.checksums import CHECKSUMS, Journal, file_sha256, read_checksums, verify_files
from facepipe.storage import place


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def root(tmp_path):
    """A folder with three files."""
    folder = place(str(tmp_path))
    for name in ("a", "b/c", "z"):
        folder.write(name, name.encode() * 1000)
    return folder


def test_a_file_s_checksum(root):
    """It is the SHA-256 of its bytes, also of more than one piece."""
    root.write("big", b"x" * 3_000_001)
    assert file_sha256(root, "big") == sha256(b"x" * 3_000_001)


def test_checksums_are_what_sha256sum_checks(root):
    """`sha256sum -c` accepts the file, names with line breaks and backslashes included."""
    root.write("odd\n\\name", b"1")
    journal = Journal(root)
    for path in ("z", "a", "b/c", "odd\n\\name"):
        journal.add(path, file_sha256(root, path))
    journal.finish()
    check = subprocess.run(
        ["sha256sum", "-c", CHECKSUMS], cwd=root.local_path(), capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stdout.count("OK")) == (0, 4)
    assert list(read_checksums(root)) == ["a", "b/c", "odd\n\\name", "z"]


def test_lines_are_there_before_the_end_and_a_torn_one_does_not_count(root):
    """What a killed run noted is known to the next; half a line at the end spoils neither itself nor what follows."""
    first = Journal(root)
    first.add("a", sha256(b"a"))
    with open(root.local_path(CHECKSUMS), "ab") as file:
        file.write(sha256(b"b").encode()[:30])
    second = Journal(root)
    assert second.known() == {"a": sha256(b"a")}
    second.add("z", sha256(b"z"))
    assert read_checksums(root) == {"a": sha256(b"a"), "z": sha256(b"z")}


def test_the_end_is_the_same_however_often_a_run_was_stopped(root):
    """Sorted, each file once with its last checksum, files that are gone left out."""
    once = Journal(root)
    for path in ("a", "b/c", "z"):
        once.add(path, file_sha256(root, path))
    once.finish()
    undisturbed = root.read(CHECKSUMS)
    root.delete(CHECKSUMS)
    for path in ("z", "gone", "a", "z", "b/c"):
        Journal(root).add(path, sha256(b"old"))
    last = Journal(root)
    for path in ("b/c", "z", "a"):
        last.add(path, file_sha256(root, path))
    last.finish()
    assert root.read(CHECKSUMS) == undisturbed


def test_shares_keep_their_own_file_until_all_is_done(root):
    """Machines never write the same checksum file; the last one gathers them, and none is lost."""
    shares = [Journal(root, k, 3) for k in (1, 2, 3)]
    for share, path in zip(shares, ("a", "b/c", "z"), strict=True):
        share.add(path, file_sha256(root, path))
    shares[0].finish()
    shares[1].finish(complete=False)
    assert {entry.path for entry in root.list()} == {"a", "b/c", "z"} | {
        f"checksums-{k}-of-3.sha256" for k in (1, 2, 3)
    }
    shares[2].finish(complete=True)
    assert {entry.path for entry in root.list()} == {"a", "b/c", "z", CHECKSUMS}
    assert set(read_checksums(root)) == {"a", "b/c", "z"}
    assert list(verify_files(root)) == []


def test_the_last_word_on_a_file_counts(root):
    """A share that made a file anew after all were done, and one that ended before it removed its own lines."""
    whole = Journal(root)
    whole.add("a", sha256(b"old"))
    whole.finish()
    share = Journal(root, 2, 3)
    share.add("a", sha256(b"new"))
    share.finish(complete=True)
    assert read_checksums(root) == {"a": sha256(b"new")}
    root.write("checksums-2-of-3.sha256", f"{sha256(b'old')}  a\n".encode())
    assert read_checksums(root) == {"a": sha256(b"new")}


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "delete", "grow"])
@pytest.mark.parametrize("path", ["a", "b/c", "z"])
def test_verify_names_every_damaged_file(damage, path, root):
    """Truncated, emptied, one bit flipped, deleted, longer: one error, with the file's name in it."""
    journal = Journal(root)
    for name in ("a", "b/c", "z"):
        journal.add(name, file_sha256(root, name))
    journal.finish()
    data, local = root.read(path), root.local_path(path)
    if damage == "delete":
        os.unlink(local)
    else:
        flipped = data[:500] + bytes([data[500] ^ 1]) + data[501:]
        changed = {"truncate": data[:-1], "empty": b"", "flip": flipped, "grow": data + b"\0"}[damage]
        with open(local, "wb") as file:
            file.write(changed)
    [error] = verify_files(root)
    assert f"{root.uri}/{path} is {'missing' if damage == 'delete' else 'damaged'}" in str(error)
