"""The identity network as frozen layers, and what a loss by it tells."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from skimage import data

pytestmark = pytest.mark.tensorflow
SCRIPT = """
import sys
import numpy as np
from train import backend
backend.choose(sys.argv[1])
from train.identity import IdentityLoss
faces = np.load(sys.argv[2])
np.save(sys.argv[3], np.asarray(IdentityLoss(faces).embed(faces / np.float32(255))))
"""


@pytest.fixture(scope="module")
def faces():
    """(6, 64, 64, 3) uint8: the astronaut's face as three pictures of it, and three of other people's."""
    own = cv2.resize(data.astronaut()[30:190, 145:305], (64, 64), interpolation=cv2.INTER_AREA)
    others = [cv2.resize((face * 255).astype(np.uint8), (64, 64)) for face in data.lfw_subset()[[0, 20, 40]]]
    pictures = [own, own[:, ::-1], np.clip(own * 0.8 + 20, 0, 255).astype(np.uint8)]
    return np.stack([*pictures, *(np.repeat(face[..., None], 3, axis=2) for face in others)])


def test_its_frozen_layers_are_the_packages_network(faces):
    """The same weights, without the 8 bits between: nearly the same embeddings; nothing in it is trained."""
    from train.identity import IdentityLoss
    from train.metrics.recognition import embed

    loss = IdentityLoss(faces)
    found = sum(np.asarray(loss.embed(pictures / np.float32(255))) for pictures in (faces, faces[:, :, ::-1]))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    assert (found * embed(faces, loss.frame)).sum(axis=1).min() > 0.99
    assert not loss.network.trainable_variables


def test_another_person_costs_more_than_another_light(faces):
    """And a face costs nothing beside itself; a step down the slope is one towards the person."""
    import tensorflow as tf

    from train.identity import IdentityLoss

    shown = tf.constant(faces / np.float32(255))
    loss, own = IdentityLoss(faces), tf.gather(shown, [0] * 6)
    with tf.GradientTape() as tape:
        tape.watch(shown)
        found = loss(own, shown)
    slope = tape.gradient(found, shown)
    itself, mirrored, darker, *others = found.numpy()
    nearer = loss(own, shown - 0.02 * tf.sign(slope)).numpy()
    assert (nearer[3:] < others).all()
    assert itself < 1e-5
    assert max(mirrored, darker) < 0.5 * min(others)


def test_an_autoencoder_is_taught_by_it(pairs, tmp_path):
    """With `identity` its loss is larger than its absolute error, which the squared error alone never is."""
    from train import backend
    from train.autoencoder import train
    from train.config import AutoencoderConfig
    from train.presets import resolve

    small = {"input_size": 16, "output_size": 16, "encoder": (8, 8), "latent": 8, "batch_size": 8, "epochs": 1}
    given = {"shards": str(pairs), "output": str(tmp_path / "run"), "loss": "mse", "identity": 1.0, **small}
    config = resolve(AutoencoderConfig, "autoencoder", "v4", given)
    backend.prepare(config)
    names, values = (train(config, lambda _: None).folder / "log.csv").read_text().splitlines()
    row = dict(zip(names.split(","), map(float, values.split(",")), strict=True))
    assert row["loss"] > row["mae"] + 0.2


@pytest.mark.slow
def test_backends_see_the_same(faces, tmp_path):
    """TensorFlow and JAX give the same embeddings, 1e-4."""
    np.save(tmp_path / "faces.npy", faces)
    found = {}
    for backend in ("tensorflow", "jax"):
        words = [backend, tmp_path / "faces.npy", tmp_path / f"{backend}.npy"]
        subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, *map(str, words)], check=True)
        found[backend] = np.load(tmp_path / f"{backend}.npy")
    np.testing.assert_allclose(found["jax"], found["tensorflow"], rtol=0, atol=1e-4)
