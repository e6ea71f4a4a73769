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
MODULES = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FACEPIPE + TRAIN}
STANDARD = set(sys.stdlib_module_names)
LEAVES = ("dataset", "detection", "face", "media")
"""Arrays in, arrays out."""
LEAF_PACKAGES = {"numpy", "cv2", "PIL", "av", "onnx", "onnxruntime", "ai_edge_litert"}
FOUNDATIONS = ("config", "errors", "options", "records", "text")
ONLY_IN = {
    "pyarrow": ("storage/", "inputs/"),
    "typer": ("cli/",),
    "joblib": ("detection/weights.py",),
    "dask": (),
    "distributed": ("execution/dask.py",),
    "multiprocessing": ("execution/",),
    "subprocess": ("execution/",),
    "tensorflow": (),
    "keras": (),
    "jax": (),
    "train": (),
    "torch": ("torch.py",),
}
FOR_TRAIN = {
    "facepipe",
    *(
        f"facepipe.{name}"
        for name in (
            *("cli.arguments", "config", "errors", "execution.progress", "face.crop", "face.identity", "face.turning"),
            *("media.stderr", "options", "records", "storage", "storage.tfrecord", "text"),
        )
    ),
}


def imported(path: Path) -> set[str]:
    """Full names of all modules a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            names |= {name if name in MODULES else node.module for name in full}
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("name", FOUNDATIONS)
def test_foundations_import_only_the_standard_library_and_numpy(name):
    """What flows everywhere depends on nothing heavy."""
    assert tops(ROOT / "facepipe" / f"{name}.py") - STANDARD <= {"facepipe", "numpy"}


@pytest.mark.parametrize(
    "path", [p for p in FACEPIPE if p.parent.name in LEAVES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_leaves_know_nothing_of_files_processes_and_configuration(path):
    """A leaf imports array libraries, records, errors, words and other leaves."""
    assert tops(path) - STANDARD - LEAF_PACKAGES - ({"joblib"} if path.name == "weights.py" else set()) <= {"facepipe"}
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("facepipe.")}
    assert ours <= {*LEAVES, "records", "errors", "text"}


def test_storage_inputs_and_execution_know_nothing_of_stages():
    """What the stages are put together from does not know them, and nothing they write is known to be reported."""
    for folder in (*LEAVES, "storage", "inputs", "execution"):
        for path in (ROOT / "facepipe" / folder).rglob("*.py"):
            ours = {name.split(".")[1] for name in imported(path) if name.startswith("facepipe.")}
            assert not ours & {"stages", "report", "api", "cli"}, path


def test_nothing_is_imported_in_a_circle():
    """Imports inside functions and for types alone count as well."""
    # The package itself loads nothing: what it offers is imported when it is used.
    waiting = {name: (imported(path) & MODULES.keys()) - {name, "facepipe"} for name, path in MODULES.items()}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert sorted(waiting) == []


def test_the_house_is_small_enough_to_find_a_way_in():
    """Few modules in the root, `facepipe.torch` beside them; no function that does not fit on a screen."""
    assert len(list((ROOT / "facepipe").glob("*.py"))) <= 10
    trees = {path: ast.parse(path.read_text()) for path in FACEPIPE + TRAIN}
    functions = [
        (path, node) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    assert [(path.name, node.name) for path, node in functions if node.end_lineno - node.lineno >= 50] == []


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
    for path in (ROOT / "facepipe" / "stages").rglob("*.py"):
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
    code = "import sys, facepipe.cli.commands; print(sorted({'numpy','cv2','pyarrow','onnxruntime','PIL','av'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"
    )
