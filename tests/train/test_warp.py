"""frontal-2: what it moves where, what it learns from flows, and what becomes of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pairs_of_faces import pair_rows, write_shards

from facepipe.errors import InputError, UsageError
from train.shards import NoShards

pytestmark = pytest.mark.tensorflow
SMALL = {
    "input_size": 16,
    "output_size": 16,
    "channels": 1,
    "encoder": (8, 8),
    "latent": 8,
    "batch_size": 8,
    "epochs": 2,
}


def turned_rows(faces, count, person_from):
    """Faces moved sideways by 0 to 3 px, with the flow that moves them back; nothing is hidden."""
    rows = pair_rows(faces, count, 16, 1, person_from)
    x, y = np.meshgrid(np.arange(16), np.arange(16))
    for number, row in enumerate(rows):
        row["feature"] = np.roll(row["target"], number % 4, axis=1)
        row["flow"] = (
            np.stack([(np.minimum(x + number % 4, 15) + 0.5) * 16, (y + 0.5) * 16, 0 * x + 255], axis=2)
            .astype(np.uint8)
            .tobytes()
        )
    return rows


@pytest.fixture(scope="module")
def turned(lfw_faces, tmp_path_factory):
    """Shards of turned faces with their flows: 80 for training, 16 for validation."""
    subsets = {"train": turned_rows(lfw_faces, 80, 0), "validation": turned_rows(lfw_faces, 16, 20)}
    return write_shards(tmp_path_factory.mktemp("shards"), "turned", subsets)


def taught(shards, folder, **options):
    from train import backend
    from train.autoencoder import train
    from train.config import AutoencoderConfig
    from train.presets import resolve

    given = {"shards": str(shards), "output": str(folder), **SMALL, **options}
    config = resolve(AutoencoderConfig, "autoencoder", "frontal-2", given)
    backend.prepare(config)
    return train(config, lambda _: None)


@pytest.fixture(scope="module")
def learned(turned, tmp_path_factory):
    """A run of 30 epochs, after which its outputs are near the targets."""
    return taught(turned, tmp_path_factory.mktemp("learned") / "run", epochs=30, mirror=False)


def test_pixels_are_moved(lfw_faces):
    """Bilinear: at their own places they stay, between two they are mixed; what is hidden is the mirrored other half."""
    from train.models.warp import ToTheFront, sample

    face = lfw_faces[:2, :24, :24, None].astype(np.float32) / 255
    x, y = np.meshgrid((np.arange(24) + 0.5) / 24, (np.arange(24) + 0.5) / 24)
    own = np.stack([np.stack([x, y], axis=2)] * 2).astype(np.float32)
    np.testing.assert_allclose(sample(face, own), face, atol=1e-5)
    between = np.asarray(sample(face, own + np.float32([0.5 / 24, 0])))
    np.testing.assert_allclose(between[:, :, :-1], (face[:, :, 1:] + face[:, :, :-1]) / 2, atol=1e-5)
    seen = np.broadcast_to((x < 0.5)[None, :, :, None], (2, 24, 24, 1)).astype(np.float32)
    front = np.asarray(ToTheFront()([face, np.concatenate([own, seen], axis=3)]))
    np.testing.assert_allclose(front[:, :, :12], face[:, :, :12], atol=1e-5)
    np.testing.assert_allclose(front[:, :, 12:], face[:, :, 11::-1], atol=1e-5)


def test_it_learns_to_move_faces_back(learned, turned):
    """After some epochs the outputs are nearer to the targets than the features are, and as sharp as those; the run
    evaluates, encodes and goes on as every other one."""
    from train.trained import Trained

    report = json.loads((learned.folder / "evaluation.json").read_text())
    answers = {name: bands["all"] for name, bands in report["reconstruction"].items()}
    assert answers["model"]["mse"] < 0.7 * answers["feature resized"]["mse"]
    assert answers["model"]["sharpness"] > 0.7
    trained = Trained(learned)
    faces = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8)
    assert trained.reconstruct(faces).shape == (3, 16, 16, 1)
    assert trained.encode(faces).shape == (3, 8)
    assert taught(turned, learned.folder, epochs=30, mirror=False, resume=True).folder == learned.folder


@pytest.mark.parametrize("to", [pytest.param("keras", marks=pytest.mark.slow), "onnx"])
def test_export(learned, tmp_path, to):
    """The file gives the run's pictures."""
    from train.export import FORMATS, export

    export(learned, to, str(tmp_path / FORMATS[to]), "best", lambda _: None)
    assert (tmp_path / FORMATS[to]).stat().st_size > 1000


def test_it_needs_flows(turned, pairs, lfw_faces, tmp_path):
    """Pairs are none of its examples, and turned faces without flows teach nothing: each with the command that makes them."""
    with pytest.raises(NoShards, match=r"no shards of turned in .*facepipe shard --examples turned"):
        taught(tmp_path / "none", tmp_path / "run")
    with pytest.raises(InputError, match=r"no flow; run `facepipe shard --examples turned .*--flow"):
        taught(pairs / "pairs", tmp_path / "run")
    with pytest.raises(UsageError, match="warp and flow belong together"):
        taught(turned, tmp_path / "run", loss="mse")


def test_v4_learns_from_turned_faces_as_well(turned, tmp_path):
    """They are pairs like others where their folder is given."""
    from train import backend
    from train.autoencoder import train
    from train.config import AutoencoderConfig
    from train.presets import resolve

    small = {**SMALL, "epochs": 1, "shards": str(turned / "turned"), "output": str(tmp_path / "v4")}
    config = resolve(AutoencoderConfig, "autoencoder", "v4", small)
    backend.prepare(config)
    assert (train(config, lambda _: None).folder / "evaluation.json").is_file()
