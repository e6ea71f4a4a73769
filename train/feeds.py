"""Batches of a subset, in an order that (seed, pass) alone decide, the same on both backends.

A subset that is small enough is held in memory as uint8 and shuffled as a whole; a larger one is streamed through a
shuffle buffer. A thread reads ahead while the model computes.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from facepipe.storage.tfrecord import decode_example
from train.backend import devices_in_use, filled
from train.data import Arrays, load_arrays, open_records, read_columns, read_image, scaled
from train.order import Order, find_companions
from train.shards import FLOW, View, check_disjoint, need, parts_of_a_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from train.config import TrainConfig
    from train.shards import Shards

    Batch = tuple[NDArray[Any], ...]

READ_AHEAD = 4
"""Batches that wait for the model."""
OPEN_FILES = 16
BUFFER = 8192
"""Examples a streamed subset is shuffled among."""


class Feed(keras.utils.PyDataset):
    """Batches of one subset, for ever or for one pass; iterating gives tuples as `View` says.

    Attributes:
        steps: Of one pass.
        count: Examples in the subset.
        batch_size: No larger than the subset.
        arrays: The subset, where it is held in memory.
    """

    def __init__(self, make: Callable[[], Iterator[Batch]], steps: int, order: Order, arrays: Arrays | None) -> None:
        super().__init__()
        self._batches, self.steps, self.arrays = Ahead(make), steps, arrays
        self.count, self.batch_size = order.count, order.batch_size
        self._pass: Iterator[Batch] = iter(())

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def __len__(self) -> int:
        """For Keras, which passes over what it validates by, and asks for its batches in order."""
        return self.steps

    def __getitem__(self, number: int) -> Batch:
        if number == 0:
            self._pass = iter(self)
        return next(self._pass)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Within it, what the reader met is raised as it is, not as TensorFlow's words about it."""
        try:
            yield
        except Exception:
            if self._batches.failed is not None:
                raise self._batches.failed from None
            raise


def open_feed(
    shards: Shards, subset: str, view: View, config: TrainConfig, *, training: bool = True, start_step: int = 0
) -> Feed:
    """The batches of a subset.

    Args:
        shards: From `find_shards`.
        subset: train, validation or test.
        view: What the model takes.
        config: Batch size, seed and the memory for caching are taken from it.
        training: Shuffled, endless and in whole batches; else in the shards' order, once, the last batch smaller.
        start_step: The global step to begin at: a resumed run sees what an unbroken one would have.

    Raises:
        InputError: The subset is empty or its images can't fit.
        DamagedFile: A shard's checksum is wrong and the file is named, or records are missing. Of a streamed subset the
            batches raise it.
    """
    count = need(shards, subset)
    shards.check_fits(view)
    batch_size, steps = parts_of_a_pass(count, config.batch_size)
    steps = steps if training else math.ceil(count / batch_size)
    bytes_each = sum(v.size * v.size * v.channels for v in view.images)
    arrays = load_arrays(shards, subset, view) if count * bytes_each <= config.cache_bytes else None
    companions = None
    if training and view.swap and arrays is not None:
        columns = [np.array(column) for column in read_columns(shards, subset, ("copy", "feature_yaw")).values()]
        companions = find_companions(arrays.identities, *columns, view.swap, config.seed)
    order = Order(count, batch_size, config.seed, view.mirror, companions)

    def make() -> Iterator[Batch]:
        share = devices_in_use()
        if arrays is not None:
            return _from_memory(arrays, view, order, share, training=training, start_step=start_step)
        return _streamed(shards, subset, view, order, share, training=training, start_step=start_step)

    return Feed(make, steps, order, arrays)


def check_apart(**subsets: Arrays | None) -> None:
    """The records themselves, not only run.json, must keep identities apart; an `InputError` names those that don't."""
    names = {
        name: frozenset(identity.decode("utf-8", "replace") for identity in set(arrays.identities.tolist()))
        for name, arrays in subsets.items()
        if arrays is not None
    }
    check_disjoint(names)


class Ahead:
    """An iterable whose items another thread makes, a few ahead; the maker's exception is raised to the reader."""

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self.make = make
        self.failed: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        """A new thread each time; it ends with its items, or when the reader goes away."""
        items: queue.Queue[tuple[str, Any]] = queue.Queue(READ_AHEAD)
        left = threading.Event()
        made = self.make()  # here, for Keras tells only this thread of its devices
        threading.Thread(target=self._fill, args=(made, items, left), daemon=True).start()
        try:
            while True:
                kind, item = items.get()
                if kind == "end":
                    return
                if kind == "error":
                    self.failed = item
                    raise item
                yield item
        finally:
            left.set()

    def _fill(self, made: Iterator[Any], items: queue.Queue[tuple[str, Any]], left: threading.Event) -> None:
        def put(entry: tuple[str, Any]) -> bool:
            while not left.is_set():
                try:
                    items.put(entry, timeout=0.2)
                except queue.Full:
                    continue
                return True
            return False

        try:
            for item in made:
                if not put(("item", item)):
                    return
        except BaseException as error:
            put(("error", error))
            return
        put(("end", None))


