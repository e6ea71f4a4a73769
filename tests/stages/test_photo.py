"""Large photographs: read reduced, searched for prominent faces first; the rows speak of the full size all the same."""

from __future__ import annotations

import math
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from facepipe.config import ExtractConfig
from facepipe.detection import make_detector
from facepipe.execution.stopwatch import Stopwatch
from facepipe.face.orientation import make_orientation
from facepipe.records import Source
from facepipe.stages.extraction.cutting import RowMaker
from facepipe.stages.extraction.finding import FaceFinder, Picture
from facepipe.stages.extraction.photo import Photo
from facepipe.stages.extraction.searching import Search
from facepipe.stages.extraction.seen import Seen

FACE_PX = 108
"""The longer side of the astronaut's face in a picture of 512 px."""


def scene(astronaut, *places, size=(1500, 2000)):
    """A photograph of 3 megapixels: the astronaut at each (left, top, side), on noise."""
    rng = np.random.default_rng(0)
    canvas = np.clip(rng.normal(120, 3, (*size, 3)), 0, 255).astype(np.uint8)
    for left, top, side in places:
        how = cv2.INTER_AREA if side < 512 else cv2.INTER_CUBIC
        canvas[top : top + side, left : left + side] = cv2.resize(astronaut, (side, side), interpolation=how)
    return canvas


