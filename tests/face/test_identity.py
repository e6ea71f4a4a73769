"""The identity network: faces of one person are alike, those of others are not, whoever is looked at beside them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facepipe.errors import WeightsError
from facepipe.face import identity

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def network():
    return identity.IdentityNetwork()


def test_a_face_is_alike_however_it_is_shown(network, astronaut, find_faces):
    """Mirrored, turned, darker or smaller pictures of a face have nearly the same embedding, of length 1."""
    turned = cv2.warpAffine(astronaut, cv2.getRotationMatrix2D((256, 256), 20, 1), (512, 512))
    shown = [
        astronaut,
        astronaut[:, ::-1].copy(),
        turned,
        (astronaut * 0.6).astype(np.uint8),
        astronaut[::2, ::2].copy(),
    ]
    found = network.embed(shown, [find_faces(image)[0].landmarks for image in shown])
    assert (found.shape, found.dtype) == ((5, 128), np.float32)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert (found @ found[0] > 0.96).all()


def test_an_embedding_does_not_depend_on_the_others_of_a_batch(network, astronaut, find_faces):
    """One face alone, and as the last of eleven: the same numbers; none gives none."""
    points = find_faces(astronaut)[0].landmarks
    alone = network.embed([astronaut], [points])
    others = [np.roll(points, i, axis=0) for i in range(10)]
    assert np.array_equal(network.embed([astronaut] * 11, [*others, points])[-1:], alone)
    assert network.embed([], []).shape == (0, 128)


def test_people_are_told_apart(network, shared_data, find_faces):
    """Of 20 people of LFW with two photographs each, every first one's nearest is that person's second."""
    people = sorted((shared_data / "lfw").iterdir())[:20]
    images = [cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for one in people for path in sorted(one.iterdir())[:2]]
    faces = [min(find_faces(image), key=lambda f: np.hypot(*(f.landmarks.mean(axis=0) - 125))) for image in images]
    found = network.embed(images, [face.landmarks for face in faces]).reshape(20, 2, 128)
    similarity = found[:, 0] @ found[:, 1].T
    assert (similarity.argmax(axis=1) == np.arange(20)).mean() >= 0.95
    assert np.median(np.diag(similarity)) > 0.95 > np.quantile(similarity[~np.eye(20, dtype=bool)], 0.95)


def test_missing_weights_are_told(tmp_path, monkeypatch):
    """A package without the file is one line that says what to do."""
    monkeypatch.setattr(identity, "WEIGHTS", tmp_path / "identity.npz")
    with pytest.raises(WeightsError, match=r"identity\.npz .* install facepipe again"):
        identity.IdentityNetwork()
