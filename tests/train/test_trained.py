"""What a trained autoencoder is for: exports, fingerprints, reconstructions and honest figures, on small real runs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from contextlib import suppress

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from facepipe.errors import DamagedFile, InputError, MissingExtra, OutputError, UsageError
from train.runs import CROPS, Run

pytestmark = pytest.mark.tensorflow
SMALL = ("input_size=16", "output_size=16", "encoder=[8,8]", "latent=8", "batch_size=8", "epochs=1", "seed=2")
FAMILIES = ("v4", "frontal-1", "archived-3", "archived-1")
EVERYDAY = ("frontal-1",)


def taught(preset, shards, folder, *assignments):
    """A run of one epoch with a small network of the preset's family."""
    from train import backend
    from train.config import AutoencoderConfig
    from train.presets import resolve

    config = resolve(
        AutoencoderConfig,
        "autoencoder",
        preset,
        {"shards": str(shards), "output": str(folder)},
        [*SMALL, "channels=1", *assignments],
    )
    backend.prepare(config)
    from train.autoencoder import train

    return train(config, lambda _: None)


@pytest.fixture(scope="module")
def runs(pairs, tmp_path_factory):
    """A run of each family, made when it is asked for; v4's long enough to draw more than one gray."""
    made = {}

    def run(preset):
        if preset not in made:
            longer = ("epochs=15", "learning_rate=0.01", "patience=0") if preset == "v4" else ()
            made[preset] = taught(preset, pairs, tmp_path_factory.mktemp("run") / preset, *longer)
        return made[preset]

    return run


@pytest.mark.parametrize("to", ["keras", "saved-model", "tflite", "onnx"])
@pytest.mark.parametrize(
    "preset", [*EVERYDAY, *(pytest.param(p, marks=pytest.mark.slow) for p in FAMILIES if p not in EVERYDAY)]
)
def test_export(runs, tmp_path, preset, to):
    """The file, run by its own runtime on real faces, gives the run's pictures within 1e-5, TFLite's within 1e-4."""
    from train.export import FORMATS, export
    from train.trained import Trained

    run, said = runs(preset), []
    target = export(run, to, str(tmp_path / FORMATS[to]), "best", said.append)
    assert said[0].startswith(f"{target}: ")
    faces = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 1), np.uint8)
    expected = Trained(run).reconstruct(faces)
    actual = OUTSIDE[to](target, faces.astype(np.float32) / 255)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 if to == "tflite" else 1e-5)
    assert expected.std() > 0


def outside_keras(path, faces):
    import keras

    return keras.models.load_model(path).predict_on_batch(faces)


def outside_saved_model(path, faces):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return loaded.serve(faces).numpy()


def outside_tflite(path, faces):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entry, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    answers = []
    for face in faces:
        interpreter.set_tensor(entry["index"], face[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(answer["index"]))
    return np.concatenate(answers)


def outside_onnx(path, faces):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: faces})[0]


OUTSIDE = {
    "keras": outside_keras,
    "saved-model": outside_saved_model,
    "tflite": outside_tflite,
    "onnx": outside_onnx,
}


@pytest.mark.parametrize("to", ["keras", "saved-model", "tflite", "onnx"])
def test_export_on_a_full_disk(runs, small_disk, to):
    """One line, without an option that the command lacks, and nothing is left of the file."""
    from train.export import FORMATS, export

    disk = small_disk(8)
    with pytest.raises(OutputError, match=r"could not be written \(No space left on device\); free some space$"):
        export(runs("v4"), to, str(disk / FORMATS[to]), "best", print)
    assert list(disk.iterdir()) == []


def test_reconstruct_and_fingerprint_on_a_full_disk(runs, photographs, pairs, small_disk):
    """The same."""
    from train.apply import write_fingerprints
    from train.reconstruction import reconstruct

    disk = small_disk(4)  # its one page is the folder's
    (disk / "fill").write_bytes(b"1")
    images = [str(photographs / "one.png")]
    with pytest.raises(OutputError, match=r"No space left on device.*free some space$"):
        reconstruct(runs("v4"), images, str(disk), "best", lambda _: None)
    with pytest.raises(OutputError, match="the disk is full; free some space"):
        write_fingerprints(runs("v4"), "", str(pairs), str(disk / "f.parquet"), "best", print)
    assert [path.name for path in disk.iterdir()] == ["fill"]


