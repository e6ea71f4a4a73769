"""The generic head as every frontal photograph shows it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.face.head import FIVE, HAIRLINE, PAINT_REACH, WARP_REACH, cover, head, kernel, normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.face.head import Cover

    Floats = NDArray[np.float32]
    Indices = NDArray[np.int32]

EARS = 1.0
"""x from where on the head is wider than many: ears, which are painted."""
NECK = (1.15, 1.75)
"""y from where on the head fades into the photograph's body, and where it ends."""
SKIN, BROWS = (0.55, 0.8), (0.45, 0.75)
"""How far to the side, and how far up, skin is sure, and from where on hair or background may lie instead."""
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

    open: (n,) float32, 0 where another part lies before a vertex in a frontal view; outer: (n,) 1 where hair or
    background may lie instead of skin, 0 in the middle of the face; fade: (n,) 1 on the head, 0 on
    the body; triangles: of what is not body; known: vertices that colours are taken from; paint: (n, 2 known) weights;
    five: (5, 3); mesh: (468, 3); near: (n, 5), how a landmark's distance moves each vertex.
    """

    hair: Floats
    facing: Floats
    open: Floats
    outer: Floats
    fade: Floats
    triangles: Indices
    known: Indices
    paint: Floats
    five: Floats
    near: Floats
    head: Indices


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
    own = kernel(five, five, 2 * WARP_REACH) + 0.05 * np.eye(5, dtype=np.float32)
    near = kernel(model.vertices, five, 2 * WARP_REACH) @ np.linalg.inv(own)
    opened = _open(hair, triangles) * (np.abs(hair[:, 0]) < EARS)
    known, paint = _paints(hair, -facing[:, 2] * opened)
    return Shape(
        hair,
        facing,
        opened,
        np.maximum(np.interp(np.abs(hair[:, 0]), SKIN, (0, 1)), np.interp(-hair[:, 1], BROWS, (0, 1))),
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
    near = kernel(model.vertices, model.vertices[both], PAINT_REACH) + np.float32(1e-5)
    near *= np.concatenate([weight[known], 0.5 * weight[known]])
    near *= (1.003 - np.abs(model.scalp[:, None] - model.scalp[both][None])) ** 4
    return known.astype(np.int32), np.asarray(near / near.sum(axis=1, keepdims=True), np.float32)
