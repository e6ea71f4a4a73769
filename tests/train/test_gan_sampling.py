"""Faces out of a run, ways between them, and figures beside real faces and noise."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from facepipe.errors import InputError, OutputError, UsageError, WeightsError
from train.gan.config import GanConfig
from train.gan.draws import draw_latents, generator_for

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def shards(make_faces):
    return str(make_faces())


@pytest.fixture(scope="module")
def folder(shards, tmp_path_factory):
    """A run of one epoch."""
    from train.gan.trainer import train

    output = tmp_path_factory.mktemp("gan") / "run"
    sizes = {"image_size": 16, "g_conv_dim": 8, "d_conv_dim": 8, "z_size": 8, "batch_size": 16, "measured": 16}
    train(GanConfig(preset="dcgan", shards=shards, output=str(output), epochs=1, samples=4, **sizes), lambda _: None)
    return output


@pytest.fixture(scope="module")
def labelled(make_faces, tmp_path_factory):
    """A class-conditional run of one step with every layer of our own: attention, spectral normalisation, labels."""
    from train.gan.trainer import train

    output = tmp_path_factory.mktemp("gan") / "labelled"
    sizes = {"image_size": 16, "g_conv_dim": 8, "d_conv_dim": 8, "z_size": 8, "batch_size": 16, "measured": 16}
    layers = {"attention": (8,), "spectral_norm": "both", "minibatch_stddev": True, "latent": "normal"}
    told = {"shards": str(make_faces(labels=3)), "output": str(output), "epochs": 1, "steps_per_epoch": 1}
    train(GanConfig(preset="dcgan", samples=4, **sizes, **layers, **told), lambda _: None)
    return output


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_same_seed_same_faces(folder, tmp_path):
    """Each face is a file of its own; the seed decides them, and the first ones do not depend on the count."""
    from train.gan.sampling import sample

    paths = sample(folder, count=5, seed=1, output=str(tmp_path / "five"))
    again = sample(folder, count=70, seed=1, output=str(tmp_path / "seventy"))
    other = sample(folder, count=5, seed=2, output=str(tmp_path / "other"))
    assert [path.name for path in paths] == [f"seed1-{number:05d}.png" for number in range(5)]
    assert [pixels(path).shape for path in paths] == [(16, 16, 3)] * 5
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again[:5]]
    assert [path.read_bytes() for path in paths] != [path.read_bytes() for path in other]


def test_samples_on_a_full_disk(folder, small_disk):
    """One line, without an option that the command lacks; what is there is whole."""
    from train.gan.sampling import interpolate, sample

    disk = small_disk(12)
    said = r"could not be written \(No space left on device\); free some space$"
    with pytest.raises(OutputError, match=said):
        sample(folder, count=8, output=str(disk))
    assert {pixels(path).shape for path in disk.iterdir()} == {(16, 16, 3)}
    with pytest.raises(OutputError, match=said):
        interpolate(folder, output=str(disk / "other"))
    assert not list(disk.glob("other/*"))


def test_grid_holds_the_same_faces(folder, tmp_path):
    """`grid` puts them row by row into one picture."""
    from train.gan.sampling import sample

    alone = pixels(sample(folder, count=5, output=str(tmp_path))[4])
    (path,) = sample(folder, count=5, grid=True, output=str(tmp_path))
    assert pixels(path).shape == (2 * 18 + 2, 3 * 18 + 2, 3)
    np.testing.assert_array_equal(pixels(path)[20:36, 20:36], alone)


def test_truncation_makes_faces_alike(folder, tmp_path):
    """Latents near 0 give faces nearer to each other; at 0.01 they are all but equal."""
    from train.gan.sampling import sample
    from train.metrics.images import pairwise_distance

    distances = []
    for truncation in (0.0, 0.5, 0.01):
        paths = sample(folder, count=16, truncation=truncation, output=str(tmp_path / str(truncation)))
        distances.append(pairwise_distance(np.stack([pixels(path) for path in paths])))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.005


@pytest.mark.parametrize("kind", ["folder", "labelled"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(({"truncation": value}, f"--truncation (is )?{value:g}") for value in (-1.0, np.nan, np.inf, -np.inf)),
        ({"seed": -1}, "--seed is -1; give 0 or more"),
        ({"count": 0}, "1 or more"),
    ],
)
def test_samples_refused(kind, options, said, request, tmp_path):
    """Of uniform and of normal latents, by both commands, before anything is written."""
    from train.gan.sampling import interpolate, sample

    for draw in (sample, interpolate):
        with pytest.raises(UsageError, match=said):
            draw(request.getfixturevalue(kind), **options, output=str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_normal_latents_are_truncated_however_near_to_0():
    """All lie within, spread over the whole width, and drawing them ends."""
    for truncation in (1e-30, 1e-6, 1e-2, 0.7):
        z = draw_latents(generator_for(0), "normal", (64, 100), truncation)
        assert 0.99 * truncation < np.abs(z).max() <= np.float32(truncation)
        assert abs(z.mean()) < 0.05 * truncation


def test_interpolation_starts_and_ends_at_faces(folder, tmp_path):
    """A row's first and last pictures are the two latents' own, and the middle lies between."""
    from train.gan.sampling import generate, interpolate, load_generator, open_run

    (path,) = interpolate(folder, steps=5, count=2, seed=4, output=str(tmp_path))
    sheet = pixels(path)
    assert sheet.shape == (2 * 18 + 2, 5 * 18 + 2, 3)
    run, config = open_run(folder)
    ends = draw_latents(generator_for(4, 4), "uniform", (2, 2, 8))
    expected = generate(load_generator(run, config), ends.reshape(4, 8), None)
    cells = [(2 + row * 18, 2 + column * 18) for column in (0, 4) for row in (0, 1)]
    actual = [sheet[y : y + 16, x : x + 16] for y, x in cells]
    np.testing.assert_array_equal(np.stack(actual), expected)


@pytest.mark.parametrize("to", ["keras", "saved-model", "tflite", "onnx"])
@pytest.mark.parametrize("kind", ["folder", "labelled"])
def test_export(kind, to, request, tmp_path):
    """Every format, of a plain and of a class-conditional generator, computes what the run's own does (1e-4)."""
    from train.export import MOST, export
    from train.runs import Run

    said = []
    target = export(Run.open(request.getfixturevalue(kind)), to, str(tmp_path / "made"), "last", said.append)
    assert target.exists()
    assert float(said[0].split("within ")[1].split()[0]) <= MOST


