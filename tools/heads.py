"""Heads as the orientation network is taught with: the generic one, fitted to a face and painted with its pixels, turned.

Unlike `facepipe.face.turning` it takes any face and gives any roll and background. The head is moved onto points
of the photograph (a similarity, then a smooth warp of what remains), so that in the photograph's own view each vertex
lies where the photograph shows it. What the photograph does not show is painted from the mirrored side where that is in
view, else from the nearest colours that are, shaded; hair is a volume around the skull. Views are orthographic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.face.head import FIVE, HAIRLINE, PAINT_REACH, WARP_REACH, Head, head, kernel, normals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import Image

    Floats = NDArray[np.float32]
    Indices = NDArray[np.int32]

HAIR = 0.08
"""Thickness of hair, as a share of the distance from the head's centre."""
SEEN_FROM, SEEN_WELL = 0.15, 0.45
"""Cosine between a surface's normal and the line of sight: from where on its pixels count, and count alone."""


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head fitted to a face of a photograph.

    photograph: (h, w, 3) uint8 RGB. vertices: (n, 3) float32, px of the photograph, z in the same unit.
    rotation: (3, 3), from the generic head's axes to the photograph's. scale: px per unit of the generic head.
    paint: (n, 3) float32 RGB 0..255, of what the photograph does not show. seen: (n,) float32 0..1, how well it shows
    each vertex.
    """

    photograph: Image
    vertices: Floats
    rotation: NDArray[np.float64]
    scale: float
    paint: Floats
    seen: Floats


def fit(photograph: Image, points: Floats, turned: NDArray[np.float64] | None = None) -> FittedHead:
    """Fits the generic head to a face.

    Args:
        photograph: (h, w, 3) uint8 RGB.
        points: (468, 3) float32, the face mesh's points, px of the photograph, z away from the camera in the same unit.
        turned: the head's rotation (3, 3) where it is known; None: as the points have it.
    """
    model = head()
    corners = model.points(model.vertices)
    fitted, scale = _similarity(corners, points)
    turned = fitted if turned is None else turned
    middle = points.mean(axis=0) - scale * turned @ corners.mean(axis=0)
    rest = (points - middle) @ turned / scale - corners
    # The mesh's depth is a guess: half of what it says beyond the generic head is taken.
    rest[:, 2] *= 0.5
    vertices = (model.vertices + _spread(model) @ rest) @ turned.T * scale + middle
    vertices = np.asarray(vertices, np.float32)
    seen = _visible(vertices, model)
    # What lies outside the photograph is not shown by it.
    height, width, _ = photograph.shape
    x, y = vertices[:, 0], vertices[:, 1]
    seen *= (x > 0) & (y > 0) & (x < width - 1) & (y < height - 1)
    return FittedHead(photograph, vertices, turned, scale, _painted(photograph, vertices, seen, model), seen)


def place(landmarks: Floats, turned: NDArray[np.float64]) -> Floats:
    """The mesh points (468, 3) of the generic head laid onto five landmarks, for `fit` where no face mesh is at hand.

    Args:
        landmarks: (5, 2) px: the eye on the image's left, the other one, nose tip, mouth corners likewise.
        turned: the head's rotation (3, 3).
    """
    model = head()
    points = model.points(model.vertices) @ turned.T
    five = np.array([points[list(which)].mean(axis=0) for which in FIVE])
    seen, flat = landmarks - landmarks.mean(axis=0), (five - five.mean(axis=0))[:, :2]
    scale = float((seen * flat).sum() / (flat * flat).sum())
    placed = scale * (points - five.mean(axis=0))
    placed[:, :2] += landmarks.mean(axis=0)
    # What is left of each landmark's distance moves its surroundings with it.
    rest = landmarks - np.array([placed[list(which), :2].mean(axis=0) for which in FIVE])
    near = kernel(np.asarray(points, np.float32), np.asarray(five, np.float32), 2 * WARP_REACH)
    own = kernel(np.asarray(five, np.float32), np.asarray(five, np.float32), 2 * WARP_REACH)
    placed[:, :2] += near @ np.linalg.solve(own + 0.05 * np.eye(5), rest)
    return np.asarray(placed, np.float32)


def _similarity(model: Floats, points: Floats) -> tuple[NDArray[np.float64], float]:
    """The rotation (3, 3) and the scale that carry model points (n, 3) onto others (Kabsch, Umeyama 1991)."""
    a, b = model - model.mean(axis=0), points - points.mean(axis=0)
    left, values, right = np.linalg.svd(a.T @ b)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(right.T @ left.T))])
    return np.asarray((right.T * signs) @ left.T), float((values * signs).sum() / (a * a).sum())


@lru_cache(maxsize=1)
def _spread_of(_key: int) -> Floats:
    model = head()
    corners = model.points(model.vertices)
    near = kernel(corners, corners, WARP_REACH) + 0.02 * np.eye(len(corners), dtype=np.float32)
    return np.asarray(kernel(model.vertices, corners, WARP_REACH) @ np.linalg.inv(near), np.float32)


def _spread(_model: Head) -> Floats:
    """(n, 468): how far each vertex moves with each point."""
    return _spread_of(0)


def _visible(vertices: Floats, model: Head) -> Floats:
    """(n,) float32 0..1, how well the camera sees each vertex: 0 where it faces away or lies behind another part."""
    facing = -normals(vertices, model.triangles)[:, 2]
    low = vertices[:, :2].min(axis=0) - 1
    scale = 96 / float((vertices[:, :2].max(axis=0) - low).max())
    small = np.concatenate([(vertices[:, :2] - low) * scale, vertices[:, 2:] * scale], axis=1)
    triangle, weights = rasterize(small, model.triangles, 100, 100)
    depth = (small[model.triangles[triangle], 2] * weights).sum(axis=2)
    depth[triangle < 0] = np.inf
    # The nearest surface around: a vertex well behind it is hidden.
    depth = cv2.erode(depth, np.ones((3, 3), np.uint8))
    column, row = np.rint(small[:, 0]).astype(int), np.rint(small[:, 1]).astype(int)
    hidden = small[:, 2] > depth[row, column] + 5
    return np.asarray(np.clip((facing - SEEN_FROM) / (SEEN_WELL - SEEN_FROM), 0, 1) * ~hidden, np.float32)


def _painted(photograph: Image, vertices: Floats, seen: Floats, model: Head) -> Floats:
    """(n, 3) float32 RGB 0..255: the colours around each vertex that the photograph shows, its own or its mirror's.

    Skin takes after skin, hair after hair, which is looked for a little further out than the bald head reaches.
    """
    above = model.vertices[:, 1] < HAIRLINE
    # From the front, hair shows on top at a sharp angle; what shows of the nape is the neck's sides.
    weight = np.where(model.scalp < 0.5, seen * seen, np.where(above & (seen > 0.02), 0.5 + seen, 0))
    known = np.flatnonzero(weight > 0.3)
    known = known[:: len(known) // MOST_PAINTS + 1]
    centre = vertices.mean(axis=0)
    outwards = vertices[known] + HAIR * model.scalp[known, None] * (vertices[known] - centre)
    colours = _sampled(photograph, outwards[:, :2])
    both = np.concatenate([known, model.mirrored[known]])
    weights = np.concatenate([weight[known], 0.5 * weight[known]]) + np.float32(1e-9)
    near = kernel(model.vertices, model.vertices[both], PAINT_REACH) + np.float32(1e-5)
    unlike = np.abs(model.scalp[:, None] - model.scalp[both][None])
    near *= weights * (1.003 - unlike) ** 4
    paint = near @ np.concatenate([colours, colours]) / near.sum(axis=1, keepdims=True)
    return np.asarray(paint, np.float32)


MOST_PAINTS = 150
"""Vertices whose colours the hidden parts are painted from; more change nothing that is seen."""


def _sampled(image: Image, places: Floats) -> Floats:
    """(n, 3) float32 colours at (n, 2) px."""
    found = cv2.remap(image, places[None, :, :], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[0], np.float32)


def rasterize(vertices: Floats, triangles: Indices, height: int, width: int) -> tuple[Indices, Floats]:
    """What each pixel of a picture of a surface shows, the nearest triangle.

    Args:
        vertices: (n, 3) px, x to the right, y down, z away.
        triangles: (m, 3); those that face away, counter-clockwise in the image, are not seen.
        height: px of the picture.
        width: likewise.

    Returns:
        The triangle, (height, width) int32, -1 for none, and the weights of its corners, (height, width, 3) float32.
    """
    vertices = np.asarray(vertices, np.float32)
    x, y = (vertices[:, axis][triangles] for axis in range(2))
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    facing = np.flatnonzero(area > 1e-9)
    x, y, area, z = x[facing], y[facing], area[facing], vertices[:, 2][triangles[facing]]
    left = np.maximum(np.ceil(x.min(axis=1)), 0).astype(np.int32)
    top = np.maximum(np.ceil(y.min(axis=1)), 0).astype(np.int32)
    columns = np.minimum(np.floor(x.max(axis=1)), width - 1).astype(np.int32) - left + 1
    rows = np.minimum(np.floor(y.max(axis=1)), height - 1).astype(np.int32) - top + 1
    kept = np.flatnonzero((columns > 0) & (rows > 0))
    counts = columns[kept] * rows[kept]
    # One line for every pixel of every triangle's bounding box.
    which = np.repeat(kept, counts)
    inside = np.arange(len(which), dtype=np.int32) - np.repeat(np.cumsum(counts) - counts, counts).astype(np.int32)
    down = inside // columns[which]
    column, row = left[which] + inside - down * columns[which], top[which] + down
    # The weights of the second and the third corner are linear in column and row.
    edges = np.stack(
        [y[:, 2] - y[:, 0], x[:, 0] - x[:, 2], y[:, 0] - y[:, 1], x[:, 1] - x[:, 0], x[:, 0] * area, y[:, 0] * area],
        axis=1,
    )
    edges /= area[:, None]
    e = edges[which]
    dx, dy = column - e[:, 4], row - e[:, 5]
    u, v = dx * e[:, 0] + dy * e[:, 1], dx * e[:, 2] + dy * e[:, 3]
    covered = np.flatnonzero((u >= -1e-4) & (v >= -1e-4) & (u + v <= 1 + 1e-4))
    which, u, v, pixel = which[covered], u[covered], v[covered], (row * width + column)[covered]
    depth = z[which, 0] + u * (z[which, 1] - z[which, 0]) + v * (z[which, 2] - z[which, 0])
    order = np.argsort(-depth, kind="stable")  # the nearest is written last
    triangle = np.full(height * width, -1, np.int32)
    weights = np.zeros((height * width, 3), np.float32)
    triangle[pixel[order]] = facing[which[order]]
    weights[pixel[order]] = np.stack([1 - u - v, u, v], axis=1)[order]
    return triangle.reshape(height, width), weights.reshape(height, width, 3)


@dataclass(frozen=True)
class Look:
    """What may differ in a view of the same head.

    hair: thickness of the hair, in half widths of the face. long: whether it covers ears and neck. light: from where
    hidden parts are lit, a direction. depth: by how much the head is stretched from front to back.
    """

    hair: float = 0.0
    long: bool = False
    light: tuple[float, float, float] = (0.3, -0.6, -0.75)
    depth: float = 1.0


def view(
    fitted: FittedHead,
    turned: NDArray[np.float64],
    size: int,
    background: Image,
    *,
    zoom: float = 1.0,
    look: Look = Look(),
) -> tuple[Image, Floats]:
    """The head as it looks when it is turned.

    Args:
        fitted: the head.
        turned: its rotation (3, 3) in the new view.
        size: px, the view's side.
        background: (size, size, 3) uint8 RGB.
        zoom: half the face's width, as a share of a quarter of the view's side.
        look: hair and light.

    Returns:
        (size, size, 3) uint8 RGB, and the 468 mesh points (468, 3) float32, px of the view.
    """
    model = head()
    scale = zoom * size / 4
    own = _own_shape(fitted, look.depth)
    shape, cover = _with_hair(own, model, look)
    placed = np.asarray(shape @ turned.T * scale + size / 2, np.float32)
    triangle, weights = rasterize(placed, model.triangles, size, size)
    corners = model.triangles[triangle]

    def spread(values: Floats) -> Floats:
        """Values at the vertices -> at the pixels."""
        return np.asarray((values[corners] * weights[..., None]).sum(axis=2), np.float32)

    bare = np.asarray(own @ turned.T * scale + size / 2, np.float32)
    lit = np.clip(-(normals(placed, model.triangles) @ _unit(look.light)), 0, 1)
    there = fitted.vertices[:, :2], fitted.vertices[model.mirrored, :2]
    seen = (each * (1 - cover) for each in (fitted.seen, fitted.seen[model.mirrored]))
    values = np.column_stack([*there, fitted.paint, *seen, 0.7 + 0.5 * lit, cover])
    colour = _coloured(fitted.photograph, spread(np.asarray(values, np.float32)))
    shown = np.where(triangle[..., None] < 0, background, np.clip(colour, 0, 255))
    return shown.astype(np.uint8), model.points(bare)


def _own_shape(fitted: FittedHead, depth: float) -> Floats:
    """The fitted head's vertices in its own frame, its middle at the origin."""
    own = (fitted.vertices - fitted.vertices.mean(axis=0)) @ fitted.rotation / fitted.scale
    own[:, 2] *= depth
    own -= head().points(own).mean(axis=0) * np.array([0, 1, 0], np.float32)
    return np.asarray(own, np.float32)


