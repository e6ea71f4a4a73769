"""Who may import what, and what a bare import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FACEPIPE = sorted((ROOT / "facepipe").rglob("*.py"))
TRAIN = sorted((ROOT / "train").rglob("*.py"))
STANDARD = set(sys.stdlib_module_names)
LEAVES = {
    "choosing", "cropping", "likeness", "noise", "quality", "relief", "seeding", "selection", "splitting", "text",
}  # fmt: skip
LEAF_FOLDERS = ("detection", "face", "media")
LEAF_PACKAGES = {"numpy", "cv2", "PIL", "av", "onnx", "onnxruntime", "ai_edge_litert", "flatbuffers"}
ONLY_IN = {
    "pyarrow": (
        "parquet.py",
        "parquet_reader.py",
        "parquet_writer.py",
        "tables.py",
        "storage/",
        "inputs/",
        "sources/",
    ),
    "typer": ("cli.py", "arguments.py"),
    "joblib": ("detection/weights.py",),
    "dask": (),
    "distributed": ("execution/dask.py",),
    "multiprocessing": ("execution/",),
    "subprocess": ("execution/",),
    "tensorflow": (),
    "keras": (),
    "jax": (),
    "train": (),
}
FOR_TRAIN = {"facepipe", *(f"facepipe.{name}" for name in ("errors", "media.stderr", "storage", "text", "tfrecord"))}


def imported(path: Path) -> set[str]:
    """Full names of all modules a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("name", ["config.py", "errors.py", "options.py", "records.py", "text.py"])
def test_foundations_import_only_the_standard_library_and_numpy(name):
    """What flows everywhere depends on nothing heavy."""
    assert tops(ROOT / "facepipe" / name) - STANDARD <= {"facepipe", "numpy"}


@pytest.mark.parametrize(
    "path",
    [p for p in FACEPIPE if p.stem in LEAVES or p.parent.name in LEAF_FOLDERS],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_leaves_know_nothing_of_files_processes_and_configuration(path):
    """A leaf module imports array libraries, records, errors and other leaves."""
    assert tops(path) - STANDARD - LEAF_PACKAGES - ({"joblib"} if path.name == "weights.py" else set()) <= {"facepipe"}
    ours = {name for name in imported(path) if name.startswith("facepipe.")}
    allowed = {f"facepipe.{leaf}" for leaf in LEAVES} | {"facepipe.records", "facepipe.errors"}
    assert {name for name in ours if name.split(".")[1] not in LEAF_FOLDERS} <= allowed


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_stays_where_it_belongs(package):
    """Each heavy or replaceable package has its few places."""
    users = {str(p.relative_to(ROOT / "facepipe")) for p in FACEPIPE if package in tops(p)}
    assert {user for user in users if not user.startswith(ONLY_IN[package])} == set()


@pytest.mark.parametrize("path", TRAIN, ids=lambda p: str(p.relative_to(ROOT)))
def test_train_uses_the_public_names(path):
    """`train` depends on what facepipe offers, not on how it is made."""
    assert {name for name in imported(path) if name.split(".")[0] == "facepipe"} <= FOR_TRAIN


def test_stages_know_nothing_of_processes():
    """A stage hands numbers to `execution` and never starts a process itself."""
    for path in (ROOT / "facepipe" / "stages").glob("*.py"):
        assert not tops(path) & {"multiprocessing", "subprocess", "joblib", "dask", "distributed"}, path.name


def test_the_library_does_no_work_at_import_and_is_typed():
    """`import facepipe` loads itself alone; every public name is there when it is used, and type checkers look inside."""
    code = "import sys; before = set(sys.modules); import facepipe; print(sorted(m for m in set(sys.modules) - before if 'facepipe' in m), {'numpy', 'cv2', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['facepipe'] set()"
    import facepipe

    assert [name for name in facepipe.__all__ if not getattr(facepipe, name).__doc__] == []
    assert (ROOT / "facepipe" / "py.typed").exists()


def test_the_command_line_loads_nothing_heavy():
    """`facepipe --help` answers at once."""
    code = (
        "import sys, facepipe.cli; print(sorted({'numpy','cv2','pyarrow','onnxruntime','PIL','av'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"
    )