@pytest.mark.parametrize("kind", [pytest.param("folder", marks=pytest.mark.slow), "labelled"])
def test_a_keras_file_is_read_where_this_package_is_not(kind, request, tmp_path):
    """A process that knows Keras alone reads the file and gives the same faces as the run's own generator."""
    import subprocess
    import sys

    from train.export import export
    from train.gan.sampling import load_generator, open_run
    from train.runs import Run

    folder = request.getfixturevalue(kind)
    target = export(Run.open(folder), "keras", str(tmp_path / "generator.keras"), "last", lambda _: None)
    z, labels = draw_latents(generator_for(0), "uniform", (4, 8)), np.array([0, 1, 2, 0], np.int32)
    np.savez(tmp_path / "given.npz", z=z, labels=labels)
    code = """
import sys
sys.modules["train"] = None
import numpy as np, keras
model, given = keras.models.load_model(sys.argv[1], compile=False), np.load(sys.argv[2])
inputs = [given["z"], given["labels"]][: len(model.inputs)]
np.save(sys.argv[3], keras.ops.convert_to_numpy(model(inputs if len(inputs) > 1 else inputs[0], training=False)))
"""
    words = [sys.executable, "-I", "-c", code, str(target), str(tmp_path / "given.npz"), str(tmp_path / "made.npy")]
    subprocess.run(words, check=True)
    generator = load_generator(*open_run(folder))
    expected = generator([z, labels][: len(generator.inputs)], training=False)
    np.testing.assert_allclose(np.load(tmp_path / "made.npy"), np.asarray(expected), atol=1e-5)


@pytest.mark.parametrize("to", ["onnx", pytest.param("tflite", marks=pytest.mark.slow)])
def test_a_run_in_bfloat16_is_exported(shards, tmp_path, to):
    """In float32, as autoencoders are: TFLite's converter has no bfloat16."""
    from train.export import export
    from train.gan.trainer import train

    sizes = {"image_size": 16, "g_conv_dim": 8, "d_conv_dim": 8, "z_size": 8, "batch_size": 16, "measured": 16}
    told = {"shards": shards, "output": str(tmp_path / "run"), "epochs": 1, "steps_per_epoch": 1}
    run = train(GanConfig(preset="dcgan", precision="bfloat16", samples=4, **sizes, **told), lambda _: None)
    said = []
    assert export(run, to, str(tmp_path / "made"), "last", said.append).is_file()
    assert float(said[0].split("within ")[1].split()[0]) < 1e-6


def test_a_run_of_another_backend_is_exported(folder, tmp_path):
    """A SavedModel of a run whose settings name JAX, in a process in which Keras runs on TensorFlow."""
    import shutil

    from train.export import export
    from train.runs import Run

    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    content["settings"]["backend"] = "jax"
    path.write_text(json.dumps(content))
    assert export(Run.open(tmp_path / "run"), "saved-model", str(tmp_path / "made"), "last", lambda _: None).is_dir()


