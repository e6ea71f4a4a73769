"""A trained model for use elsewhere: Keras, SavedModel, TFLite or ONNX, each checked by running it on one batch."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from facepipe.errors import FacepipeError, MissingExtra
from train.files import FORMATS, NotWritten, is_full, parent_of, put_folder, target_of, whole_file
from train.plain import plain_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from train.runs import Run

MOST = 1e-4
"""How far an exported model's outputs may lie from the model's own."""
BATCH = 4


class NotTheSame(FacepipeError):
    """An exported file does not compute what the model computes."""


def export(run: Run, to: str, output: str, checkpoint: str, say: Callable[[str], None]) -> Path:
    """Writes the model and checks the file.

    Args:
        run: An autoencoder's or a GAN's (its generator is exported).
        to: keras, saved-model, tflite or onnx.
        output: The file, or a folder to put it in; of a SavedModel its own folder. "" puts it in the run's folder.
        checkpoint: best or last.
        say: Takes the closing line.

    Raises:
        UsageError: An unknown format, a layer that the format can't say, or a folder that holds something else.
        NotTheSame: The file computes something else; it is removed.
        NotWritten: The disk is full or can't be written.
    """
    target = target_of(run.folder, to, output)
    model = _exportable(run, checkpoint)
    batch = _batch(model)
    expected = _numpy(model(batch if len(batch) > 1 else batch[0], training=False))
    with _told(target), tempfile.TemporaryDirectory(dir=parent_of(target)) as folder:
        waiting = Path(folder, FORMATS[to])
        WRITERS[to](plain_copy(model) if run.kind == "gan" and to == "keras" else model, waiting)
        difference = float(np.max(np.abs(RUNNERS[to](waiting, batch, model) - expected)))
        if not difference <= MOST:
            raise NotTheSame(f"the {to} model differs from the run's by {difference:.2g}; it is not kept")
        _move(waiting, target)
    size = sum(p.stat().st_size for p in ([target] if target.is_file() else target.rglob("*")) if p.is_file())
    say(f"{target}: {size / 1e6:.1f} MB, within {difference:.1g} of the model on a batch of {BATCH}")
    return target


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """What the system says about writing, by way of any library, as one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or (is_full(error) and not isinstance(error, FacepipeError)):
            raise NotWritten(target, error) from error
        raise


def _move(waiting: Path, target: Path) -> None:
    """A file at once; a folder in the place of the old one."""
    if waiting.is_file():
        with waiting.open("rb") as made, whole_file(target) as file:
            shutil.copyfileobj(made, file)
    else:
        put_folder(waiting, target, waiting.with_name("earlier"))


def _exportable(run: Run, checkpoint: str) -> keras.Model:
    """The model in float32, of Keras's own layers where that can be."""
    if run.kind == "gan":
        from train.gan.sampling import load_generator, open_run

        _, config = open_run(run.folder)
        generator = load_generator(run, replace(config, precision="float32"), checkpoint)
        inputs = generator.inputs if len(generator.inputs) > 1 else generator.inputs[0]  # no list of one
        return keras.Model(inputs, generator.outputs[0], name=generator.name)
    from train.models.parts import half, join
    from train.trained import Trained

    trained = Trained(run, checkpoint)
    keras.mixed_precision.set_dtype_policy("float32")
    if trained.config.family == "warp":
        return trained.model
    encoder, decoder = (plain_copy(half(trained.model, name)) for name in ("encoder", "decoder"))
    return join(trained.model.name, encoder.input_shape[1:], encoder, decoder)


def _batch(model: keras.Model) -> list[NDArray[Any]]:
    """One batch for every input: the range that the model was made for, labels among the first few."""
    rng = np.random.default_rng(0)
    batch = []
    for tensor in model.inputs:
        shape = (BATCH, *tensor.shape[1:])
        whole = "int" in str(tensor.dtype)
        batch.append(rng.integers(0, 2, shape).astype(np.int32) if whole else rng.random(shape, np.float32))
    return batch


def _numpy(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)


def _write_keras(model: keras.Model, path: Path) -> None:
    model.save(path)


def _run_keras(path: Path, batch: list[Any], model: keras.Model) -> NDArray[np.float32]:  # noqa: ARG001
    read = keras.models.load_model(path, compile=False)
    return _numpy(read(batch if len(batch) > 1 else batch[0], training=False))


def _write_saved_model(model: keras.Model, path: Path) -> None:
    model.export(path, format="tf_saved_model", verbose=False)


def _run_saved_model(path: Path, batch: list[Any], model: keras.Model) -> NDArray[np.float32]:  # noqa: ARG001
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # `serve` alone does not keep its variables
    return loaded.serve(batch if len(batch) > 1 else batch[0]).numpy()


def _write_tflite(model: keras.Model, path: Path) -> None:
    """For one picture at a time: where the batch is open, the converter loses the sides of enlarged pictures."""
    import tensorflow as tf

    one = [keras.InputSpec(shape=(1, *t.shape[1:]), dtype=t.dtype, name=t.name) for t in model.inputs]
    with tempfile.TemporaryDirectory() as folder:
        # By way of a SavedModel: its variables become constants, those of a function alone stay empty variables.
        model.export(folder, format="tf_saved_model", verbose=False, input_signature=one if len(one) == 1 else [one])
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def _run_tflite(path: Path, batch: list[Any], model: keras.Model) -> NDArray[np.float32]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise MissingExtra(
            "the check of a TFLite file needs ai-edge-litert; run `pip install ai-edge-litert`"
        ) from None
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    details = {d["name"].split(":")[0].removeprefix("serving_default_"): d for d in interpreter.get_input_details()}
    answers = []
    for at in range(len(batch[0])):
        for tensor, values in zip(model.inputs, batch, strict=True):
            interpreter.set_tensor(details[tensor.name]["index"], values[at : at + 1])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(answers)


def _write_onnx(model: keras.Model, path: Path) -> None:
    """By way of tf2onnx, which Keras calls on TensorFlow."""
    for package in ("onnx", "tf2onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"{package} is not installed; run `pip install 'facepipe[train]'`")
    with warnings.catch_warnings(action="ignore"):  # of numpy's names that Keras mends for tf2onnx
        model.export(path, format="onnx", verbose=False)


def _run_onnx(path: Path, batch: list[Any], model: keras.Model) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {tensor.name: values for tensor, values in zip(model.inputs, batch, strict=True)})[0]


WRITERS = {"keras": _write_keras, "saved-model": _write_saved_model, "tflite": _write_tflite, "onnx": _write_onnx}
RUNNERS = {"keras": _run_keras, "saved-model": _run_saved_model, "tflite": _run_tflite, "onnx": _run_onnx}
