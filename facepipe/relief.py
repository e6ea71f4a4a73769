"""A generic head as two depth maps, and where the view rays of a turned one meet it.

The head's frame, in cm on an average adult: x to the image's right, y up, z towards the camera, the origin between the
ears a little below the eyes. Its proportions follow the canonical face of MediaPipe's face mesh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

EYE = (3.15, 2.65)
MOUTH = (2.45, -4.34)
NOSE_TIP = (0.0, -1.1)
CHIN = (0.0, -9.4)
FACE_EDGE = (7.66, 0.67)
"""x, y, cm; the features on the image's left have the negative x."""

_LEFT, _TOP, _STEP = -10.0, 15.0, 0.125
_COLUMNS, _ROWS = 161, 225
_WIDEST_Y = 3.0
_EAR_Z = -3.6
_EMPTY_FRONT, _EMPTY_BACK = -100.0, 100.0
_HULL_CENTRE, _HULL_RADII = (0.0, 1.5, _EAR_Z), (8.8, 14.0, 13.6)
_RAY_STEP, _RAY_COUNT, _HALVINGS = 0.65, 17, 6


@dataclass(frozen=True, slots=True, eq=False)
class Relief:
    """Where the head begins and ends along z: it fills back(x, y) < z < front(x, y).

    surfaces: (225, 161, 2) float32, front and back, cm, at steps of 0.125 cm from x = -10, y = 15 downwards; outside
    the outline front lies below back. slopes: (225, 161, 2) float32, how what eyes, nose and mouth add to the front
    rises along x and y. hair: cm that hair adds.
    """

    surfaces: Floats
    slopes: Floats
    hair: float

    def at(self, points: Floats) -> Floats:
        """Front and back at points (h, w, 3) float32 in cm -> (h, w, 2) float32."""
        return _look_up(self.surfaces, *_to_grid(points), (_EMPTY_FRONT, _EMPTY_BACK))


def _to_grid(points: Floats) -> tuple[Floats, Floats]:
    """Column and row of points in cm, each (h, w) float32."""
    return (points[..., 0] - np.float32(_LEFT)) / np.float32(_STEP), (np.float32(_TOP) - points[..., 1]) / np.float32(
        _STEP
    )


