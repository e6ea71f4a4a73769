"""The library takes what can be meant, and says in one line what can't."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import cv2
import numpy as np
import pytest

import facepipe
from facepipe.config import PartOf
from facepipe.errors import InputError, UsageError
from facepipe.options import options_of

ONE = {"workers": 1}


@pytest.fixture
def photographs(tmp_path, astronaut):
    """Four pictures of two people below `images`."""
    for person in ("anna", "berta"):
        (tmp_path / "images" / person).mkdir(parents=True)
        for number, side in enumerate((512, 400)):
            image = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(tmp_path / "images" / person / f"{number}.jpg"), image[..., ::-1])
    return tmp_path


def test_every_path_may_be_a_path(photographs):
    """All stages, the check and the rows take `pathlib.Path`."""
    data = photographs
    (data / "list.csv").write_text("path,identity\nanna/0.jpg,anna\nanna/1.jpg,anna\n")
    (data / "overrides.csv").write_text("key,action\n")
    facepipe.extract(input=data / "images", output=data / "faces", manifest=data / "list.csv", **ONE)
    embedded = facepipe.embed(input=data / "faces", output=data / "embeddings", **ONE)
    assert embedded.counts["embeddings"] == 2
    facepipe.select(input=data / "faces", output=data / "targets", overrides=data / "overrides.csv", **ONE)
    pairs = {"faces": data / "faces", "targets": data / "targets", "output": data / "pairs", "images": data / "files"}
    facepipe.split(facepipe.SplitConfig(**pairs, validation=0, execution=facepipe.Execution(workers=1)))
    facepipe.shard(input=data / "pairs", faces=data / "faces", output=data / "shards", noise="gaussian:0.1", **ONE)
    assert facepipe.verify(data) == []
    assert facepipe.open_faces(data / "faces").count_rows() == 2


def test_how_it_runs_may_stand_beside_what_it_does(photographs):
    """`workers`, `dry_run` and a share as text are taken for what they mean."""
    done = facepipe.extract(input=photographs / "images", output=photographs / "faces", dry_run=True, part_of="1/2")
    assert not (photographs / "faces").exists()
    assert done.notes


def test_a_config_and_options_are_not_mixed(photographs):
    """Options beside a config are refused, not dropped."""
    config = facepipe.ExtractConfig(input=photographs / "images", output=photographs / "faces")
    with pytest.raises(UsageError, match="limit beside a config would be left out"):
        facepipe.extract(config, limit=3)
    with pytest.raises(UsageError, match="workers beside execution would be left out"):
        facepipe.extract(input="a", workers=2, execution=facepipe.Execution())
    with pytest.raises(UsageError, match="instead of a facepipe"):
        facepipe.select(config)
    assert not (photographs / "faces").exists()


@pytest.mark.parametrize(
    ("stage", "options", "said"),
    [
        ("extract", {"crop_size": "64"}, "--crop-size is '64'; it must be a whole number"),
        ("extract", {"crop_size": 64.5}, "--crop-size is 64.5; it must be a whole number"),
        ("extract", {"workers": "2"}, "--workers is '2'; it must be a whole number"),
        ("extract", {"overwrite": 1}, "--overwrite is 1; it must be True or False"),
        ("extract", {"execution": 2}, "execution is 2; it must be a facepipe.Execution"),
        ("extract", {"part_of": 3}, "--part-of is 3; give K/N"),
        ("extract", {"part_of": "3"}, "--part-of is '3'; give K/N"),
        ("extract", {"min_face": "40"}, "--min-face is '40'; it must be a number"),
        ("extract", {"min_face": float("nan")}, "--min-face is nan; it must lie between"),
        ("extract", {"input": 3}, "--input is 3; it must be a text or a path"),
        ("extract", {"input": b"images"}, "--input is b'images'; it must be a text or a path"),
        ("extract", {"layout": ["lfw"]}, "--layout is ['lfw']; it must be a text"),
        ("extract", {"crop_sise": 64}, "there is no option 'crop_sise'; did you mean crop_size?"),
        ("select", {"max_angle": "20"}, "--max-angle is '20'; it must be a number"),
        ("split", {"seed": "1"}, "--seed is '1'; it must be a whole number"),
        ("shard", {"noise": 0.1}, "--noise is 0.1; it must be a text or a list of texts"),
        ("shard", {"noise": [0.1]}, "--noise is [0.1]; it must be a text or a list of texts"),
        ("shard", {"keep_clean": "no"}, "--keep-clean is 'no'; it must be True or False"),
    ],
)
def test_a_wrong_type_is_named(stage, options, said, tmp_path, monkeypatch):
    """One line with the option's name, before any work."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        getattr(facepipe, stage)(**options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_path_made_of_a_uri_is_refused(tmp_path, monkeypatch):
    """`Path("s3://bucket")` is a local folder `s3:`, which nobody means."""
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="give a URI as text"):
        facepipe.extract(input=Path("s3://bucket/images"))
    with pytest.raises(UsageError, match="give a URI as text"):
        facepipe.open_faces(Path("gs://bucket/faces"))