def test_exported_generator_makes_the_samples(folder, tmp_path):
    """The ONNX file turns the seed's latents into the faces that `sample` writes, but for a gray level of rounding."""
    import onnxruntime

    from train.export import export
    from train.gan.sampling import sample
    from train.runs import Run

    target = export(Run.open(folder), "onnx", str(tmp_path / "generator.onnx"), "last", lambda _: None)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    z = draw_latents(generator_for(7, 3), "uniform", (5, 8))
    made = session.run(None, {session.get_inputs()[0].name: z})[0]
    expected = np.stack([pixels(path) for path in sample(folder, count=5, seed=7, output=str(tmp_path))])
    np.testing.assert_allclose((made + 1) * 127.5, expected, atol=0.6)


def test_arc_keeps_lengths():
    """Between two normal latents all points are about as long as these, which the line's middle is not."""
    from train.gan.sampling import arc, line

    first, second = draw_latents(generator_for(0), "normal", (2, 50, 128))
    lengths = [np.linalg.norm(way(first, second, 0.5), axis=1).mean() for way in (arc, line)]
    assert lengths == [pytest.approx(np.sqrt(128), rel=0.03), pytest.approx(np.sqrt(64), rel=0.05)]
    np.testing.assert_allclose(arc(first, second, 1.0), second, rtol=1e-4, atol=1e-5)


def test_a_label_that_the_run_does_not_know(folder):
    """The line says which ones it knows."""
    from train.gan.sampling import sample

    with pytest.raises(UsageError, match="knows no labels"):
        sample(folder, label=1)


def test_evaluation_stands_beside_real_and_noise(folder, shards):
    """The report has each figure for samples, real faces and noise; real faces are nearest and noise varies most."""
    from train.gan.evaluation import evaluate
    from train.runs import Run

    lines = []
    report = evaluate(Run.open(folder), shards, "train", "last", lines.append)
    table = report["against the reference"]
    assert list(table) == ["samples", "real faces", "noise"]
    assert table["real faces"]["swd"] < min(table["samples"]["swd"], table["noise"]["swd"])
    assert table["noise"]["pairwise distance"] == pytest.approx(np.sqrt(1 / 6), abs=0.01)
    assert json.loads((folder / "evaluation-train-last.json").read_text())["against the reference"] == table
    assert any("swd 16 px" in line for line in lines)
    faces = report["on the identity embedding"]
    assert faces["real faces"]["frechet distance"] < faces["noise"]["frechet distance"]
    assert faces["noise"]["recall"] < 0.5 < faces["real faces"]["precision"]
    nearest = [faces[name]["nearest training face, median"] for name in ("real faces", "noise")]
    assert 1 > nearest[0] > nearest[1]


def test_a_copy_is_nearest_to_its_photograph(folder, shards):
    """The picture has samples, the training faces nearest by embedding and by pixels; a training face is its own."""
    from train.gan import evaluation
    from train.gan.sampling import open_run
    from train.metrics.recognition import embed, find_frame

    run, config = open_run(folder)
    taught = evaluation._training_faces(run, config, print)
    vectors = embed(taught, find_frame(taught))
    found = evaluation._nearness(vectors[3:5], vectors, 1)
    assert found["the same, highest"] == pytest.approx(1, abs=1e-5)
    assert evaluation._nearness(vectors[3:5], vectors, 2)["the same, highest"] < 0.999
    content = evaluation._nearest(taught[3:5], taught, vectors[3:5], vectors)
    sheet = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    rows = [sheet[top : top + 64, 2:132] for top in (2, 68, 134)]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


def test_summary_page_and_comparison(folder, labelled, shards, tmp_path):
    """The page holds the figures, the samples and their nearest faces; runs stand beside each other in a table."""
    from train.compare import compare
    from train.gan.evaluation import evaluate
    from train.runs import Run

    evaluate(Run.open(folder), shards, "validation", "best", lambda _: None)
    page = (folder / "summary.html").read_text()
    assert page.count("data:image/png") == 3
    for text in ("by the Fréchet distance of identity embeddings", "swd 16 px", "The sample most like a training face"):
        assert text in page
    lines = []
    earlier = str(folder.parent / "compare.png")  # as `data/runs/*` names it
    path = compare([earlier, str(folder), str(labelled)], str(tmp_path) + "/", lines.append)
    assert pixels(path).shape[2] == 4
    assert lines[0].split()[:5] == ["run", "epochs", "images", "seen", "CPU"]
    rows = [line.split() for line in lines[1:3]]
    assert [row[0] for row in rows] == [str(folder), str(labelled)]
    assert all(float(figure) >= 0 for figure in rows[0][4:])
    assert rows[1][5:] == ["-"] * 4


