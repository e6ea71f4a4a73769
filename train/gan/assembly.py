"""Puts a run's networks, optimizers and training step together from its configuration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras

from train.gan.step import Networks
from train.models.gan import build_networks

if TYPE_CHECKING:
    from train.gan.config import GanConfig
    from train.gan.jax_step import JaxStep
    from train.gan.tensorflow_step import TensorFlowStep


def assemble(config: GanConfig) -> Networks:
    """New networks with the seed's weights, an average that equals the generator, and optimizers ready to be restored.

    Each network has its own learning rate (two time-scale update rule: Heusel et al. 2017, arXiv:1706.08500).
    """
    generator, discriminator = build_networks(config)
    average = None
    if config.ema:
        average = build_networks(config)[0]
        average.set_weights(generator.get_weights())
    g_rate, d_rate = config.learning_rates
    g_optimizer = _adam(config, g_rate, config.decay_steps)
    d_optimizer = _adam(config, d_rate, config.decay_steps * config.d_steps)
    # Unbuilt optimizers have no slots yet, and a checkpoint would lose them without a word.
    g_optimizer.build(generator.trainable_variables)
    d_optimizer.build(discriminator.trainable_variables)
    return Networks(generator, discriminator, average, g_optimizer, d_optimizer)


def _adam(config: GanConfig, rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Its learning rate falls along a line to 0 over `steps` of its own; 0: it stays."""
    falling = keras.optimizers.schedules.PolynomialDecay(rate, steps, 0.0) if steps else rate
    return keras.optimizers.Adam(falling, config.beta_1, config.beta_2)


def make_step(config: GanConfig, networks: Networks, *, eager: bool = False) -> TensorFlowStep | JaxStep:
    """The step of the backend that Keras runs on."""
    if keras.backend.backend() == "jax":
        from train.gan.jax_step import JaxStep

        return JaxStep(config, networks, eager=eager)
    from train.gan.tensorflow_step import TensorFlowStep

    return TensorFlowStep(config, networks, eager=eager)


def parameters(model: keras.Model) -> int:
    """How many numbers of the model are trained."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)
