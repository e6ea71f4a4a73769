"""Batches by tf.data: parallel interleave, shuffle, map, batch, prefetch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from facepipe.errors import DamagedFile
from train.data import GRAY, HALF, SCALES, Arrays, ImageView, Order, View, load_arrays
from train.shards import name_damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from train.shards import Shards

AUTO = tf.data.AUTOTUNE
OPEN_FILES = 16
BUFFER = 8192
"""Examples a streamed subset is shuffled among."""
LOAD_BATCH = 256
MOST_SEED = 2**31 - 1
"""TensorFlow takes seeds modulo this."""


def load(shards: Shards, subset: str, view: View) -> Arrays:
    """A whole subset in memory in the shards' order.

    Raises:
        DamagedFile: A checksum is wrong and the file is named, or records are missing.
    """
    if not shards.place.is_local:
        return load_arrays(shards, subset, view)
    parse = _parser(shards, view)
    files = tf.data.Dataset.from_tensor_slices(shards.paths(subset)).enumerate()
    rows = files.interleave(
        lambda file, path: tf.data.TFRecordDataset(path).enumerate().map(lambda at, record: (file, at, record)),
        cycle_length=OPEN_FILES,
        num_parallel_calls=AUTO,
        deterministic=False,  # the numbers restore the order
    ).map(lambda file, at, record: (file, at, *parse(record)), AUTO, deterministic=False)
    with naming_damage(shards, subset):
        batches = list(rows.batch(LOAD_BATCH).prefetch(AUTO).as_numpy_iterator())
    shards.check_count(subset, sum(len(rows[0]) for rows in batches))
    file, at, *images, labels, identities = (np.concatenate(column) for column in zip(*batches, strict=True))
    order = np.lexsort((at, file))
    return Arrays([stack[order] for stack in images], labels[order], identities[order])


@contextmanager
def naming_damage(shards: Shards, subset: str) -> Iterator[None]:
    """Turns what TensorFlow says of damaged or missing records into an error that says where they are.

    `subset` is looked at first: while a model is taught on one, another is read to validate it.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError) as error:
        named = name_damage(shards, [subset, *(other for other in shards.files if other != subset)])
        if named is None and isinstance(error, tf.errors.FailedPreconditionError):
            raise
        why = str(error.message).splitlines()[0]
        raise named or DamagedFile(f"the {subset} shards in {shards.place} can't be read ({why})") from error