def test_evaluate_on_a_full_disk(runs, small_disk):
    """What was measured is told before it is written."""
    from train.evaluation import evaluate

    run = runs("v4")
    used = sum(path.stat().st_size for path in run.folder.rglob("*"))
    disk = small_disk(used // 1024 + 256)
    shutil.copytree(run.folder, disk / "run")
    with suppress(OSError), (disk / "fill").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    said = []
    with pytest.raises(OutputError, match=r"No space left on device.*free some space$"):
        evaluate(Run.open(disk / "run"), run.settings["shards"], "train", "best", said.append)
    assert any("SSIM" in line or "ssim" in line for line in said), said


def test_files_that_are_no_photographs(runs, tmp_path):
    """A text file alone is told of as one among photographs is."""
    from train.reconstruction import reconstruct

    (tmp_path / "a.txt").write_text("hello")
    said = []
    with pytest.raises(InputError, match="no usable face"):
        reconstruct(runs("v4"), [str(tmp_path / "a.txt")], str(tmp_path / "out"), "best", said.append)
    assert said == [f"{tmp_path / 'a.txt'}: not a photograph"]


def test_export_refused(runs, tmp_path, monkeypatch):
    """An unknown format; and a package that is not installed is one line that names what to install."""
    from train.export import export

    with pytest.raises(UsageError, match="keras, saved-model, tflite, onnx"):
        export(runs("v4"), "onxx", "", "best", print)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtra, match="pip install"):
        export(runs("v4"), "tflite", str(tmp_path / "x.tflite"), "best", print)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", ["sub/thesis.txt", "variables/thesis.txt", "saved_model.pb/thesis.txt"])
def test_a_saved_model_takes_no_other_folders_place(runs, tmp_path, kept):
    """What a user keeps in the folder stays, and the line names it before the model is read; so of a run's own folder,
    of the folder one is in, and of a file."""
    from train.export import export

    file = tmp_path / "keep" / kept
    file.parent.mkdir(parents=True)
    file.write_text("years of work")
    (tmp_path / "file").touch()
    run = Run(runs("v4").folder, "autoencoder", {})  # without settings no model can be read
    with pytest.raises(UsageError, match=rf"keep holds {kept.split('/')[0]}, which no export wrote; give another"):
        export(run, "saved-model", str(tmp_path / "keep"), "best", print)
    assert file.read_text() == "years of work"
    before = sorted(run.folder.rglob("*"))
    with pytest.raises(UsageError, match=r"holds checkpoints and \d+ more, which no export wrote"):
        export(run, "saved-model", str(run.folder), "best", print)
    assert sorted(run.folder.rglob("*")) == before
    with pytest.raises(UsageError, match="is a file"):
        export(run, "saved-model", str(tmp_path / "file"), "best", print)


def test_a_saved_model_does_not_replace_the_folder_one_is_in(runs, tmp_path, monkeypatch):
    """Even an empty one: the shell would stay in a folder that is gone."""
    from train.export import export

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="the folder that you are in"):
        export(runs("v4"), "saved-model", ".", "best", print)


def test_a_saved_model_takes_an_earlier_ones_place(runs, tmp_path):
    """Where the folder is empty, or an earlier export's: the new one is there whole, and nothing beside it."""
    from train.export import export

    target = tmp_path / "made"
    target.mkdir()
    for preset in ("v4", "frontal-1"):
        export(runs(preset), "saved-model", str(target), "best", lambda _: None)
        faces = np.random.default_rng(1).random((2, 16, 16, 1), np.float32)
        answers = outside_saved_model(target, faces)
        assert [path.name for path in tmp_path.iterdir()] == ["made"]
    from train.trained import Trained

    expected = Trained(runs("frontal-1")).model.predict_on_batch(faces)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("there", [True, False])
def test_files_go_into_a_folder_under_their_usual_names(runs, pairs, tmp_path, there):
    """Whether the folder is there, or its name ends in a slash."""
    from train.apply import write_fingerprints
    from train.export import export

    if there:
        (tmp_path / "out").mkdir()
    output = str(tmp_path / "out") + ("" if there else "/")
    assert export(runs("v4"), "onnx", output, "best", lambda _: None) == tmp_path / "out" / "model.onnx"
    write_fingerprints(runs("v4"), "", str(pairs), output, "best", lambda _: None)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["fingerprints.parquet", "model.onnx"]


