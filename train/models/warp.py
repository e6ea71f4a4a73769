"""frontal-2: a network that moves the feature's pixels to the front, and draws none of its own.

A bottleneck or a U-Net blurs even where pairs are exact; pixels that are moved keep the person. The network tells, by a
few numbers, where each pixel of the frontal face lies in the feature and whether it is seen there; both are taught by
what the renderer of turned faces knows (`facepipe shard --examples turned --flow`). Flows of heads differ in few ways:
the numbers begin as their principal components. The feature is sampled bilinearly (Jaderberg et al. 2015,
arXiv:1506.02025); what is hidden takes the mirrored other half, where that is seen.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from train.losses import HIDDEN
from train.models.parts import PACKAGE, Parts, half, model_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.feeds import Feed

FLOW = "flow"
"""The layer that gives x and y in shares of the feature's side, and how surely each is seen, (n, s, s, 3)."""
BASE = "flows"
"""The layer whose kernel holds the principal flows."""
COARSE = 2
"""px of the output a px of the flow."""
LOOK = 64
"""px at which a larger feature is looked at: it is moved in full."""
UNITS = 256
GROUPS = 8
LEARNED_FROM = 1500
"""Flows whose principal components are taken."""
POOL = 4
"""A fingerprint measures waves of the output at a quarter of its sides."""


def build(config: AutoencoderConfig) -> keras.Model:
    """The model of a warping preset; see `autoencoder.build_model`. `teaching` gives its flow, too."""
    feature = (config.input_size, config.input_size, config.channels)
    parts = Parts(config.seed)
    inputs = keras.Input(feature, name="feature")
    flow = _decoder(config, parts)(_encoder(config, parts, feature)(inputs))
    flow = layers.UpSampling2D(COARSE, interpolation="bilinear", dtype="float32", name=FLOW)(flow)
    scale = 1 / 255 if config.input_scale == "bytes" else 1.0
    pixels = ToTheFront(scale, dtype="float32", name="pixels")([inputs, flow])
    return keras.Model(inputs, pixels, name=model_name(config))


def teaching(model: keras.Model) -> keras.Model:
    """The same with the flow beside the picture: (n, s, s, channels + 3)."""
    outputs = layers.Concatenate(dtype="float32", name="taught")([model.output, model.get_layer(FLOW).output])
    return keras.Model(model.inputs, outputs, name=model.name)


def _encoder(config: AutoencoderConfig, parts: Parts, feature: tuple[int, ...]) -> keras.Model:
    inputs = x = keras.Input(feature, name="feature")
    if config.input_scale == "bytes":
        x = layers.Rescaling(1 / 255)(x)
    if config.input_size >= 2 * LOOK:
        x = layers.AveragePooling2D(config.input_size // LOOK)(x)
    for filters in config.encoder:
        x = parts.conv(filters, strides=2)(x)
        x = layers.Activation("silu")(layers.GroupNormalization(math.gcd(GROUPS, filters))(x))
    x = layers.Activation("silu")(parts.dense(UNITS)(layers.Flatten()(x)))
    return keras.Model(inputs, parts.dense(config.latent, name="latent")(x), name="encoder")


def _decoder(config: AutoencoderConfig, parts: Parts) -> keras.Model:
    inputs = keras.Input((config.latent,), name="turn")
    side = config.output_size // COARSE
    flow = parts.dense(side * side * 3, name=BASE)(inputs)
    return keras.Model(inputs, layers.Reshape((side, side, 3))(flow), name="decoder")


@keras.saving.register_keras_serializable(PACKAGE)
class ToTheFront(layers.Layer):
    """A feature (n, h, w, c) and a flow (n, s, s, 3) -> the frontal picture (n, s, s, c), 0..1."""

    def __init__(self, scale: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        """What is seen moves, what is hidden takes its mirror's, where that is seen."""
        feature, flow = inputs
        moved = sample(ops.cast(feature, "float32") * self.scale, flow[..., :2])
        seen = ops.clip(flow[..., 2:], 0, 1)
        other = ops.flip(seen, axis=2)
        return seen * moved + (1 - seen) * (other * ops.flip(moved, axis=2) + (1 - other) * moved)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def sample(images: Any, places: Any) -> Any:
    """(n, s, s, c): images (n, h, w, c) at places (n, s, s, 2), x and y in shares of their sides; bilinear."""
    height, width, channels = images.shape[1:]
    rows, columns = places.shape[1:3]
    x = ops.clip(places[..., 0] * width - 0.5, 0, width - 1)
    y = ops.clip(places[..., 1] * height - 0.5, 0, height - 1)
    left, top = ops.clip(ops.floor(x), 0, width - 2), ops.clip(ops.floor(y), 0, height - 2)
    right, down = ops.expand_dims(x - left, -1), ops.expand_dims(y - top, -1)
    first = ops.cast(top * width + left, "int32")
    flat = ops.reshape(images, (-1, height * width, channels))

    def at(step: int) -> Any:
        index = ops.repeat(ops.reshape(first + step, (-1, rows * columns, 1)), channels, axis=2)
        return ops.reshape(ops.take_along_axis(flat, index, axis=1), (-1, rows, columns, channels))

    above = at(0) * (1 - right) + at(1) * right
    below = at(width) * (1 - right) + at(width + 1) * right
    return above * (1 - down) + below * down


def start_at_flows(model: keras.Model, feed: Feed) -> None:
    """Sets the flows' layer to the mean and the principal components of training flows, and all numbers to 0.

    Args:
        model: Of `build` or `teaching`.
        feed: Batches of feature, and target beside flow.
    """
    decoder = half(model, "decoder")
    layer, side = decoder.get_layer(BASE), decoder.output_shape[1]
    found, count = [], 0
    for batch in itertools.islice(iter(feed), feed.steps):
        flow = np.asarray(batch[1], np.float32)[..., -3:]
        found.append(flow.reshape(len(flow), side, COARSE, side, COARSE, 3).mean(axis=(2, 4)).reshape(len(flow), -1))
        count += len(flow)
        if count >= LEARNED_FROM:
            break
    flows = np.concatenate(found)
    mean = flows.mean(axis=0)
    # What is hidden lies wherever it lies: where a pixel is seen weighs more.
    weight = np.tile([1.0, 1.0, HIDDEN], side * side).astype(np.float32)
    numbers = layer.kernel.shape[0]
    _, widths, axes = np.linalg.svd((flows - mean) * weight, full_matrices=False)
    kernel = np.zeros(layer.kernel.shape, np.float32)
    kernel[: len(axes)] = (axes * widths[:, None] / np.sqrt(len(flows)) / weight)[:numbers]
    layer.kernel.assign(kernel)
    layer.bias.assign(mean)
    latent = half(model, "encoder").get_layer("latent")
    latent.kernel.assign(np.zeros(latent.kernel.shape, np.float32))


def fingerprints(pictures: NDArray[np.float32], numbers: int) -> NDArray[np.float32]:
    """(n, numbers): the coarsest waves of frontal pictures (n, s, s, c); where a face was turned is not in them."""
    from train.models.frontal import wave_table

    count, size, _, channels = pictures.shape
    side = size // POOL
    small = pictures.reshape(count, side, POOL, side, POOL, channels).mean(axis=(2, 4)).reshape(count, -1)
    return np.asarray(small @ wave_table(numbers, side, side, channels).T, np.float32)
