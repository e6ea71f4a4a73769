"""Recipes: what is read, and how mistakes are named."""

from __future__ import annotations

import pytest

from facepipe.config import settings_of
from facepipe.errors import UsageError
from facepipe.stages.pipeline import plan_run
from facepipe.stages.recipes import read_recipe, shipped_recipes, write_recipe


@pytest.mark.parametrize("name", ["youtube_faces", "celeba", "lfw", "vggface2", "demo"])
def test_every_shipped_recipe_gives_checked_configs(name):
    """A shipped recipe names only options that exist, with values that hold."""
    assert name in shipped_recipes()
    assert len(plan_run("images", "data", read_recipe(name), {})) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[extract]\nlayout = 'lfw'\nmin-fac = 3\n",
            "line 3: there is no key in [extract] called 'min-fac'; did you mean min-face?",
        ),
        ("[extrakt]\n", "line 1: there is no table called 'extrakt'; did you mean extract?"),
        ("[shard]\nsize = '64'\n", "line 2: size is '64'; it must be a whole number"),
        ("[extract]\ntrack = 1\n", "line 2: track is 1; it must be true or false"),
        ("[split]\n\nworkers = true\n", "line 3: workers is True; it must be a whole number"),
        ("[extract\n", "can't be read"),
        ("x" * 10, "can't be read"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_right_key(tmp_path, text, message):
    """The user is told where, what, and what was probably meant."""
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_recipe(str(file))
    assert message in str(error.value)
    assert "\n" not in str(error.value).strip() or "can't be read" in message


def test_options_win_over_the_recipe(tmp_path):
    """`run` takes every stage's options, and what is given on the command line counts."""
    file = tmp_path / "recipe.toml"
    file.write_text("[extract]\nmin-face = 50\ncrop-size = 96\n[shard]\nnoise = 'blur:0.2'\nsize = 32\n")
    extract, _, _, pairs, faces = plan_run("i", "d", read_recipe(str(file)), {"min_face": 30.0, "noise": None})
    assert (extract.min_face, extract.crop_size) == (30.0, 96)
    assert (pairs.resolved_noise, pairs.size, pairs.resolved_color) == (("blur:0.2",), 32, "gray")
    assert (faces.resolved_noise, faces.size, faces.resolved_color) == ((), 32, "rgb")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"crop_size": 96, "track": False, "timeout_s": 5.5, "manifest": 'a "b" é.csv'},
        {"noise": ["none"], "color": "rgb", "examples": "pairs", "max_angle": 20.0, "limit": 7},
        {"noise": ["blur:0.1", "jpeg:0.5"], "keep_clean": False, "encoding": "png"},
    ],
)
@pytest.mark.parametrize("name", ["demo", "youtube_faces", "celeba"])
def test_a_saved_recipe_gives_the_same_run(tmp_path, name, given):
    """What `--save-recipe` writes is all that was said: of another recipe, and on the command line."""
    configs = plan_run("images", "data", read_recipe(name), given)
    write_recipe(str(tmp_path / "saved.toml"), configs)
    saved = plan_run("images", "data", read_recipe(str(tmp_path / "saved.toml")), {})
    assert [settings_of(config) for config in saved] == [settings_of(config) for config in configs]
    assert [config.output for config in saved] == [config.output for config in configs]
    assert saved[0] == configs[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"noise": ["nothing"]}, "--noise nothing: there is no kind 'nothing'; did you mean none?"),
        ({"noise": ["blur:2"]}, "--noise blur:2: 2 must lie above 0 and at most at 1"),
        ({"noise": ["none", "blur:0.1"]}, "--noise none can't stand beside other noise"),
        ({"noise": ["none"], "keep_clean": False}, "--no-keep-clean leaves nothing where there is no noise"),
        ({"examples": "faces", "keep_clean": False}, "--no-keep-clean leaves nothing where there is no noise"),
    ],
)
def test_impossible_noise_ends_a_run_before_it_starts(given, said):
    """Not after hours of extract, select and split."""
    with pytest.raises(UsageError) as error:
        plan_run("images", "data", {}, given)
    assert said in str(error.value)


def test_without_clean_copies_single_faces_are_made_all_the_same():
    """`run --no-keep-clean` is for the pairs: single faces have no noise unless asked, and are clean."""
    *_, pairs, faces = plan_run("images", "data", {}, {"keep_clean": False})
    assert (pairs.examples, pairs.keep_clean) == ("pairs", False)
    assert (faces.examples, faces.keep_clean) == ("faces", True)


def test_an_unknown_recipe_lists_the_shipped_ones():
    """A wrong name is answered with the right ones."""
    with pytest.raises(UsageError, match="youtube_faces"):
        read_recipe("youtub")


def test_a_folder_of_that_name_does_not_hide_a_shipped_recipe(tmp_path, monkeypatch):
    """`facepipe demo -o demo` makes a folder called like its recipe."""
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert set(read_recipe("demo")) == {"extract", "split", "shard"}
