"""A run's folder: whole files, one run at a time, nothing mixed up."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from facepipe.errors import DamagedFile, InputError, OutputError, SettingsChanged, UsageError
from train.checkpoints import load_state, save
from train.config import AutoencoderConfig
from train.files import whole_file
from train.gan.config import GanConfig
from train.pictures import grid, plot, png, whole_epochs
from train.recorder import Events
from train.runs import CHECKPOINTS, Run
from train.summary import verdict, write_summary
from train.trained_people import read_people


def config(folder, **options):
    return AutoencoderConfig(preset="v4", output=str(folder), **options)


def started(folder, kind="autoencoder", **options):
    """A run's folder as training makes it."""
    wanted = config(folder, **options)
    run = Run.of(wanted, kind)
    run.check(wanted)
    run.begin(wanted)
    return run


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """What stood there stands, no leftover lies beside it, and the line says what to do."""
    path = tmp_path / "checkpoints" / "last.npz"
    with whole_file(path) as file:
        file.write(b"good")
    with pytest.raises(OutputError, match=r"No space left.*free some space"), whole_file(path) as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_bytes() == b"good"
    assert [p.name for p in path.parent.iterdir()] == ["last.npz"]


def test_nothing_is_written_through_a_link(tmp_path):
    """Neither through one in the file's place nor through one by the name that it has until it is whole."""
    for name in ("log.csv", "log.csv.tmp"):
        (tmp_path / f"other {name}").write_text("theirs")
        (tmp_path / name).symlink_to(tmp_path / f"other {name}")
    with whole_file(tmp_path / "log.csv") as file:
        file.write(b"ours")
    assert (tmp_path / "log.csv").read_text() == "ours"
    assert {path.read_text() for path in tmp_path.glob("other*")} == {"theirs"}


def test_a_really_full_disk(small_disk):
    """The same on a disk that is full."""
    path = small_disk(8) / "x"
    with pytest.raises(OutputError, match="No space left"), whole_file(path) as file:
        file.write(b"1" * 100_000)
    assert not path.exists()


@pytest.mark.tensorflow
def test_events_on_a_really_full_disk(tmp_path, small_disk):
    """TensorBoard's file as the others: one line; so too where its folder can't be made."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        Events(tmp_path / "file").scalars({"loss": 0.5}, 1)
    # A process of its own: the writer keeps its file open, and the disk is to go away.
    code = """
import os, sys
sys.modules["tensorflow"] = None
from pathlib import Path
from train.recorder import Events
try:
    Events(Path(sys.argv[1])).image("noise", os.urandom(100_000), 8, 8, 1)
except Exception as error:
    print(type(error).__name__, error)
"""
    words = [sys.executable, "-c", code, str(small_disk(8) / "events")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert re.search(r"NotWritten .*could not be written \(No space left.*free some space", done.stdout), done.stderr


def test_paths_that_are_no_folder(tmp_path):
    """A file where a run is looked for, or is to be made."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no run"):
        Run.open(tmp_path / "file")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match=r"can.t write|is a file"), Run(folder, "gan", {}).locked():
            pass


def test_a_training_on_a_full_disk_names_resume(small_disk):
    """An evaluation, which has no such option, does not."""
    run = Run(small_disk(4), "gan", {})
    with pytest.raises(OutputError, match=r"free some space$"):
        run.write("report.json", "1" * 9000)
    with pytest.raises(OutputError, match=r"free some space, then go on with --resume$"), run.locked():
        run.write("config.json", "1" * 9000)


def test_start_and_open(tmp_path):
    """config.json says what the run is."""
    started(tmp_path, seed=4)
    run = Run.open(tmp_path)
    assert (run.kind, run.settings["seed"], run.settings["encoder"]) == ("autoencoder", 4, [128, 64, 32])


def test_a_run_is_not_overwritten_by_chance(tmp_path):
    """Going on, dropping it, or another folder: the user says."""
    started(tmp_path).write_log([{"epoch": 1}])
    with pytest.raises(OutputError, match="--resume"):
        started(tmp_path)
    with pytest.raises(SettingsChanged, match="--seed 0 -> 1"):
        started(tmp_path, seed=1, resume=True)
    with pytest.raises(SettingsChanged, match="kind"):
        started(tmp_path, "gan", resume=True)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.npz").touch()
    started(tmp_path, resume=True, epochs=99)
    assert (tmp_path / "log.csv").exists()
    started(tmp_path, seed=1, overwrite=True)
    assert not (tmp_path / "log.csv").exists()


