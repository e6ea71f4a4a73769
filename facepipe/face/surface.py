"""The generic head as every frontal photograph shows it, and which of its triangles a view's pixels show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.face.render import FIVE, HAIRLINE, PAINT_REACH, WARP_REACH, head, normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Indices = NDArray[np.int32]
    Cover = tuple[NDArray[np.int64], Indices, Floats]

EARS = 1.0
"""x from where on the head is wider than many: ears, which are painted."""
NECK = (1.15, 1.75)
"""y from where on the head fades into the photograph's body, and where it ends."""
CHIN = 1.05
"""y of the chin."""
HAIR = 0.1
"""Thickness of hair, in half widths of the face."""
SEEN = (0.3, 0.6)
"""Cosine between a surface's normal and the line of sight: from where on its pixels count, and count alone."""
PAINTS = 100
"""Vertices whose colours the hidden parts are painted from."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What all frontal photographs share. hair: (n, 3), the head with hair; facing: (n, 3) its normals.

    open: (n,) float32, 0 where another part lies before a vertex in a frontal view; fade: (n,) 1 on the head, 0 on
    the body; triangles: of what is not body; known: vertices that colours are taken from; paint: (n, 2 known) weights;
    five: (5, 3); mesh: (468, 3); near: (n, 5), how a landmark's distance moves each vertex.
    """

    hair: Floats
    facing: Floats
    open: Floats
    fade: Floats
    triangles: Indices
    known: Indices
    paint: Floats
    five: Floats
    near: Floats
    head: Indices


def _kernel(a: Floats, b: Floats, reach: float) -> Floats:
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.exp(np.maximum(squared, 0) / np.float32(-2 * reach * reach)), np.float32)


@lru_cache(maxsize=1)
def frontal_shape() -> Shape:
    """What frontal photographs share, made once."""
    model = head()
    out = normals(model.vertices, model.triangles)
    hair = np.asarray(model.vertices + out * (HAIR * model.scalp)[:, None], np.float32)
    facing = normals(hair, model.triangles)
    fade = np.clip((NECK[1] - hair[:, 1]) / (NECK[1] - NECK[0]), 0, 1).astype(np.float32)
    triangles = model.triangles[(fade[model.triangles] > 0).any(axis=1)]
    points = model.points(model.vertices)
    five = np.array([points[list(which)].mean(axis=0) for which in FIVE], np.float32)
    own = _kernel(five, five, 2 * WARP_REACH) + 0.05 * np.eye(5, dtype=np.float32)
    near = _kernel(model.vertices, five, 2 * WARP_REACH) @ np.linalg.inv(own)
    opened = _open(hair, triangles) * (np.abs(hair[:, 0]) < EARS)
    known, paint = _paints(hair, -facing[:, 2] * opened)
    return Shape(
        hair,
        facing,
        opened,
        fade,
        triangles,
        known,
        paint,
        five,
        np.asarray(near, np.float32),
        np.flatnonzero(hair[:, 1] < CHIN).astype(np.int32),
    )


def _open(vertices: Floats, triangles: Indices) -> Floats:
    """(n,) 0 where another part lies before a vertex, seen from the front."""
    side, scale = 128, 24
    placed = np.asarray(vertices * scale + np.array([side / 2, side / 2, 0]), np.float32)
    return before(placed, triangles, cover(placed, triangles, side, side), side, 5)


def before(vertices: Floats, triangles: Indices, covered: Cover, side: int, room: float) -> Floats:
    """(n,) float32, 1 where a vertex lies at most `room` px behind what a picture of side x side px shows."""
    pixel, triangle, weights = covered
    depth = np.full(side * side, np.inf, np.float32)
    depth[pixel] = (vertices[triangles[triangle], 2] * weights).sum(axis=1)
    nearest = cv2.erode(depth.reshape(side, side), np.ones((3, 3), np.uint8))
    x, y = (np.clip(np.rint(vertices[:, axis]).astype(int), 0, side - 1) for axis in range(2))
    return np.asarray(vertices[:, 2] <= nearest[y, x] + room, np.float32)


