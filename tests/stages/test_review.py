"""review: a person's corrections, checked against the faces before `select` has to refuse them."""

from __future__ import annotations

import pytest
from facesets import make_rows, write_faces

from facepipe.config import SelectConfig
from facepipe.errors import InputError, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import pipeline, review, select, verify
from facepipe.storage import parquet, place
from facepipe.storage.tfrecord import decode_example, read_records


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
    assert told.startswith(f"{written}: 1 drop, 1 target; now run `facepipe run` again")
    choose(workspace, overrides=str(written))
    rows = parquet.read_table(place(str(workspace / "targets")), "targets.parquet").to_pylist()
    assert rows[1]["target_key"] == "p001/v1/0004.jpg#0"
    assert "p000/v0/0002.jpg#0" not in [rows[0]["target_key"], *rows[0]["runner_up_keys"]]


def test_faces_of_other_people_are_theirs_in_all_that_follows(workspace):
    """One goes to somebody who is there, one is the target of somebody new; without the corrections all is as before."""
    lines = ["p000/v0/0002.jpg#0,person,p001", "p002/v0/0003.jpg#0,target,Ada", "p002/v1/0004.jpg#0,person,Ada"]
    told = review.run(given(workspace, "\n".join(["key,action,identity", *lines, ""])), str(workspace))
    assert "1 target, 2 person; now" in told

    def run():
        given = {"overwrite": None, "noise": ["none"], "validation": 0.5, "workers": 1, "dry_run": None}
        corrections = {"select": pipeline.corrections_of(str(workspace))}
        for config in pipeline.plan_run("", str(workspace), corrections, given)[1:]:
            pipeline.run_stage(config, QuietProgress())
        # The faces here were written without `extract`, so they lack its run file.
        assert [p for p in verify.run(str(workspace), QuietProgress()) if "faces/run.json" not in p.path] == []
        table = parquet.read_table(place(str(workspace / "targets")), "targets.parquet")
        pairs = [row for _, part in parquet.iterate_parts(place(str(workspace / "pairs"))) for row in part.to_pylist()]
        shards = workspace.glob("shards/faces/1.0.0/*.tfrecord*")
        names = [decode_example(record) for file in shards for record in read_records(file.open("rb"), str(file))]
        return table.to_pylist(), pairs, {name["key"][0].decode(): name["identity"][0].decode() for name in names}

    targets, pairs, faces = run()
    assert {row["identity"]: row["target_key"] for row in targets}["Ada"] == "p002/v0/0003.jpg#0"
    assert [row["feature_key"] for row in pairs if row["identity"] == "Ada"] == ["p002/v1/0004.jpg#0"]
    assert [row["frames"] for row in targets] == [2, 7, 9, 6]
    assert [faces[line.split(",")[0]] for line in lines] == ["p001", "Ada", "Ada"]
    (workspace / "overrides.csv").write_text("key,action\n")  # all undone
    targets, pairs, faces = run()
    assert [row["identity"] for row in targets] == ["p000", "p001", "p002"]
    assert {key.split("/")[0] == identity for key, identity in faces.items()} == {True}


TWO = "key,action\np000/v0/0001.jpg#0,target\np000/v1/0005.jpg#0,target\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,action\np000/v0/0001.jpg#00,drop\n", r"line 2: there is no face .* did you mean 'p000/v0/0001.jpg#0'\?"),
        (
            "key,action\np000/v0/0001.jpg#0,keeep\n",
            "line 2: the action is 'keeep'; it can be drop, keep, target or person",
        ),
        ("key,action\np000/v2/0008.jpg#-1,drop\n", "line 2: there is no face"),
        (TWO, "line 3: 'p000' has two targets, 'p000/v0/0001.jpg#0' and 'p000/v1/0005.jpg#0'"),
        ("key,action\np000/v0/0001.jpg#0,target\np000/v0/0001.jpg#0,drop\n", "line 3: .* is both dropped and a target"),
        ("key,action\np000/v0/0001.jpg#0,person\n", "line 2: it does not say whose face it is"),
        (
            "key,action,identity\np000/v0/0001.jpg#0,person,b\np000/v0/0001.jpg#0,person,c\n",
            "line 3: .* is there twice",
        ),
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