def encode(image, tmp_path, kind="jpg", orientation=1):
    """The file's bytes, with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / f"scene.{kind}", quality=92, exif=exif)
    return (tmp_path / f"scene.{kind}").read_bytes()


PLAIN = Source(path="a/1.jpg", identity="a")


def rows_of(data, source=PLAIN, **options):
    """The rows that extract makes of the file."""
    config = ExtractConfig(input="images", output="faces", **options)
    watch = Stopwatch()
    search = Search(config, make_detector("yunet"), make_orientation(), watch)
    finder = FaceFinder(config, search, on=lambda _index: None)
    photo = Photo(data, config.max_pixels)
    if config.cropped:
        picture = Picture(0, source, 0, photo.view(photo.reduction_for_whole(config.crop_size)), Seen(), photo)
    else:
        view = photo.view(photo.reduction_for(search.sizes(source, photo)[0]))
        picture = Picture(0, source, 0, view, Seen(), photo)
        finder.find_all([picture])
    RowMaker(config, finder, search, watch, on=lambda _index: None).make_all([picture])
    return picture.rows


@pytest.mark.parametrize(
    ("min_face", "reduction"), [(39, 1), (40, 1), (80, 2), (160, 4), (319, 4), (320, 8), (2000, 8)]
)
def test_a_large_jpeg_is_read_as_small_as_its_faces_allow(min_face, reduction, astronaut, tmp_path):
    """The smallest wanted face keeps 40 px; the picture is the full one's, reduced."""
    photo = Photo(encode(scene(astronaut), tmp_path), 10**8)
    view = photo.view(photo.reduction_for(min_face))
    assert (view.reduction, view.image.shape) == (reduction, (-(-1500 // reduction), 2000 // reduction, 3))


@pytest.mark.parametrize("crop_size", [1000, 700, 64])
def test_a_large_face_crop_is_never_enlarged_from_a_reduced_view(crop_size, astronaut, tmp_path):
    """`--min-face` has no say in a picture that is kept whole: its crop is as sharp as one from all its pixels."""
    image = cv2.resize(astronaut[:300, 80:380], (2000, 2000), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + np.random.default_rng(0).normal(0, 25, image.shape), 0, 255).astype(np.uint8)
    data = encode(image, tmp_path)
    (row,) = rows_of(data, cropped=True, min_face=400, crop_size=crop_size)
    crop = cv2.imdecode(np.frombuffer(row.crop, np.uint8), cv2.IMREAD_GRAYSCALE)
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    expected = cv2.resize(whole, (crop_size, crop_size), interpolation=cv2.INTER_AREA)
    sharpest = cv2.Laplacian(expected, cv2.CV_64F).std()
    assert cv2.Laplacian(crop, cv2.CV_64F).std() == pytest.approx(sharpest, rel=0.15)
    assert (row.width, row.height, row.crop_scale) == (2000, 2000, crop_size / 2000)
    (full,) = rows_of(encode(image, tmp_path, "png"), cropped=True, crop_size=crop_size)
    assert np.abs(np.subtract(row.bbox, full.bbox)).max() < 0.06 * (full.bbox[3] - full.bbox[1])


def test_only_large_jpegs_are_reduced(astronaut, tmp_path):
    """A PNG has to be decoded whole in any case, and so small a JPEG costs nothing."""
    small, png = encode(astronaut, tmp_path), encode(scene(astronaut, size=(1300, 1300)), tmp_path, "png")
    assert [Photo(data, 10**8).reduction_for(400) for data in (small, png)] == [1, 1]


@pytest.mark.parametrize("side", [700, 1000])
def test_a_prominent_face_is_found_as_at_full_size(side, astronaut, tmp_path):
    """Within a hundredth of the face, though only a quarter of the pixels were looked at; the crop is the same."""
    image = scene(astronaut, (500, 250, side))
    (reduced,) = rows_of(encode(image, tmp_path))
    (full,) = rows_of(encode(image, tmp_path), face="all")
    size = FACE_PX * side / 512
    assert (reduced.width, reduced.height, reduced.status) == (2000, 1500, "ok")
    assert np.abs(np.subtract(reduced.landmarks, full.landmarks)).max() < 0.06 * size
    assert np.abs(np.subtract(reduced.bbox, full.bbox)).max() < 0.12 * size
    assert reduced.crop_scale == pytest.approx(full.crop_scale, rel=0.08)
    assert abs(reduced.yaw - full.yaw) < 4


def test_a_face_that_is_not_prominent_is_found_by_a_second_look(astronaut, tmp_path):
    """54 px in 2,000: nobody prominent is there, so the picture is searched down to `--min-face`."""
    (row,) = rows_of(encode(scene(astronaut, (1000, 500, 256)), tmp_path))
    assert row.status == "ok"
    assert 40 <= max(row.bbox[2] - row.bbox[0], row.bbox[3] - row.bbox[1]) < 80


def test_bystanders_beside_a_prominent_face_are_looked_for_on_demand(astronaut, tmp_path):
    """They can't be whom the picture shows: `--face all` wants them, else the search ends with the prominent face."""
    data = encode(scene(astronaut, (100, 100, 1000), (2200, 1500, 256), size=(2250, 3000)), tmp_path)
    assert [len(rows_of(data)), len(rows_of(data, face="all"))] == [1, 2]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_reduced_photograph_stored_turned_is_told_upright(orientation, astronaut, tmp_path):
    """Size, box and landmarks are those of the picture as it is seen."""
    image = scene(astronaut, (500, 250, 900))
    turns = {3: 2, 6: 1, 8: 3}[orientation]
    (upright,) = rows_of(encode(image, tmp_path))
    (turned,) = rows_of(encode(np.ascontiguousarray(np.rot90(image, turns)), tmp_path, orientation=orientation))
    assert (turned.width, turned.height) == (2000, 1500)
    assert np.abs(np.subtract(turned.landmarks, upright.landmarks)).max() < 8


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_an_avif_stored_turned_is_told_upright(orientation, astronaut, tmp_path):
    """Size and landmarks are those of the picture as it is seen, and so is a label's box."""
    image = scene(astronaut, (50, 50, 300), (380, 100, 300), size=(500, 700))
    stored = np.ascontiguousarray(np.rot90(image, {3: 2, 6: 1, 8: 3}[orientation]))
    data = encode(stored, tmp_path, "avif", orientation)
    (row,) = rows_of(data, Source(path="a/1.avif", identity="a", box=(485, 130, 550, 205)))[:1]
    (upright,) = [r for r in rows_of(encode(image, tmp_path, "png"), face="all") if r.bbox[0] > 400]
    assert (row.status, row.width, row.height) == ("ok", 700, 500)
    assert np.abs(np.subtract(row.landmarks, upright.landmarks)).max() < 2


def test_a_label_decides_also_in_a_large_photograph(astronaut, tmp_path):
    """A small face that is labelled is taken, whoever else is prominent."""
    data = encode(scene(astronaut, (100, 100, 1000), (2200, 1500, 256), size=(2250, 3000)), tmp_path)
    rows = rows_of(data, Source(path="a/1.jpg", identity="a", box=(2290, 1515, 2340, 1575)))
    assert [row.bbox[0] > 2200 for row in rows if row.status == "ok"] == [True]


def test_bystanders_are_refined_only_where_every_face_is_wanted(astronaut, tmp_path):
    """The identity's landmarks are the same with `--face all`; a bystander's are the detector's own without it."""
    data = encode(scene(astronaut, (50, 50, 400), (550, 150, 200), size=(500, 800)), tmp_path)
    found = {}
    for face in ("identity", "all"):
        found[face] = rows_of(data, face=face)
    assert [row.status for row in found["identity"]] == ["ok", "other_face"]
    assert [row.status for row in found["all"]] == ["ok", "ok"]
    (chosen, bystander), (same, refined) = found["identity"], found["all"]
    assert chosen.landmarks == same.landmarks
    assert bystander.bbox == refined.bbox
    assert bystander.landmarks != refined.landmarks


@pytest.mark.parametrize(("option", "far", "digits"), [("min_face", 400, 0), ("min_score", 1, 2)])
def test_a_face_just_under_a_limit_is_not_said_to_reach_it(option, far, digits, astronaut, tmp_path):
    """Size and score in the message lie under the limit beside them, with a digit more where that takes one."""
    data = encode(astronaut, tmp_path, "png")
    (face,) = rows_of(data, **{option: far})
    value = face.score if option == "min_score" else max(face.bbox[2] - face.bbox[0], face.bbox[3] - face.bbox[1])
    limit = math.ceil(value * 10**digits) / 10**digits
    (near,) = rows_of(data, **{option: limit})
    said = [float(re.search(r"(?:face is|score of) ([0-9.]+)", row.error)[1]) for row in (face, near)]
    assert said[0] == round(value, digits)
    assert limit - 10**-digits < said[1] < limit
