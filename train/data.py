"""Records of shards -> arrays, as a model wants its images. Numpy and OpenCV alone."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.errors import AS_BEFORE, DamagedFile, InputError
from facepipe.storage.tfrecord import decode_example, read_records
from train.config import AutoencoderConfig
from train.shards import FLOW, ImageView, Shards, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from train.gan.config import GanConfig

GRAY = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601."""
HALF = 0.501
"""Rounds up what is a half but for the last bits of a mean."""
SCALES = {"unit": (1 / 255, 0.0), "signed": (1 / 127.5, -1.0), "bytes": (1.0, 0.0), FLOW: (1 / 256, 0.0)}
"""Factor and offset from 0..255: to 0..1, to -1..1, and left alone (all float32)."""


def view_of(config: AutoencoderConfig | GanConfig) -> View:
    """What the model of a configuration takes: feature and target of a pair, or a face, which a GAN's step scales."""
    if isinstance(config, AutoencoderConfig):
        feature = ImageView("feature", config.input_size, config.channels, config.input_scale)
        target = ImageView("target", config.output_size, config.channels)
        flow = (ImageView(FLOW, config.output_size, 3, FLOW),) if config.loss == FLOW else ()
        return View((feature, target, *flow), mirror=config.mirror, swap=config.swap)
    return View((ImageView("image", config.image_size, config.channels, "raw"),), label=True, mirror=config.mirror)


@dataclass
class Arrays:
    """A subset in memory, already at the view's size: images uint8, labels int64, identities as bytes."""

    images: list[NDArray[np.uint8]]
    labels: NDArray[np.int64]
    identities: NDArray[Any]

    def __len__(self) -> int:
        return len(self.identities)


def open_records(shards: Shards, name: str) -> Iterator[bytes]:
    """The records of one shard, checksums checked."""
    with shards.place.open_input(name) as file:
        yield from read_records(file, f"{shards.place}/{name}")


def read_examples(shards: Shards, subset: str) -> Iterator[dict[str, list[Any]]]:
    """Every record of a subset, in the shards' order; a `DamagedFile` at the end where some are missing."""
    found = 0
    for name in shards.files[subset]:
        for record in open_records(shards, name):
            yield decode_example(record)
            found += 1
    shards.check_count(subset, found)


def read_columns(shards: Shards, subset: str, names: Iterable[str]) -> dict[str, list[Any]]:
    """Plain features of every record in the shards' order: one value each, text still bytes."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for example in read_examples(shards, subset):
        for name, values in columns.items():
            values.append(example[name][0])
    return columns


def load_arrays(shards: Shards, subset: str, view: View) -> Arrays:
    """A whole subset in memory in the shards' order."""
    files = shards.files[subset]
    with ThreadPoolExecutor() as pool:
        loaded = list(pool.map(lambda name: _load_file(shards, name, view), files))
    shards.check_count(subset, sum(map(len, loaded)))
    images = [np.concatenate([part.images[i] for part in loaded]) for i in range(len(view.images))]
    labels = np.concatenate([part.labels for part in loaded])
    return Arrays(images, labels, np.concatenate([part.identities for part in loaded]))


def _load_file(shards: Shards, name: str, view: View) -> Arrays:
    images: list[list[NDArray[np.uint8]]] = [[] for _ in view.images]
    labels, identities = [], []
    for record in open_records(shards, name):
        example = decode_example(record)
        for image, into in zip(view.images, images, strict=True):
            into.append(read_image(example[image.name][0], shards, image))
        labels.append(example["label"][0])
        identities.append(example["identity"][0])
    shapes = [(0, v.size, v.size, v.channels) for v in view.images]
    stacked = [np.stack(rows) if rows else np.zeros(s, np.uint8) for rows, s in zip(images, shapes, strict=True)]
    return Arrays(stacked, np.array(labels, np.int64), np.array(identities, object))


def read_image(content: bytes, shards: Shards, view: ImageView) -> NDArray[np.uint8]:
    """A stored image as the view wants it: (size, size, channels) uint8, RGB."""
    shape = (shards.size, shards.size, shards.channels)
    if view.name == FLOW:
        shape = (shards.size, shards.size, 3)
    if shards.encoding == "raw" or view.name == FLOW:
        if len(content) != math.prod(shape):
            raise DamagedFile(f"a record in {shards.place} holds {len(content)} bytes of image, not {math.prod(shape)}")
        image = np.frombuffer(content, np.uint8).reshape(shape)
    else:
        flag = cv2.IMREAD_COLOR_RGB if shards.channels == 3 else cv2.IMREAD_GRAYSCALE
        decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flag)
        if decoded is None or decoded.shape[0] * decoded.shape[1] != shards.size**2:
            raise DamagedFile(f"a record in {shards.place} holds no {shards.encoding} image of {shards.size} px")
        image = decoded.reshape(shape)
    return fit_image(image, view.size, view.channels)


def fit_image(image: NDArray[np.uint8], size: int, channels: int) -> NDArray[np.uint8]:
    """(s, s, c) uint8 -> (size, size, channels): each pixel the mean of what it covers, RGB to gray by BT.601."""
    side, have = image.shape[0], image.shape[2]
    if side != size:
        if side % size == 0:
            k = side // size
            area = image.reshape(size, k, size, k, have).astype(np.float32).mean(axis=(1, 3))
        else:
            area = cv2.resize(image.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        image = rounded(area.reshape(size, size, have))
    if have == 3 and channels == 1:
        image = rounded(image.astype(np.float32) @ GRAY[:, None])
    return image


def rounded(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """To the nearest whole number, halves up."""
    return np.clip(np.floor(values + HALF), 0, 255).astype(np.uint8)


def scaled(images: NDArray[np.uint8], scale: str) -> NDArray[Any]:
    """uint8 0..255 -> float32 in the range that `SCALES` names; `raw` stays uint8."""
    if scale == "raw":
        return images
    factor, offset = SCALES[scale]
    return images.astype(np.float32) * np.float32(factor) + np.float32(offset)


def decoded(content: bytes, key: str) -> NDArray[np.uint8]:
    """An encoded crop -> (s, s, 3) uint8 RGB."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise InputError(f"the crop of {key} is no picture; run `facepipe extract` again {AS_BEFORE}")
    return image