def _paints(vertices: Floats, facing: Floats) -> tuple[Indices, Floats]:
    """The vertices whose colours paint the others, and each one's weights (n, known and their mirrors).

    Skin takes after skin, hair after hair.
    """
    model = head()
    seen = np.clip((facing - SEEN[0]) / (SEEN[1] - SEEN[0]), 0, 1)
    # On top hair goes on beyond the head, at its sides the background begins.
    top = (vertices[:, 1] < HAIRLINE) & (np.abs(vertices[:, 0]) < 0.6) & (facing > 0.1)
    weight = np.where(model.scalp < 0.5, seen * seen * (vertices[:, 1] < CHIN), top * (0.5 + seen))
    known = np.flatnonzero(weight > 0.3)
    known = known[:: len(known) // PAINTS + 1]
    both = np.concatenate([known, model.mirrored[known]])
    near = _kernel(model.vertices, model.vertices[both], PAINT_REACH) + np.float32(1e-5)
    near *= np.concatenate([weight[known], 0.5 * weight[known]])
    near *= (1.003 - np.abs(model.scalp[:, None] - model.scalp[both][None])) ** 4
    return known.astype(np.int32), np.asarray(near / near.sum(axis=1, keepdims=True), np.float32)


def cover(vertices: Floats, triangles: Indices, height: int, width: int) -> Cover:
    """What the pixels of a picture of a surface of small triangles show: the nearest one, by the triangles' middles.

    Args:
        vertices: (n, 3) px, x to the right, y down, z away.
        triangles: (m, 3); those that face away, counter-clockwise in the image, are not seen.
        height: px of the picture.
        width: likewise.

    Returns:
        The pixels covered, (p,) row * width + column; of each its triangle, (p,), and the corners' weights, (p, 3).
    """
    x, y, z = vertices.T[:, triangles.T]  # each (3, m)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    facing = np.flatnonzero(area > 1e-9)
    facing = facing[np.argsort(-z[:, facing].sum(axis=0))]  # the nearest is written last
    x, y, area = x[:, facing], y[:, facing], area[facing]
    left, top = (np.maximum(np.ceil(c.min(axis=0)), 0).astype(np.int32) for c in (x, y))
    columns = np.maximum(np.minimum(np.floor(x.max(axis=0)), width - 1).astype(np.int32) - left + 1, 0)
    rows = np.maximum(np.minimum(np.floor(y.max(axis=0)), height - 1).astype(np.int32) - top + 1, 0)
    counts = columns * rows
    # One line for every pixel of every triangle's bounding box; the weights are linear in column and row.
    which = np.repeat(np.arange(len(facing), dtype=np.int32), counts)
    inside = np.arange(len(which), dtype=np.int32) - np.repeat(np.cumsum(counts) - counts, counts).astype(np.int32)
    wide = columns[which]
    down = inside // wide
    column, row = left[which] + inside - down * wide, top[which] + down
    edges = np.stack([y[2] - y[0], x[0] - x[2], y[0] - y[1], x[1] - x[0]]) / area
    dx, dy = column.astype(np.float32) - x[0][which], row.astype(np.float32) - y[0][which]
    u, v = dx * edges[0][which] + dy * edges[1][which], dx * edges[2][which] + dy * edges[3][which]
    covered = np.flatnonzero((u >= -1e-4) & (v >= -1e-4) & (u + v <= 1 + 1e-4))
    last = np.full(height * width, -1, np.int32)
    last[(row * width + column)[covered]] = covered
    pixel = np.flatnonzero(last >= 0)
    line = last[pixel]
    u, v = u[line], v[line]
    return pixel, facing[which[line]].astype(np.int32), np.stack([1 - u - v, u, v], axis=1).astype(np.float32)


def mixed(values: Floats, corners: Indices, weights: Floats) -> Floats:
    """(p, c): values (n, c) at the corners (p, 3) of the triangles that pixels show, by their weights (p, 3)."""
    one, two, three = (values[corners[:, i]] * weights[:, i, None] for i in range(3))
    return np.asarray(one + two + three, np.float32)
