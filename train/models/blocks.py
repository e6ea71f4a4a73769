"""Makes the layers that the GANs' networks are put together from, plain or spectrally normalised, seeded one by one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
from keras import layers, ops

from train.models import layers as own
from train.models.normalisation import BatchNorm, LayerNorm

EMBEDDING = 64
"""Numbers that tell the generator a class."""


class Blocks:
    """One network's layers.

    Args:
        spectral: Whether kernels are spectrally normalised.
        stddev: Of the first weights; 0: Glorot's.
        seed: Every kernel takes the next seed derived from it, so the weights depend on the order of making alone.
    """

    def __init__(self, *, spectral: bool, stddev: float, seed: tuple[int, ...]) -> None:
        self.spectral = spectral
        self._stddev = stddev
        self._seed = seed
        self._count = itertools.count()

    def initializer(self, stddev: float | None = None) -> own.SeededNormal:
        """The next kernel's."""
        return own.SeededNormal(self._stddev if stddev is None else stddev, (*self._seed, next(self._count)))

    def dense(self, units: int) -> Any:
        """With bias."""
        made = own.SpectralDense if self.spectral else layers.Dense
        return made(units, kernel_initializer=self.initializer())

    def conv(self, filters: int, kernel: int, stride: int = 1, *, bias: bool = False, initializer: Any = None) -> Any:
        """Same padding."""
        made = own.SpectralConv2D if self.spectral else layers.Conv2D
        initializer = initializer or self.initializer()
        return made(filters, kernel, stride, padding="same", use_bias=bias, kernel_initializer=initializer)

    def conv_transpose(self, filters: int, kernel: int, stride: int) -> Any:
        """Same padding, no bias."""
        made = own.SpectralConv2DTranspose if self.spectral else layers.Conv2DTranspose
        initializer = self.initializer()
        return made(filters, kernel, stride, padding="same", use_bias=False, kernel_initializer=initializer)

    def attend(self, x: Any) -> Any:
        """Self-attention (Zhang et al. 2019): k = c / 8, values c / 2, keys and values max-pooled as in their code."""
        channels = x.shape[-1]
        narrow, middle = max(1, channels // 8), max(1, channels // 2)
        queries, keys = self.conv(narrow, 1)(x), layers.MaxPooling2D(2)(self.conv(narrow, 1)(x))
        values = layers.MaxPooling2D(2)(self.conv(middle, 1)(x))
        taken = self.conv(channels, 1)(own.AttentionMix()(queries, keys, values))
        return own.ScaledSum()(x, taken)

    def embed(self, labels: Any, classes: int, size: int) -> Any:
        """(batch,) int32 -> (batch, size)."""
        return layers.Embedding(classes, size, embeddings_initializer=self.initializer(1 / math.sqrt(size)))(labels)


def norm(kind: str) -> Any:
    """`batch`, `layer` (each picture by itself) or `none`."""
    if kind == "batch":
        # 0.99, Keras's default, takes hundreds of steps to forget the first statistics; small sets have 70 an epoch.
        return BatchNorm(momentum=0.9)
    return LayerNorm() if kind == "layer" else lambda x: x


def leaky(x: Any) -> Any:
    """LeakyReLU with slope 0.2."""
    return own.Leaky()(x)


@keras.saving.register_keras_serializable(own.PACKAGE)
class Projection(layers.Layer):
    """A score's part that depends on the class: the inner product of features and embedding, (batch, 1).

    Miyato and Koyama 2018, arXiv:1802.05637.
    """

    def call(self, features: Any, embedded: Any) -> Any:
        return ops.sum(features * embedded, axis=-1, keepdims=True)


def latent_inputs(blocks: Blocks, z_size: int, classes: int) -> tuple[list[Any], Any]:
    """The generator's inputs, and z with the class's embedding beside it (Mirza and Osindero 2014, arXiv:1411.1784)."""
    z = keras.Input((z_size,), name="z")
    if not classes:
        return [z], z
    labels = keras.Input((), dtype="int32", name="label")
    return [z, labels], layers.Concatenate()([z, blocks.embed(labels, classes, EMBEDDING)])


def scored(blocks: Blocks, inputs: Any, features: Any, score: Any, classes: int, name: str) -> keras.Model:
    """The discriminator: (images[, labels]) -> (score (batch, 1), features (batch, anything)).

    The score is linear: no sigmoid. With classes, the projection is added to it. Both outputs are float32.
    """
    all_inputs = [inputs]
    if classes:
        labels = keras.Input((), dtype="int32", name="label")
        all_inputs.append(labels)
        pooled = layers.GlobalAveragePooling2D()(features)
        score = layers.Add()([score, Projection()(pooled, blocks.embed(labels, classes, pooled.shape[-1]))])
    wide = layers.Activation("linear", dtype="float32", name="score")(score)
    flat = layers.Flatten(dtype="float32", name="features")(features)
    return keras.Model(all_inputs, [wide, flat], name=name)
