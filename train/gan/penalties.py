"""Penalties on the discriminator's gradient at pictures. `gradient` is (batch, height, width, channels) float32."""

from __future__ import annotations

from typing import Any

from keras import ops


def gradient_penalty(gradient: Any) -> Any:
    """How far the slope at points between real and fake is from 1 (Gulrajani et al. 2017, arXiv:1704.00028)."""
    # The small number keeps the root's own gradient finite where the slope is 0.
    slope = ops.sqrt(ops.sum(ops.square(gradient), axis=(1, 2, 3)) + 1e-12)
    return ops.mean(ops.square(slope - 1.0))


def between(real: Any, fake: Any, share: Any) -> Any:
    """Points on the lines from fakes to reals; `share` (batch,) in 0..1 is how near to the real one."""
    weight = ops.reshape(share, (-1, 1, 1, 1))
    return weight * real + (1.0 - weight) * fake


def r1_penalty(gradient: Any) -> Any:
    """Half the mean squared slope at real pictures (R1), or at generated ones (R2).

    Mescheder et al. 2018, arXiv:1801.04406.
    """
    return 0.5 * ops.mean(ops.sum(ops.square(gradient), axis=(1, 2, 3)))