def from_memory(arrays: Arrays, view: View, order: Order, *, training: bool, start_step: int) -> tf.data.Dataset:
    """Batches out of a subset in memory, gathered by tf.data in the order that both backends share."""
    stacks = [tf.constant(stack) for stack in arrays.images]
    labels = tf.constant(arrays.labels)

    def chosen(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        columns = tf.numpy_function(order.batch, [step], (tf.int64, tf.bool, tf.int64), stateful=False)
        for column in columns:
            column.set_shape((order.batch_size,))
        return tuple(columns)

    def gathered(indices: tf.Tensor, mirrored: tf.Tensor, others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        images = [tf.gather(stack, indices) for stack in stacks]
        if training and order.companions is not None:
            swapped = (others >= 0)[:, None, None, None]
            images[1] = tf.where(swapped, tf.gather(stacks[0], tf.maximum(others, 0)), images[1])
        return _finish(images, tf.gather(labels, indices), mirrored, view)

    if training:
        steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
        return _tuned(steps.map(chosen).map(gathered, AUTO, deterministic=True).prefetch(AUTO))
    indices = tf.data.Dataset.range(order.count).batch(order.batch_size)
    still = indices.map(lambda i: (i, tf.zeros_like(i, tf.bool), tf.fill(tf.shape(i), tf.constant(-1, tf.int64))))
    return _tuned(still.map(gathered, AUTO, deterministic=True).prefetch(AUTO))


def streamed(
    shards: Shards, subset: str, view: View, order: Order, *, training: bool, start_step: int
) -> tf.data.Dataset:
    """Batches of a subset that does not fit in memory: several files at once, through a shuffle buffer."""
    paths = shards.paths(subset)
    parse = _parser(shards, view)
    # Told how many there are, TensorFlow fails where some are missing, else an empty pass would be followed by another.
    complete = tf.data.experimental.assert_cardinality(order.count)

    def batched(records: tf.data.Dataset, seed: Any, number: tf.Tensor) -> tf.data.Dataset:
        def finished(flip_number: tf.Tensor, columns: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            *images, labels, _ = columns
            flips = tf.random.stateless_uniform(tf.shape(labels), tf.stack([seed + number, flip_number])) < 0.5
            return _finish(images, labels, flips & (training and view.mirror), view)

        parsed = records.map(lambda record: parse(record), AUTO, deterministic=True)  # noqa: PLW0108 (autograph)
        batches = parsed.batch(order.batch_size, drop_remainder=training).enumerate()
        return batches.map(lambda at, columns: finished(at, columns), AUTO, deterministic=True)  # noqa: PLW0108

    def one_pass(number: tf.Tensor) -> tf.data.Dataset:
        # Traced into a graph, so this is that graph's seed alone. Where it is 0, TensorFlow compares the shuffle's seed
        # with 0 in Python, which a tensor can't.
        tf.random.set_seed(order.seed % MOST_SEED or 1)
        names = tf.numpy_function(lambda n: _permuted(paths, order.seed, int(n)), [number], tf.string)
        names.set_shape((len(paths),))
        records = tf.data.Dataset.from_tensor_slices(names).interleave(
            tf.data.TFRecordDataset, cycle_length=OPEN_FILES, num_parallel_calls=AUTO, deterministic=True
        )
        return batched(records.apply(complete).shuffle(BUFFER, seed=order.seed + number), order.seed, number)

    if not training:
        once = batched(tf.data.TFRecordDataset(paths).apply(complete), 0, tf.constant(0, tf.int64))
        # Told its length, Keras does not warn that the data ran out.
        known = tf.data.experimental.assert_cardinality(-(-order.count // order.batch_size))
        return _tuned(once.apply(known).prefetch(AUTO))
    per_pass = max(1, order.count // order.batch_size)
    first, skipped = divmod(start_step, per_pass)
    passes = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    return _tuned(passes.flat_map(one_pass).skip(skipped).prefetch(AUTO))


def _permuted(paths: list[str], seed: int, number: int) -> Any:
    return np.array([paths[i].encode() for i in np.random.default_rng((seed, number)).permutation(len(paths))], object)


def _tuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # One machine reads its own shards: there is nothing to divide among workers.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


def _parser(shards: Shards, view: View) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """A record -> its images (uint8, at the view's size), label (int64), identity."""
    spec = {v.name: tf.io.FixedLenFeature((), tf.string) for v in view.images}
    spec["identity"] = tf.io.FixedLenFeature((), tf.string)
    spec["label"] = tf.io.FixedLenFeature((), tf.int64, default_value=-1)

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
        example = tf.io.parse_single_example(record, spec)
        images = [_fitted(_decoded(example[v.name], shards), shards, v) for v in view.images]
        return (*images, example["label"], example["identity"])

    return parse


def _decoded(content: tf.Tensor, shards: Shards) -> tf.Tensor:
    shape = (shards.size, shards.size, shards.channels)
    if shards.encoding == "raw":
        return tf.reshape(tf.io.decode_raw(content, tf.uint8), shape)
    if shards.encoding == "jpeg":
        # libjpeg's accurate transform, as OpenCV uses it: TensorFlow's default is the fast one.
        image = tf.io.decode_jpeg(content, channels=shards.channels, dct_method="INTEGER_ACCURATE")
    else:
        image = tf.io.decode_png(content, channels=shards.channels)
    return tf.ensure_shape(image, shape)


def _fitted(image: tf.Tensor, shards: Shards, view: ImageView) -> tf.Tensor:
    """`data.fit_image` as tensors."""
    if view.size != shards.size:
        area = tf.image.resize(image, (view.size, view.size), method="area")
        image = _rounded(area)
    if view.channels == 1 and shards.channels == 3:
        image = _rounded(tf.tensordot(tf.cast(image, tf.float32), tf.constant(GRAY[:, None]), 1))
    return image


def _rounded(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.floor(values + HALF), 0, 255), tf.uint8)


def _finish(images: list[tf.Tensor], labels: tf.Tensor, mirrored: tf.Tensor, view: View) -> tuple[tf.Tensor, ...]:
    """Mirrors and scales a batch of uint8 stacks."""
    if view.mirror:
        images = [tf.where(mirrored[:, None, None, None], stack[:, :, ::-1], stack) for stack in images]
    batch = [_scaled(stack, v.scale) for stack, v in zip(images, view.images, strict=True)]
    return (*batch, labels) if view.label else tuple(batch)


def _scaled(stack: tf.Tensor, scale: str) -> tf.Tensor:
    if scale == "raw":
        return stack
    factor, offset = SCALES[scale]
    return tf.cast(stack, tf.float32) * factor + offset
