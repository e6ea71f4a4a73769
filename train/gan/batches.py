"""The batches of a GAN: real pictures and labels from the shards, and each step's random numbers beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import InputError
from train.data import read_columns, view_of
from train.feeds import Ahead, open_feed
from train.gan.draws import draw_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from train.feeds import Feed
    from train.gan.config import GanConfig
    from train.shards import Shards

MOST_CLASSES = 64
"""Of more labels, `auto` thinks that they name something else than classes."""


def find_labels(config: GanConfig, shards: Shards, feed: Feed) -> tuple[tuple[int, ...], NDArray[np.float64] | None]:
    """The distinct labels of the training faces, ascending, and their shares; none for an unconditional run.

    Generated faces get labels as often as real ones have them.

    Raises:
        InputError: `--labels use`, and some faces have no label or all the same one.
    """
    if config.labels == "ignore":
        return (), None
    if feed.arrays is not None:
        labels = feed.arrays.labels
    else:
        labels = np.array(read_columns(shards, "train", ["label"])["label"], np.int64)
    values, counts = np.unique(labels, return_counts=True)
    whole = values.min() >= 0 and len(values) > 1
    if config.labels == "use" and not whole:
        raise InputError(
            f"--labels use needs a label for every face and 2 different ones; of those in {shards.place}, "
            f"{int((labels < 0).sum())} faces have none; give `facepipe extract` a --manifest with labels"
        )
    if not whole or (config.labels == "auto" and len(values) > MOST_CLASSES):
        return (), None
    return tuple(values.tolist()), counts / counts.sum()


def steps_of_an_epoch(config: GanConfig, feed: Feed) -> int:
    """Each step takes `d_steps` batches."""
    return config.steps_per_epoch or max(1, feed.steps // config.d_steps)


def real_faces(
    config: GanConfig, shards: Shards, feed: Feed, count: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two sets of as many faces (n, h, w, c) uint8: one to compare samples with, one to show how near real faces come.

    Up to `count` each, of people held back where there are enough, else of those that are learned from.
    """
    view = replace(view_of(config), mirror=False)
    if shards.lengths.get("validation", 0) >= 2 * count:
        faces = _first_faces(open_feed(shards, "validation", view, config, training=False), 2 * count)
    elif feed.arrays is not None:
        faces = feed.arrays.images[0][: 2 * count]
    else:
        faces = _first_faces(open_feed(shards, "train", view, config, training=False), 2 * count)
    half = max(1, len(faces) // 2)
    return faces[:half], faces[-half:]


def _first_faces(feed: Feed, count: int) -> NDArray[np.uint8]:
    faces: list[NDArray[np.uint8]] = []
    for batch in feed:
        faces.append(np.asarray(batch[0]))
        if sum(map(len, faces)) >= count:
            break
    return np.concatenate(faces)[:count]


def step_batches(
    config: GanConfig, feed: Feed, frequencies: NDArray[np.float64] | None, start_step: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """`step.Batch`es from global step `start_step` on, where `feed` begins; endless, made ahead by another thread."""
    known = np.array(config.class_labels, np.int64)

    def make() -> Iterator[dict[str, NDArray[Any]]]:
        reals, step = iter(feed), start_step
        while True:
            taken = [next(reals) for _ in range(config.d_steps)]
            batch = draw_step(config, step, frequencies)
            batch["images"] = np.stack([np.asarray(images) for images, _ in taken])
            if config.classes:
                batch["label"] = np.searchsorted(known, np.stack([labels for _, labels in taken])).astype(np.int32)
            yield batch
            step += 1

    return iter(Ahead(make))
