"""settings.json: goes on with equal settings, refuses others by name, notices damage."""

from __future__ import annotations

import pytest

from facepipe import settings
from facepipe.errors import DamagedFile, SettingsChanged
from facepipe.storage import place

GIVEN = {"crop_size": 128, "noise": ["gaussian:0.1"], "inputs": {"plan": "abc"}}


@pytest.fixture
def folder(tmp_path):
    return place(str(tmp_path))


def test_settings_read_back(folder):
    """What was written is read back, and the digest is that of the file's bytes."""
    digest = settings.write_settings(folder, GIVEN)
    assert (settings.read_settings(folder), settings.digest_settings(GIVEN)) == (GIVEN, digest)


def test_equal_settings_go_on(folder):
    """Tuples and lists are the same setting; an empty folder is begun."""
    begun = settings.check_settings(folder, GIVEN, overwrite=False)
    settings.write_settings(folder, GIVEN)
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
