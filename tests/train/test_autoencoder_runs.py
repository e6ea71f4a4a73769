"""Real runs of autoencoders: exact resuming after a kill, every option, and trouble answered with what to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from runfolders import arrays_of, rows_of, without_records

from facepipe.errors import DamagedFile, FacepipeError, InputError, OutputError, SettingsChanged, UsageError

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).parents[2]
SMALL = ("input_size=16", "output_size=16", "encoder=[8,8]", "latent=8", "batch_size=8")


def config(shards, folder, preset="v4", **options):
    from train.config import AutoencoderConfig
    from train.presets import resolve

    fields = {"shards": str(shards), "output": str(folder), "epochs": 1, "seed": 2, **options}
    return resolve(AutoencoderConfig, "autoencoder", preset, fields, SMALL)


def run(shards, folder, preset="v4", say=lambda _: None, **options):
    from train import backend

    wanted = config(shards, folder, preset, **options)
    backend.prepare(wanted)
    from train.autoencoder import train

    return train(wanted, say)


def command(shards, folder, *words):
    settings = [word for setting in SMALL for word in ("--set", setting)]
    paths = ["--shards", str(shards), "-o", str(folder)]
    return [sys.executable, "-W", "ignore", "-m", "train", "autoencoder", *paths, "--seed", "2", *settings, *words]


def called(*words, **environment):
    return subprocess.run(
        words, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def finite(folder):
    return all(np.isfinite([float(row[name]) for name in ("loss", "val_loss")]).all() for row in rows_of(folder))


@pytest.fixture(scope="module")
def one_epoch(pairs, tmp_path_factory):
    """A run of one epoch; tests copy it."""
    return run(pairs, tmp_path_factory.mktemp("run") / "run").folder


def test_folder_of_a_run(one_epoch):
    """Configuration, architecture, both checkpoints, log, events, a grid an epoch, plot, evaluation, page."""
    names = {str(path.relative_to(one_epoch)) for path in one_epoch.rglob("*") if path.is_file()}
    kept = {"config.json", "model.json", "log.csv", "loss.png", "evaluation.json", "summary.html"}
    assert kept | {"checkpoints/last.npz", "checkpoints/best.npz", "grids/epoch-0001.png"} <= names
    assert any(name.startswith("events/") for name in names)
    assert finite(one_epoch)
    assert json.loads((one_epoch / "config.json").read_text())["settings"]["encoder"] == [8, 8]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_killed_run_goes_on(pairs, tmp_path, backend):
    """kill -9 in the fourth epoch and --resume to the sixth give every weight and moment of six in one go."""
    words = ["--epochs", "6", "--deterministic", "--backend", backend, "--steps-per-epoch", "150"]
    log = tmp_path / "killed" / "log.csv"
    child = subprocess.Popen(
        command(pairs, tmp_path / "killed", *words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while child.poll() is None and time.monotonic() < deadline:
        if log.exists() and len(rows_of(tmp_path / "killed")) >= 3:
            time.sleep(0.1)
            break
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert 3 <= len(rows_of(tmp_path / "killed")) < 6
    resumed = called(*command(pairs, tmp_path / "killed", *words, "--resume"))
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert "resuming after epoch" in resumed.stdout
    whole = called(*command(pairs, tmp_path / "whole", *words))
    assert whole.returncode == 0, whole.stderr[-2000:]
    for name in ("last", "best"):
        first, second = arrays_of(tmp_path / "killed", name), arrays_of(tmp_path / "whole", name)
        assert first.keys() == second.keys()
        assert [key for key in first if not np.array_equal(first[key], second[key])] == []
    logs = [[row["val_loss"] for row in rows_of(tmp_path / name)] for name in ("killed", "whole")]
    assert len(logs[0]) == 6
    assert logs[0] == logs[1]


@pytest.mark.parametrize("preset", ["v4", pytest.param("frontal-1", marks=pytest.mark.slow)])
def test_resumed_equals_unbroken(pairs, tmp_path, preset):
    """One epoch and three more give every weight and moment of four in one go, the learning rate's cuts included."""
    options = {"preset": preset, "schedule": "plateau", "plateau": 1, "learning_rate": 0.05}
    run(pairs, tmp_path / "broken", **options)
    run(pairs, tmp_path / "broken", epochs=4, resume=True, **options)
    run(pairs, tmp_path / "whole", epochs=4, **options)
    first, second = arrays_of(tmp_path / "broken"), arrays_of(tmp_path / "whole")
    assert [key for key in first if not np.array_equal(first[key], second[key])] == []
    logs = [[row["learning_rate"] for row in rows_of(tmp_path / name)] for name in ("broken", "whole")]
    assert logs[0] == logs[1]
    assert (tmp_path / "broken/grids/epoch-0004.png").read_bytes() == (
        tmp_path / "whole/grids/epoch-0004.png"
    ).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [2, 3])