def _coloured(photograph: Image, pixels: Floats) -> Floats:
    """What each pixel of a view shows: the photograph where it was seen, else the other side's, else paint.

    pixels: (h, w, 11), where it lies in the photograph and where its mirror image, paint, how well both were seen,
    shade, and how much hair covers it.
    """
    straight = _sampled_map(photograph, pixels[..., 0:2])
    mirror = _sampled_map(photograph, pixels[..., 2:4])
    seen, other, shade = pixels[..., 7:8], pixels[..., 8:9], pixels[..., 9:10]
    paint = pixels[..., 4:7] * shade
    hidden = other * mirror + (1 - other) * paint
    return np.asarray(seen * straight + (1 - seen) * hidden, np.float32)


def _unit(direction: tuple[float, float, float]) -> Floats:
    vector = np.array(direction, np.float32)
    return np.asarray(-vector / np.linalg.norm(vector), np.float32)


def _sampled_map(image: Image, places: Floats) -> Floats:
    found = cv2.remap(image, np.ascontiguousarray(places), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _with_hair(own: Floats, model: Head, look: Look) -> tuple[Floats, Floats]:
    """The head with its hair (n, 3), and where that covers what the photograph shows, (n,) float32 0..1."""
    where = model.scalp
    if look.long:
        _, y, z = model.vertices.T
        side = np.clip((z + 0.15) / 0.25, 0, 1) * np.clip((2.2 - y) / 0.5, 0, 1)
        where = np.maximum(where, side)
    if look.hair <= 0:
        return own, np.zeros(len(own), np.float32)
    out = normals(own, model.triangles)
    grown = own + out * (look.hair * where)[:, None]
    return np.asarray(grown, np.float32), np.asarray(where * float(look.long), np.float32)