def test_fingerprints_of_shards(runs, pairs, tmp_path):
    """A row a feature: its key, its person, its yaw in degrees, and as many finite numbers as the latent has."""
    from train.apply import write_fingerprints
    from train.data import load_arrays, read_columns
    from train.shards import ImageView, View, find_shards
    from train.trained import Trained

    path = tmp_path / "prints.parquet"
    assert write_fingerprints(runs("v4"), "", str(pairs), str(path), "best", lambda _: None) == 56
    table = pq.read_table(path)
    assert [(f.name, str(f.type)) for f in table.schema] == (
        [("key", "string"), ("identity", "string"), ("yaw", "float"), ("fingerprint", "list<element: float>")]
    )
    rows = table.to_pylist()
    assert {len(row["fingerprint"]) for row in rows} == {8}
    shards = find_shards(str(pairs), "pairs")
    columns = read_columns(shards, "train", ("key", "feature_yaw"))
    assert [row["key"] for row in rows[:40]] == [key.decode() for key in columns["key"]]
    assert [row["yaw"] for row in rows[:40]] == columns["feature_yaw"]
    features = load_arrays(shards, "train", View((ImageView("feature", 16, 1),))).images[0]
    expected = Trained(runs("v4")).encode(features)
    np.testing.assert_allclose([row["fingerprint"] for row in rows[:40]], expected, atol=1e-5)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """scikit-image's astronaut, alone and twice in a picture, and coins."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photographs")
    face = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "one.png"), face)
    cv2.imwrite(str(folder / "two.png"), np.concatenate([face, face[:, ::-1]], axis=1))
    cv2.imwrite(str(folder / "coins.png"), data.coins())
    return folder


def test_fingerprints_of_faces(runs, photographs, tmp_path):
    """What the real extract wrote is encoded as well."""
    import facepipe
    from train.apply import write_fingerprints

    facepipe.extract(
        input=str(photographs),
        output=str(tmp_path / "faces"),
        layout="flat",
        max_failed=1.0,
        execution=facepipe.Execution(workers=1),
    )
    path = str(tmp_path / "prints.parquet")
    assert write_fingerprints(runs("v4"), str(tmp_path / "faces"), "", path, "best", lambda _: None) == 2
    rows = pq.read_table(path).to_pylist()
    assert all(row["key"].startswith(("one.png", "two.png")) for row in rows)
    assert all(abs(row["yaw"]) < 40 and np.isfinite(row["fingerprint"]).all() for row in rows)


def drawn_by_hand(run, photographs, folder, **options):
    """The first photograph's crop, out of the real extract and through the model: (16, 16) uint8."""
    import facepipe
    from train.trained import Trained

    place = {"input": str(photographs), "output": str(folder / "by-hand")}
    one = facepipe.Execution(workers=1)
    facepipe.extract(**place, **options, layout="flat", face="all", max_failed=1.0, execution=one)
    rows = facepipe.open_faces(str(folder / "by-hand")).to_table().to_pylist()
    crop = next(row["crop"]["bytes"] for row in rows if row["path"] == "one.png" and row["status"] == "ok")
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    gray = image.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3)).round() @ [0.299, 0.587, 0.114]
    answer = Trained(run).reconstruct(gray.round().astype(np.uint8)[None, ..., None])[0, ..., 0]
    return np.floor(answer * 255 + 0.5).astype(np.uint8)


