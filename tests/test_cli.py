"""The command line as a person meets it: exit codes, one-line errors, help."""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

import facepipe as package

COMMANDS = ["extract", "select", "split", "shard", "run", "verify", "demo", "bench", "report", "review", "list"]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Runs the command line in this process, in an empty folder."""
    from facepipe.cli.arguments import run_app
    from facepipe.cli.commands import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["facepipe", *arguments])
        with pytest.raises(SystemExit) as ended:
            run_app(app)
        gc.unfreeze()
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.mark.parametrize("command", [[], *[[c] for c in COMMANDS]], ids=lambda c: c[0] if c else "facepipe")
def test_every_command_explains_itself(call, command):
    """`--help` works everywhere, says what the command does, and names no `None`."""
    done = call(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "None" not in done.stdout
    assert len(done.stdout.splitlines()) > 8


def test_the_help_of_run_is_in_groups_the_everyday_options_first(call):
    """The five everyday options, then the groups; shares, which it refuses, are in the help of `extract` alone."""
    told = call("run", "--help").stdout
    titles = re.findall(r"^(\w.*):$", told, re.MULTILINE)
    assert titles[:4] == ["Arguments", "Everyday options", "Input", "Detection"]
    assert titles[4:] == ["Filters", "Target", "Subsets", "Shards", "Machine", "Other options"]
    everyday = told[told.index("Everyday options:") : told.index("Input:")]
    assert re.findall(r"(--[a-z-]+) ", everyday) == [
        "--input",
        "--output",
        "--group",
        "--workers",
        "--size",
    ]
    assert "--part-of" in call("extract", "--help").stdout
    assert "--part-of" not in told


def test_with_json_every_line_is_an_object(call, tmp_path):
    """Progress, reports and errors: a machine reads them, the same things a person is told."""
    failed = call("select", "--log-format", "json")
    (error,) = map(json.loads, failed.stderr.splitlines())
    assert (error["event"], error["exit_code"], failed.returncode) == ("error", 1, 1)
    assert error["message"].startswith("data/faces ")
    (tmp_path / "images" / "anna").mkdir(parents=True)
    (tmp_path / "images" / "anna" / "1.png").write_bytes(b"no picture")
    run = call("run", "--log-format", "json", "--dry-run", "-i", "images", "--refine", "none")
    events = [json.loads(line) for line in run.stdout.splitlines()]
    stages = ["extract", "select", "split", "shard pairs", "shard faces"]
    assert [event["stage"] for event in events if event["event"] == "report"] == stages
    assert events[0]["counts"]["images"] == 1
    wrong = call("verify", "--log-format", "json", "--nonsense")
    assert json.loads(wrong.stderr)["exit_code"] == wrong.returncode == 2


def test_help_costs_little():
    """Less than 0.3 s of CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "facepipe", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract"], 1, "data/images"),
        (["list"], 1, "data/faces"),
        (["select"], 1, "data/faces"),
        (["split"], 1, "data/"),
        (["shard"], 1, "data/"),
        (["extract", "--min-score", "2"], 2, "--min-score is 2; it must lie between 0 and 1"),
        (["extract", "--layout", "lwf"], 2, "--layout is 'lwf'; did you mean lfw?"),
        (["extract", "--part-of", "4/3"], 2, "--part-of is 4/3"),
        (["extract", "--workers", "many"], 2, "--workers"),
        (["extract", "--scheduler", "tcp://x"], 2, "--scheduler needs --engine dask"),
        (["extract", "--engine", "dask"], 2, "--engine dask needs --scheduler ADDRESS"),
        (["extract", "--nonsense"], 2, "No such option: --nonsense; `"),
        (["extract", "--every"], 2, "facepipe extract --help` lists what there is"),
        (["extract", "--crop-siz", "3"], 2, "--crop-size"),
        (["sellect"], 2, "there is no command 'sellect'; did you mean select? The commands are extract, select, "),
        (["xyz"], 2, "there is no command 'xyz'; it can be extract, select, "),
        (["extract", "--log-format", "xml"], 2, "--log-format is 'xml'; it can be text, json"),
        (["bench", "images", "--for", "0"], 2, "--for"),
        (["run", "nonsense"], 2, "there is no recipe 'nonsense'"),
        (["run", "--part-of", "1/2"], 2, "--part-of is for `facepipe extract`"),
        (["shard", "--noise", "gausian:0.1"], 2, "gaussian"),
        (["split", "--validation", "0.8", "--test", "0.5"], 2, "--validation and --test together"),
    ],
)
def test_errors_are_one_line_and_have_their_exit_code(call, arguments, code, message):
    """A known error says what to do, without a traceback."""
    done = call(*arguments)
    assert (code, True) == (done.returncode, message in done.stderr), done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("there", ["missing", "empty", "file"])
