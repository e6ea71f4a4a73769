"""What a GAN's run is told. Every remedy is a field, so that each works with every preset, alone and together."""

from __future__ import annotations

from dataclasses import dataclass, field

from facepipe.errors import UsageError
from train.config import HOW, TrainConfig, at_least, choice

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
class NetworkOptions:
    """The shape of a generator and a discriminator of square images."""

    image_size: int = 64
    """px, a power of two from 8."""
    channels: int = 3
    z_size: int = 100
    g_conv_dim: int = 64
    """Channels of the generator's largest hidden feature map; doubled at each halving."""
    d_conv_dim: int = 64
    """Channels of the discriminator's first; doubled at each halving."""
    residual: bool = False
    project_norm: bool = True
    norm: str = "batch"
    """The discriminator's."""
    g_norm: str = "batch"
    attention: tuple[int, ...] = ()
    spectral_norm: str = "none"
    minibatch_stddev: bool = False
    classes: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the options together."""
        size = self.image_size
        if size < 2 * BASE or size & (size - 1):
            raise UsageError(f"--image-size is {size}; give a power of two from 8, such as 32, 64 or 128")
        if self.channels not in {1, 3}:
            raise UsageError(f"--channels is {self.channels}; it can be 1 (gray) or 3 (RGB)")
        if self.spectral_norm not in SPECTRAL_NORMS:
            raise UsageError(f"--spectral-norm is {self.spectral_norm!r}; it can be {', '.join(SPECTRAL_NORMS)}")
        known = [BASE << level for level in range(self.levels)]
        for resolution in self.attention:
            if resolution not in known:
                listed = ", ".join(map(str, known))
                raise UsageError(f"--attention is {resolution}; images of {size} px have feature maps of {listed} px")

    @property
    def levels(self) -> int:
        """How often an image halves until BASE px are left."""
        return (self.image_size // BASE).bit_length() - 1

    @property
    def g_spectral(self) -> bool:
        """Whether the generator is spectrally normalised."""
        return self.spectral_norm == "both"

    @property
    def d_spectral(self) -> bool:
        """Whether the discriminator is spectrally normalised."""
        return self.spectral_norm != "none"


@dataclass(frozen=True, kw_only=True)
class GanConfig(TrainConfig):
    """A generator of faces and the discriminator that teaches it. Sizes in px."""

    epochs: int = field(default=100, metadata=HOW)
    learning_rate: float = 2e-4
    """Both networks', unless one has its own."""
    loss: str = "bce"
    image_size: int = 64
    channels: int = 3
    z_size: int = 100
    latent: str = "uniform"
    """`uniform` in [-1, 1], or `normal` N(0, 1)."""
    g_conv_dim: int = 64
    d_conv_dim: int = 64
    project_norm: bool = True
    """Batch normalisation after the generator's Dense."""
    norm: str = "auto"
    """The discriminator's: `auto` is layer under wasserstein-gp, none with spectral normalisation or R1, else batch."""
    g_norm: str = "batch"
    """The generator's. Without it all samples tend to fall on one point, which is why Radford et al. 2016 have it."""
    residual: bool = False
    attention: tuple[int, ...] = ()
    """Resolutions (px) with self-attention, in both networks."""
    spectral_norm: str = "none"
    minibatch_stddev: bool = False
    g_learning_rate: float = 0.0
    """0: `learning_rate`."""
    d_learning_rate: float = 0.0
    beta_1: float = 0.5
    beta_2: float = 0.999
    d_steps: int = 1
    """Discriminator steps a generator step."""
    label_smoothing: float = 0.0
    """How far targets lie from 1 (and, two-sided, from 0)."""
    smoothing: str = "one-sided"
    flip_labels: float = 0.0
    """The probability that a picture is shown to the discriminator under the wrong label."""
    feature_matching: float = 0.0
    """The weight of this term in the generator's loss; 0: off."""
    gp_weight: float = 10.0
    """Of wasserstein-gp's penalty."""
    r1: float = 0.0
    """The weight gamma of the R1 penalty; 0: off."""
    ema: float = 0.999
    """Decay of the averaged generator that draws the samples; 0: the generator as it is."""
    mirror: bool = False
    """Half of the real pictures mirrored, which doubles a set of faces (Zhao et al. 2020, arXiv:2006.02595)."""
    diff_augment: tuple[str, ...] = ()
    """Of color, translation, cutout."""
    labels: str = "auto"
    """`auto`: class-conditional where every face of the shards has a label and there are 2 to 64 of them."""
    class_labels: tuple[int, ...] = ()
    """Found in the shards; empty: not conditional."""
    measured: int = field(default=256, metadata=HOW)
    """Samples that are compared with real faces after each epoch."""
    samples: int = field(default=64, metadata=HOW)
    """Pictures in each epoch's grid."""

    def __post_init__(self) -> None:
        """Checks every option, then the network's as a whole."""
        super().__post_init__()
        choice("--loss", self.loss, LOSSES)
        choice("--smoothing", self.smoothing, SMOOTHINGS)
        choice("--latent", self.latent, LATENTS)
        choice("--norm", self.norm, NORMS)
        choice("--g-norm", self.g_norm, NORMS[1:])
        choice("--labels", self.labels, LABELS)
        for policy in self.diff_augment:
            choice("--diff-augment", policy, POLICIES)
        for option in ("z_size", "g_conv_dim", "d_conv_dim", "d_steps", "samples", "measured"):
            at_least(f"--{option.replace('_', '-')}", getattr(self, option), 1)
        for option in ("g_learning_rate", "d_learning_rate", "feature_matching", "gp_weight", "r1"):
            at_least(f"--{option.replace('_', '-')}", getattr(self, option), 0)
        for option, limit in (("label_smoothing", 0.5), ("flip_labels", 0.5), ("ema", 1), ("beta_1", 1), ("beta_2", 1)):
            if not 0 <= getattr(self, option) < limit:
                given = f"--{option.replace('_', '-')} is {getattr(self, option):g}"
                raise UsageError(f"{given}; give 0 to below {limit:g}")
        if self.steps_per_execution != 1:
            raise UsageError("--steps-per-execution is for autoencoders; a GAN's step is one call already")
        self.networks()

    @property
    def learning_rates(self) -> tuple[float, float]:
        """The generator's and the discriminator's."""
        return self.g_learning_rate or self.learning_rate, self.d_learning_rate or self.learning_rate

    @property
    def classes(self) -> int:
        """0: not conditional."""
        return len(self.class_labels)

    def networks(self) -> NetworkOptions:
        """What the two networks are built from."""
        return NetworkOptions(
            image_size=self.image_size,
            channels=self.channels,
            z_size=self.z_size,
            g_conv_dim=self.g_conv_dim,
            d_conv_dim=self.d_conv_dim,
            residual=self.residual,
            project_norm=self.project_norm,
            norm=self._resolved_norm(),
            g_norm=self.g_norm,
            attention=self.attention,
            spectral_norm=self.spectral_norm,
            minibatch_stddev=self.minibatch_stddev,
            classes=self.classes,
            seed=self.seed,
        )

    def _resolved_norm(self) -> str:
        """What the papers used: Gulrajani et al. 2017 layer norm, Miyato et al. 2018 and Mescheder et al. 2018 none."""
        if self.norm != "auto":
            return self.norm
        if self.loss == "wasserstein-gp":
            return "layer"
        return "none" if self.spectral_norm != "none" or self.r1 else "batch"