def test_an_epoch_that_ended_between_checkpoint_and_log(pairs, tmp_path, epochs):
    """--resume draws and logs it, whether it was the last one or not: the folder is that of an unbroken run."""
    run(pairs, tmp_path / "broken", epochs=1)
    obstacle = tmp_path / "broken/grids/epoch-0002.png"
    obstacle.mkdir()
    with pytest.raises(OutputError, match="go on with --resume"):
        run(pairs, tmp_path / "broken", epochs=epochs, resume=True)
    obstacle.rmdir()
    run(pairs, tmp_path / "broken", epochs=epochs, resume=True)
    run(pairs, tmp_path / "whole", epochs=epochs)
    logs = [[(row["epoch"], row["val_loss"]) for row in rows_of(tmp_path / name)] for name in ("broken", "whole")]
    assert logs[0] == logs[1]
    for name in ("grids/epoch-0002.png", "loss.png"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_streamed_with_the_default_seed(pairs, tmp_path):
    """Seed 0 with more pairs than fit in memory: it learns, and a resumed run sees the order of an unbroken one."""
    options = {"cache_bytes": 0, "seed": 0}
    for name, epochs, more in (("broken", 1, {}), ("broken", 2, {"resume": True}), ("whole", 2, {})):
        run(pairs, tmp_path / name, epochs=epochs, **options, **more)
    first, second = arrays_of(tmp_path / "broken"), arrays_of(tmp_path / "whole")
    assert [key for key in first if not np.array_equal(first[key], second[key])] == []
    assert finite(tmp_path / "whole")


def test_cosine_schedule(pairs, tmp_path):
    """The learning rate falls along half a cosine over the epochs; a resumed run takes the same and no other number."""
    folder = run(pairs, tmp_path / "run", epochs=4, schedule="cosine", learning_rate=0.01).folder
    rates = [float(row["learning_rate"]) for row in rows_of(folder)]
    assert rates == pytest.approx([0.01, 0.0085355, 0.005, 0.0014645], rel=1e-4)
    with pytest.raises(SettingsChanged, match="--epochs 4 -> 6"):
        run(pairs, folder, epochs=6, schedule="cosine", learning_rate=0.01, resume=True)


def test_stops_early(pairs, tmp_path):
    """Without a better validation loss patience runs out, and the best checkpoint is the one evaluated."""
    said = []
    folder = run(pairs, tmp_path / "run", epochs=40, patience=2, learning_rate=0.5, say=said.append).folder
    rows = [float(row["val_loss"]) for row in rows_of(folder)]
    assert len(rows) == 1 + int(np.argmin(rows)) + 2 < 40
    assert "stopped: no better validation loss in 2 epochs" in said
    assert json.loads((folder / "evaluation.json").read_text())["epoch"] == 1 + int(np.argmin(rows))


@pytest.mark.slow
@pytest.mark.parametrize(("wanted", "taken"), [(3, 1), (5, 5), (50, 5)])
def test_steps_per_execution_change_nothing_computed(pairs, tmp_path, wanted, taken):
    """An epoch of 5 steps stays one: what does not divide it is brought down, and said; weights and log are the same."""
    said = []
    run(pairs, tmp_path / "plain", epochs=2)
    run(pairs, tmp_path / "run", epochs=1, steps_per_execution=wanted, say=said.append)
    run(pairs, tmp_path / "run", epochs=2, steps_per_execution=wanted, resume=True)
    note = f"--steps-per-execution {wanted} does not divide the 5 steps of an epoch; {taken} is taken"
    assert (note in said) == (wanted != taken)
    first, second = arrays_of(tmp_path / "plain"), arrays_of(tmp_path / "run")
    assert sorted(first) == sorted(second)
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
    logs = [[[float(row[c]) for c in ("loss", "val_loss")] for row in rows_of(tmp_path / n)] for n in ("plain", "run")]
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 50])
def test_loss_that_is_no_number_is_seen_soon(one_epoch, steps):
    """Within 20 steps or an execution, however many steps an execution takes, the run stops."""
    from train.callbacks import Diverged, Keeper, Progress
    from train.runs import Run

    keeper = Keeper(Run.open(one_epoch), config("", one_epoch, steps_per_execution=steps), Progress(), None, {}, print)
    keeper.on_epoch_begin(0)
    ends = range(steps - 1, 10 * max(20, steps), steps)
    keeper.on_train_batch_end(ends[0], {"loss": 0.5})
    seen = []
    with pytest.raises(Diverged):
        for end in ends[1:]:
            seen.append(end)
            keeper.on_train_batch_end(end, {"loss": np.nan})
    assert seen[-1] <= 20 + 2 * steps


