"""Shards are found and described, and those that can't teach are refused with what to do."""

from __future__ import annotations

import json
import shutil

import pytest

from facepipe.errors import DamagedFile, InputError
from train.shards import ImageView, View, find_shards


def view(size=16, channels=1):
    return View((ImageView("feature", size, channels), ImageView("target", size, channels)))


@pytest.mark.parametrize("below", ["", "pairs", "pairs/1.0.0"])
def test_found_in_every_folder_above(pairs, below):
    """data/shards, the kind's folder and the version's folder all name the same shards."""
    shards = find_shards(str(pairs / below), "pairs")
    assert (shards.size, shards.channels, shards.encoding, shards.lengths) == (
        16,
        1,
        "raw",
        {"train": 40, "validation": 16},
    )
    assert [len(names) for names in shards.files.values()] == [2, 2]


def test_newest_version_by_number(pairs, tmp_path):
    """1.10.0 is newer than 1.9.0."""
    for version in ("1.9.0", "1.10.0"):
        shutil.copytree(pairs / "pairs" / "1.0.0", tmp_path / "pairs" / version)
    assert str(find_shards(str(tmp_path), "pairs").place).endswith("1.10.0")


def test_none(tmp_path):
    """An empty folder is answered with the command that makes shards."""
    with pytest.raises(InputError, match="facepipe shard --examples faces"):
        find_shards(str(tmp_path), "faces")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("features.json", "{", DamagedFile),
        ("run.json", "[]", DamagedFile),
        ("dataset_info.json", "[" * 100_000, DamagedFile),
        ("dataset_info.json", json.dumps({"fileFormat": "parquet", "splits": []}), InputError),
        ("run.json", json.dumps({"identities": {"train": ["a", "b"], "validation": ["b"]}}), InputError),
    ],
)
def test_description_refused(pairs, tmp_path, name, content, error):
    """A damaged description, another format, and an identity in two subsets."""
    shutil.copytree(pairs, tmp_path, dirs_exist_ok=True)
    (tmp_path / "pairs" / "1.0.0" / name).write_text(content)
    with pytest.raises(error):
        find_shards(str(tmp_path), "pairs")


def test_missing_shard(pairs, tmp_path):
    """One file of two is not taken for the whole."""
    shutil.copytree(pairs, tmp_path, dirs_exist_ok=True)
    next((tmp_path / "pairs" / "1.0.0").glob("pairs-train*")).unlink()
    with pytest.raises(InputError, match="1 of 2 train shards"):
        find_shards(str(tmp_path), "pairs")


@pytest.mark.parametrize("subset", ["train", "validation"])
def test_all_shards_of_a_subset_missing(pairs, tmp_path, subset):
    """A subset that was written and has no file left is not taken for one that never was."""
    shutil.copytree(pairs, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob(f"pairs-{subset}*"):
        path.unlink()
    with pytest.raises(DamagedFile, match=rf"lost all its {subset} shards.*`facepipe shard --examples pairs` again"):
        find_shards(str(tmp_path), "pairs")


@pytest.mark.parametrize(
    ("size", "channels", "said"),
    [(32, 1, "--size 32 --color gray"), (16, 3, "--size 16 --color rgb"), (32, 3, "--size 32 --color rgb")],
)
def test_too_small_or_gray(pairs, size, channels, said):
    """Pictures are never enlarged or coloured: the command that makes fitting shards is given."""
    with pytest.raises(InputError, match=said):
        find_shards(str(pairs), "pairs").check_fits(view(size, channels))


def test_resizing_is_said(make_pairs):
    """What the input does to the images is told, an image each."""
    shards = find_shards(str(make_pairs(channels=3)), "pairs")
    assert shards.check_fits(view(8, 1)) == [
        "feature: resized from 16 to 8 px as it is read",
        "feature: turned to gray as it is read",
        "target: resized from 16 to 8 px as it is read",
        "target: turned to gray as it is read",
    ]
    assert shards.check_fits(view(16, 3)) == []