def test_what_only_the_shards_tell_is_compared_later(tmp_path):
    """A GAN's labels and batch size, before its shards are read: other settings count at once."""
    unknown = ("class_labels", "batch_size")

    def wanted(**options):
        return GanConfig(preset="dcgan", output=str(tmp_path), resume=True, **options)

    for found in ((), (0, 1)):
        run = Run.of(wanted(class_labels=found, batch_size=48), "gan")
        run.begin(wanted())
        run.write_log([{"epoch": 1}])
        run.write("checkpoints/last.npz", b"")
        run.check(wanted(), ignoring=unknown)
        with pytest.raises(SettingsChanged, match=r"other settings \(--seed 0 -> 1\)"):
            run.check(wanted(seed=1), ignoring=unknown)
    with pytest.raises(SettingsChanged, match="the faces' labels 0,1 -> none"):
        run.check(wanted(batch_size=48))


def test_a_run_that_ended_before_its_first_epoch_is_in_nobodys_way(tmp_path):
    """Its folder is taken without --overwrite, whatever its settings were; with an epoch it is not."""
    started(tmp_path, seed=4)
    assert started(tmp_path, "gan").kind == Run.open(tmp_path).kind == "gan"
    Run.open(tmp_path).write_log([{"epoch": 0}])
    started(tmp_path, seed=5, resume=True).write_log([{"epoch": 0}, {"epoch": 1}])
    with pytest.raises(OutputError, match="holds a run already"):
        started(tmp_path)


def test_resuming_without_the_last_checkpoint_is_refused(tmp_path):
    """What is left of the run is named and stays. A run that was killed in its first checkpoint begins anew."""
    run = started(tmp_path)
    run.write("checkpoints/best.npz", b"of the first epoch")
    with pytest.raises(OutputError, match="holds a run already; add --resume"):
        started(tmp_path)
    started(tmp_path, resume=True)
    assert not run.checkpoint("best").exists()
    run.write("checkpoints/best.npz", b"learned")
    run.write_log([{"epoch": 1}, {"epoch": 2}])
    with pytest.raises(InputError, match=r"has 2 epochs in log.csv but no last.npz to go on from: give --overwrite"):
        started(tmp_path, resume=True)
    assert run.checkpoint("best").read_bytes() == b"learned"
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"config.json is missing"):
        started(tmp_path, resume=True)


MALFORMED = (
    b"",
    b"PK\x03\x04",
    b"{",
    b"[]",
    b'{"kind": 1}',
    b'{"kind": "gan", "settings": 3}',
    b"\xff\xfe",
    b"a,b\n1,2,3\n",
    b"[" * 100_000,
)


@pytest.mark.parametrize("content", MALFORMED, ids=lambda content: repr(content[:9]))
@pytest.mark.parametrize("name", ["checkpoints/last.npz", "config.json", "log.csv", "trained_people.json"])
def test_malformed_files_are_named_in_one_line(tmp_path, name, content):
    """Empty, cut, of another kind: what can't be read is named, with what to do."""
    run = started(tmp_path)
    run.write(name, content)
    readers = {
        "checkpoints/last.npz": lambda: load_state(run.checkpoint("last")),
        "config.json": lambda: Run.open(tmp_path),
        "log.csv": run.read_log,
        "trained_people.json": lambda: read_people(tmp_path),
    }
    if name == "log.csv" and not content:
        assert readers[name]() == []
        return
    with pytest.raises(DamagedFile, match=rf"{name} does not read back .*train again with --overwrite") as caught:
        readers[name]()
    assert "\n" not in str(caught.value)


def endless(file):
    """An archive whose state claims 10^15 bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("state.npy", header.getvalue())


def test_a_foreign_array_is_no_checkpoint(tmp_path):
    """An archive without a state, one array alone, a state that is no table or no run's, or claims to be endless."""
    run = Run(tmp_path, "gan", {})
    path = run.checkpoint("last")
    path.parent.mkdir()
    for write in (
        lambda file: np.save(file, np.zeros(3)),
        lambda file: np.savez(file, x=np.zeros(3)),
        lambda file: np.savez(file, state=np.frombuffer(b"[1, 2]", np.uint8)),
        lambda file: np.savez(file, state=np.frombuffer(b"nothing", np.uint8)),
        lambda file: np.savez(file, state=np.frombuffer(b"[" * 100_000, np.uint8)),
        lambda file: np.savez(file, state=np.frombuffer(b'{"epoch": "two"}', np.uint8)),
        lambda file: np.savez(file, state=np.frombuffer(b'{"epoch": NaN}', np.uint8)),
        lambda file: np.savez(file, state=np.frombuffer(b'{"rows": [1]}', np.uint8)),
        endless,
    ):
        with path.open("wb") as file:
            write(file)
        with pytest.raises(DamagedFile, match=r"last.npz does not read back"):
            load_state(path)