@pytest.mark.parametrize(
    ("preset", "given", "advised"),
    [("v4", 1e30, "0.001"), ("v4", 0.05, "0.001"), ("v4", 0.001, "0.0001"), ("archived-1", 1e30, "1")],
)
def test_advised_learning_rate(one_epoch, preset, given, advised):
    """A tenth of the one given, and never more than the preset's own."""
    from train.callbacks import Diverged, Keeper, Progress
    from train.runs import Run

    wanted = config("", one_epoch, preset, learning_rate=given)
    with pytest.raises(Diverged, match=rf"Try --learning-rate {advised}, or look"):
        Keeper(Run.open(one_epoch), wanted, Progress(), None, {}, print).on_train_batch_end(0, {"loss": np.nan})


def copied(one_epoch, tmp_path):
    shutil.copytree(one_epoch, tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock")}


def test_overwrite_drops_the_old_run_only_when_the_new_one_can_begin(one_epoch, pairs, make_pairs, tmp_path):
    """Another process trains into the folder, there are fewer devices, no training records: the old run stays whole."""
    from train.runs import Run

    folder = copied(one_epoch, tmp_path)
    before = contents(folder)
    with Run.open(folder).locked(), pytest.raises(OutputError, match=r"another run .* is writing"):
        run(pairs, folder, overwrite=True)
    with pytest.raises(UsageError, match="--devices is 64"):
        run(pairs, folder, overwrite=True, devices=64)
    with pytest.raises(InputError, match="no train records; `facepipe report` shows why"):
        run(make_pairs(subsets={"validation": 16}), folder, overwrite=True)
    assert contents(folder) == before
    run(pairs, folder, overwrite=True, learning_rate=0.5)
    assert json.loads((folder / "config.json").read_text())["settings"]["learning_rate"] == 0.5


def test_resuming_without_the_last_checkpoint_keeps_the_best(one_epoch, pairs, tmp_path):
    """Nothing is trained over it."""
    folder = copied(one_epoch, tmp_path)
    (folder / "checkpoints" / "last.npz").unlink()
    before = contents(folder)
    with pytest.raises(InputError, match=r"has 1 epochs in log.csv but no last.npz"):
        run(pairs, folder, epochs=2, resume=True)
    assert contents(folder) == before


def test_a_run_that_failed_at_its_start_needs_no_overwrite(pairs, make_pairs, tmp_path):
    """The corrected command is taken."""
    with pytest.raises(InputError, match="no train records"):
        run(make_pairs(subsets={"validation": 16}), tmp_path / "run")
    assert contents(tmp_path / "run") == {}
    run(pairs, tmp_path / "run")


def test_loss_that_is_no_number(one_epoch, pairs, tmp_path):
    """The run stops in one line that says what to try, and the last good checkpoints stay as they were."""
    folder = copied(one_epoch, tmp_path)
    path = folder / "checkpoints" / "last.npz"
    with np.load(path) as file:
        held = dict(file)
    key = next(name for name, value in held.items() if "optimizer" in name and value.ndim == 0 and value == 1e-3)
    held[key] = np.float32(3e38)  # a learning rate at which every weight overflows
    np.savez(path, **held)
    before = {p.name: p.read_bytes() for p in (folder / "checkpoints").iterdir()}
    with pytest.raises(
        FacepipeError, match=r"the loss is (nan|inf) in epoch 2; the checkpoints of epoch 1 are kept.*--learning-rate"
    ):
        run(pairs, folder, epochs=3, resume=True)
    assert {p.name: p.read_bytes() for p in (folder / "checkpoints").iterdir()} == before
    assert len(rows_of(folder)) == 1


def test_full_disk_while_saving(one_epoch, pairs, tmp_path, small_disk):
    """The line says so, the earlier checkpoint stands, and --resume goes on when there is room."""
    folder = copied(one_epoch, tmp_path)
    checkpoints = folder / "checkpoints"
    kept = checkpoints.rename(tmp_path / "kept")
    small_disk(sum(path.stat().st_size // 1024 + 8 for path in kept.iterdir()), checkpoints)
    shutil.copytree(kept, checkpoints, dirs_exist_ok=True)
    last = checkpoints / "last.npz"
    before = last.read_bytes()
    with pytest.raises(OutputError, match=r"No space left.*--resume"):
        run(pairs, folder, epochs=2, resume=True)
    assert last.read_bytes() == before
    subprocess.run(["mount", "-o", "remount,size=64m", str(checkpoints)], check=True)
    run(pairs, folder, epochs=2, resume=True)
    assert len(rows_of(folder)) == 2


@pytest.mark.parametrize("cache_bytes", [0, 2**31])
def test_damaged_shard(pairs, tmp_path, cache_bytes):
    """One wrong bit, in memory or streamed: the run stops and names the file."""
    shutil.copytree(pairs, tmp_path / "shards")
    path = next((tmp_path / "shards").rglob("pairs-train.tfrecord-00001-of-00002"))
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"00001-of-00002.*run `facepipe shard` again with the options"):
        run(tmp_path / "shards", tmp_path / "run", cache_bytes=cache_bytes)


@pytest.mark.parametrize(("subset", "kept"), [("train", 10), ("train", 0), ("validation", 9)])
@pytest.mark.parametrize("cache_bytes", [0, 2**31])
def test_missing_records(pairs, tmp_path, cache_bytes, subset, kept):
    """Files that lost records, in memory or streamed, of either subset: the run stops and says where."""
    shards = without_records(pairs, tmp_path / "shards", subset, kept)
    with pytest.raises(DamagedFile, match=rf"{subset} shards in .* hold {kept} of the .*facepipe shard"):
        run(shards, tmp_path / "run", cache_bytes=cache_bytes)


@pytest.mark.parametrize("said", [True, False])
def test_identity_in_two_subsets(make_pairs, tmp_path, said):
    """Refused, whether run.json says it or only the records."""
    shards = make_pairs(subsets={"train": 24, "validation": 24})
    described = next(shards.rglob("run.json"))
    identities = json.loads(described.read_text())["identities"]
    if said:
        identities["validation"] = [*identities["validation"], identities["train"][0]]
        described.write_text(json.dumps({"identities": identities}))
    else:
        for path in described.parent.glob("pairs-validation*"):
            shutil.copy(path.with_name(path.name.replace("validation", "train")), path)
    with pytest.raises(InputError, match=r"in both train and validation .person 0"):
        run(shards, tmp_path / "run")


def test_no_shards_and_wrong_shards(tmp_path, pairs):
    """Nothing there, and pictures too small for the preset: the command that makes what fits is named."""
    from train import backend
    from train.autoencoder import train
    from train.config import AutoencoderConfig
    from train.presets import resolve

    with pytest.raises(InputError, match="facepipe shard --examples pairs"):
        run(tmp_path / "nothing", tmp_path / "run")
    fields = {"shards": str(pairs), "output": str(tmp_path / "run")}
    whole = resolve(AutoencoderConfig, "autoencoder", "v4", fields)
    backend.prepare(whole)
    with pytest.raises(InputError, match="facepipe shard --examples pairs --size 64 --color gray"):
        train(whole, print)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("error:Your input ran out of data")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"jit": True}, marks=pytest.mark.slow),
        pytest.param({"precision": "bfloat16"}, marks=pytest.mark.slow),
        pytest.param({"steps_per_execution": 5}, marks=pytest.mark.slow),
        pytest.param({"devices": 1, "seed": 2**32 - 1}, marks=pytest.mark.slow),
        {"cache_bytes": 0, "mirror": True},
        pytest.param({"legacy_output": True}, marks=pytest.mark.slow),
        pytest.param({"deterministic": False, "loss": "bce"}, marks=pytest.mark.slow),
        pytest.param(
            {"preset": "frontal-1", "jit": True, "precision": "bfloat16", "steps_per_execution": 5},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_options(pairs, tmp_path, options):
    """Each is carried out and learns: two epochs' losses are numbers, and the run evaluates."""
    folder = run(pairs, tmp_path / "run", epochs=2, **options).folder
    assert len(rows_of(folder)) == 2
    assert finite(folder)
    report = json.loads((folder / "evaluation.json").read_text())
    assert 0 < report["reconstruction"]["model"]["all"]["mse"] < 0.5


def test_how_a_run_is_carried_out_may_change(one_epoch, pairs, tmp_path):
    """Steps per execution are no part of a run, its learning rate is."""
    folder = copied(one_epoch, tmp_path)
    with pytest.raises(SettingsChanged, match=r"--learning-rate 0.001 -> 0.01"):
        run(pairs, folder, epochs=2, resume=True, learning_rate=0.01)
    run(pairs, folder, epochs=2, resume=True, steps_per_execution=5)
    assert len(rows_of(folder)) == 2


ROWS = (
    {"preset": "v4", "dropout": "none"},
    {"preset": "v9", "decoder": [8, 8], "dropout": "none"},
    {"preset": "archived-1", "dropout": "none"},
    {"preset": "archived-5", "dropout": "none"},
    {"preset": "frontal-1", "devices": 2, "dropout": "none"},
    {"preset": "frontal-1", "dropout": "none"},
)


def losses(backend, folder):
    """What autoencoder_rows.py found, from a process of its own: Keras has one backend a process."""
    listed, out = folder / "rows.json", folder / f"{backend}.json"
    listed.write_text(json.dumps(ROWS))
    script = Path(__file__).with_name("autoencoder_rows.py")
    done = called(sys.executable, "-W", "ignore", str(script), backend, str(listed), str(out), PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr[-3000:]
    return np.array(json.loads(out.read_text()))


@pytest.mark.slow
def test_backends_and_devices_agree(tmp_path):
    """The first step's loss is the same on TensorFlow and JAX (1e-4) without dropout, whose draws are each one's own; and
    a batch divided among two devices trains like a whole one."""
    found = {backend: losses(backend, tmp_path) for backend in ("tensorflow", "jax")}
    np.testing.assert_allclose(found["jax"][:, 0], found["tensorflow"][:, 0], rtol=0, atol=1e-4)
    for values in found.values():
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values[4], values[5], rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("cache_bytes", ["2000000000", "0"])
def test_devices_share_batches_of_any_size(pairs, tmp_path, cache_bytes):
    """On JAX, which divides a batch evenly or not at all: more devices than the last validation batch divides by."""
    from train.shards import find_shards

    held_back = find_shards(str(pairs), "pairs").lengths["validation"]
    share = next(devices for devices in (2, 3, 5, 7) if held_back % devices)
    words = ("--backend", "jax", "--devices", str(share), "--set", f"batch_size={4 * share}", "--epochs", "1")
    done = called(
        *command(pairs, tmp_path / "run", *words, "--set", f"cache_bytes={cache_bytes}"),
        XLA_FLAGS=f"--xla_force_host_platform_device_count={share}",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert finite(tmp_path / "run")
    assert (tmp_path / "run" / "evaluation.json").is_file()
