"""What surrounds the turned head: a backdrop out of focus, neck and shoulders, and the camera's own marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import Image

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Light:
    """How a frame is lit and taken.

    direction: unit vector towards the lamp, camera frame. strength: share of brightness it takes and gives.
    gain, gamma: applied to values of 0..1. blur: px. grain: standard deviation of the noise, 0..1.
    """

    direction: tuple[float, float, float]
    strength: float
    gain: float
    gamma: float
    blur: float
    grain: float


def draw_light(rng: np.random.Generator) -> Light:
    """A lamp somewhere in front, above the floor, and a camera of everyday quality."""
    side, height = rng.uniform(-0.8, 0.8), rng.uniform(-0.1, 0.8)
    length = float(np.sqrt(side**2 + height**2 + 1))
    return Light(
        direction=(float(side) / length, float(height) / length, 1 / length),
        strength=float(rng.uniform(0.4, 0.85)),
        gain=float(rng.uniform(0.85, 1.12)),
        gamma=float(rng.uniform(0.8, 1.2)),
        blur=float(rng.choice([0.0, 0.5, 0.8, 1.1], p=[0.4, 0.3, 0.2, 0.1])),
        grain=float(rng.uniform(0.003, 0.012)),
    )


def _noise(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Floats:
    """Smooth noise, (height, width) float32, about -1..1, with `cells` blobs across."""
    width, height = size
    coarse = rng.uniform(-1, 1, (max(2, cells * height // width), cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _muted_color(rng: np.random.Generator, low: float, high: float) -> Floats:
    gray = rng.uniform(low, high)
    return np.asarray(gray + rng.uniform(-0.05, 0.05, 3), dtype=np.float32)


def _blend(under: Floats, over: Floats, alpha: Floats) -> Floats:
    return under + alpha[..., None] * (over - under)


def _lamps(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Lights far out of focus: soft discs, (height, width) float32, 0..1."""
    discs = np.zeros((size[1], size[0]), np.float32)
    for _ in range(int(rng.integers(4, 10))):
        centre = (int(rng.integers(size[0])), int(rng.integers(size[1])))
        disc = np.zeros_like(discs)
        cv2.circle(disc, centre, int(rng.integers(6, 22)), float(rng.uniform(0.1, 0.35)), -1, cv2.LINE_AA)
        discs += disc
    return np.asarray(cv2.GaussianBlur(np.clip(discs, 0, 1), (0, 0), 2.0), dtype=np.float32)


def _panels(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """A wall with upright edges, out of focus: (height, width) float32, 0..1."""
    wall = np.zeros((size[1], size[0]), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        left = int(rng.integers(-20, size[0]))
        wall[:, max(left, 0) : max(left + int(rng.integers(20, 90)), 0)] += float(rng.uniform(0.3, 0.9))
    return np.asarray(cv2.GaussianBlur(np.clip(wall, 0, 1), (0, 0), float(rng.uniform(3, 8))), dtype=np.float32)


def draw_backdrop(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """A backdrop out of focus, never flat: (height, width, 3) float32 RGB, 0..1; size is width, height in px."""
    width, height = size
    angle = rng.uniform(0, 2 * np.pi)
    columns, rows = np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height))
    slope = (0.5 + columns * np.cos(angle) + rows * np.sin(angle)).astype(np.float32)
    first, second, third = (_muted_color(rng, 0.15, 0.85) for _ in range(3))
    picture = _blend(np.broadcast_to(first, (height, width, 3)), second, np.clip(slope, 0, 1))
    picture = picture + 0.10 * _noise(rng, size, 4)[..., None] + 0.05 * _noise(rng, size, 11)[..., None]
    kind = rng.integers(3)
    if kind == 0:
        picture = _blend(picture, np.minimum(third + 0.3, 1), _lamps(rng, size))
    elif kind == 1:
        picture = _blend(picture, third, 0.7 * _panels(rng, size))
    return np.asarray(np.clip(picture, 0, 1), dtype=np.float32)


def _edge(y: NDArray[np.floating], heights: list[float], half_widths: list[float]) -> NDArray[np.float64]:
    """Half a body's width at y, both in cm; heights run upwards."""
    return np.asarray(np.interp(y, heights, half_widths), dtype=np.float64)


def draw_body(picture: Floats, skin: Floats, cloth: Floats, scale: float, centre: tuple[float, float]) -> Floats:
    """Neck and shoulders under a head whose origin lies at `centre` (x, y px), `scale` px a cm; colours RGB 0..1."""
    height, width = picture.shape[:2]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    x, y = (columns - centre[0]) / scale, (centre[1] - rows) / scale
    neck = _edge(y, [-16.0, -12.5, -9.0, -3.0], [8.5, 5.4, 5.1, 4.5]) - np.abs(x)
    shoulders = _edge(y, [-30.0, -20.0, -17.0, -14.5, -12.2, -12.0], [23.0, 19.5, 15.5, 8.5, 5.6, 0.0]) - np.abs(x)
    collar = np.minimum(shoulders, np.abs(x) * 1.3 - (y + 18.5))
    shade = (0.72 + 0.2 * np.clip((-y - 8) / 6, 0, 1) - 0.03 * np.abs(x)).astype(np.float32)
    folds = (0.92 + 0.06 * np.cos(0.5 * x + 0.2 * y) - 0.012 * np.abs(x)).astype(np.float32)
    neck_alpha = np.clip(0.7 * neck * scale + 0.5, 0, 1) * (y < -3)
    picture = _blend(picture, skin * shade[..., None], neck_alpha.astype(np.float32))
    return _blend(picture, cloth * folds[..., None], np.clip(0.7 * collar * scale + 0.5, 0, 1).astype(np.float32))


def expose(picture: Floats, light: Light, rng: np.random.Generator) -> Image:
    """The camera's marks: a lens's blur, gain, gamma and grain; (h, w, 3) float32 RGB 0..1 -> uint8."""
    if light.blur > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), light.blur), dtype=np.float32)
    bright = np.clip(light.gain * picture, 0, 1) ** light.gamma
    grain = rng.normal(0, light.grain, (*picture.shape[:2], 1))
    return np.asarray(np.clip(255 * (bright + grain), 0, 255).round(), dtype=np.uint8)


def encode_jpeg(image: Image, quality: int) -> bytes:
    """(h, w, 3) uint8 RGB -> JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)