def test_numbers_of_numpy_are_numbers():
    """They are kept as Python's own, so that the settings are the same."""
    config = facepipe.ExtractConfig(crop_size=np.int64(64), min_face=np.float32(50), part_of="2/3", limit=None)
    assert config == facepipe.ExtractConfig(crop_size=64, min_face=50.0, part_of=PartOf(2, 3))
    assert (type(config.crop_size), type(config.min_face)) == (int, float)
    assert type(facepipe.ExtractConfig(min_face=50).min_face) is float


@pytest.mark.parametrize("place", [3, None, b"data"])
def test_a_folder_that_is_none_is_named(place):
    """Neither `verify` nor `open_faces` fails inside."""
    for function in (facepipe.verify, facepipe.open_faces):
        with pytest.raises(UsageError, match="must be a text or a path"):
            function(place)
    with pytest.raises(InputError):
        facepipe.open_faces("")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_face": 0}, "--min-face is 0; it must lie between 8 and 10000"),
        ({"min_face": float("nan")}, "--min-face is nan"),
        ({"min_score": 2}, "--min-score is 2"),
        ({"crop_size": 0}, "--crop-size is 0; it must lie between 16 and 2048"),
        ({"crop_size": 64.5}, "--crop-size is 64.5; it must be a whole number"),
        ({"margin": -0.5}, "--margin is -0.5; it must lie between 0 and 3"),
        ({"detector": "yolo"}, "--detector is 'yolo'; it can be yunet, mtcnn"),
    ],
)
def test_detect_refuses_what_the_command_line_refuses(astronaut, options, said):
    """The same limits and the same words."""
    with pytest.raises(UsageError) as error:
        facepipe.detect(astronaut, **options)
    assert said in str(error.value)


@pytest.mark.parametrize("shape", [(0, 0, 3), (0, 40, 3), (40, 0, 3)])
def test_detect_refuses_a_picture_without_pixels(shape):
    """It has nothing to search."""
    with pytest.raises(UsageError, match=f"{shape[1]} x {shape[0]} pixels"):
        facepipe.detect(np.zeros(shape, np.uint8))


def test_detect_finds_the_face(astronaut):
    """Box, landmarks, pose and a crop of the size that was asked for."""
    (face, *_) = facepipe.detect(astronaut, crop_size=64)
    assert face.crop.shape == (64, 64, 3)
    assert 170 < face.landmarks[0, 0] < face.landmarks[1, 0] < 270


def test_detect_goes_as_low_as_it_is_asked_to(astronaut):
    """Below the score from which a face counts for `extract`, too: each option means what it does there."""
    blurred = cv2.GaussianBlur(astronaut[:300, 80:380], (0, 0), 14)
    assert [face.score < 0.3 for face in facepipe.detect(blurred, min_score=0.05)] == [False, True]
    assert [face.score for face in facepipe.detect(blurred, min_score=0.45)] == [pytest.approx(0.471, abs=0.02)]


def test_threads_may_detect_at_once(astronaut):
    """Each gets its own picture's faces, to the last bit."""
    pictures = [np.ascontiguousarray(astronaut[:300, left : left + 300]) for left in range(100, 160, 5)]

    def find(picture):
        return [(face.box.tolist(), face.landmarks.tolist(), face.score) for face in facepipe.detect(picture)]

    alone = list(map(find, pictures))
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(find, pictures * 4)) == alone * 4


@pytest.mark.parametrize("stage", ["extract", "select", "split", "shard"])
def test_a_stage_s_options_are_named_in_its_help(stage):
    """`help(facepipe.extract)` lists every option: those of the command line and those of the config."""
    text = getattr(facepipe, stage).__doc__
    kind = getattr(facepipe, f"{stage.title()}Config")
    retired = {name for name, one in options_of(kind).items() if one.retired}
    named = {*options_of(kind), *(item.name for item in fields(kind))} - retired
    assert {name for name in named if f"    {name}:" not in text and f"`{name}`" not in text} == set()