def _from_memory(
    arrays: Arrays, view: View, order: Order, share: int, *, training: bool, start_step: int
) -> Iterator[Batch]:
    for step in itertools.count(start_step) if training else range(-(-order.count // order.batch_size)):
        if training:
            chosen, mirrored, others = order.batch(step)
        else:
            chosen = np.arange(step * order.batch_size, min(order.count, (step + 1) * order.batch_size))
            mirrored, others = np.zeros(len(chosen), bool), np.full(len(chosen), -1)
        images = [stack[chosen] for stack in arrays.images]
        if (swapped := others >= 0).any():
            images[1][swapped] = arrays.images[0][others[swapped]]
        yield _assembled(images, arrays.labels[chosen], mirrored, view, share)


def _assembled(
    images: list[NDArray[np.uint8]], labels: NDArray[np.int64], mirrored: NDArray[np.bool_], view: View, share: int
) -> tuple[NDArray[Any], ...]:
    """One batch as the view says, for `share` devices: uint8 stacks in, mirrored and scaled arrays out."""
    if mirrored.any():
        images = [np.where(mirrored[:, None, None, None], stack[:, :, ::-1], stack) for stack in images]
    batch = [scaled(stack, v.scale) for stack, v in zip(images, view.images, strict=True)]
    if view.images[-1].name == FLOW:
        flow = batch.pop()
        flow[mirrored, ..., 0] = 1 - flow[mirrored, ..., 0]
        batch[-1] = np.concatenate([batch[-1], flow], axis=3)
    return tuple(filled(stack, share) for stack in ((*batch, labels) if view.label else batch))


def _streamed(
    shards: Shards, subset: str, view: View, order: Order, share: int, *, training: bool, start_step: int
) -> Iterator[Batch]:
    per_pass = max(1, order.count // order.batch_size)
    number, skipped = divmod(start_step, per_pass) if training else (0, 0)
    for current in itertools.count(number) if training else [0]:
        records = _shuffled(shards, subset, order, current) if training else _in_order(shards, subset)
        batches = _batched(shards, records, view, order, current, share, training=training)
        yield from itertools.islice(batches, skipped if current == number else 0, per_pass if training else None)


def _in_order(shards: Shards, subset: str) -> Iterator[bytes]:
    one_by_one = (record for name in shards.files[subset] for record in open_records(shards, name))
    return _complete(shards, subset, one_by_one)


def _complete(shards: Shards, subset: str, records: Iterator[bytes]) -> Iterator[bytes]:
    """The records; a `DamagedFile` behind the last where some are missing."""
    found = 0
    for record in records:
        yield record
        found += 1
    shards.check_count(subset, found)


def _shuffled(shards: Shards, subset: str, order: Order, number: int) -> Iterator[bytes]:
    rng = np.random.default_rng((order.seed, number))
    names = [shards.files[subset][i] for i in rng.permutation(len(shards.files[subset]))]
    buffer: list[bytes] = []
    for record in _complete(shards, subset, _interleaved(shards, names)):
        if len(buffer) < BUFFER:
            buffer.append(record)
            continue
        at = int(rng.integers(BUFFER))
        yield buffer[at]
        buffer[at] = record
    yield from (buffer[i] for i in rng.permutation(len(buffer)))


def _interleaved(shards: Shards, names: list[str]) -> Iterator[bytes]:
    """Records of OPEN_FILES files in turn; a file that ends makes room for the next."""
    waiting = iter(names)
    readers = [open_records(shards, name) for name in itertools.islice(waiting, OPEN_FILES)]
    while readers:
        for reader in list(readers):
            record = next(reader, None)
            if record is None:
                readers.remove(reader)
                readers.extend(open_records(shards, name) for name in itertools.islice(waiting, 1))
            else:
                yield record


def _batched(
    shards: Shards, records: Iterator[bytes], view: View, order: Order, number: int, share: int, *, training: bool
) -> Iterator[tuple[NDArray[Any], ...]]:
    rng = np.random.default_rng((order.seed, number, 1))
    while batch := list(itertools.islice(records, order.batch_size)):
        if training and len(batch) < order.batch_size:
            return
        examples = [decode_example(record) for record in batch]
        images = [np.stack([read_image(e[v.name][0], shards, v) for e in examples]) for v in view.images]
        mirrored = (rng.random(len(batch)) < 0.5) & (view.mirror and training)
        yield _assembled(images, np.array([e["label"][0] for e in examples], np.int64), mirrored, view, share)
