"""The training step on TensorFlow: gradient tapes inside one tf.function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from facepipe.errors import UsageError
from train.gan.step import Batch, Measures, Networks, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from train.gan.config import GanConfig
    from train.gan.step import Tensor


class TapeGradients:
    """`step.Gradients` by gradient tapes."""

    def of_loss(
        self, loss: Callable[[], tuple[Tensor, Measures]], network: keras.Model, beside: tuple[keras.Model, ...]
    ) -> tuple[list[Tensor], Measures]:
        """See `step.Gradients`."""
        del beside  # a tape sees them by itself
        with tf.GradientTape() as tape:
            value, measures = loss()
        return tape.gradient(value, [v.value for v in network.trainable_variables]), measures

    def of_images(self, score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """See `step.Gradients`."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.reduce_sum(score(images))
        return tape.gradient(value, images)


class TensorFlowStep:
    """Call it with a batch of numpy arrays; the networks change in place.

    Args:
        config: The run's.
        networks: The run's.
        eager: No tf.function, for a look inside.
    """

    def __init__(self, config: GanConfig, networks: Networks, *, eager: bool = False) -> None:
        if config.devices > 1:
            raise UsageError(f"--devices is {config.devices}: a GAN on TensorFlow takes one; give --backend jax")
        step = Step(config, networks, TapeGradients())
        self._take = step.take if eager else tf.function(step.take, jit_compile=config.jit, autograph=False)

    def __call__(self, batch: Batch) -> Measures:
        """One step; float32 scalars by name, still on the device."""
        return self._take({name: tf.convert_to_tensor(value) for name, value in batch.items()})

    def settle(self) -> None:
        """Brings the networks' variables up to date: they always are."""
