"""Normalisation for discriminators, right in its second derivatives too.

TensorFlow's `tf.nn.moments`, on which Keras builds its normalisation layers there, holds the mean constant inside the
variance. The first gradient does not notice; a gradient penalty's does, and is then wrong by a share of about
1 / (number of values averaged). So the statistics are written out here.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from train.models.layers import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNorm(keras.layers.BatchNormalization):
    """Keras's BatchNormalization over the last axis; batch statistics in float32."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return super().call(inputs, training=training, mask=mask)
        wide = ops.cast(inputs, "float32")
        axes = tuple(range(len(inputs.shape) - 1))
        mean = ops.mean(wide, axis=axes)
        centred = wide - mean
        variance = ops.mean(ops.square(centred), axis=axes)
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean.value * keep + mean * (1.0 - keep))
        self.moving_variance.assign(self.moving_variance.value * keep + variance * (1.0 - keep))
        outputs = centred * (ops.rsqrt(variance + self.epsilon) * ops.cast(self.gamma, "float32"))
        return ops.cast(outputs + ops.cast(self.beta, "float32"), self.compute_dtype)


@keras.saving.register_keras_serializable(PACKAGE)
class LayerNorm(keras.layers.Layer):
    """Each picture's values normalised together, then a scale and an offset a channel (Ba et al. 2016, 1607.06450)."""

    def __init__(self, epsilon: float = 1e-3, **options: Any) -> None:
        super().__init__(**options)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(input_shape[-1],), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        wide = ops.cast(inputs, "float32")
        axes = tuple(range(1, len(inputs.shape)))
        centred = wide - ops.mean(wide, axis=axes, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=axes, keepdims=True)
        outputs = centred * ops.rsqrt(variance + self.epsilon) * ops.cast(self.gamma, "float32")
        return ops.cast(outputs + ops.cast(self.beta, "float32"), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}
