"""Every file that the stages write, damaged in every way: `verify` names it, a rerun makes just that piece again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from facepipe.config import Execution, ExtractConfig, SelectConfig, ShardConfig, SplitConfig
from facepipe.execution.progress import QuietProgress
from facepipe.stages import extract, select, shard, split, verify
from facepipe.storage import place

sys.path.insert(0, str(Path(__file__).parent / "jobs"))

from people import write_people

ONE = Execution(workers=1)
DAMAGES = ("truncate", "empty", "flip", "delete")


def stages(data: Path) -> dict:
    """Folder below `data` -> what makes it."""
    names = {name: str(data / name) for name in ("images", "faces", "targets", "pairs", "shards")}
    extracting = ExtractConfig(input=names["images"], output=names["faces"], part_size=16, min_face=30, execution=ONE)
    selecting = SelectConfig(input=names["faces"], output=names["targets"], execution=ONE)
    splitting = SplitConfig(faces=names["faces"], targets=names["targets"], output=names["pairs"], validation=0.3)
    sharding = ShardConfig(
        input=names["pairs"], faces=names["faces"], output=names["shards"], shards=3, size=16, execution=ONE
    )
    return {
        "faces": lambda: extract.run(extracting, QuietProgress()),
        "targets": lambda: select.run(selecting, QuietProgress()),
        "pairs": lambda: split.run(splitting, QuietProgress()),
        "shards/pairs/1.0.0": lambda: shard.run(sharding, QuietProgress()),
    }


FOLDERS = tuple(stages(Path()))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, astronaut) -> Path:
    """A whole workspace of eight people's photographs, verified."""
    data = tmp_path_factory.mktemp("damage") / "data"
    write_people(place(str(data / "images")), astronaut, 8, 5)
    for make in stages(data).values():
        make()
    assert verify.run(str(data), QuietProgress()) == []
    return data


def contents(folder: Path) -> dict[str, str]:
    """Every file with the hash of its bytes; of `run.json` what may not differ."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.name == "run.json":
            data = json.dumps(json.loads(data)["counts"], sort_keys=True).encode()
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every part, target and shard: they change when a file is made again."""
    names = [path for path in folder.rglob("*") if is_piece(path)]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in names}


def is_piece(path: Path) -> bool:
    """Parts, targets and shards: what costs work to make."""
    return (path.suffix == ".parquet" and path.name != "parts.parquet") or ".tfrecord-" in path.name


def harm(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
        return
    if how == "flip":
        data[random.Random(str(path)).randrange(len(data))] ^= 4
    path.write_bytes({"truncate": data[: len(data) * 2 // 3], "empty": b"", "flip": data}[how])


def damage_and_repair(workspace: Path, copy: Path, name: str, how: str) -> None:
    """One damage: named, then repaired by its stage alone, which makes no other part, target or shard again."""
    shutil.copytree(workspace, copy, symlinks=True)
    folder = next(folder for folder in FOLDERS if name.startswith(f"{folder}/"))
    path = copy / name
    harm(path, how)
    before = written(copy)
    before.pop(str(path), None)
    problems = verify.run(str(copy), QuietProgress())
    assert any(problem.path.endswith(path.name) or path.name in problem.message for problem in problems), problems
    stages(copy)[folder]()
    assert contents(copy / folder) == contents(workspace / folder)
    assert verify.run(str(copy), QuietProgress()) == []
    if is_piece(path):
        after = written(copy)
        assert {name: after[name] for name in before} == before
    shutil.rmtree(copy)


def files_of(workspace: Path, folder: str) -> list[str]:
    return sorted(str(path.relative_to(workspace)) for path in (workspace / folder).rglob("*") if path.is_file())


@pytest.mark.parametrize(("folder", "how"), list(zip(FOLDERS, DAMAGES, strict=True)))
def test_damage_is_named_and_repaired(folder, how, workspace, tmp_path):
    """One file of every stage, each in another way."""
    data_files = [name for name in files_of(workspace, folder) if name.endswith(".parquet") or ".tfrecord-" in name]
    damage_and_repair(workspace, tmp_path / "data", random.Random(folder).choice(data_files), how)


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_damage_to_every_file_is_named_and_repaired(folder, how, workspace, tmp_path):
    """Every part, shard, target, settings, plan, checksum and information file, in turn."""
    names = files_of(workspace, folder)
    assert len(names) >= 4
    for name in names:
        damage_and_repair(workspace, tmp_path / "data", name, how)


def test_files_that_are_not_ours_are_left_alone(workspace, tmp_path):
    """A note that a person put into an output is neither damage nor removed by a rerun."""
    copy = tmp_path / "data"
    shutil.copytree(workspace, copy)
    for folder in FOLDERS:
        (copy / folder / "NOTES.txt").write_text("checked by hand")
    assert verify.run(str(copy), QuietProgress()) == []
    for make in stages(copy).values():
        make()
    assert all(os.path.exists(copy / folder / "NOTES.txt") for folder in FOLDERS)