@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("part", ["whole", "array"])
def test_the_way_out_of_a_damaged_checkpoint_is_there(tmp_path, other, part):
    """The other checkpoint is named where there is one; to train again always helps."""
    run = Run(tmp_path, "autoencoder", {})
    for name in CHECKPOINTS if other else ("last",):
        save(run.checkpoint(name), {}, {"epoch": 3})
    path = run.checkpoint("last")
    content = path.read_bytes()
    path.write_bytes(content[:20] if part == "whole" else content.replace(b'"epoch"', b'"epoxh"'))
    anew, look = "train again with --overwrite", "look at the other one: `evaluate` and the like take --checkpoint best"
    with pytest.raises(DamagedFile, match=f"; {f'{anew}, or {look}' if other else anew}$"):
        load_state(path)


def test_a_checkpoint_that_is_not_there(tmp_path):
    """Another name, the one that is missing beside the other, and a run without an epoch: each says what can be given."""
    run = Run(tmp_path, "gan", {})
    with pytest.raises(UsageError, match=r"--checkpoint is 'foo'; it can be best or last"):
        run.checkpoint("foo")
    with pytest.raises(InputError, match=r"has not finished an epoch"):
        load_state(run.checkpoint("best"))
    save(run.checkpoint("last"), {}, {"epoch": 3})
    with pytest.raises(InputError, match=r"no checkpoint .*best.npz; give --checkpoint last"):
        load_state(run.checkpoint("best"))


def test_only_what_runs_write_is_dropped(tmp_path):
    """A user's own pictures, tables and settings beside the run stay, with --overwrite too."""
    own = {"face.png", "people.csv", "notes.json", "grids/mine.png"}
    (tmp_path / "grids").mkdir()
    for name in own:
        (tmp_path / name).write_text("mine")
    started(tmp_path).write_log([{"epoch": 1}])
    started(tmp_path, overwrite=True)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == own | {"config.json"}


def test_another_programs_config_stays(tmp_path):
    """A config.json that no run wrote is not written over, unless --overwrite says so."""
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with pytest.raises(DamagedFile):
        started(tmp_path)
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'


@pytest.mark.parametrize(("content", "error"), [(None, InputError), ("{", DamagedFile), ("[]", DamagedFile)])
def test_no_run(tmp_path, content, error):
    """A folder that is none, and one whose description is damaged."""
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(error):
        Run.open(tmp_path)


def test_one_at_a_time(tmp_path):
    """A second process into the same folder is refused."""
    run = started(tmp_path)
    with run.locked(), pytest.raises(OutputError, match=r"another run .* is writing"), Run.open(tmp_path).locked():
        pass
    with run.locked():
        pass


def test_log(tmp_path):
    """A column that comes later is empty before."""
    run = Run(tmp_path, "autoencoder", {})
    run.write_log([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 1.0}])
    assert (tmp_path / "log.csv").read_text() == "epoch,loss,val_loss\n1,0.5,\n2,0.25,1.0\n"


@pytest.mark.parametrize(
    ("shards", "subset", "checkpoint", "name"),
    [
        ("data/shards", "validation", "best", "evaluation.json"),
        ("./data/shards/", "validation", "best", "evaluation.json"),
        ("data/shards", "train", "best", "evaluation-train.json"),
        ("data/shards", "validation", "last", "evaluation-last.json"),
        ("/tmp/data2/shards", "validation", "best", "evaluation-tmp-data2-shards.json"),
        ("s3://other/shards", "test", "last", "evaluation-s3-other-shards-test-last.json"),
    ],
)
def test_only_the_runs_own_evaluation_is_evaluation_json(shards, subset, checkpoint, name):
    """Every other one's name says what is other."""
    assert Run("run", "autoencoder", {"shards": "data/shards"}).report(shards, subset, checkpoint) == name


def test_grid():
    """Rows of pictures on white, small ones enlarged by whole pixels."""
    picture = grid([np.zeros((3, 32, 32, 1), np.float32), np.ones((2, 64, 64, 3), np.float32) * 0.5])
    assert picture.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    assert [picture[y, x].tolist() for y, x in ((0, 0), (2, 2), (65, 65), (68, 2), (68, 140))] == (
        [[255] * 3, [0] * 3, [0] * 3, [128] * 3, [255] * 3]
    )


