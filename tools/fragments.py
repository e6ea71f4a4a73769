"""What lies on each pixel of a picture of triangles, all of it: hair shows what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Fragments:
    """What lies on each pixel: (k,) pixel, triangle, weights of its second and third corner, depth."""

    pixel: np.ndarray
    triangle: np.ndarray
    u: np.ndarray
    v: np.ndarray
    depth: np.ndarray

    def spread(self, corners: np.ndarray) -> np.ndarray:
        """Values (m, 3, c) at the triangles' corners -> (k, c)."""
        a, b, c = (corners[self.triangle, i] for i in range(3))
        return a + self.u[:, None] * (b - a) + self.v[:, None] * (c - a)

    def taken(self, which: np.ndarray) -> Fragments:
        """Some of them."""
        return Fragments(*(values[which] for values in (self.pixel, self.triangle, self.u, self.v, self.depth)))


def fragments(vertices: np.ndarray, triangles: np.ndarray, side: int, both: np.ndarray) -> Fragments:
    """All that lies on the pixels of a picture; `both`: (m,) bool, triangles that show from behind, too."""
    x, y, z = (vertices[:, axis][triangles].astype(np.float32) for axis in range(3))
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    left, top = (np.clip(np.ceil(a.min(axis=1)), 0, side).astype(np.int32) for a in (x, y))
    columns, rows = (
        np.clip(np.floor(a.max(axis=1)), -1, side - 1).astype(np.int32) + 1 - b for a, b in ((x, left), (y, top))
    )
    kept = np.flatnonzero((columns > 0) & (rows > 0) & ((area > 1e-6) | (both & (area < -1e-6))))
    counts = columns[kept] * rows[kept]
    which = np.repeat(kept, counts)
    inside = np.arange(len(which), dtype=np.int32) - np.repeat(np.cumsum(counts) - counts, counts).astype(np.int32)
    row = inside // columns[which]
    column = inside - row * columns[which] + left[which]
    row += top[which]
    edges = np.stack([y[:, 2] - y[:, 0], x[:, 0] - x[:, 2], y[:, 0] - y[:, 1], x[:, 1] - x[:, 0]], axis=1)
    edges /= np.where(area == 0, 1, area)[:, None]
    first = np.stack([x[:, 0], y[:, 0]], axis=1)[which]
    dx, dy, edges = column.astype(np.float32) - first[:, 0], row.astype(np.float32) - first[:, 1], edges[which]
    u, v = dx * edges[:, 0] + dy * edges[:, 1], dx * edges[:, 2] + dy * edges[:, 3]
    on = np.flatnonzero((u >= -2e-3) & (v >= -2e-3) & (u + v <= 1.002))
    which, u, v = which[on], u[on], v[on]
    depth = z[which, 0] + u * (z[which, 1] - z[which, 0]) + v * (z[which, 2] - z[which, 0])
    return Fragments((row * side + column)[on], which, u, v, depth)


def layered(found: Fragments, pictured: np.ndarray) -> tuple[Fragments, np.ndarray, np.ndarray]:
    """What is seen of fragments that lie behind each other: they, their pictures (k, 4), and by what share (k,)."""
    solid = np.flatnonzero(pictured[:, 3] > 0.02)
    nearest = np.argsort(found.pixel[solid] * 64.0 + found.depth[solid] + 16)
    found, pictured = found.taken(solid[nearest]), pictured[solid[nearest]]
    through = np.log1p(-np.minimum(pictured[:, 3].astype(np.float64), 0.9999))
    total = np.cumsum(through)
    first = np.searchsorted(found.pixel, found.pixel)
    before = total - through - (total - through)[first]
    weight = np.exp(before) * pictured[:, 3]
    kept = np.flatnonzero(weight > 0.004)
    return found.taken(kept), pictured[kept], weight[kept]
