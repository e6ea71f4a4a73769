"""Turns a photographed face by a known yaw, pitch and roll: the photograph is laid over a generic head's depth.

A photograph's own pose is unknown; the turn added to it is known, so estimates can be held against it within each
person. Every frame is drawn by a generator seeded from the seed, the person and the frame's number alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.relief import CHIN, EYE, FACE_EDGE, MOUTH, build_relief, cast, turn_matrix
from facepipe.scenery import Light, draw_backdrop, draw_body, expose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.photographs import Photograph
    from facepipe.records import Image, Points
    from facepipe.relief import Hits, Relief

    Floats = NDArray[np.float32]

_ANCHORS = np.array(
    [(-EYE[0], EYE[1]), EYE, (-MOUTH[0], MOUTH[1]), MOUTH, CHIN, (-FACE_EDGE[0], FACE_EDGE[1]), FACE_EDGE]
)
_NOSE = 2
_SKIN_LEFT, _SKIN_TOP, _SKIN_STEP = -10.0, 15.0, 0.0625
_SKIN_SIZE = (321, 449)


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn added to a photograph, in degrees, with the signs of `records.Pose`."""

    yaw: float
    pitch: float
    roll: float

    @property
    def angle(self) -> float:
        """Degrees between the turned face's forward direction and the photograph's, roll left out."""
        return float(np.degrees(np.arccos(np.cos(np.radians(self.yaw)) * np.cos(np.radians(self.pitch)))))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What stays the same over the frames of one sitting.

    size: width, height, px. scale: px a cm. centre: x, y px of the head's origin. backdrop: (h, w, 3) float32 RGB 0..1,
    neck and shoulders before it.
    """

    size: tuple[int, int]
    scale: float
    centre: tuple[float, float]
    backdrop: Floats


def plan_turns(rng: np.random.Generator, frames: int) -> list[Turn]:
    """`frames` turns: one close to none, the others' yaw spread evenly over +-45 degrees, pitch over +-20."""
    slots = np.linspace(-45, 45, frames)
    yaw = slots[:-1] + rng.uniform(0, 1, frames - 1) * np.diff(slots)
    turns = [
        Turn(round(float(y), 2), round(float(p), 2), round(float(np.clip(r, -15, 15)), 2))
        for y, p, r in zip(yaw, rng.uniform(-20, 20, frames - 1), rng.normal(0, 5, frames - 1), strict=True)
    ]
    still = Turn(*(round(float(angle), 2) for angle in rng.uniform(-2, 2, 3)))
    return [[still, *turns][index] for index in rng.permutation(frames)]


def _to_photograph(landmarks: Points) -> NDArray[np.float64]:
    """(2, 3) affine map from the head's x, y (cm) to the photograph's px, least squares over all but the nose."""
    here = np.c_[_ANCHORS, np.ones(len(_ANCHORS))]
    fitted, *_ = np.linalg.lstsq(here, np.delete(landmarks, _NOSE, axis=0).astype(np.float64), rcond=None)
    return np.asarray(fitted.T)


def _nose_tip(landmarks: Points, affine: NDArray[np.float64]) -> tuple[float, float]:
    """Where the photograph shows the tip of the nose, x, y in cm, within what a face can have."""
    x, y = np.linalg.solve(affine[:, :2], landmarks[_NOSE].astype(np.float64) - affine[:, 2])
    return float(np.clip(x, -1.5, 1.5)), float(np.clip(y, -3.0, -0.3))


def _skin_points(top: float, hair: float) -> tuple[Floats, Floats, Floats]:
    """Which x, y of the photograph (cm, head's frame) each point of the skin shows, and how far out it lies.

    Within the face's oval the point itself; beyond it (radius over 1), where the photograph shows its backdrop, a point
    on the rim.
    """
    columns, rows = np.meshgrid(np.arange(_SKIN_SIZE[0]), np.arange(_SKIN_SIZE[1]))
    x, y = _SKIN_LEFT + _SKIN_STEP * columns, _SKIN_TOP - _SKIN_STEP * rows
    across = 6.7 + hair * np.clip((y + 2) / 4, 0, 1)
    reach = np.where(y > 0, min(top, 10.5 + hair), 9.6)
    radius = np.maximum(np.hypot(x / across, y / reach), 1e-6)
    kept = np.where(radius < 0.85, radius, 0.85 + 0.15 * np.tanh((radius - 0.85) / 0.15)) / radius
    return (x * kept).astype(np.float32), (y * kept).astype(np.float32), radius.astype(np.float32)


def _row_at(y: float) -> int:
    """The skin's row at y cm."""
    return int((_SKIN_TOP - y) / _SKIN_STEP)


def _tint(image: Image, warmth: float) -> Floats:
    """Gray photographs in a skin's colours: (h, w, 3) float32 RGB 0..1, dark and light ends left gray."""
    exponents = np.array([1 - 0.9 * warmth, 1, 1 + warmth], np.float32)
    return np.asarray((image.astype(np.float32) / 255) ** exponents, dtype=np.float32)


