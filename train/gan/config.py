"""What a GAN's run is told. Every remedy is a field, so that each works with every preset, alone and together.

Pictures are mirrored after Zhao et al. 2020 (arXiv:2006.02595).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facepipe.errors import UsageError
from facepipe.options import option
from train.config import COUNT, RATE, TrainConfig, network, training

BASE = 4
"""px: both networks' smallest feature map."""
LOSSES = ("bce", "hinge", "least-squares", "wasserstein-gp", "relativistic")
ARCHITECTURES = ("dcgan", "sngan", "r3gan")
NORMS = ("auto", "batch", "layer", "none")
POLICIES = ("color", "translation", "cutout")
WEIGHT = {"low": 0, "metavar": "WEIGHT"}


def _policies(value: Any) -> tuple[str, ...]:
    """`color,translation`, or a list of such."""
    texts = value if isinstance(value, list | tuple) else [value]
    return tuple(name for text in texts for name in str(text).split(",") if name not in {"", "none"})


# fmt: off
@dataclass(frozen=True, kw_only=True)
class GanConfig(TrainConfig):
    """A generator of faces and the discriminator that teaches it."""

    epochs: int = option(100, "At most so many passes over the training subset.", "Machine", decides="", names=("--epochs", "-e"), everyday=True, **COUNT)
    learning_rate: float = training(2e-4, "Both networks', unless one has its own.", everyday=True, **RATE)
    loss: str = training("bce", "Of the networks.", choices=LOSSES, everyday=True)
    image_size: int = network(64, "Side of the pictures, a power of two from 8.", metavar="PX")
    z_size: int = network(100, "Numbers of the latent vector.", **COUNT)
    latent: str = network("uniform", "Distribution of the latent vectors: uniform in -1..1, or N(0, 1).", choices=("uniform", "normal"))
    g_conv_dim: int = network(64, "Filters of the generator's outermost block.", **COUNT)
    d_conv_dim: int = network(64, "Filters of the discriminator's outermost block.", **COUNT)
    architecture: str = network("dcgan", "After the papers of that name; r3gan has no normalisation, whatever the options for it say.", choices=ARCHITECTURES)
    residual: bool = network(False, "Residual blocks in the shape of dcgan.", negative="--no-residual")
    attention: tuple[int, ...] = network((), "Feature maps with self-attention, in both networks: 16,32.", metavar="PX,...")
    norm: str = network("auto", "The discriminator's; auto: layer under wasserstein-gp, none with spectral normalisation, R1 or R2, else batch.", choices=NORMS)
    g_norm: str = network("batch", "The generator's; without it all samples tend to fall on one point.", choices=NORMS[1:])
    project_norm: bool = network(True, "Batch normalisation after the generator's Dense.", negative="--no-project-norm")
    spectral_norm: str = network("none", "Where kernels are spectrally normalised.", choices=("none", "discriminator", "both"))
    minibatch_stddev: bool = network(False, "Show the discriminator how much the pictures of a batch differ.", negative="--no-minibatch-stddev")
    labels: str = network("auto", "auto: class-conditional where every face has a label and there are 2 to 64 of them.", choices=("auto", "use", "ignore"))
    class_labels: tuple[int, ...] = network((), "Found in the shards; empty: not conditional.")
    g_learning_rate: float = training(0.0, "The generator's.", low=0, shown="--learning-rate", metavar="RATE")
    d_learning_rate: float = training(0.0, "The discriminator's.", low=0, shown="--learning-rate", metavar="RATE")
    beta_1: float = training(0.5, "Of Adam.", low=0, high=0.999999)
    beta_2: float = training(0.999, "Of Adam.", low=0, high=0.999999)
    decay_steps: int = training(0, "Steps over which both learning rates fall to nothing; 0: they stay.", low=0, metavar="N")
    d_steps: int = training(1, "Discriminator steps a generator step.", **COUNT)
    label_smoothing: float = training(0.0, "How far targets lie from 1 (and, two-sided, from 0).", low=0, high=0.49)
    smoothing: str = training("one-sided", "Whose targets are smoothed: the real pictures', or all.", choices=("one-sided", "two-sided"))
    flip_labels: float = training(0.0, "Probability that a picture is shown to the discriminator under the wrong label.", low=0, high=0.49)
    feature_matching: float = training(0.0, "Weight of this term in the generator's loss.", **WEIGHT)
    gp_weight: float = training(10.0, "Of wasserstein-gp's penalty.", **WEIGHT)
    r1: float = training(0.0, "Weight gamma of the R1 penalty on the discriminator's slope at real pictures.", **WEIGHT)
    r2: float = training(0.0, "The same at generated pictures.", **WEIGHT)
    ema: float = training(0.999, "Decay of the averaged generator that draws the samples; 0: the generator as it is.", low=0, high=0.999999)
    mirror: bool = training(False, "Half of the real pictures mirrored, which doubles a set of faces.", negative="--no-mirror")
    diff_augment: tuple[str, ...] = training((), "DiffAugment, of color, translation, cutout; none.", choices=POLICIES, parse=_policies, metavar="KIND,...")
    measured: int = option(256, "Samples that are compared with real faces after each epoch.", "Samples", decides="", **COUNT)
    samples: int = option(64, "Pictures in each epoch's grid.", "Samples", decides="", **COUNT)
    # fmt: on

    def __post_init__(self) -> None:
        """Checks every option, then the network's as a whole."""
        super().__post_init__()
        if self.steps_per_execution != 1:
            raise UsageError("--steps-per-execution is for autoencoders; a GAN's step is one call already")
        size = self.image_size
        if size < 2 * BASE or size & (size - 1):
            raise UsageError(f"--image-size is {size}; give a power of two from 8, such as 32, 64 or 128")
        known = [BASE << level for level in range(self.levels)]
        for resolution in self.attention:
            if resolution not in known:
                listed = ", ".join(map(str, known))
                raise UsageError(f"--attention is {resolution}; images of {size} px have feature maps of {listed} px")

    @property
    def learning_rates(self) -> tuple[float, float]:
        """The generator's and the discriminator's."""
        return self.g_learning_rate or self.learning_rate, self.d_learning_rate or self.learning_rate

    @property
    def classes(self) -> int:
        """0: not conditional."""
        return len(self.class_labels)

    @property
    def levels(self) -> int:
        """How often an image halves until BASE px are left."""
        return (self.image_size // BASE).bit_length() - 1

    @property
    def d_norm(self) -> str:
        """The discriminator's normalisation: batch, layer or none.

        `auto` is what the papers used: Gulrajani et al. 2017 layer norm, Miyato et al. 2018 and Mescheder et al. 2018
        none.
        """
        if self.norm != "auto":
            return self.norm
        if self.loss == "wasserstein-gp":
            return "layer"
        return "none" if self.spectral_norm != "none" or self.r1 or self.r2 else "batch"
