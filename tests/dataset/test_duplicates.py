"""Versions of one picture are found under two names; different people's faces are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.dataset import duplicates


@pytest.fixture(scope="module")
def faces():
    """(100, 128, 128) uint8: photographs of 100 people."""
    from skimage import data

    return [cv2.resize((f * 255).astype(np.uint8), (128, 128)) for f in data.lfw_subset()[:100]]


def prints_of(pictures):
    small = [
        cv2.resize(picture, (duplicates.SIDE, duplicates.SIDE), interpolation=cv2.INTER_AREA) for picture in pictures
    ]
    found = np.zeros(len(pictures), dtype=duplicates.HASHES)
    found["content"] = np.arange(1, len(pictures) + 1)
    found["coarse"], found["fine"] = duplicates.hash_pictures(
        np.array(small, np.uint8).reshape(-1, duplicates.SIDE, duplicates.SIDE)
    )
    return found


def recompress(picture, quality):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


CHANGES = {
    "the same": lambda p: p,
    "JPEG 60": lambda p: recompress(p, 60),
    "half size": lambda p: cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA),
    "darker": lambda p: (p * 0.8).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_versions_are_found(faces, change):
    """Nine in ten of the changed copies are paired with their original, and nothing else is paired."""
    found = duplicates.find_alike(prints_of([*faces, *map(CHANGES[change], faces)]), np.arange(200))
    assert {b - a for a, b, _ in found} == {100}
    assert len(found) >= 90


def test_one_identity_is_not_compared_with_itself(faces):
    """Copies within one group are no finding; of several pairs between two groups the closest is given."""
    pictures = [faces[0], faces[0], recompress(faces[0], 10), faces[0], faces[1]]
    found = duplicates.find_alike(prints_of(pictures), np.array([7, 7, 8, 8, 9]))
    assert found == [(0, 3, 0)]


def test_flat_pictures_say_nothing():
    """Black and gray pictures look alike, and are not reported; nor are shades of two gray levels in a plain wall, or none."""
    wall = np.tile(np.linspace(90, 93, 64).astype(np.uint8), (64, 1))
    flat = [np.full((64, 64), value, np.uint8) for value in (0, 0, 90, 90)]
    for pictures in ([*flat, wall, wall], []):
        assert duplicates.find_alike(prints_of(pictures), np.arange(len(pictures))) == []


def made_up(coarse, fine):
    """Perceptual hashes of some bits: (coarse, one word of fine) a picture."""
    found = np.zeros(len(coarse), dtype=duplicates.HASHES)
    found["coarse"], found["fine"][:, 1] = coarse, fine
    return found


PRINT = 0x55AA_33CC_0FF0_A5A5


def test_what_very_many_share_is_skipped_but_the_frames_of_one_video_are_not_many():
    """Of 600 people with one picture nobody is told; of 600 equal frames of one and a picture of another, both are."""
    hashes = made_up([PRINT] * 601, [0] * 601)
    assert duplicates.find_alike(hashes, np.arange(601)) == []
    assert duplicates.find_alike(hashes, np.array([0] * 600 + [1])) == [(0, 600, 0)]


def test_labels_known_to_be_wrong(shared_data):
    """LFW holds one photograph under two names: it is found among 3,000 people, with at most one more pair."""
    paths = sorted((shared_data / "lfw_single").glob("*/*.jpg"))
    pictures = [cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_2)[30:95, 30:95] for path in paths]
    found = [
        {paths[a].parent.name, paths[b].parent.name}
        for a, b, _ in duplicates.find_alike(prints_of(pictures), np.arange(len(paths)))
    ]
    assert {"Bart_Hendricks", "Ricky_Ray"} in found
    assert len(found) <= 3
