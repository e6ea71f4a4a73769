"""A generic head in three dimensions: its shape, how it is turned, and which of its triangles a picture's pixels show.

The head is MakeHuman's (CC0), with ears, neck and the back of the skull (`models/MODELS.md`).

Axes as in images: x to the right, y down, z away from the camera. A head that looks into the camera looks along -z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Indices = NDArray[np.int32]
    Cover = tuple[NDArray[np.int64], Indices, Floats]

HEAD = Path(__file__).parent.parent / "models" / "head.npz"
WARP_REACH = 0.45
"""Of the face's half width: how far a point that differs from the generic head takes its surroundings with it."""
PAINT_REACH = 0.30
"""The same for colours of parts that the photograph does not show."""
FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))
"""Which of the mesh points the five landmarks are: eyes, nose tip, mouth corners."""
HAIRLINE = -0.6
"""y from where on upwards hair is hair from the front."""


@dataclass(frozen=True, eq=False)
class Head:
    """The generic head; half the width of its face is 1, its origin between the ears.

    vertices: (n, 3) float32. triangles: (m, 3) int32, clockwise in the image where they face the camera.
    mirrored: (n,) int32, the vertex on the other side. corners, weights: (468, 3) int32 and float32, between which
    vertices the points of MediaPipe's face mesh lie. scalp: (n,) float32, 0..1, where hair grows.
    """

    vertices: Floats
    triangles: Indices
    mirrored: Indices
    corners: Indices
    weights: Floats
    scalp: Floats

    def points(self, vertices: Floats) -> Floats:
        """The 468 mesh points (468, k) of values (n, k) at the vertices."""
        return np.asarray((vertices[self.corners] * self.weights[..., None]).sum(axis=1), np.float32)


@lru_cache(maxsize=1)
def head() -> Head:
    """The packaged head, loaded once."""
    with np.load(HEAD) as file:
        return Head(**{name: file[name] for name in file.files})


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """The rotation (3, 3) of a head with these angles, degrees, by the convention of AFLW2000 / 300W-LP.

    Its columns are where the head's axes point: its side on the image's right, its lower end, its back.
    """
    y, p, r = (math.radians(v) for v in (yaw, pitch, roll))
    turn = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    nod = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    tilt = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return np.asarray(nod @ turn @ tilt)


def kernel(a: Floats, b: Floats, reach: float) -> Floats:
    """Gaussian of the distances between points (n, 3) and (m, 3): (n, m) float32."""
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.exp(np.maximum(squared, 0) / np.float32(-2 * reach * reach)), np.float32)


def normals(vertices: Floats, triangles: Indices) -> Floats:
    """Unit normals (n, 3) at the vertices, pointing outwards."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    one, other = c - a, b - a
    total = np.empty_like(vertices)
    for axis in range(3):
        up, down = (axis + 1) % 3, (axis + 2) % 3
        across = one[:, up] * other[:, down] - one[:, down] * other[:, up]
        total[:, axis] = np.bincount(triangles.T.reshape(-1), np.concatenate([across] * 3), len(vertices))
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9), np.float32)


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
    x, y, z = (axis[triangles.T] for axis in vertices.T)  # each (3, m)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    facing = np.flatnonzero(area > 1e-9)
    facing = facing[np.argsort(-reduce(np.add, z)[facing])]  # the nearest is written last
    x, y, area = [c[facing] for c in x], [c[facing] for c in y], area[facing]
    left, top = (np.maximum(np.ceil(reduce(np.minimum, c)), 0).astype(np.int32) for c in (x, y))
    columns = np.maximum(np.minimum(np.floor(reduce(np.maximum, x)), width - 1).astype(np.int32) - left + 1, 0)
    rows = np.maximum(np.minimum(np.floor(reduce(np.maximum, y)), height - 1).astype(np.int32) - top + 1, 0)
    counts = columns * rows
    # One line for every pixel of every triangle's bounding box; the weights are linear in column and row.
    which = np.repeat(np.arange(len(facing)), counts)
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
    one, two, three = (values.take(corners[:, i], axis=0) * weights[:, i, None] for i in range(3))
    return np.asarray(one + two + three, np.float32)
