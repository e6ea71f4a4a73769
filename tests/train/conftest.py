"""Small shards of real faces (scikit-image's LFW subset), in the layout that `facepipe shard` writes.

Makes `runfolders` importable for the tests beside it, too.
"""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(__file__))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pairs_of_faces import pair_rows, write_shards

SUBSETS = {"train": 40, "validation": 16}
"""Records of each subset of the pairs; four a person."""


@pytest.fixture(scope="session")
def lfw_faces():
    """(100, 25, 25) uint8: scikit-image's gray faces."""
    from skimage import data

    return (data.lfw_subset()[:100] * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_pairs(lfw_faces, tmp_path_factory):
    """A function that writes shards of pairs: 40 for training, 16 for validation, nobody in both."""

    def make(size=16, channels=1, encoding="raw", subsets=SUBSETS, **options):
        rows, person = {}, 0
        for subset, count in subsets.items():
            rows[subset] = pair_rows(lfw_faces, count, size, channels, person)
            person += -(-count // 4)
        return write_shards(tmp_path_factory.mktemp("shards"), "pairs", rows, size, channels, encoding, **options)

    return make


@pytest.fixture(scope="session")
def make_faces(lfw_faces, tmp_path_factory):
    """A function that writes shards of single faces: 48 for training, 16 for validation; `labels` classes in turn.

    Their numbers begin at `lowest`. With `shaded`, faces of label 1 are bright and those of label 0 dark.
    """

    def make(size=16, channels=3, encoding="raw", labels=0, lowest=0, subsets=None, shaded=False, **options):
        rows, at = {}, 0
        for subset, count in (subsets or {"train": 48, "validation": 16}).items():
            rows[subset] = []
            for _ in range(count):
                face = cv2.resize(lfw_faces[at], (size, size), interpolation=cv2.INTER_AREA)
                image = np.repeat(face[..., None], channels, axis=2)
                label = lowest + at % labels if labels else -1
                image = image // 4 + 120 * label if shaded else image
                rows[subset].append(
                    {
                        "key": f"f{at}",
                        "identity": f"person {at}",
                        "image": image,
                        "yaw": 0.0,
                        "pitch": 0.0,
                        "label": label,
                    }
                )
                at += 1
        return write_shards(tmp_path_factory.mktemp("shards"), "faces", rows, size, channels, encoding, **options)

    return make


@pytest.fixture(scope="session")
def pairs(make_pairs):
    """Shards of pairs: 16 px, gray, raw."""
    return make_pairs()
