"""Readies a backend: which one Keras runs on, its precision, its seeds, its devices. Call before importing keras."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import MissingExtra, UsageError
from facepipe.media.stderr import captured_stderr

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from train.config import TrainConfig

EXTRAS = {"tensorflow": "train", "jax": "jax"}
GREETINGS = (
    b"WARNING: All log messages before absl::InitializeLog",
    b"I0000 ",
    b"To enable the following instructions",
)
"""What TensorFlow says of itself while it is imported; no log level reaches those lines."""


def choose(backend: str) -> None:
    """Makes Keras run on `backend`; a `MissingExtra` gives the command that installs it."""
    if "keras" in sys.modules:
        import keras

        if keras.backend.backend() != backend:
            raise UsageError(f"Keras runs on {keras.backend.backend()} already; start a new process for {backend}")
        return
    for package in (backend, "keras"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"{package} is not installed; run `pip install 'facepipe[{EXTRAS[backend]}]'`")
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its errors raise as well; what oneDNN lacks here is none
    if not _has_gpu():
        os.environ.setdefault("JAX_PLATFORMS", "cpu")  # else it warns that it looked for a TPU
    if backend == "jax":
        # Keras imports TensorFlow under JAX, to ask whether an object is a tensor: 6 s and 560 MB for a no.
        sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    with captured_stderr(GREETINGS):
        import keras


def _has_gpu() -> bool:
    return os.path.exists("/dev/nvidia0") or os.path.exists("/dev/kfd") or sys.platform == "darwin"


def prepare(config: TrainConfig) -> None:
    """Chooses the backend, then sets precision, seeds and determinism."""
    choose(config.backend)
    import keras

    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if config.precision == "bfloat16" else "float32")
    # Not keras.utils.set_random_seed, which imports TensorFlow under JAX too.
    random.seed(config.seed)
    np.random.seed(config.seed)  # noqa: NPY002 - Keras draws seeds from it where a layer got none
    if config.backend == "tensorflow":
        import tensorflow as tf

        tf.random.set_seed(config.seed)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        if config.deterministic:
            tf.config.experimental.enable_op_determinism()


def devices(config: TrainConfig) -> list[str]:
    """The devices a batch is spread over, at most `config.devices`: GPUs where there are any, else what CPUs there are.

    Raises:
        UsageError: There are fewer than asked for, or the batch can't be divided.
    """
    if config.backend == "tensorflow":
        import tensorflow as tf

        found = [d.name for d in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    else:
        import keras

        found = keras.distribution.list_devices()
    if config.devices > len(found):
        raise UsageError(f"--devices is {config.devices}, but there are {len(found)} here")
    chosen = found[: config.devices or len(found)]
    if config.batch_size % len(chosen):
        raise UsageError(f"--batch-size {config.batch_size} can't be divided among {len(chosen)} devices")
    return chosen


def spread(config: TrainConfig) -> AbstractContextManager[object]:
    """Build and compile the model within this: with several devices each step's batch is divided among them."""
    chosen = devices(config)
    if len(chosen) == 1:
        return nullcontext()
    if config.backend == "tensorflow":
        import tensorflow as tf

        return tf.distribute.MirroredStrategy(chosen).scope()
    import keras

    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=chosen))
    return nullcontext()


def devices_in_use() -> int:
    """How many devices JAX divides each batch among; 1 elsewhere. Ask in the thread that called `spread`."""
    import keras

    spread_over = keras.distribution.distribution()
    return int(spread_over.device_mesh.shape[0]) if spread_over is not None else 1


def filled(rows: NDArray[Any], share: int) -> NDArray[Any]:
    """The rows, the first ones again behind them until `share` devices can have equally many."""
    missing = -len(rows) % share
    return np.take(rows, np.resize(np.arange(len(rows)), len(rows) + missing), axis=0) if missing else rows
