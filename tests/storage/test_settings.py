"""settings.json: goes on with equal settings, refuses others by name, notices damage."""

from __future__ import annotations

import pytest

from facepipe.config import CONFIGS, STAGES, settings_of
from facepipe.errors import DamagedFile, SettingsChanged
from facepipe.options import options_of
from facepipe.storage import place, settings

GIVEN = {"crop_size": 128, "noise": ["gaussian:0.1"], "inputs": {"plan": "abc"}}


@pytest.fixture
def folder(tmp_path):
    return place(str(tmp_path))


def test_equal_settings_go_on(folder):
    """They are read back, their digest is that of the file's bytes; tuples and lists are the same; an empty folder is begun."""
    begun = settings.check_settings(folder, GIVEN, overwrite=False)
    digest = settings.write_settings(folder, GIVEN)
    assert (settings.read_settings(folder), settings.digest_settings(GIVEN)) == (GIVEN, digest)
    again = settings.check_settings(folder, {**GIVEN, "noise": ("gaussian:0.1",)}, overwrite=False)
    assert (begun, again) == (False, True)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"crop_size": 96}, "crop_size: 128 -> 96"),
        ({"inputs": {"plan": "abd"}}, 'inputs.plan: "abc" -> "abd"'),
        ({"extra": True}, "extra: nothing -> true"),
    ],
)
def test_other_settings_are_refused(folder, changed, difference):
    """The error names the setting, its old and its new value; --overwrite starts afresh."""
    settings.write_settings(folder, GIVEN)
    with pytest.raises(SettingsChanged, match="--overwrite") as caught:
        settings.check_settings(folder, {**GIVEN, **changed}, overwrite=False)
    assert difference in str(caught.value)
    assert settings.check_settings(folder, {**GIVEN, **changed}, overwrite=True) is False
    assert settings.check_settings(folder, {**GIVEN, **changed}, overwrite=False, ignore=changed) is True


def test_every_damaged_byte_is_noticed(folder):
    """A bit flipped anywhere, a cut and an empty file are damage; the stage then starts afresh."""
    settings.write_settings(folder, GIVEN)
    good = folder.read(settings.NAME)
    broken = [good[:i] + bytes([good[i] ^ 2]) + good[i + 1 :] for i in range(len(good) - 1)]
    for content in [*broken, good[:-20], b""]:
        folder.write(settings.NAME, content, durable=False)
        try:
            found = settings.read_settings(folder)
        except DamagedFile:
            assert settings.check_settings(folder, GIVEN, overwrite=False) is False
        else:  # white space is not part of the settings
            assert found == GIVEN


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_is_named_as_on_the_command_line(stage):
    """Where an option sets what differs, the difference names that option, whatever the field is called."""
    before = settings_of(CONFIGS[stage]())
    after = {name: not value if isinstance(value, bool) else 3 for name, value in before.items()}
    told = settings.compare_settings(before | {"stage": stage}, after | {"stage": stage})
    options = options_of(CONFIGS[stage])
    named = [line.split()[0] for line in told if line.startswith("--")]
    assert named == [f"--{options[name].name}" for name in sorted(before)]


@pytest.mark.parametrize(
    ("stage", "changed", "difference"),
    [
        ("select", {"max_angle": 20.0}, "--max-angle no limit -> 20"),
        ("extract", {"crop_size": 64}, "--crop-size 128 -> 64"),
        ("extract", {"track": False}, "--track -> --no-track"),
        ("extract", {"cropped": True}, "--cropped not given -> --cropped"),
        ("extract", {"margin": 0.0}, "--margin 0.3 -> 0"),
        ("extract", {"align": "arcface"}, "--align box -> arcface"),
        ("split", {"validation": 0}, "--validation 0.1 -> 0"),
        ("split", {"test": 0.5}, "--test 0 -> 0.5"),
        ("shard", {"noise": []}, "--noise gaussian:0.03,0.06,0.09,0.1 -> none"),
        ("shard", {"noise": ["gaussian:0.1", "speckle:0.1"]}, "0.1 -> gaussian:0.1 and speckle:0.1"),
        ("shard", {"shards": 16}, "--shards one per 128 MB -> 16"),
        ("split", {"inputs": {"faces": "abc"}}, 'inputs.faces: nothing -> "abc"'),
    ],
)
def test_values_are_told_as_the_command_line_has_them(stage, changed, difference):
    """None and defaults as in the help, flags by their names; a setting that is no option keeps its name."""
    before = settings_of(CONFIGS[stage]()) | {"stage": stage}
    (told,) = settings.compare_settings(before, before | changed)
    assert told.endswith(difference)
