"""The random numbers of each step, drawn by numpy from (seed, step).

So a step is a function of its inputs: both backends see the same numbers, and a run that is resumed at a step goes on
exactly as one that never stopped. Nothing inside the networks draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from train.gan.config import GanConfig

AUGMENTS = 7
"""Numbers a picture: brightness, saturation, contrast, shift down and right, the hole's row and column."""
FLAT = 1e-3
"""Between minus this and this the normal density is even to 1e-6, and drawing again until all fall there takes long."""

Numbers = dict[str, "NDArray[np.float32] | NDArray[np.int32]"]


def generator_for(seed: int, *path: int) -> np.random.Generator:
    """A stream of its own for each (seed, path); a `UsageError` for a seed below 0."""
    if seed < 0:
        raise UsageError(f"--seed is {seed}; give 0 or more")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *path])))


def draw_latents(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...], truncation: float = 0.0
) -> NDArray[np.float32]:
    """Latent vectors z.

    Args:
        rng: Where the numbers come from.
        kind: `uniform` in [-1, 1], or `normal` N(0, 1).
        shape: Of the result.
        truncation: 0: none. Normal numbers beyond it are drawn again (Brock et al. 2019, arXiv:1809.11096); uniform
            ones are drawn from [-truncation, truncation]. Nearer to 0: better faces, less variety.

    Returns:
        float32 of `shape`.

    Raises:
        UsageError: `truncation` is below 0 or not finite.
    """
    if not 0 <= truncation < float("inf"):
        raise UsageError(f"--truncation is {truncation:g}; give a number above 0, such as 0.7, or 0 for none")
    if 0 < truncation < FLAT:
        kind = "uniform"
    if kind == "uniform":
        return ((rng.random(shape, np.float32) * 2 - 1) * np.float32(truncation or 1)).astype(np.float32)
    z = rng.standard_normal(shape, np.float32)
    while truncation and (far := np.abs(z) > truncation).any():
        z[far] = rng.standard_normal(int(far.sum()), np.float32)
    return z


def draw_step(config: GanConfig, step: int, frequencies: NDArray[np.float64] | None) -> Numbers:
    """Everything random in one step; k is `config.d_steps`, b the batch size.

    z_d (k, b, z), z_g (b, z); flip_real, flip_fake (k, b) float32 of 0 and 1, share (k, b) in 0..1;
    augment_real, augment_fake (k, b, AUGMENTS), augment_g (b, AUGMENTS); with classes label_d (k, b), label_g (b) int32
    drawn by `frequencies`; decay () is the average generator's for this step. What the options don't use is left out.
    """
    rng = generator_for(config.seed, 1, step)
    k, b = config.d_steps, config.batch_size
    numbers: Numbers = {
        "z_d": draw_latents(rng, config.latent, (k, b, config.z_size)),
        "z_g": draw_latents(rng, config.latent, (b, config.z_size)),
    }
    if frequencies is not None:
        labels = rng.choice(len(frequencies), size=(k + 1, b), p=frequencies).astype(np.int32)
        numbers |= {"label_d": labels[:k], "label_g": labels[k]}
    if config.flip_labels:
        flips = (rng.random((2, k, b), np.float32) < config.flip_labels).astype(np.float32)
        numbers |= {"flip_real": flips[0], "flip_fake": flips[1]}
    if config.loss == "wasserstein-gp":
        numbers["share"] = rng.random((k, b), np.float32)
    if config.diff_augment:
        augment = rng.random((2 * k + 1, b, AUGMENTS), np.float32)
        numbers |= {"augment_real": augment[:k], "augment_fake": augment[k : 2 * k], "augment_g": augment[2 * k]}
    if config.ema:
        # The average starts at the present weights: without this, samples stay noise for the first thousand steps.
        numbers["decay"] = np.float32(min(config.ema, (1 + step) / (10 + step)))
    return numbers
