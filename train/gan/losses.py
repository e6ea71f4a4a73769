"""The adversarial losses, written once on keras.ops for every backend.

A loss is two terms of a linear score s: what a picture costs the discriminator when it ought to be called real, and
when it ought to be called fake. With a target t in [0, 1] for how real a picture counts, the discriminator pays
`t * real(s) + (1 - t) * fake(s)`: so label smoothing and flipped labels mean the same for every loss.

bce             the original game, non-saturating for the generator (Goodfellow et al. 2014, arXiv:1406.2661)
least-squares   arXiv:1611.04076, Mao et al. 2017
hinge           arXiv:1705.02894, Lim and Ye 2017; Miyato et al. 2018
wasserstein-gp  arXiv:1704.00028, Gulrajani et al. 2017, together with `penalties.gradient_penalty`
relativistic    bce of the difference of a real and a fake picture's scores, in place of each score (Jolicoeur-Martineau
                2019, arXiv:1807.00734; in pairs: Huang et al. 2024, arXiv:2501.05441)
"""

from __future__ import annotations

from typing import Any

from keras import ops

REAL_TERMS = {
    "bce": lambda score: ops.softplus(-score),
    "least-squares": lambda score: ops.square(score - 1.0),
    "hinge": lambda score: ops.relu(1.0 - score),
    "wasserstein-gp": lambda score: -score,
    "relativistic": lambda score: ops.softplus(-score),
}
FAKE_TERMS = {
    "bce": ops.softplus,
    "least-squares": ops.square,
    "hinge": lambda score: ops.relu(1.0 + score),
    "wasserstein-gp": lambda score: score,
    "relativistic": ops.softplus,
}
GENERATOR_TERMS = REAL_TERMS | {"hinge": lambda score: -score}
THRESHOLDS = {"bce": 0.0, "least-squares": 0.5, "hinge": 0.0}
"""The score above which a picture is called real; those of the other losses have no such place."""


def targets(smooth: float, flipped: Any, *, real: bool, two_sided: bool) -> Any:
    """How real each picture of a batch counts.

    One-sided smoothing (Salimans et al. 2016, arXiv:1606.03498) takes `smooth` off the real pictures' 1; two-sided
    (Szegedy et al. 2016, arXiv:1512.00567) also adds it to the fakes' 0. A flipped label (Chintala et al. 2016,
    "How to train a GAN") swaps the two.

    Args:
        smooth: In 0..0.5.
        flipped: (batch,) float32, 1 where the label is flipped.
        real: Whether the pictures are real.
        two_sided: See above.

    Returns:
        (batch,) float32 in 0..1.
    """
    high, low = 1.0 - smooth, smooth if two_sided else 0.0
    right, wrong = (high, low) if real else (low, high)
    return right + (wrong - right) * flipped


def discriminator_loss(loss: str, score: Any, target: Any) -> Any:
    """The mean over (batch,) scores of what they cost under (batch,) targets."""
    return ops.mean(target * REAL_TERMS[loss](score) + (1.0 - target) * FAKE_TERMS[loss](score))


def generator_loss(loss: str, score: Any) -> Any:
    """The mean over the fakes' (batch,) scores."""
    return ops.mean(GENERATOR_TERMS[loss](score))


def feature_matching(real: Any, fake: Any) -> Any:
    """The squared distance of the batches' mean features (Salimans et al. 2016), a mean over the features.

    Args:
        real: (batch, features), no gradient goes there.
        fake: (batch, features).
    """
    return ops.mean(ops.square(ops.stop_gradient(ops.mean(real, axis=0)) - ops.mean(fake, axis=0)))
