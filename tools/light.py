"""Light for `studio.py`: lamps as soft lobes around a direction, and what comes from above and below.

Axes as in images: x to the right, y down, z away from the camera. Light is linear RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def sphere(count: int) -> np.ndarray:
    """(count, 3) unit vectors, evenly spread (Fibonacci)."""
    i = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * i / count), np.pi * (1 + 5**0.5) * i
    return np.stack([np.cos(around) * np.sin(polar), np.cos(polar), np.sin(around) * np.sin(polar)], axis=1)


@dataclass(frozen=True)
class Light:
    """A lamp: where it is, how small (16 a window, 200 a bulb), its RGB."""

    direction: tuple[float, float, float]
    sharpness: float
    colour: tuple[float, float, float]

    def at(self, directions: np.ndarray, blur: float = np.inf) -> np.ndarray:
        """(..., 3) its light from directions, seen in a surface that blurs like a lobe of that sharpness."""
        way = np.array(self.direction) / np.linalg.norm(self.direction)
        sharpness = self.sharpness if np.isinf(blur) else self.sharpness * blur / (self.sharpness + blur)
        weight = np.exp(np.float32(sharpness) * (directions @ way.astype(directions.dtype) - 1)) * np.float32(
            sharpness / self.sharpness
        )
        return weight[..., None] * np.array(self.colour, directions.dtype)


@dataclass(frozen=True)
class Lighting:
    """Lamps, and what comes from above and below."""

    lights: tuple[Light, ...]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]

    def at(self, directions: np.ndarray, blur: float = np.inf) -> np.ndarray:
        """(..., 3) light from directions."""
        up = np.clip(0.5 - 0.5 * directions[..., 1:2], 0, 1)
        around = up * np.array(self.sky, up.dtype) + (1 - up) * np.array(self.ground, up.dtype)
        return around + sum(light.at(directions, blur) for light in self.lights)
