"""Grids of faces and the loss plot, as PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

GAP = 2
"""px between two pictures, white."""
TILE = 64
"""px: smaller pictures are shown larger, by whole factors."""


def to_uint8(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Float 0..1 -> uint8; uint8 stays."""
    if images.dtype == np.uint8:
        return images
    return np.clip(np.floor(images.astype(np.float32) * 255 + 0.5), 0, 255).astype(np.uint8)


def grid(rows: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
    """Rows of pictures, each row (n, s, s, 1 or 3) float 0..1 or uint8 -> one picture (h, w, 3) uint8 RGB.

    Rows of smaller pictures are enlarged by whole pixels to the size of the largest, or to 64 px.
    """
    side = max(TILE, *(row.shape[1] for row in rows))
    width = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (side + GAP) + GAP, width * (side + GAP) + GAP, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, image in enumerate(to_uint8(row)):
            shown = cv2.resize(image, (side, side), interpolation=cv2.INTER_NEAREST).reshape(side, side, -1)
            top, left = GAP + r * (side + GAP), GAP + c * (side + GAP)
            canvas[top : top + side, left : left + side] = shown
    return canvas


def png(image: NDArray[np.uint8]) -> bytes:
    """(h, w, 3) RGB or (h, w, 1) gray, uint8 -> PNG."""
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.shape[2] == 3 else image
    return bytes(cv2.imencode(".png", ordered)[1])


def whole_epochs(axes: Any, last: int) -> None:
    """Ticks at whole epochs alone, of a single epoch too."""
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if last <= 1:
        axes.set_xlim(0.5, 1.5)


def loss_plot(curves: Mapping[str, Sequence[float]], marks: Mapping[str, float], title: str) -> bytes:
    """Curves over epochs (from 1), and marks: level lines with their names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, marker="." if len(values) < 40 else "", label=name)
    for number, (name, level) in enumerate(marks.items()):
        axes.axhline(level, linestyle=("--", ":", "-.")[number % 3], color="gray", label=f"{name} {level:.4f}")
    axes.set(xlabel="epoch", ylabel="loss", title=title)
    whole_epochs(axes, max(map(len, curves.values())))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(curves) + len(marks), frameon=False)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()