@pytest.mark.parametrize(
    "arguments",
    [
        *([stage, "--data", "here"] for stage in ("extract", "select", "split", "shard", "run", "verify", "report")),
        ["run", "-i", "here"],
        ["bench", "here"],
        ["review", "here"],
        ["demo", "-o", "file/x"],
        ["extract", "-i", "images", "-o", "file/x"],
        ["bench", "celeba"],
    ],
    ids=" ".join,
)
def test_errors_name_only_options_that_the_command_has(tmp_path, monkeypatch, arguments, there):
    """One line, whatever is wrong with a path."""
    from typer.main import get_command

    from facepipe.cli.commands import app
    from facepipe.errors import FacepipeError

    monkeypatch.chdir(tmp_path)
    for name in ("images", "celeba/img_align_celeba"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.jpg").touch()
    (tmp_path / "celeba" / "list_attr_celeba.txt").touch()
    (tmp_path / "file").touch()
    {"missing": str, "empty": os.mkdir, "file": lambda name: os.link("file", name)}[there]("here")
    with pytest.raises(FacepipeError) as caught:
        app(arguments, standalone_mode=False)
    said = re.sub("`.*?`", "", str(caught.value))
    options = {name for option in get_command(app).commands[arguments[0]].params for name in option.opts}
    assert "\n" not in said
    assert set(re.findall(r"--[a-z-]+", said)) <= options


def test_the_workspace_moves_with_an_option_or_the_environment(call, monkeypatch):
    """`--data` and FACEPIPE_DATA move every default."""
    assert "elsewhere/images" in call("extract", "--data", "elsewhere").stderr
    monkeypatch.setenv("FACEPIPE_DATA", "there")
    assert "there/images" in call("extract").stderr


def test_the_shell_completes_commands_and_options():
    """What `--show-completion` prints, loaded into a real bash, offers what fits."""
    bash = shutil.which("bash") or pytest.skip("no bash to complete in")
    script = 'eval "$(facepipe --show-completion bash)"; complete -p facepipe >&2; '
    for typed in ("sel", "extract --part-", "run --max-a"):
        script += f"COMP_WORDS=(facepipe {typed}); COMP_CWORD={len(typed.split())}; "
        script += '_facepipe_completion facepipe; printf "%s\\n" "${COMPREPLY[@]}"; '
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", script],
        env={**os.environ, "PATH": path, "SHELL": bash},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_facepipe_completion facepipe" in done.stderr
    assert done.stdout.split() == ["select", "--part-of", "--part-size", "--max-angle"]


def test_bench_on_a_handful_of_images_tells_a_rate_of_the_work_alone(call, tmp_path):
    """What starting costs, seconds for a few images, is not taken for their time."""
    from facepipe.stages import demo

    demo.write_images(str(tmp_path), 2)
    done = call("bench", "images", "--images", "6", "--workers", "1", "--for", "1000")
    assert done.returncode == 0, done.stderr
    assert re.search(r"6 at 1 workers; [\d.]+ s of work give a rough rate", done.stdout)
    rate, start = (float(re.search(rf"  {name} +([\d.]+) ", done.stdout)[1]) for name in ("rate", "start"))
    assert start > 0.2
    assert 6 / rate < start


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_the_version_comes_with_what_a_report_needs(call, argument):
    """The versions of what decides results."""
    done = call(argument)
    first, *others = done.stdout.splitlines()
    assert (done.returncode, first) == (0, package.__version__)
    told = dict(line.split(maxsplit=1) for line in others)
    assert {"python", "numpy", "onnxruntime", "ai-edge-litert", "machine"} <= told.keys()
    assert told["numpy"] == np.__version__
