from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from facepipe.storage import place
from facepipe.storage.checksums import CHECKSUMS, file_sha256, read_checksums, verify_files, write_checksums


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
    """`sha256sum -c` accepts the file, names with line breaks and backslashes included; the lines are sorted."""
    root.write("odd\n\\name", b"1")
    write_checksums(root, {path: file_sha256(root, path) for path in ("z", "a", "b/c", "odd\n\\name")})
    check = subprocess.run(
        ["sha256sum", "-c", CHECKSUMS], cwd=root.local_path(), capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stdout.count("OK")) == (0, 4)
    assert list(read_checksums(root)) == ["a", "b/c", "odd\n\\name", "z"]


def test_half_a_line_does_not_count(root):
    """As a run that was killed may leave it."""
    write_checksums(root, {"a": sha256(b"a")})
    with open(root.local_path(CHECKSUMS), "ab") as file:
        file.write(sha256(b"b").encode()[:30])
    assert read_checksums(root) == {"a": sha256(b"a")}


@pytest.mark.parametrize("damage", ["truncate", "empty", "flip", "delete", "grow"])
@pytest.mark.parametrize("path", ["a", "b/c"])
def test_verify_names_every_damaged_file(damage, path, root):
    """Truncated, emptied, one bit flipped, deleted, longer: one error, with the file's name in it."""
    write_checksums(root, {name: file_sha256(root, name) for name in ("a", "b/c", "z")})
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