def _look_up(maps: Floats, column: Floats, row: Floats, border: tuple[float, float]) -> Floats:
    """Two maps between the grid's points: (h, w, 2) float32; `border` outside."""
    found = cv2.remap(maps, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border)
    return np.asarray(found, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What each pixel of a view sees.

    points: (h, w, 3) float32, cm in the head's frame (nonsense where nothing was hit). hit: (h, w) bool.
    normals: (h, w, 3) float32, unit vectors in the camera's frame.
    """

    points: Floats
    hit: NDArray[np.bool_]
    normals: Floats


def _bump(x: Floats, y: Floats, centre: tuple[float, float], spread: tuple[float, float]) -> Floats:
    exponent = ((x - centre[0]) / spread[0]) ** 2 + ((y - centre[1]) / spread[1]) ** 2
    return np.asarray(np.exp(-0.5 * exponent), dtype=np.float32)


def _nose(x: Floats, y: Floats, tip: tuple[float, float]) -> Floats:
    """A ridge that rises from the bridge to a rounded tip at x, y and falls off below it."""
    heights = [-4.8, -3.3, -0.4 - tip[1], 0.2 - tip[1], 0.7 - tip[1], 1.3 - tip[1], 1.9 - tip[1]]
    profile = np.interp(-y, heights, [0.0, 0.6, 3.5, 3.6, 2.9, 1.1, 0.0])
    along = np.clip((3.3 - y) / (3.3 - tip[1]), 0, 1)
    width = 0.9 + 0.6 * along
    return np.asarray(profile * np.exp(-((np.abs(x - tip[0] * along) / width) ** 2.8)), dtype=np.float32)


def _features(x: Floats, y: Floats, tip: tuple[float, float]) -> Floats:
    """What the face adds to a plain skull, cm towards the camera."""
    sockets = _bump(x, y, (-EYE[0], EYE[1]), (1.4, 0.9)) + _bump(x, y, EYE, (1.4, 0.9))
    brow = _bump(np.abs(x), y, (2.6, 4.3), (2.2, 0.7))
    muzzle = _bump(x, y, (0.0, -4.0), (2.2, 1.8))
    chin = _bump(x, y, (0.0, -8.3), (1.9, 1.3))
    return np.asarray(_nose(x, y, tip) - 0.7 * sockets + 0.3 * brow + muzzle + 1.2 * chin, dtype=np.float32)


def build_relief(nose_tip: tuple[float, float] = NOSE_TIP, hair: float = 0.0) -> Relief:
    """The head's depth maps.

    Args:
        nose_tip: x, y of the tip of the nose, cm; it lies off the middle on a half turned photograph.
        hair: cm that thick hair adds at the sides and on top.
    """
    columns, rows = np.meshgrid(np.arange(_COLUMNS), np.arange(_ROWS))
    x, y = (_LEFT + _STEP * columns).astype(np.float32), (_TOP - _STEP * rows).astype(np.float32)
    upward, downward = np.maximum(y - _WIDEST_Y, 0) / (10.5 + hair), np.maximum(_WIDEST_Y - y, 0) / 13.2
    over, under = np.clip(1 - upward**2.4, 0, 1), np.clip(1 - downward**2.6, 0, 1)
    half_width = (7.8 + hair * np.clip((y + 4) / 5, 0, 1)) * np.sqrt(over * under)
    across = np.sqrt(np.clip(1 - (np.abs(x) / np.maximum(half_width, 1e-3)) ** 2.3, 0, 1))
    front = 8.3 * np.sqrt(over * np.clip(1 - downward**10, 0, 1)) * across
    back = (9.0 + hair) * np.sqrt(over * np.clip(1 - (1.25 * downward) ** 2, 0, 1)) * across
    # Outside, the two surfaces go on past each other, so that the outline falls between the grid's points.
    beyond = 8 * (np.maximum(np.abs(x) - half_width, 0) + 10 * np.maximum(np.maximum(upward, downward) - 1, 0))
    features = _features(x, y, nose_tip) * np.minimum(1, 2 * across)
    surfaces = np.stack([_EAR_Z + front + features - beyond, _EAR_Z - back + beyond], axis=-1)
    # Over half a centimetre: skin is soft.
    slope_x = np.roll(features, -2, axis=1) - np.roll(features, 2, axis=1)
    slope_y = np.roll(features, 2, axis=0) - np.roll(features, -2, axis=0)
    slopes = np.clip(np.stack([slope_x, slope_y], axis=-1), -0.7, 0.7) * 2
    return Relief(surfaces.astype(np.float32), slopes.astype(np.float32), hair)


def turn_matrix(yaw: float, pitch: float, roll: float) -> Floats:
    """Head frame -> camera frame, (3, 3) float32, degrees in; `records.Pose`'s signs, 300W-LP's order (roll first)."""
    cy, sy = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    cp, sp = math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    cr, sr = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z, dtype=np.float32)


def _within(relief: Relief, column: Floats, row: Floats, z: Floats) -> NDArray[np.bool_]:
    """Whether points of the grid at z, cm, lie in the head; all (h, w)."""
    ends = _look_up(relief.surfaces, column, row, (_EMPTY_FRONT, _EMPTY_BACK))
    return np.asarray((z < ends[..., 0]) & (z > ends[..., 1]))


def _hull_entry(start: Floats, ray: Floats, hair: float) -> tuple[Floats, NDArray[np.bool_]]:
    """How far along its ray each pixel enters the ellipsoid around the head, cm, and whether it does."""
    radii = np.array(_HULL_RADII, np.float32) + np.array([hair, hair, hair], np.float32)
    origin, direction = (start - np.array(_HULL_CENTRE, np.float32)) / radii, ray / radii
    a, b = float(direction @ direction), origin @ direction
    under_root = b**2 - a * ((origin**2).sum(axis=-1) - 1)
    return np.asarray((-b - np.sqrt(np.maximum(under_root, 0))) / a, dtype=np.float32), under_root > 0


def _first_depth(relief: Relief, start: Floats, ray: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """How far along its ray each pixel meets the head, cm, and whether it does: a march, then halving the last step."""
    entry, near = _hull_entry(start, ray, relief.hair)
    points = start + entry[..., None] * ray
    (column, row), z = _to_grid(points), points[..., 2].copy()
    per_cm = (ray[0] / np.float32(_STEP), -ray[1] / np.float32(_STEP), ray[2])
    low = np.zeros(near.shape, np.float32)
    hit = np.zeros(near.shape, bool)
    for step in range(1, _RAY_COUNT + 1):
        at = np.float32(step * _RAY_STEP)
        hit |= _within(relief, column + at * per_cm[0], row + at * per_cm[1], z + at * per_cm[2])
        low[~hit] = at
    half = np.float32(_RAY_STEP)
    for _ in range(_HALVINGS):
        half /= np.float32(2)
        at_middle = low + half
        inside = _within(relief, column + at_middle * per_cm[0], row + at_middle * per_cm[1], z + at_middle * per_cm[2])
        low[~inside] += half
    return np.asarray(entry + low + half, dtype=np.float32), hit & near


def _normals(relief: Relief, points: Floats, rotation: Floats) -> Floats:
    """Which way the surface faces: an ellipsoid's normals, tilted by the features' slopes."""
    centre, radii = np.array([0, 1.5, _EAR_Z], np.float32), np.array([7.7, 12, 8.5], np.float32)
    normal = (points - centre) / radii**2
    forward = np.maximum(normal[..., 2:], 0)
    normal[..., :2] -= forward * _look_up(relief.slopes, *_to_grid(points), (0.0, 0.0))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    return np.asarray(normal @ rotation.T, dtype=np.float32)


def cast(relief: Relief, rotation: Floats, scale: float, centre: tuple[float, float], size: tuple[int, int]) -> Hits:
    """What a weak-perspective camera sees of the turned head: hidden surfaces stay hidden, nothing tears.

    Args:
        relief: the head.
        rotation: (3, 3), from `turn_matrix`.
        scale: px a cm.
        centre: x, y px of the head's origin in the picture.
        size: width, height of the picture, px.
    """
    columns, rows = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    seen = np.stack(
        [(columns - centre[0]) / scale, (centre[1] - rows) / scale, np.zeros_like(columns)], axis=-1
    ).astype(np.float32)
    start, ray = seen @ rotation, np.asarray(-rotation[2], dtype=np.float32)
    depth, hit = _first_depth(relief, start, ray)
    points = start + depth[..., None] * ray
    return Hits(points, hit, _normals(relief, points, rotation))
