"""What a person looks at: grids of samples, their animation over the epochs, the plot of losses and scores."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

GAP = 2
"""px between pictures."""
FRAMES = 60
"""An animation has at most these many; of more epochs, some are left out."""
FRAME_MS = 150
LAST_MS = 2000


def tile(images: NDArray[np.uint8], columns: int = 0) -> NDArray[np.uint8]:
    """One picture (h, w, 3) uint8 RGB of many (n, h, w, 1 or 3), row by row, as near to square as may be."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = images.shape[1] + GAP, images.shape[2] + GAP
    sheet = np.full((rows * height - GAP, columns * width - GAP, 3), 255, np.uint8)
    for number, image in enumerate(images):
        y, x = number // columns * height, number % columns * width
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
    return sheet


def as_png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file's bytes."""
    held = io.BytesIO()
    Image.fromarray(image).save(held, "PNG", optimize=True)
    return held.getvalue()


def animate(grids: Sequence[Path]) -> bytes:
    """A GIF's bytes out of PNG files, the last one held longer."""
    keep = np.unique(np.linspace(0, len(grids) - 1, min(FRAMES, len(grids))).round().astype(int))
    frames = [Image.open(grids[i]).convert("P", palette=Image.Palette.ADAPTIVE) for i in keep]
    held = io.BytesIO()
    waits = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:], duration=waits, loop=0)
    return held.getvalue()


def plot(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG of both losses, the discriminator's scores and, where it was measured, the sliced Wasserstein distance."""
    from matplotlib.figure import Figure

    panels = [
        ("loss", {"d_loss": "discriminator", "g_loss": "generator"}),
        ("discriminator's score", {"d_real": "on real faces", "d_fake": "on generated faces"}),
        ("SW distance x 1000", {"swd": "samples", "swd_real": "real against real"}),
    ]
    panels = [(title, lines) for title, lines in panels if any(name in rows[-1] for name in lines)]
    figure = Figure(figsize=(6, 2.6 * len(panels)), layout="constrained")
    for axes, (title, lines) in zip(np.atleast_1d(figure.subplots(len(panels), 1, sharex=True)), panels, strict=True):
        axes.xaxis.get_major_locator().set_params(integer=True)
        for name, label in lines.items():
            seen = [(row["epoch"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*seen, strict=True), label=label, marker="." if len(seen) == 1 else None)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend()
    axes.set_xlabel("epoch")
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=120)
    return held.getvalue()