@pytest.mark.tensorflow
def test_events_are_tensorboards(tmp_path):
    """TensorBoard's own reader finds the scalars and the picture."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = Events(tmp_path)
    picture = grid([np.full((1, 64, 64, 1), 0.5, np.float32)])
    for step in (1, 2):
        events.scalars({"loss": 0.5 / step, "val_loss": 1.0}, step)
    events.image("grid", png(picture), *picture.shape[:2], 2)
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
    (image,) = read.Images("grid")
    assert (image.width, image.height, image.encoded_image_string) == (68, 68, png(picture))


def test_summary(tmp_path):
    """One page with everything in it, names escaped."""
    run = started(tmp_path)
    run.settings["preset"] = "<v4>"
    run.write_log([{"epoch": 1, "loss": 0.5, "val_loss": 0.6, "seconds": 30.0}])
    run.write("loss.png", plot({"loss": {"training": [(1, 0.5)]}}, {"mean target": 0.4}, "v4"))
    measured = {"images": 3, "mse": 0.1, "mae": 0.2, "psnr": 10.0, "ssim": 0.3}
    person = {"dimension": 256, "gallery": 2, "all": {"probes": 3, "rank1": 0.5, "auc": 0.75}}
    rebuilt = {"model": {"all": measured}, "mean target": {"all": {**measured, "mse": 0.125}}}
    run.write("grids/epoch-0007.png", b"")
    report = {
        "checkpoint": "best",
        "epoch": 4,
        "pairs": 3,
        "identities": 2,
        "subset": "validation",
        "reconstruction": rebuilt,
    }
    (tmp_path / "evaluation.json").write_text(json.dumps({**report, "identity": {"fingerprints": person}}))
    write_summary(run)
    page = (tmp_path / "summary.html").read_text()
    for text in (
        "&lt;v4&gt;",
        "1 epoch in 0.5 minutes",
        "20 % under the mean target&#x27;s",
        "<dt>rank-1</dt>",
        "data:image/png;base64",
        "fingerprints, 256 numbers",
        "0.7500",
        "target; after epoch 7, the last checkpoint&#x27;s</figcaption>",
        "By the best checkpoint, of epoch 4.",
        "prefers-color-scheme: dark",
    ):
        assert text in page
    assert page.index("after epoch 7") < page.index("Loss over epochs") < page.index("fingerprints, 256")
    assert page.count("<table>") == 2  # the figures, the settings


@pytest.mark.parametrize(
    ("mse", "people", "subset", "said"),
    [
        (
            0.0445,
            40,
            "validation",
            "11 % under the mean target's (0.0445 against 0.0500), on 40 people held out",
        ),
        (0.0445, 1, "validation", "on 1 person held out: so few that it may be chance."),
        (0.0445, 40, "train", "on the very people it was taught with"),
        (0.0500, 40, "validation", "is not below the mean target's (0.0500 against 0.0500): train longer"),
        (float("nan"), 40, "validation", "is not below"),
    ],
)
def test_the_verdict_follows_the_figures(mse, people, subset, said):
    """Better than the mean target or not, on whom, and whether they are many enough."""
    rebuilt = {"model": {"all": {"mse": mse}}, "mean target": {"all": {"mse": 0.05}}}
    assert said in verdict({"reconstruction": rebuilt, "subset": subset, "identities": people})


@pytest.mark.parametrize(
    ("rank1", "said"), [(0.04, "Its faces are not those of the people: recognised"), (0.7, "Recognised (rank-1)")]
)
def test_a_blurred_mean_is_told(rank1, said):
    """A low error with nobody in it is said to be that."""
    model = {"all": {"mse": 0.044, "sharpness": 0.46}}
    faces = {"model": rank1, "feature": 0.8, "mean target": 0.02}
    report = {
        "reconstruction": {"model": model, "mean target": {"all": {"mse": 0.05}}},
        "recognition": {name: {"all": {"rank1": value}} for name, value in faces.items()},
        "subset": "validation",
        "identities": 40,
    }
    told = verdict(report)
    assert told.startswith(said)
    assert "80 % of the features, 2 % of mean faces; they are 46 % as sharp as the targets." in told


def test_the_verdict_tells_that_people_were_trained_on():
    """Of other shards, some may be: a low error is none of strangers then."""
    rebuilt = {"model": {"all": {"mse": 0.04}}, "mean target": {"all": {"mse": 0.05}}}
    report = {"reconstruction": rebuilt, "subset": "validation", "identities": 40, "trained_on": 3}
    assert verdict(report).endswith("but it was taught with 3 of these people: that tells little of others.")


def test_a_run_without_anybody_held_back_has_no_verdict(tmp_path):
    """Its page says how to hold people back."""
    run = started(tmp_path)
    run.write_log([{"epoch": 1, "loss": 0.5, "seconds": 30.0}])
    write_summary(run)
    assert "facepipe split --validation 0.3 --overwrite" in (tmp_path / "summary.html").read_text()


@pytest.mark.parametrize("epochs", [1, 2, 5, 60])
def test_the_plots_ticks_are_whole_epochs(epochs):
    """Of a single epoch too; at least one of those that were run has one."""
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    axes.plot(range(1, epochs + 1), [0.5] * epochs)
    whole_epochs(axes, epochs)
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks == [round(tick) for tick in ticks]
    assert any(1 <= tick <= epochs for tick in ticks)
