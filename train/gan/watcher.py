"""Watches a GAN's training for what usually goes wrong, and names it with the option that most often helps.

Saturation   the discriminator calls nearly every picture right: the generator's gradient dies or turns useless
             (Arjovsky and Bottou 2017, arXiv:1701.04862).
Collapse     samples are far more alike than real faces, by pairwise distance or MS-SSIM (Odena et al. 2017).
Divergence   losses grow without end, or are no numbers any more.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from train.metrics.images import mean_ms_ssim, pairwise_distance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from train.gan.config import GanConfig

WINDOW = 100
"""Steps over which the discriminator is judged."""
SATURATED = 0.97
"""The share of right calls, on real and fake pictures both, from which it is saturated."""
ALIKE = 0.5
"""Samples whose mean distance is below this share of the real pictures' have collapsed."""
SAME = 0.5
"""So have samples whose MS-SSIM lies more than this share of the way from the real pictures' to 1."""
GROWN = 20.0
"""A loss this many times what it was in the run's first window (and at least 20) diverges."""
USUAL_RATE = 2e-4
"""Adam's, since Radford et al. 2016."""
SETTLED = 300
"""Steps before which samples are not judged: a new generator's are all alike."""
QUIET = 10
"""Windows, or epochs, before the same trouble is named again."""


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong; `text` is the line for the log."""

    name: str
    """saturation, collapse, divergence or not-finite."""
    step: int
    text: str


@dataclass
class Watcher:
    """Give it each step's measures and, once an epoch, samples; it returns what to log.

    Args:
        config: The run's, so that it advises only what is not yet on.
        real: (n, h, w, c) uint8, real faces, for the variety that samples ought to have.
    """

    config: GanConfig
    real: NDArray[np.uint8]
    _steps: deque[Mapping[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _usual: float = 0.0
    _named: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Measures the real faces' variety once."""
        self.real_distance = pairwise_distance(self.real)
        self.real_similarity = mean_ms_ssim(self.real)

    def see_step(self, step: int, measures: Mapping[str, float]) -> list[Trouble]:
        """The measures of one step, floats by name; judged at the end of every window."""
        losses = {name: measures[name] for name in ("d_loss", "g_loss")}
        broken = [name for name, value in losses.items() if not math.isfinite(value)]
        if broken:
            text = f"{broken[0]} is no finite number at step {step}; {self._calmer()}"
            return [Trouble("not-finite", step, text)]
        self._steps.append(measures)
        if len(self._steps) < WINDOW or (step + 1) % WINDOW:
            return []
        return self._unless_quiet([self._saturation(step), self._divergence(step)], step // WINDOW)

    def see_samples(self, step: int, epoch: int, samples: NDArray[np.uint8]) -> tuple[list[Trouble], dict[str, float]]:
        """The samples of an epoch, (n, h, w, c) uint8; also returns their variety beside the real faces'."""
        distance, similarity = pairwise_distance(samples), mean_ms_ssim(samples)
        variety = {
            "pairwise_distance": distance,
            "pairwise_distance_real": self.real_distance,
            "ms_ssim": similarity,
            "ms_ssim_real": self.real_similarity,
        }
        limit = self.real_similarity + SAME * (1 - self.real_similarity)
        varied = distance >= ALIKE * self.real_distance and similarity <= limit
        if varied or step < SETTLED:
            return [], variety
        text = (
            f"mode collapse at step {step}: samples differ by {distance:.3f} where real faces do by "
            f"{self.real_distance:.3f} (MS-SSIM {similarity:.2f} against {self.real_similarity:.2f}); "
            + self._first_unused(
                (self.config.g_norm == "none", "try --g-norm batch"),
                (not self.config.minibatch_stddev, "try --minibatch-stddev"),
                (self.config.spectral_norm == "none", "try --spectral-norm discriminator"),
                (not self.config.diff_augment, "try --diff-augment color,translation,cutout"),
                (True, "try a lower --learning-rate or --loss wasserstein-gp --d-steps 5"),
            )
        )
        return self._unless_quiet([Trouble("collapse", step, text)], epoch), variety

    def _saturation(self, step: int) -> Trouble | None:
        right = {name: float(np.mean([s[name] for s in self._steps])) for name in ("right_real", "right_fake")}
        # Wasserstein's critic may be as right as it can be: its slope, held by the penalty, goes on teaching.
        if self.config.loss == "wasserstein-gp" or min(right.values()) < SATURATED:
            return None
        text = (
            f"discriminator saturation at step {step}: it calls {100 * right['right_real']:.0f} % of the real and "
            f"{100 * right['right_fake']:.0f} % of the generated pictures right over {WINDOW} steps; "
            + self._first_unused(
                (not self.config.diff_augment, "try --diff-augment color,translation,cutout"),
                (not self.config.r1, "try --r1 1"),
                (not self.config.label_smoothing, "try --label-smoothing 0.1"),
                (True, "try a lower --d-learning-rate"),
            )
        )
        return Trouble("saturation", step, text)

    def _divergence(self, step: int) -> Trouble | None:
        size = {name: float(np.mean([abs(s[name]) for s in self._steps])) for name in ("d_loss", "g_loss")}
        worst = max(size, key=lambda name: size[name])
        if not self._usual:
            self._usual = size[worst]
        elif size[worst] > max(GROWN, GROWN * self._usual):
            text = f"diverging at step {step}: {worst} averages {size[worst]:.3g} over {WINDOW} steps; {self._calmer()}"
            return Trouble("divergence", step, text)
        return None

    def _calmer(self) -> str:
        return self._first_unused(
            (max(self.config.learning_rates) > 5e-4, f"try {self._slower()}"),
            (self.config.spectral_norm == "none", "try --spectral-norm discriminator"),
            (not self.config.r1, "try --r1 1"),
            (True, f"try {self._slower()}"),
        )

    def _slower(self) -> str:
        """The options that the rates come from, each with half of its value, and no more than is usual for GANs."""
        config = self.config
        own = (("--g-learning-rate", config.g_learning_rate), ("--d-learning-rate", config.d_learning_rate))
        rates = [(option, rate) for option, rate in own if rate]
        if len(rates) < len(own):
            rates = [("--learning-rate", config.learning_rate), *rates]
        return " ".join(f"{option} {min(rate / 2, USUAL_RATE):g}" for option, rate in rates)

    @staticmethod
    def _first_unused(*choices: tuple[bool, str]) -> str:
        return next(advice for unused, advice in choices if unused)

    def _unless_quiet(self, troubles: list[Trouble | None], now: int) -> list[Trouble]:
        """Drops what was named less than QUIET windows or epochs ago."""
        loud = [t for t in troubles if t and now - self._named.get(t.name, -QUIET) >= QUIET]
        self._named |= {t.name: now for t in loud}
        return loud
