"""Readies a backend: which one Keras runs on, its precision, its seeds, its devices. Call before importing keras."""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from facepipe.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from train.config import TrainConfig

EXTRAS = {"tensorflow": "train", "jax": "jax"}


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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # oneDNN's and CUDA's greetings
    os.environ.setdefault("JAX_PLATFORMS", "" if _has_gpu() else "cpu")


def _has_gpu() -> bool:
    return os.path.exists("/dev/nvidia0") or os.path.exists("/dev/kfd") or sys.platform == "darwin"


def prepare(config: TrainConfig) -> None:
    """Chooses the backend, then sets precision, seeds and determinism."""
    choose(config.backend)
    import keras

    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if config.precision == "bfloat16" else "float32")
    keras.utils.set_random_seed(config.seed)
    if config.backend == "tensorflow":
        import tensorflow as tf

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
