"""What a GAN's run is told. Every remedy is a field, so that each works with every preset, alone and together."""

from __future__ import annotations

from dataclasses import dataclass

from facepipe.errors import UsageError
from train.config import TrainConfig, option

SPECTRAL_NORMS = ("none", "discriminator", "both")
BASE = 4
"""px: both networks' smallest feature map."""
LOSSES = ("bce", "hinge", "least-squares", "wasserstein-gp")
SMOOTHINGS = ("one-sided", "two-sided")
LATENTS = ("uniform", "normal")
NORMS = ("auto", "batch", "layer", "none")
LABELS = ("auto", "use", "ignore")
POLICIES = ("color", "translation", "cutout")


@dataclass(frozen=True, kw_only=True)
class GanConfig(TrainConfig):
    """A generator of faces and the discriminator that teaches it. Sizes in px."""

    epochs: int = option(100, "At most so many; the preset's own unless given.", how=True, least=1)
    learning_rate: float = option(2e-4, "Both networks', unless one has its own.")
    loss: str = option("bce", f"Of the networks: {', '.join(LOSSES)}.", among=LOSSES)
    image_size: int = 64
    """px, a power of two from 8."""
    channels: int = 3
    z_size: int = option(100, least=1)
    latent: str = option("uniform", among=LATENTS)
    """`uniform` in [-1, 1], or `normal` N(0, 1)."""
    g_conv_dim: int = option(64, least=1)
    d_conv_dim: int = option(64, least=1)
    project_norm: bool = True
    """Batch normalisation after the generator's Dense."""
    norm: str = option("auto", among=NORMS)
    """The discriminator's: `auto` is layer under wasserstein-gp, none with spectral normalisation or R1, else batch."""
    g_norm: str = option("batch", among=NORMS[1:])
    """The generator's. Without it all samples tend to fall on one point, which is why Radford et al. 2016 have it."""
    residual: bool = False
    attention: tuple[int, ...] = ()
    """Resolutions (px) with self-attention, in both networks."""
    spectral_norm: str = option("none", among=SPECTRAL_NORMS)
    minibatch_stddev: bool = False
    g_learning_rate: float = option(0.0, least=0)
    """0: `learning_rate`."""
    d_learning_rate: float = option(0.0, least=0)
    beta_1: float = option(0.5, least=0, below=1)
    beta_2: float = option(0.999, least=0, below=1)
    d_steps: int = option(1, least=1)
    """Discriminator steps a generator step."""
    label_smoothing: float = option(0.0, least=0, below=0.5)
    """How far targets lie from 1 (and, two-sided, from 0)."""
    smoothing: str = option("one-sided", among=SMOOTHINGS)
    flip_labels: float = option(0.0, least=0, below=0.5)
    """The probability that a picture is shown to the discriminator under the wrong label."""
    feature_matching: float = option(0.0, least=0)
    """The weight of this term in the generator's loss; 0: off."""
    gp_weight: float = option(10.0, least=0)
    """Of wasserstein-gp's penalty."""
    r1: float = option(0.0, least=0)
    """The weight gamma of the R1 penalty; 0: off."""
    ema: float = option(0.999, least=0, below=1)
    """Decay of the averaged generator that draws the samples; 0: the generator as it is."""
    mirror: bool = False
    """Half of the real pictures mirrored, which doubles a set of faces (Zhao et al. 2020, arXiv:2006.02595)."""
    diff_augment: tuple[str, ...] = option((), among=POLICIES)
    """Of color, translation, cutout."""
    labels: str = option("auto", among=LABELS)
    """`auto`: class-conditional where every face of the shards has a label and there are 2 to 64 of them."""
    class_labels: tuple[int, ...] = ()
    """Found in the shards; empty: not conditional."""
    measured: int = option(256, how=True, least=1)
    """Samples that are compared with real faces after each epoch."""
    samples: int = option(64, how=True, least=1)
    """Pictures in each epoch's grid."""

    def __post_init__(self) -> None:
        """Checks every option, then the network's as a whole."""
        super().__post_init__()
        if self.steps_per_execution != 1:
            raise UsageError("--steps-per-execution is for autoencoders; a GAN's step is one call already")
        size = self.image_size
        if size < 2 * BASE or size & (size - 1):
            raise UsageError(f"--image-size is {size}; give a power of two from 8, such as 32, 64 or 128")
        if self.channels not in {1, 3}:
            raise UsageError(f"--channels is {self.channels}; it can be 1 (gray) or 3 (RGB)")
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
        return "none" if self.spectral_norm != "none" or self.r1 else "batch"
