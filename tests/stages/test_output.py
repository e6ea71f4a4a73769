"""An output folder: nothing that facepipe did not write is lost in it, or outside it."""

from __future__ import annotations

import shutil

import pytest
from facesets import hash_folder, make_rows, write_faces

from facepipe.config import Execution, SelectConfig, ShardConfig, SplitConfig
from facepipe.errors import OutputError, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import select, shard, split

pytestmark = pytest.mark.usefixtures("in_process")
QUIET = QuietProgress()
FORCE = Execution(overwrite=True)


@pytest.fixture
def data(tmp_path):
    """Faces and targets of four people."""
    folder = tmp_path / "data"
    write_faces(folder / "faces", make_rows(4, 6), 16)
    run_select(folder, folder / "targets")
    return folder


def run_select(data, output, **options):
    select.run(SelectConfig(str(data / "faces"), str(output), **options), QUIET)


def run_split(data, output, **options):
    split.run(SplitConfig(str(data / "faces"), str(data / "targets"), str(output), **options), QUIET)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["part-00000.parquet", "settings.json", "summary.json", "checksums.sha256"])
def test_files_of_somebody_else_are_refused(data, tmp_path, name, overwrite):
    """Whatever was asked for: they bear the names of ours, and nothing says that they are."""
    theirs = tmp_path / "spark"
    theirs.mkdir()
    (theirs / name).write_text("theirs")
    with pytest.raises(OutputError, match=f"spark holds {name}, which facepipe did not write there"):
        run_split(data, theirs, execution=Execution(overwrite=overwrite))
    assert (theirs / name).read_text() == "theirs"
    (theirs / name).rename(theirs / "notes.txt")
    run_split(data, theirs)
    assert (theirs / "notes.txt").read_text() == "theirs"


def test_settings_that_are_damaged_are_still_ours(data):
    run_split(data, data / "pairs")
    whole = hash_folder(data / "pairs")
    (data / "pairs" / "settings.json").write_text("{")
    run_split(data, data / "pairs")
    assert hash_folder(data / "pairs") == whole


def test_a_folder_called_scratch_and_what_a_link_leads_to_stay(data, tmp_path):
    precious = tmp_path / "precious"
    (precious / "deep").mkdir(parents=True)
    (precious / "deep" / "thesis.txt").write_text("mine")
    output = tmp_path / "out"
    shutil.copytree(precious, output / "scratch")
    (output / ".facepipe-scratch").symlink_to(precious)
    run_split(data, output)
    run_split(data, output, seed=3, execution=FORCE)
    assert (output / "scratch" / "deep" / "thesis.txt").read_text() == "mine"
    assert (precious / "deep" / "thesis.txt").read_text() == "mine"


def test_another_stage_s_folder_is_refused_even_with_overwrite(data, tmp_path):
    """What `extract` took hours for is not deleted by a mistaken path."""
    run_split(data, data / "pairs")
    before = {name: hash_folder(data / name) for name in ("faces", "targets", "pairs")}
    with pytest.raises(OutputError, match="faces holds what `facepipe extract` wrote"):
        run_split(data, data / "faces", execution=FORCE)
    with pytest.raises(OutputError, match="targets holds what `facepipe select` wrote"):
        run_split(data, data / "targets", execution=FORCE)
    with pytest.raises(OutputError, match="pairs holds what `facepipe split` wrote"):
        run_select(data, data / "pairs", execution=FORCE)
    shard.run(ShardConfig(str(data / "pairs"), str(data / "faces"), str(data / "shards"), size=16), QUIET)
    with pytest.raises(OutputError, match="holds what `facepipe shard` wrote"):
        run_select(data, data / "shards" / "pairs" / "1.0.0", execution=FORCE)
    assert {name: hash_folder(data / name) for name in before} == before


def test_pictures_that_lie_where_the_pairs_go_as_files_stay(data, tmp_path):
    """`train` and `test` are what everybody calls such folders."""
    images = tmp_path / "images"
    theirs = [
        images / "train" / "cats" / "my.png",
        images / "train" / "cats" / "sub" / "2.png",
        images / "test" / "x.png",
    ]
    for file in theirs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"theirs")
    run_split(data, data / "pairs", images=str(images))
    run_split(data, data / "pairs", images=str(images), seed=5, execution=FORCE)
    assert all(file.read_bytes() == b"theirs" for file in theirs)
    assert any(path.parts[-2] == "targets" for path in images.rglob("*.png"))


@pytest.mark.parametrize("folder", ["pairs", "faces", "targets"])
def test_pairs_as_files_need_a_folder_of_their_own(data, folder):
    with pytest.raises(UsageError, match="give a folder of its own"):
        run_split(data, data / "pairs", images=str(data / folder))
