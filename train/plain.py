"""A generator of Keras's own layers alone: its file is read where this package is not."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from train.models import layers as own
from train.models.normalisation import BatchNorm, LayerNorm

KINDS: dict[type, type[keras.layers.Layer]] = {
    BatchNorm: layers.BatchNormalization,
    own.SpectralDense: layers.Dense,
    own.SpectralConv2D: layers.Conv2D,
    own.SpectralConv2DTranspose: layers.Conv2DTranspose,
}
"""Layers of our own that differ from Keras's in training alone."""


def plain_copy(model: keras.Model) -> keras.Model:
    """A functional model that computes what `model` does when not training, in float32."""
    copy = keras.models.clone_model(model, clone_function=_plain, call_function=_called)
    for ours in model.layers:
        theirs = copy.get_layer(ours.name)
        if theirs.weights:
            theirs.set_weights(_values(ours))
    return copy


def _plain(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, own.Leaky):
        return layers.LeakyReLU(negative_slope=0.2, name=layer.name)
    if isinstance(layer, LayerNorm):  # each picture as one group
        return layers.GroupNormalization(1, epsilon=layer.epsilon, name=layer.name)
    if isinstance(layer, own.AttentionMix):
        return _attention(layer)
    if isinstance(layer, own.ScaledSum):
        return _scaled_sum(layer)
    config = layer.get_config() | {"dtype": "float32"}
    config |= {name: "zeros" for name in config if name.endswith(("kernel_initializer", "embeddings_initializer"))}
    return KINDS.get(type(layer), type(layer)).from_config(config)


def _values(layer: keras.layers.Layer) -> list[Any]:
    """A layer's weights; a spectrally normalised kernel as it is used."""
    if not isinstance(layer, own.Spectral):
        return layer.get_weights()
    kernel = ops.convert_to_numpy(ops.cast(layer.normalised_kernel(), "float32"))
    return [kernel, *([ops.convert_to_numpy(layer.bias)] if layer.use_bias else [])]


def _called(layer: keras.layers.Layer, *inputs: Any, **options: Any) -> Any:
    """Models take several inputs as a list, the layers that they stand for one by one."""
    return layer(list(inputs), **options) if isinstance(layer, keras.Model) else layer(*inputs, **options)


def _attention(layer: own.AttentionMix) -> keras.Model:
    given = [keras.Input(tensor.shape[1:]) for tensor in layer.input]
    queries, keys, values = (layers.Reshape((-1, tensor.shape[-1]))(tensor) for tensor in given)
    taken = layers.Attention()([queries, values, keys])
    return keras.Model(given, layers.Reshape(layer.output.shape[1:])(taken), name=layer.name)


def _scaled_sum(layer: own.ScaledSum) -> keras.Model:
    given = [keras.Input(tensor.shape[1:]) for tensor in layer.input]
    scaled = layers.Rescaling(float(ops.convert_to_numpy(layer.gamma)))(given[1])
    return keras.Model(given, layers.Add()([given[0], scaled]), name=layer.name)