class Sitter:
    """A photograph made ready to be turned: its skin laid out over the head's frame, and the head's depth.

    Hair and the sides of the head, which a tight crop leaves out, are made up; `rng` draws their shades.
    """

    def __init__(self, photograph: Photograph, rng: np.random.Generator) -> None:
        self.photograph = photograph
        affine = _to_photograph(photograph.landmarks)
        self.relief: Relief = build_relief(_nose_tip(photograph.landmarks, affine), photograph.hair)
        self.skin = self._lay_out(affine, float(rng.uniform(0.08, 0.22)) if photograph.gray else 0.0)
        jaw = self.skin[_row_at(-4) : _row_at(-8), 130:190].reshape(-1, 3)
        self.tone = np.asarray(np.median(jaw, axis=0), dtype=np.float32)
        self.hair = self._grow_hair(rng)

    def _lay_out(self, affine: NDArray[np.float64], warmth: float) -> Floats:
        """The photograph over the head's x, y: (449, 321, 3) float32 RGB 0..1, enlarged by Lanczos and sharpened.

        Beyond the face's oval the rim's colours go on, the softer the farther out.
        """
        top = float((0.3 - affine[1, 2]) / affine[1, 1])
        x, y, radius = _skin_points(top, self.photograph.hair)
        column = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
        row = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
        skin = cv2.remap(
            _tint(self.photograph.image, warmth),
            column.astype(np.float32),
            row.astype(np.float32),
            cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if self.photograph.gray:  # 25 px across: soften the kernel's ringing, a quarter of a photograph's pixel
            skin = cv2.GaussianBlur(skin, (0, 0), 2.5)
        skin += 0.3 * (skin - cv2.GaussianBlur(skin, (0, 0), 6.0))
        for start, softness in ((0.88, 6.0), (1.0, 14.0), (1.15, 28.0)):
            share = np.clip((radius - start) / 0.15, 0, 1)[..., None]
            skin += share * (cv2.GaussianBlur(skin, (0, 0), softness) - skin)
        return np.asarray(np.clip(skin, 0, 1), dtype=np.float32)

    def _grow_hair(self, rng: np.random.Generator) -> Floats:
        """Hair for the part of the head that a tight crop leaves out: (449, 321, 3) float32 RGB 0..1."""
        if self.photograph.gray:
            above = self.photograph.image[: len(self.photograph.image) // 3].astype(np.float32) / 255
            shade = np.clip(np.percentile(above, 12), 0.06, 0.5) * np.array([1.06, 1.0, 0.93], np.float32)
        else:
            shade = self.skin[_row_at(12) : _row_at(9)].mean(axis=(0, 1))
        strands = cv2.GaussianBlur(rng.normal(0, 1, _SKIN_SIZE[::-1]).astype(np.float32), (0, 0), 1.5, sigmaY=14)
        return np.asarray(np.clip(shade * (1 + 2.2 * strands[..., None]), 0, 1), dtype=np.float32)

    def _hair_share(self, points: Floats) -> Floats:
        """How much hair covers each point of the head: all behind the ears and above the hairline, softly."""
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        behind = np.minimum(-5.2 - z + 0.25 * y, y + 6.0)
        if not self.photograph.gray:
            return np.asarray(np.clip(behind / 3, 0, 1), dtype=np.float32)
        hairline = (np.hypot(x / 7.3, (y + 0.5) / 8.6) - 1) * 8 - 1.8 * np.clip((3.5 - y) / 5, 0, 1)
        return np.asarray(np.clip(0.5 + np.maximum(hairline, behind) / 1.4, 0, 1), dtype=np.float32)

    def _paint(self, hits: Hits, light: Light) -> Floats:
        """The head's colours under a lamp, (h, w, 3) float32 RGB."""
        column = (hits.points[..., 0] - _SKIN_LEFT) / _SKIN_STEP
        row = (_SKIN_TOP - hits.points[..., 1]) / _SKIN_STEP
        color = cv2.remap(self.skin, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        strands = cv2.remap(self.hair, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        color = color + self._hair_share(hits.points)[..., None] * (strands - color)
        lamp = np.clip(hits.normals @ np.array(light.direction, np.float32), -0.2, 1)
        return np.asarray(color * (1 + light.strength * (lamp - 0.75))[..., None], dtype=np.float32)

    def take(self, turn: Turn, scene: Scene, light: Light, rng: np.random.Generator) -> Image:
        """A picture of the turned head in its scene: (height, width, 3) uint8 RGB."""
        picture = scene.backdrop.copy()
        reach = int(17 * scene.scale)
        left, top = max(int(scene.centre[0]) - reach, 0), max(int(scene.centre[1]) - reach, 0)
        window = picture[top : int(scene.centre[1]) + reach, left : int(scene.centre[0]) + reach]
        hits = cast(
            self.relief,
            turn_matrix(turn.yaw, turn.pitch, turn.roll),
            scene.scale,
            (scene.centre[0] - left, scene.centre[1] - top),
            (window.shape[1], window.shape[0]),
        )
        covered = hits.hit.astype(np.float32)
        head = self._paint(hits, light) * covered[..., None]
        # The rim mixes with what is behind it by the head's own nearest colours: no halo of either.
        alpha = cv2.GaussianBlur(covered, (0, 0), 0.8)[..., None]
        window += cv2.GaussianBlur(head, (0, 0), 0.8) * (1 - covered[..., None]) - alpha * window * (
            1 - covered[..., None]
        )
        window += covered[..., None] * alpha * (head - window)
        return expose(picture, light, rng)


def draw_scene(rng: np.random.Generator, sitter: Sitter) -> Scene:
    """A place to sit in: 220 to 320 px, the face 100 to 140 px wide, somewhere about the middle."""
    size = (int(rng.integers(220, 301)), int(rng.integers(260, 321)))
    scale = float(rng.uniform(100, 140)) / (2 * FACE_EDGE[0])
    centre = (size[0] * float(rng.uniform(0.44, 0.56)), max(size[1] * float(rng.uniform(0.46, 0.54)), 14.5 * scale))
    cloth = sitter.photograph.cloth or tuple(rng.uniform(0.08, 0.6) + rng.uniform(-0.06, 0.06, 3))
    worn = np.clip(np.array(cloth, np.float32), 0, 1)
    return Scene(size, scale, centre, draw_body(draw_backdrop(rng, size), sitter.tone, worn, scale, centre))
