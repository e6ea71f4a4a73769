"""Sizes of the input's files."""

from __future__ import annotations

import os

import pytest

from facepipe.schemas import UNKNOWN_SIZE
from facepipe.sources import sizes


@pytest.mark.parametrize("slow_s", [0.0, 60.0], ids=["many at once", "one after the other"])
def test_sizes_of_files_and_of_what_is_none(tmp_path, monkeypatch, slow_s):
    """In the order that was asked for, whether the disk is taken for a slow one or not."""
    monkeypatch.setattr(sizes, "_SLOW_S", slow_s)
    names = [f"{i:03}.jpg" for i in range(300)]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * i)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("007.jpg")
    (tmp_path / "broken.jpg").symlink_to("nothing")
    none = ["folder.jpg", "pipe.jpg", "broken.jpg", "missing.jpg", "no\0name.jpg"]
    asked = [*none, "link.jpg", *reversed(names)]
    assert sizes.local_sizes(str(tmp_path))(asked) == [UNKNOWN_SIZE] * len(none) + [7, *range(299, -1, -1)]
