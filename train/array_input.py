"""Batches as numpy arrays, without TensorFlow: a thread reads ahead while the model computes."""

from __future__ import annotations

import itertools
import queue
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.tfrecord import decode_example
from train.backend import devices_in_use, filled
from train.data import Arrays, Order, View, load_arrays, open_records, read_image, scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from train.shards import Shards

READ_AHEAD = 4
"""Batches that wait for the model."""
OPEN_FILES = 16
BUFFER = 8192
"""Examples a streamed subset is shuffled among."""

load = load_arrays


class Ahead:
    """An iterable whose items another thread makes, a few ahead; the maker's exception is raised to the reader."""

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        """A new thread each time; it ends with its items, or when the reader goes away."""
        items: queue.Queue[tuple[str, Any]] = queue.Queue(READ_AHEAD)
        left = threading.Event()
        threading.Thread(target=self._fill, args=(items, left), daemon=True).start()
        try:
            while True:
                kind, item = items.get()
                if kind == "end":
                    return
                if kind == "error":
                    raise item
                yield item
        finally:
            left.set()

    def _fill(self, items: queue.Queue[tuple[str, Any]], left: threading.Event) -> None:
        def put(entry: tuple[str, Any]) -> bool:
            while not left.is_set():
                try:
                    items.put(entry, timeout=0.2)
                except queue.Full:
                    continue
                return True
            return False

        try:
            for item in self.make():
                if not put(("item", item)):
                    return
        except BaseException as error:
            put(("error", error))
            return
        put(("end", None))


def from_memory(arrays: Arrays, view: View, order: Order, *, training: bool, start_step: int) -> Ahead:
    """Batches out of a subset in memory."""
    share = devices_in_use()

    def make() -> Iterator[tuple[NDArray[Any], ...]]:
        for step in itertools.count(start_step) if training else range(-(-order.count // order.batch_size)):
            if training:
                chosen, mirrored, others = order.batch(step)
            else:
                chosen = np.arange(step * order.batch_size, min(order.count, (step + 1) * order.batch_size))
                mirrored, others = np.zeros(len(chosen), bool), np.full(len(chosen), -1)
            images = [stack[chosen] for stack in arrays.images]
            if (swapped := others >= 0).any():
                images[1][swapped] = arrays.images[0][others[swapped]]
            yield assemble(images, arrays.labels[chosen], mirrored, view, share)

    return Ahead(make)


def assemble(
    images: list[NDArray[np.uint8]], labels: NDArray[np.int64], mirrored: NDArray[np.bool_], view: View, share: int
) -> tuple[NDArray[Any], ...]:
    """One batch as the view says, for `share` devices: uint8 stacks in, mirrored and scaled arrays out."""
    if mirrored.any():
        images = [np.where(mirrored[:, None, None, None], stack[:, :, ::-1], stack) for stack in images]
    batch = [scaled(stack, v.scale) for stack, v in zip(images, view.images, strict=True)]
    return tuple(filled(stack, share) for stack in ((*batch, labels) if view.label else batch))


def streamed(shards: Shards, subset: str, view: View, order: Order, *, training: bool, start_step: int) -> Ahead:
    """Batches of a subset that does not fit in memory: several files at once, through a shuffle buffer."""
    per_pass, share = max(1, order.count // order.batch_size), devices_in_use()

    def make() -> Iterator[tuple[NDArray[Any], ...]]:
        number, skipped = divmod(start_step, per_pass) if training else (0, 0)
        for current in itertools.count(number) if training else [0]:
            records = _shuffled(shards, subset, order, current) if training else _in_order(shards, subset)
            batches = _batched(shards, records, view, order, current, share, training=training)
            yield from itertools.islice(batches, skipped if current == number else 0, per_pass if training else None)

    return Ahead(make)


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
        yield assemble(images, np.array([e["label"][0] for e in examples], np.int64), mirrored, view, share)