def test_runs_that_do_not_compare(folder, tmp_path):
    """Of two kinds, or without an epoch: one line."""
    import shutil

    from train.compare import compare

    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "log.csv").unlink()
    with pytest.raises(InputError, match="has no finished epoch"):
        compare([str(folder), str(other)], "", print)
    content = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(content | {"kind": "autoencoder"}))
    with pytest.raises(UsageError, match="compare runs of one kind"):
        compare([str(folder), str(other)], "", print)


def test_distances_on_features_of_an_encoder(folder, shards, make_pairs, tmp_path):
    """A trained autoencoder's encoder gives the features; real faces are nearest, and samples of a new generator cover none."""
    from train.autoencoder import train
    from train.config import AutoencoderConfig
    from train.gan.evaluation import evaluate
    from train.runs import Run

    encoder = str(tmp_path / "autoencoder")
    sizes = {"input_size": 16, "output_size": 16, "encoder": (16, 8), "latent": 8, "batch_size": 8}
    train(AutoencoderConfig(shards=str(make_pairs()), output=encoder, epochs=3, preset="v4", **sizes), lambda _: None)
    report = evaluate(Run.open(folder), shards, "train", "last", lambda _: None, encoder=encoder)
    table = report[f"on features of the encoder {encoder}"]
    assert table["real faces"]["frechet distance"] < table["samples"]["frechet distance"]
    assert table["real faces"]["precision"] > 0.5
    assert table["samples"]["recall"] < 0.1 < table["real faces"]["recall"]
    with pytest.raises(UsageError, match="give an autoencoder's"):
        evaluate(Run.open(folder), shards, "train", "last", lambda _: None, encoder=str(folder))


@pytest.fixture(scope="module")
def mean_color(tmp_path_factory):
    """An ONNX network whose feature is a picture's mean colour: (n, 3, 32, 32) -> (n, 3, 1, 1)."""
    from onnx import TensorProto, helper, save

    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])
    given = helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["n", 3, 1, 1])
    graph = helper.make_graph([helper.make_node("GlobalAveragePool", ["image"], ["feature"])], "mean", [taken], [given])
    path = tmp_path_factory.mktemp("onnx") / "mean.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def test_features_of_a_file(mean_color):
    """The file's network gets pictures in -1..1 at its own size, channels first."""
    from train.metrics.inception import file_features

    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    expected = (images / 127.5 - 1).mean(axis=(1, 2))
    np.testing.assert_allclose(file_features(mean_color, images), expected, atol=1e-3)


def test_fid_needs_a_given_network(folder, shards, mean_color):
    """Only `--inception` brings a figure called FID, and it is that network's Fréchet distance."""
    from train.gan.evaluation import evaluate
    from train.runs import Run

    plain = evaluate(Run.open(folder), shards, "train", "last", lambda _: None)
    assert "FID" not in json.dumps(plain)
    given = evaluate(Run.open(folder), shards, "train", "last", lambda _: None, inception=mean_color)
    table = given[f"on features of Inception ({mean_color})"]
    assert table["real faces"]["FID"] < 0.1 < table["samples"]["FID"]
    assert 0 <= table["samples"]["precision"] <= 1


@pytest.mark.parametrize(("content", "message"), [(None, "is no file"), (b"no network", "can't be run")])
def test_files_that_are_no_network(tmp_path, content, message):
    """A missing or foreign file is one line that says what to give."""
    from train.metrics.inception import file_features

    path = tmp_path / "inception.onnx"
    if content:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        file_features(str(path), np.zeros((2, 8, 8, 3), np.uint8))


def test_nobody_held_back(folder, make_faces):
    """Without a validation subset the training faces are the reference, and the first line says so."""
    from train.gan.evaluation import evaluate
    from train.runs import Run

    lines = []
    shards = str(make_faces(subsets={"train": 32}))
    report = evaluate(Run.open(folder), shards, "validation", "last", lines.append)
    assert (report["subset"], report["faces"]) == ("train", 16)
    assert "learned from" in lines[0]
    with pytest.raises(UsageError, match="has train"):
        evaluate(Run.open(folder), shards, "test", "last", lines.append)


def test_too_few_faces_to_compare(folder, make_faces):
    """A handful of faces tells nothing."""
    from train.gan.evaluation import evaluate
    from train.runs import Run

    few = str(make_faces(subsets={"train": 6, "validation": 6}))
    with pytest.raises(InputError, match="16 or more"):
        evaluate(Run.open(folder), few, "train", "last", lambda _: None)