def test_reconstruct(runs, photographs, pairs, tmp_path):
    """Each face that the real extract finds is drawn as the model draws its crop; a picture without one is named."""
    from train.data import read_examples
    from train.reconstruction import reconstruct
    from train.shards import find_shards

    said = []
    images = [str(photographs / f"{name}.png") for name in ("one", "coins", "two")]
    written = reconstruct(runs("v4"), images, str(tmp_path), "best", said.append)
    assert [path.name for path in written] == ["one.png", "two.png", "two-2.png"]
    assert re.fullmatch(r".*one\.png: .*one\.png, of a face [0-9]+ degrees from frontal", said[0])
    pictures = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in written]
    by_hand = drawn_by_hand(runs("v4"), photographs, tmp_path)
    assert np.abs(pictures[0].astype(int) - by_hand).max() <= 1
    assert all(picture.std() > 1 for picture in pictures)
    # The same face in another picture; its mirror image is another face.
    gaps = [np.abs(pictures[0].astype(int) - picture).mean() for picture in pictures[1:]]
    assert gaps[0] < gaps[1]
    # The sheet: a column a face, 128 px and a gap of 2; its input, its output, and the nearest face it was taught on.
    assert said[-1].startswith(f"look at {tmp_path / 'sheet.png'}")
    sheet = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_GRAYSCALE).astype(int)
    assert sheet.shape == (3 * 130 + 2, 3 * 130 + 2)
    rows = [
        [sheet[130 * r + 6 : 130 * r + 130 : 8, 130 * c + 6 : 130 * c + 130 : 8] for c in range(3)] for r in range(3)
    ]
    assert [np.array_equal(one, picture) for one, picture in zip(rows[1], pictures, strict=True)] == [True] * 3
    stored = {example["target"][0] for example in read_examples(find_shards(str(pairs), "pairs"), "train")}
    targets = np.stack([np.frombuffer(face, np.uint8).reshape(16, 16).astype(int) for face in stored])
    for output, nearest in zip(rows[1], rows[2], strict=True):
        apart = np.square(targets - output).mean(axis=(1, 2))
        assert np.array_equal(targets[apart.argmin()], nearest)
    assert [line for line in said if "coins.png" in line] == [f"{images[1]}: no face was found in the picture"]
    with pytest.raises(InputError, match="no usable face"):
        reconstruct(runs("v4"), images[1:2], str(tmp_path), "best", said.append)
    with pytest.raises(InputError, match="is no file"):
        reconstruct(runs("v4"), [str(tmp_path / "nobody.jpg")], str(tmp_path), "best", said.append)


