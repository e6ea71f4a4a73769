"""Every file that the stages write, damaged in every way: `verify` names it, a rerun makes just that piece again."""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

from facepipe.execution.progress import QuietProgress
from facepipe.stages import verify
from facepipe.storage import place

sys.path.insert(0, str(Path(__file__).parent / "jobs"))

from people import contents, stages_of, write_people

DAMAGES = ("truncate", "empty", "flip", "delete")


FOLDERS = tuple(stages_of("data"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, astronaut) -> Path:
    """A whole workspace of eight people's photographs, verified."""
    data = tmp_path_factory.mktemp("damage") / "data"
    write_people(place(str(data / "images")), astronaut, 8, 5)
    for make in stages_of(str(data)).values():
        make()
    assert verify.run(str(data), QuietProgress()) == []
    return data


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
        data[random.Random(path.name).randrange(len(data))] ^= 4
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
    stages_of(str(copy))[folder]()
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


def test_a_byte_changed_anywhere_in_the_plan_is_named(workspace, tmp_path):
    """In its columns, whichever they are, and in its footer."""
    shutil.copytree(workspace / "faces", tmp_path / "faces")
    path = tmp_path / "faces" / "plan.pq"
    whole = path.read_bytes()
    for at in range(0, len(whole), len(whole) // 25):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        found = verify.run(str(tmp_path), QuietProgress())
        assert any("plan.pq is damaged" in problem.message for problem in found), at


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
    for make in stages_of(str(copy)).values():
        make()
    assert all(os.path.exists(copy / folder / "NOTES.txt") for folder in FOLDERS)
