"""Shards of any format for PyTorch: batches of arrays, in an order that seed and epoch alone decide.

    dataset = facepipe.torch.ShardDataset("data/shards/pairs/1.0.0", batch_size=64)
    for epoch in range(10):
        dataset.set_epoch(epoch)
        for batch in torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2): ...

It needs no PyTorch to be iterated over: then the arrays are numpy's.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.errors import InputError, UsageError
from facepipe.storage import place
from facepipe.storage.formats import find_format
from facepipe.storage.tfds import FEATURES, FLOATS, FLOW, IMAGES, TEXTS, read_info

try:
    from torch.utils.data import IterableDataset, get_worker_info
except ImportError:  # whoever iterates without PyTorch
    IterableDataset, get_worker_info = object, lambda: None

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facepipe.storage.formats import Example

Batch = dict[str, Any]


class ShardDataset(IterableDataset):  # type: ignore[misc]
    """The batches of a subset: by feature uint8 images (n, height, width, channels), (n,) float32 or int64, or n texts.

    For `DataLoader(dataset, batch_size=None)`, which makes tensors of the arrays. A rank's batches are as many as every
    other's; its workers share them, each with shards of its own to read. The order depends on seed, epoch, and the
    numbers of ranks and workers. `persistent_workers` would not be told of the next epoch.

    Args:
        folder: with the shards, a path or URI such as `data/shards/pairs/1.0.0`.
        subset: `train`, `validation` or `test`.
        batch_size: examples of a batch; the last one may have fewer.
        seed: of the order.
        shuffle: whether the order is another one in each epoch; else it is that of the shards, which are shuffled too.
        rank: of this process, from 0, of `ranks`.
        ranks: processes that share an epoch; up to `ranks - 1` examples are left out, so that all have as many.
        drop_last: leaves out a last batch that is not full.
        window: examples that a worker holds and mixes.

    Raises:
        InputError: there are no such shards.
        DamagedFile: they are damaged; while they are read, too.
    """

    def __init__(
        self,
        folder: str,
        subset: str = "train",
        batch_size: int = 64,
        *,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        ranks: int = 1,
        drop_last: bool = False,
        window: int = 2048,
    ) -> None:
        if not 0 <= rank < ranks or batch_size < 1 or window < 1:
            raise UsageError(f"rank {rank} of {ranks}, batch_size {batch_size} and window {window} can't be")
        self._folder = place(folder)
        info = read_info(self._folder)
        self._kind, self._stored = info.kind, find_format(info.format)
        lengths = next((split.shard_lengths for split in info.splits if split.name == subset), [])
        if not lengths:
            raise InputError(f"{folder} has no {subset} shards; it has {[split.name for split in info.splits]}")
        names = (self._stored.shard_name(self._kind, subset, n, len(lengths)) for n in range(len(lengths)))
        self._shards = list(zip(names, lengths, strict=True))
        self._shape, self._raw = _layout(json.loads(self._folder.read(FEATURES)), IMAGES[self._kind][0])
        self._size, self._drop_last, self._window = batch_size, drop_last, window
        self._seed, self._shuffle, self._rank = seed, shuffle, rank
        self._count = sum(lengths) // ranks
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Which epoch is iterated over next, from its batch `start` on: as many as were taken before a run ended."""
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        """Batches of an epoch, of this rank."""
        return self._count // self._size if self._drop_last else -(-self._count // self._size)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of this worker, or all of them where there are no workers."""
        worker = get_worker_info()
        return self.batches(worker.id, worker.num_workers) if worker else self.batches()

    def batches(self, worker: int = 0, workers: int = 1) -> Iterator[Batch]:
        """The batches of one of some workers; taken in turns, they are the epoch's."""
        worker = (worker + self._start) % workers  # whose turn it was goes first
        share, left = divmod(len(self), workers)
        before = worker * share + min(worker, left)
        first = self._rank * self._count + before * self._size
        last = min(first + (share + (worker < left)) * self._size, (self._rank + 1) * self._count)
        taken = (self._start // workers + (worker < self._start % workers)) * self._size
        coming = self._examples(first, last, taken)
        while some := list(islice(coming, self._size)):
            yield self._stacked(some)

    def _examples(self, first: int, last: int, taken: int) -> Iterator[Example]:
        """Those of the epoch's places from `first` to `last`, mixed window by window, without so many in front."""
        whole, taken = divmod(taken, self._window)
        first += whole * self._window
        stream = self._read(first, last)
        while first < last and (some := list(islice(stream, min(self._window, last - first)))):
            order = np.random.default_rng([self._seed, self._epoch, first]).permutation(len(some))
            yield from (some[at] for at in (order.tolist() if self._shuffle else range(len(some)))[taken:])
            first, taken = first + len(some), 0

    def _read(self, first: int, last: int) -> Iterator[Example]:
        """The examples in those places, the shards in the epoch's order."""
        shards = self._shards
        if self._shuffle:
            order = np.random.default_rng([self._seed, self._epoch]).permutation(len(shards))
            shards = [shards[at] for at in order.tolist()]
        for name, length in shards:
            if first < length and last > 0:
                yield from islice(self._stored.read(self._folder, name, self._kind), max(first, 0), min(last, length))
            first, last = first - length, last - length

    def _stacked(self, some: list[Example]) -> Batch:
        batch: Batch = {}
        for name in some[0]:
            values = [example[name] for example in some]
            if name in IMAGES[self._kind]:
                batch[name] = np.stack([self._decoded(value) for value in values])
            elif name == FLOW:
                batch[name] = np.frombuffer(b"".join(values), np.uint8).reshape(-1, *self._shape[:2], 3)
            elif name in TEXTS[self._kind]:
                batch[name] = [value.decode("utf-8", "surrogatepass") for value in values]
            else:
                batch[name] = np.array(values, np.float32 if name in FLOATS[self._kind] else np.int64)
        return batch

    def _decoded(self, content: bytes) -> NDArray[np.uint8]:
        pixels: Any = np.frombuffer(content, np.uint8)
        if not self._raw:
            pixels = cv2.imdecode(pixels, cv2.IMREAD_GRAYSCALE if self._shape[2] == 1 else cv2.IMREAD_COLOR_RGB)
        return np.reshape(pixels, self._shape)


def _layout(described: Any, image: str) -> tuple[tuple[int, int, int], bool]:
    """Height, width and channels of the images by `features.json`, and whether they are raw."""
    feature = described["featuresDict"]["features"][image]
    raw = "tensor" in feature
    height, width, channels = map(int, feature["tensor" if raw else "image"]["shape"]["dimensions"])
    return (height, width, channels), raw