@pytest.mark.parametrize("options", [{"margin": 0.0, "cropped": False}, {"margin": 0.3, "cropped": True}])
def test_reconstruct_cuts_faces_as_those_it_was_taught_on(runs, photographs, tmp_path, options):
    """The margin, or whole pictures, of the run's shards, as its folder says."""
    from train.reconstruction import reconstruct

    shutil.copytree(runs("v4").folder, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    usual = drawn_by_hand(run, photographs, tmp_path / "usual")
    run.write_json(CROPS, options)
    (written, *_) = reconstruct(run, [str(photographs / "one.png")], str(tmp_path), "best", print)
    drawn = cv2.imread(str(written), cv2.IMREAD_UNCHANGED).astype(int)
    assert np.abs(drawn - drawn_by_hand(run, photographs, tmp_path, **options)).max() <= 1
    assert np.abs(drawn - usual).max() > 1
    (run.folder / CROPS).write_text("{")
    with pytest.raises(DamagedFile, match=r"crops\.json does not read back"):
        reconstruct(run, [str(photographs / "one.png")], str(tmp_path), "best", print)


def test_a_whole_picture_without_a_face_is_drawn_all_the_same(runs, tmp_path):
    """Taught on pictures that are crops already, a run takes them as they are, whether a face is found or not."""
    from train.reconstruction import reconstruct

    shutil.copytree(runs("frontal-1").folder, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    run.write_json(CROPS, {"margin": 0.3, "cropped": True})
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((150, 150, 3), 90, np.uint8))
    said = []
    (drawn, *_) = reconstruct(run, [str(tmp_path / "plain.png")], str(tmp_path), "best", said.append)
    assert cv2.imread(str(drawn)).shape == (16, 16, 3)
    assert "of unknown pose" in said[0]


def still_pairs(make_pairs, monkeypatch):
    """Shards in which nobody turns: each feature is its person's target."""
    monkeypatch.setattr(np, "roll", lambda image, *_, **__: image)
    return make_pairs()


def test_evaluation_with_known_answers(make_pairs, tmp_path, monkeypatch):
    """Where every feature is its person's target, the feature answers without an error, and every kind of vector
    tells all people apart."""
    from train.evaluation import evaluate, lines_of

    shards = still_pairs(make_pairs, monkeypatch)
    run = taught("v4", shards, tmp_path / "run")
    report = evaluate(run, str(shards), "validation", "best", lambda _: None)
    assert (report["pairs"], report["identities"]) == (16, 4)
    resized = report["reconstruction"]["feature resized"]
    assert (resized["all"]["mse"], resized["all"]["psnr"]) == (0, 100)
    assert resized["all"]["ssim"] == pytest.approx(1)
    assert [(band, row["images"]) for band, row in resized.items()] == (
        [("all", 16), ("15-30", 8), ("45-60", 4), ("60-90", 4)]
    )
    for name, dimension in (("fingerprints", 8), ("raw pixels", 256), ("PCA", 8)):
        kind = report["identity"][name]
        assert (kind["dimension"], kind["gallery"]) == (dimension, 4)
        assert (kind["all"]["probes"], kind["all"]["rank1"], kind["all"]["auc"]) == (16, 1, 1)
    assert json.loads((run.folder / "evaluation.json").read_text()) == report
    assert sum("feature resized" in line for line in lines_of(report)) == 4
    assert (resized["all"]["sharpness"], resized["all"]["gain_free"]) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    rank1 = {name: table["all"]["rank1"] for name, table in report["recognition"].items()}
    assert (rank1["feature"], rank1["target"], rank1["mean target"]) == (1, 1, 0.25)
    with pytest.raises(UsageError, match=r"--subset is 'tset'; .* has train, validation"):
        evaluate(run, str(shards), "tset", "best", print)


def test_shards_that_have_moved(runs, pairs, make_pairs, tmp_path, monkeypatch):
    """Those of the same people take the place of the run's own; others, or none, are told with the way out."""
    from train.evaluation import evaluate

    report = evaluate(runs("v4"), str(pairs), "validation", "best", lambda _: None)
    run = Run.open(shutil.copytree(runs("v4").folder, tmp_path / "run"))
    run.settings["shards"] = "data/shards"
    monkeypatch.chdir(tmp_path)
    moved = evaluate(run, str(pairs), "validation", "best", lambda _: None)
    assert [moved[name] for name in ("reconstruction", "identity")] == [
        report[name] for name in ("reconstruction", "identity")
    ]
    with pytest.raises(InputError, match=r"was trained on data/shards, where no pairs are: run this .* --shards DIR$"):
        evaluate(run, "data/shards", "validation", "best", print)
    others = make_pairs(subsets={"train": 12, "validation": 8})
    with pytest.raises(InputError, match=r"trained on, which is not in data/shards: run this in the folder that"):
        evaluate(run, str(others), "validation", "best", print)
    with pytest.raises(InputError, match=r"no shards of pairs in elsewhere; make them"):
        evaluate(run, "elsewhere", "validation", "best", print)


def test_evaluation_without_anybody_held_back_names_the_ways_out(runs, make_pairs):
    """The subset that is there, and the commands that hold people back."""
    from train.evaluation import evaluate

    shards = str(make_pairs(subsets={"train": 16}))
    with pytest.raises(UsageError, match=r"has train: give --subset train, or .*split --validation 0.3 .* train again"):
        evaluate(runs("v4"), shards, "validation", "best", print)


def test_the_page_shows_evaluation_json(runs, pairs, make_pairs, tmp_path):
    """Other evaluations are written beside it, and it is written together with the page."""
    from train.evaluation import evaluate

    folder = shutil.copytree(runs("frontal-1").folder, tmp_path / "run")
    before = [(folder / name).read_bytes() for name in ("evaluation.json", "summary.html")]
    (other, said), run = (str(make_pairs(subsets={"validation": 8})), []), Run.open(folder)
    wanted = [(other, "validation", "best"), (str(pairs), "train", "best"), (str(pairs), "validation", "last")]
    reports = [evaluate(run, *what, said.append) for what in wanted]
    written = [folder / line.split(";")[0].removeprefix("written to ") for line in said if "written to" in line]
    assert [json.loads(path.read_text()) for path in written] == reports
    assert [path.name for path in written[1:]] == ["evaluation-train.json", "evaluation-last.json"]
    assert [(folder / name).read_bytes() for name in ("evaluation.json", "summary.html")] == before
    (folder / "summary.html").write_text("of before")
    evaluate(run, str(pairs), "validation", "best", said.append)
    assert "By the best checkpoint, of epoch 1." in (folder / "summary.html").read_text()


def test_the_mean_target(runs, pairs):
    """The baseline is the pixelwise mean of the training targets, measured on the people held back."""
    from train.data import load_arrays
    from train.shards import ImageView, View, find_shards

    shards = find_shards(str(pairs), "pairs")
    view = View((ImageView("target", 16, 1),))
    taught_on, held_back = (load_arrays(shards, s, view).images[0] / 255 for s in ("train", "validation"))
    expected = np.mean((held_back - taught_on.mean(axis=0)) ** 2)
    report = json.loads((runs("v4").folder / "evaluation.json").read_text())
    assert report["reconstruction"]["mean target"]["all"]["mse"] == pytest.approx(expected, rel=1e-4)


def test_run_opens_again(runs):
    """The folder alone tells what was trained."""
    run = Run.open(runs("v4").folder)
    assert (run.kind, run.settings["preset"], run.settings["latent"]) == ("autoencoder", "v4", 8)
