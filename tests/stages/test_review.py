"""review: a person's corrections, checked against the faces before `select` has to refuse them."""

from __future__ import annotations

import pytest
from facesets import make_rows, write_faces

from facepipe.config import SelectConfig
from facepipe.errors import InputError, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import review, select
from facepipe.storage import parquet, place


@pytest.fixture
def workspace(tmp_path):
    """Three people with eight usable frames each, in two videos; one is missing its last."""
    write_faces(tmp_path / "faces", make_rows(3, 9))
    return tmp_path


def choose(workspace, **options):
    config = SelectConfig(str(workspace / "faces"), str(workspace / "targets"), **options)
    return select.run(config, QuietProgress())


def given(workspace, text):
    file = workspace / "corrections.csv"
    file.write_text(text)
    return str(file)


def test_corrections_become_overrides_that_select_honours(workspace):
    """Sorted by key, whatever the order they came in; by default beside the faces."""
    lines = ["p001/v1/0004.jpg#0,target", "p000/v0/0002.jpg#0, drop "]
    told = review.run(given(workspace, "\n".join(["key,action", *lines, ""])), str(workspace))
    written = workspace / "overrides.csv"
    assert written.read_text() == "key,action\np000/v0/0002.jpg#0,drop\np001/v1/0004.jpg#0,target\n"
    assert told.startswith(f"{written}: 1 faces to drop, 1 targets; now run `facepipe run` again")
    choose(workspace, overrides=str(written))
    rows = parquet.read_table(place(str(workspace / "targets")), "targets.parquet").to_pylist()
    assert rows[1]["target_key"] == "p001/v1/0004.jpg#0"
    assert "p000/v0/0002.jpg#0" not in [rows[0]["target_key"], *rows[0]["runner_up_keys"]]


TWO = "key,action\np000/v0/0001.jpg#0,target\np000/v1/0005.jpg#0,target\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,action\np000/v0/0001.jpg#00,drop\n", r"line 2: there is no face .* did you mean 'p000/v0/0001.jpg#0'\?"),
        ("key,action\np000/v0/0001.jpg#0,keep\n", "line 2: the action is 'keep'; it can be drop or target"),
        ("key,action\np000/v2/0008.jpg#-1,drop\n", "line 2: there is no face"),
        (TWO, "line 3: 'p000' has two targets, 'p000/v0/0001.jpg#0' and 'p000/v1/0005.jpg#0'"),
        ("key,action\np000/v0/0001.jpg#0,target\np000/v0/0001.jpg#0,drop\n", "line 3: .* is both dropped and a target"),
        ("key\np000/v0/0001.jpg#0\n", "no column 'action'"),
    ],
)
def test_corrections_that_can_t_be_meant(workspace, text, said):
    """Each is refused in one line that says where, and nothing is written."""
    with pytest.raises(UsageError, match=said):
        review.run(given(workspace, text), str(workspace))
    assert not (workspace / "overrides.csv").exists()


def test_every_video_may_have_a_target_where_targets_are_chosen_per_video(workspace):
    """Two of one video are refused there too."""
    choose(workspace, per="video")
    review.run(given(workspace, TWO), str(workspace))
    choose(workspace, per="video", overrides=str(workspace / "overrides.csv"))
    rows = parquet.read_table(place(str(workspace / "targets")), "targets.parquet").to_pylist()
    assert [row["target_key"] for row in rows[:2]] == ["p000/v0/0001.jpg#0", "p000/v1/0005.jpg#0"]
    with pytest.raises(UsageError, match="'p000 v0' has two targets"):
        review.run(given(workspace, TWO.replace("v1/0005", "v0/0003")), str(workspace))


def test_a_workspace_without_faces_or_a_missing_file(workspace, tmp_path_factory):
    """Both are told in a line."""
    with pytest.raises(InputError, match=r"can't read .*nothing\.csv"):
        review.run(str(workspace / "nothing.csv"), str(workspace))
    with pytest.raises(InputError, match="holds no faces"):
        review.run(given(workspace, TWO), str(tmp_path_factory.mktemp("empty")))
