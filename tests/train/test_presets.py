"""A run's configuration: defaults, preset, command line; and what can't be meant is answered with what can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from runfolders import typed

from facepipe.errors import UsageError
from facepipe.options import options_of
from train import start
from train.config import AutoencoderConfig, to_json, what_differs
from train.gan.config import GanConfig
from train.presets import from_json, lines, resolve, tables
from train.runs import Run

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f"v{n}" for n in range(1, 13)] + [f"archived-{n}" for n in range(1, 8)]


def made(name="v4", options=None, assignments=()):
    return resolve(AutoencoderConfig, "autoencoder", name, options or {}, assignments)


def test_all_nineteen_are_there():
    """v1 to v12 and archived-1 to 7, and each is valid."""
    assert [name for name in tables("autoencoder") if name in NAMES] == NAMES
    assert [made(name).preset for name in NAMES] == NAMES


@pytest.mark.parametrize(
    ("command", "kind"), [("autoencoder", AutoencoderConfig), ("gan", GanConfig), ("dcgan", GanConfig)]
)
def test_help_lists_every_option_with_its_default(command, kind):
    """Every field of the configuration has a row, and those that the preset sets have its values."""
    done = subprocess.run(
        [sys.executable, "-m", "train", command, "--help"], capture_output=True, text=True, check=True
    )
    flags = {one.flags[0].split("/")[0] for one in options_of(kind).values()} - {"--class-labels"}
    assert sorted(flag for flag in flags if flag not in done.stdout) == []
    shown = {"autoencoder": ("[frontal-1]", "[16,32,32,32]", "[ms-ssim-mse]")}.get(command, ("[dcgan]", "[128]"))
    assert [value for value in shown if value not in done.stdout] == []


def test_the_console_script_takes_no_train_py_of_the_users_folder(tmp_path):
    """`facepipe-train` is `python -m train`, in a folder that has a train.py of its own too."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, name = scripts["facepipe-train"].split(":")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "facepipe-train"  # as pip writes it
    script.write_text(f"import sys\nfrom {module} import {name}\nsys.exit({name}())\n")
    (tmp_path / "train.py").write_text("raise SystemExit(1)\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script), "presets"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("v1 ")


def test_a_line_each():
    """Name first; shapes, latent, loss and the total on the same line."""
    shown = {line.split()[0]: line for line in lines()}
    assert set(NAMES) <= set(shown)
    assert shown["v9"].split() == (
        [
            "v9",
            "autoencoder",
            "128x128x1",
            "->",
            "32x32x1",
            "latent",
            "1024",
            "loss",
            "mse",
            "parameters",
            "6,721,409",
            "(1,408",
            "not",
            "trained)",
        ]
    )
    assert "6x6x128" in shown["archived-1"]
    assert "never recorded" in shown["archived-7"]


@pytest.mark.parametrize(
    ("assignment", "field", "value"),
    [
        ("latent=100", "latent", 100),
        ("encoder=[16,8,4]", "encoder", (16, 8, 4)),
        ("mirror=true", "mirror", True),
        ("loss=mae", "loss", "mae"),
        ("learning-rate=1", "learning_rate", 1.0),
        ('optimizer="adamw"', "optimizer", "adamw"),
        ("shards = my data/shards", "shards", "my data/shards"),
    ],
)
def test_set(assignment, field, value):
    """Values are read as in TOML, without the quotes."""
    assert getattr(made(assignments=[assignment]), field) == value


def test_the_command_line_wins():
    """Option over preset, assignment over option; None is not given."""
    assert made("v7").loss == "bce"
    assert made("v7", {"loss": "mae", "seed": None}).loss == "mae"
    assert made("v7", {"loss": "mae"}, ["loss=mse"]).loss == "mse"


@pytest.mark.parametrize(
    ("name", "assignments", "said"),
    [
        ("v13", (), "did you mean v"),
        ("archived_1", (), "archived-1"),
        ("v4", ("latnt=3",), "did you mean latent"),
        ("v4", ("latent",), "give key=value"),
        ("v4", ("latent=many",), "a whole number"),
        ("v4", ("encoder=[64,x]",), "a whole number or several"),
        ("v4", ("latent=0",), "latent is 0"),
        ("v4", ("loss=psnr",), "it can be mse, mae, bce"),
        ("v4", ("input_size=60",), "give a multiple of 8"),
        ("v4", ("output_size=32",), "turn 64 px into 64, not output_size 32"),
        ("v4", ("channels=2",), "1 .gray. or 3"),
        ("v4", ("swap=1.5",), "lie between 0 and 1"),
        ("v12", ("swap=0.5",), "output_size must be input_size 128"),
        ("frontal-1", ("encoder=[8]", "input_size=66", "output_size=66"), "no whole quarter"),
        ("v4", ("learning_rate=nan",), "lie between 1e-12"),
        ("v4", ("seed=5000000000",), "--seed is 5000000000; it must lie between 0 and 4294967295"),
        ("v4", ("resume=true", "overwrite=true"), "give one of them"),
        ("v4", ("steps_per_epoch=5", "steps_per_execution=2"), "no multiple"),
    ],
)
def test_refused(name, assignments, said):
    """Each in one line that says what to do."""
    with pytest.raises(UsageError, match=said) as caught:
        made(name, assignments=assignments)
    assert "\n" not in str(caught.value)


def test_a_preset_of_the_other_command():
    """The line is the command that trains it."""
    with pytest.raises(UsageError, match="dcgan64 is a GAN: python -m train gan --preset dcgan64"):
        resolve(AutoencoderConfig, "autoencoder", "dcgan64", {})
    with pytest.raises(UsageError, match="v4 is an autoencoder: python -m train autoencoder --preset v4"):
        resolve(GanConfig, "gan", "v4", {})


@pytest.mark.parametrize("preset", tables("gan"))
def test_a_given_learning_rate_is_both_networks(preset):
    """Also of presets that have two of their own; one that is given beside it stays."""
    given = resolve(GanConfig, "gan", preset, {"learning_rate": 3e-5})
    assert given.learning_rates == (3e-5, 3e-5)
    assert resolve(GanConfig, "gan", preset, {}, ["learning_rate=3e-5", "d_learning_rate=1e-3"]).learning_rates == (
        3e-5,
        1e-3,
    )


def test_round_trip():
    """config.json gives the same configuration back."""
    config = made("v9", assignments=["dropout_rate=0.3"])
    assert from_json(AutoencoderConfig, json.loads(json.dumps(to_json(config)))) == config


def test_what_a_resumed_run_may_change():
    """More epochs and other folders are no other run; another learning rate is."""
    old = to_json(made("v4", {"epochs": 3, "output": "a"}))
    assert what_differs(old, made("v4", {"epochs": 6, "output": "b", "resume": True})) == []
    older = {name: value for name, value in old.items() if name != "schedule"}
    assert what_differs(older, made("v4", {"epochs": 3})) == []  # written before there was that field
    assert what_differs(older, made("v4", {"schedule": "cosine"})) == [
        "--schedule plateau -> cosine",
        "--epochs 3 -> 50",
    ]
    assert what_differs(old, made("v4", {"learning_rate": 0.01})) == ["--learning-rate 0.001 -> 0.01"]


def test_other_settings_are_named_as_on_the_command_line():
    """What stands on either side of the arrow can be given as it stands there: switches, lists, none."""
    old = made("v4", {"jit": True})
    new = made("v4", assignments=["encoder=[8,8,8]", "decoder=[8,8,8]", "mirror=true"])
    assert what_differs(to_json(old), new) == [
        "--jit -> --no-jit",
        "--encoder 128,64,32 -> 8,8,8",
        "--decoder none -> 8,8,8",
        "--no-mirror -> --mirror",
    ]
    given = typed("autoencoder", ["--encoder", "128,64,32", "--decoder", "none", "--no-mirror"])
    assert to_json(made("v4", {"jit": True, **given})) == to_json(old)
    labelled = resolve(GanConfig, "gan", "dcgan64", {"class_labels": (0, 1)})
    plain = resolve(GanConfig, "gan", "dcgan64", {})
    assert what_differs(to_json(labelled), plain) == ["the faces' labels 0,1 -> none"]


def test_help_is_quick_and_loads_no_framework():
    """`python -m train presets` reads a file; exit codes tell usage errors from others."""
    code = "import sys, train.__main__, train.presets; list(train.presets.lines()); print(sorted({'numpy','keras','tensorflow','jax'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["autoencoder", "--preset", "v44"], 2, "did you mean v4"),
        (["autoencoder", "--latnt", "3"], 2, "No such option: --latnt (Possible options: --data, --latent"),
        (["autoencoder", "--set", "latnt=3"], 2, "did you mean latent"),
        (["autoencoder", "--loss", "x"], 2, "it can be mse"),
        (["autoencoder", "extra"], 2, "unexpected extra argument"),
        (
            ["autoencoder", "--data", "s3://bucket/data"],
            2,
            "would go to s3://bucket/data/runs/frontal-1; a run is written to",
        ),
        (["autoencoder", "--shards", "nowhere"], 1, "facepipe shard --examples pairs"),
        (["gan", "--shards", "nowhere"], 1, "facepipe shard --examples faces"),
        (["dcgan", "-o", "gs://bucket/run"], 2, "a run is written to a local disk: give -o FOLDER"),
        (["sample", "nowhere", "-o", "s3://bucket/faces"], 2, "this is written to a local disk"),
        (["fingerprint", "nowhere", "-o", "s3://bucket/f.parquet"], 1, "config.json is missing"),
        (["evaluate", "nowhere"], 1, "config.json is missing"),
        (["nothing"], 2, "there is no command 'nothing'"),
    ],
)
def test_exit_codes(arguments, code, said, tmp_path):
    """2 for usage, 1 for a known error, in one line and in under 2 seconds of CPU: no framework is loaded."""
    words = [sys.executable, "-X", "importtime", "-m", "train", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == code
    assert said in " ".join(told)
    assert not {"keras", "tensorflow", "jax"} & {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize(
    ("shards", "workspace"),
    [
        ("data/shards", "data"),
        ("/mnt/a/shards/pairs/1.0.0", "/mnt/a"),
        ("s3://bucket/data/shards/", "s3://bucket/data"),
        ("shards", "."),
        ("elsewhere/mine", "data"),
    ],
)
def test_a_run_knows_its_workspace(shards, workspace):
    """`fingerprint RUN` takes the faces beside the run's shards."""
    assert start.workspace(Run("run", "autoencoder", {"shards": shards})) == workspace
