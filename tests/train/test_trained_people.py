"""A run knows whom it was trained on: real runs, resumed and evaluated with the shards of others."""

from __future__ import annotations

import json
import shutil

import pytest

from facepipe.errors import DamagedFile, SettingsChanged
from train.config import AutoencoderConfig
from train.gan.config import GanConfig
from train.runs import CROPS, Run
from train.shards import find_shards
from train.trained_people import PEOPLE, count_trained, read_people, tell_trained

pytestmark = pytest.mark.tensorflow
SMALL = {"input_size": 16, "output_size": 16, "encoder": (8, 8), "latent": 8, "batch_size": 8}


def autoencoder(shards, folder, **options):
    told = {"shards": str(shards), "output": str(folder), "epochs": 1, **SMALL, **options}
    wanted = AutoencoderConfig(preset="v4", **told)
    from train import backend

    backend.prepare(wanted)
    from train.autoencoder import train

    return train(wanted, lambda _: None)


def dcgan(shards, folder, **options):
    from train.gan.trainer import train

    sizes = {"image_size": 16, "g_conv_dim": 8, "d_conv_dim": 8, "z_size": 8, "batch_size": 16, "measured": 16}
    told = {"shards": str(shards), "output": str(folder), "epochs": 1, "samples": 4, **sizes, **options}
    return train(GanConfig(preset="dcgan", **told), lambda _: None)


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    """A run of one epoch on persons 0 to 9."""
    return autoencoder(pairs, tmp_path_factory.mktemp("run") / "run")


def copied(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    return Run.open(tmp_path / "run")


def test_counts_who_was_trained_on(trained, pairs, make_pairs):
    """Nobody of the run's own validation; of other shards those whose identity it has seen."""
    held_back = find_shards(str(pairs), "pairs").identities["validation"]
    others = find_shards(str(make_pairs(subsets={"train": 28, "validation": 24})), "pairs").identities["validation"]
    assert sorted(others) == [f"person {number}" for number in (10, 11, 12, 7, 8, 9)]
    assert (count_trained(trained, held_back), count_trained(trained, others)) == (0, 3)
    assert count_trained(trained, [name.encode() for name in others] * 2) == 3
    assert tell_trained(4, 0) == "4 people not trained on"
    assert tell_trained(6, 3) == "6 people, 3 of them trained on"


def test_no_names_in_the_run(trained):
    """The file holds a hash for each of the ten, and nobody's name."""
    text = (trained.folder / PEOPLE).read_text()
    assert len(read_people(trained.folder)) == 10
    assert "person" not in text


@pytest.mark.parametrize("train", [pytest.param(autoencoder, marks=pytest.mark.slow), dcgan])
def test_resumed_with_others(train, make_pairs, make_faces, tmp_path):
    """Refused, with how many people are new and missing, and the run stays as it was; with its own shards it goes on."""
    make = make_pairs if train is autoencoder else make_faces
    each = 4 if train is autoencoder else 1
    own, other = (make(subsets={"train": count * each, "validation": 2 * each}) for count in (16, 18))
    run = train(own, tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(SettingsChanged, match=r"other people than .* \(2 are new, 0 are missing\); resume it with"):
        train(other, tmp_path / "run", epochs=2, resume=True)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    train(own, tmp_path / "run", epochs=2, resume=True)
    train(other, tmp_path / "run", overwrite=True)
    assert len(read_people(run.folder)) == 18


def test_a_run_that_does_not_tell(trained, pairs, tmp_path):
    """One without the file is resumed, and nothing is claimed of whom it was trained on before."""
    run = copied(trained, tmp_path)
    (run.folder / PEOPLE).unlink()
    autoencoder(pairs, run.folder, epochs=2, resume=True)
    assert count_trained(run, ["person 0"]) is None
    assert tell_trained(4, None) == "4 people (the run does not tell whom it was trained on)"


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"people": 3})])
def test_damaged(trained, tmp_path, content):
    """A file that is no list of hashes is no answer."""
    run = copied(trained, tmp_path)
    (run.folder / PEOPLE).write_text(content)
    with pytest.raises(DamagedFile, match="does not read back"):
        count_trained(run, ["person 0"])


def test_a_run_knows_how_its_faces_were_cut_out(pairs, tmp_path):
    """What the shards say of `extract`'s margin lies in the run's folder; of older shards nothing is known."""
    assert find_shards(str(pairs), "pairs").crops == {}
    shutil.copytree(find_shards(str(pairs), "pairs").place.local_path(), tmp_path / "shards" / "pairs" / "1.0.0")
    told = tmp_path / "shards" / "pairs" / "1.0.0" / "run.json"
    cut = {"margin": 0.5, "cropped": False}
    told.write_text(json.dumps({**json.loads(told.read_text()), "crops": cut}))
    run = autoencoder(tmp_path / "shards", tmp_path / "run")
    assert json.loads((run.folder / CROPS).read_text()) == cut
