"""What a GAN's two networks are built from. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from facepipe.errors import UsageError

SPECTRAL_NORMS = ("none", "discriminator", "both")
NORMS = ("batch", "layer", "none")
BASE = 4
"""px: both networks' smallest feature map."""


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
