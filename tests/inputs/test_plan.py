"""What a new plan changes of the one before."""

from __future__ import annotations

from facepipe.inputs.listing import Group, ListingBuilder
from facepipe.inputs.plan import changes_since, make_plan, write_plan
from facepipe.storage import place


def plan_of(*paths):
    builder = ListingBuilder()
    builder.add(Group("person", "", "", paths))
    return make_plan(builder.finish("identity", []).to_arrow(), [len(paths)], "settings")


def changed(folder, before, after):
    """How many files a plan leaves out of the one before, and adds."""
    write_plan(place(str(folder)), plan_of(*before))
    changes = changes_since(place(str(folder)), plan_of(*after))
    return changes.removed, changes.added


def test_a_folder_that_can_be_read_now_has_lost_nothing(tmp_path):
    """A folder without permission is listed by its own name; once it can be read, its files are new and none is gone."""
    assert changed(tmp_path, ["a/1.jpg", "b"], ["a/1.jpg", "b/1.jpg", "b/2.jpg"]) == (0, 2)
    assert changed(tmp_path, ["a/1.jpg", "b/x"], ["a/1.jpg", "b/x/y/1.jpg"]) == (0, 1)


def test_files_that_have_gone_are_counted(tmp_path):
    """So are those of a folder that was renamed, and of one that can't be read any more."""
    assert changed(tmp_path, ["a/1.jpg", "b/1.jpg"], ["a/1.jpg"]) == (1, 0)
    assert changed(tmp_path, ["a/1.jpg", "b/1.jpg"], ["a/1.jpg", "bb/1.jpg"]) == (1, 1)
    assert changed(tmp_path, ["b/1.jpg", "b/2.jpg"], ["b"]) == (2, 1)
