"""Grids of faces, their animation and plots over the epochs, as bytes of PNG and GIF."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Curve = Sequence[tuple[float, float]]

GAP = 2
"""px between two pictures, white."""
TILE = 64
"""px: smaller pictures of a comparison are shown larger, by whole factors."""
FRAMES, FRAME_MS, LAST_MS = 60, 150, 2000
"""An animation has at most so many; of more epochs, some are left out."""


def find_nearest(images: NDArray[Any], others: NDArray[Any]) -> NDArray[np.int64]:
    """(n,) which of the others, (m, h, w, c), is nearest to each image, (n, h, w, c), by squared error."""
    first, second = (faces.reshape(len(faces), -1).astype(np.float32) for faces in (images, others))
    return np.asarray((np.square(second).sum(axis=1) - 2 * (first @ second.T)).argmin(axis=1))


def to_uint8(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Float 0..1 -> uint8; uint8 stays."""
    if images.dtype == np.uint8:
        return images
    return np.clip(np.floor(images.astype(np.float32) * 255 + 0.5), 0, 255).astype(np.uint8)


def grid(rows: Sequence[NDArray[Any]], least: int = TILE) -> NDArray[np.uint8]:
    """Rows of pictures, each row (n, s, s, 1 or 3) float 0..1 or uint8 -> one picture (h, w, 3) uint8 RGB.

    Rows of smaller pictures are enlarged by whole pixels to the size of the largest, or to `least` px.
    """
    side = max(least, *(row.shape[1] for row in rows))
    width = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (side + GAP) + GAP, width * (side + GAP) + GAP, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(to_uint8(row)):
            shown = cv2.resize(image, (side, side), interpolation=cv2.INTER_NEAREST).reshape(side, side, -1)
            top, left = GAP + r * (side + GAP), GAP + c * (side + GAP)
            canvas[top : top + side, left : left + side] = shown
    return canvas


def tile(images: NDArray[np.uint8], columns: int = 0) -> NDArray[np.uint8]:
    """Pictures (n, s, s, 1 or 3) as one grid in their own size, as near to square as may be."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    return grid([images[start : start + columns] for start in range(0, len(images), columns)], least=1)


def png(image: NDArray[np.uint8]) -> bytes:
    """(h, w, 3) RGB or (h, w, 1) gray, uint8 -> PNG."""
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.shape[2] == 3 else image
    return bytes(cv2.imencode(".png", ordered)[1])


def animate(grids: Sequence[Path]) -> bytes:
    """A GIF's bytes out of PNG files, the last one held longer."""
    keep = np.unique(np.linspace(0, len(grids) - 1, min(FRAMES, len(grids))).round().astype(int))
    frames = [Image.open(grids[i]).convert("P", palette=Image.Palette.ADAPTIVE) for i in keep]
    held = io.BytesIO()
    waits = [FRAME_MS] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:], duration=waits, loop=0)
    return held.getvalue()


def curves_of(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, Curve]:
    """Columns of a log over its epochs, by their label; those that no row has are left out."""
    curves = {label: [(row["epoch"], row[name]) for row in rows if name in row] for name, label in names.items()}
    return {label: curve for label, curve in curves.items() if curve}


def plot(panels: Mapping[str, Mapping[str, Curve]], levels: Mapping[str, float], title: str = "") -> bytes:
    """A PNG of curves over epochs, a panel below the other; `levels` are level lines in the first, with their names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {name: curves for name, curves in panels.items() if curves}
    figure = Figure(figsize=(7, 1.4 + 2.6 * len(shown)), dpi=100, layout="constrained")
    every = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    for axes, (name, curves) in zip(every, shown.items(), strict=True):
        for label, curve in curves.items():
            axes.plot(*zip(*curve, strict=True), marker="." if len(curve) < 40 else "", label=label)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    for number, (name, level) in enumerate(levels.items()):
        every[0].axhline(level, linestyle=("--", ":", "-.")[number % 3], color="gray", label=f"{name} {level:.4f}")
    every[0].set_title(title)
    every[-1].set_xlabel("epoch")
    whole_epochs(every[-1], max(int(curve[-1][0]) for curves in shown.values() for curve in curves.values()))
    for axes in every:
        axes.legend(loc="best", fontsize="small")
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()


def whole_epochs(axes: Any, last: int) -> None:
    """Ticks at whole epochs alone, of a single epoch too."""
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if last <= 1:
        axes.set_xlim(0.5, 1.5)
