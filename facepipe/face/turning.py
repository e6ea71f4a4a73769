"""A face of a photograph, turned to any yaw and pitch before the photograph's own background.

The generic head is laid onto the five landmarks; body and background stay where they are, what the head leaves is
filled from around it, and the picture is framed as the detector frames turned faces. Frontal photographs show the same
parts of every head, so what lies where is known from the start: a face takes 5 ms. Of a face that looks aside the
hidden half is the other one's mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.face.head import FIVE, cover, head, mixed, rotation
from facepipe.face.orientation import NOD
from facepipe.face.surface import HAIR, SEEN, before, frontal_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.face.head import Cover
    from facepipe.records import Image

    Floats = NDArray[np.float32]

FRONTAL = 15.0
"""Degrees between face and camera up to which both sides of a face are seen about equally."""
PIVOT = np.array([0.0, 1.0, 0.35], np.float32)
"""Where the head turns on its neck, in the units of `Head`."""
FAR = 30.0
"""Degrees from where on a turned head hides all of the photograph's."""
LIGHT = np.array([0.3, -0.6, -0.75], np.float32) / np.float32(1.006)


@dataclass(frozen=True, eq=False)
class View:
    """A turned face. image: (size, size, 3) uint8 RGB. The rest tells `Turnable.flow` where its parts lie."""

    image: Image
    placed: Floats
    turned: Floats
    window: NDArray[np.float64]
    covered: Cover

    @property
    def landmarks(self) -> Floats:
        """(5, 2) px: eyes, nose tip, mouth corners, from the image's left."""
        points = head().points(self.placed)
        return np.array([points[list(which), :2].mean(axis=0) for which in FIVE], np.float32)


class Turnable:
    """A photograph whose face can be turned.

    Args:
        photograph: (h, w, 3) uint8 RGB.
        landmarks: (5, 2) px: eyes, nose tip, mouth corners, from the image's left.
        yaw: degrees, of the face as it is.
        pitch: likewise.
    """

    def __init__(self, photograph: Image, landmarks: Floats, yaw: float, pitch: float) -> None:
        shape, model = frontal_shape(), head()
        self.photograph, self.yaw, self.pitch = photograph, yaw, pitch
        self.turned = turned = rotation(yaw, pitch, 0).astype(np.float32)
        seen, flat = landmarks - landmarks.mean(axis=0), ((shape.five - shape.five.mean(axis=0)) @ turned.T)[:, :2]
        # Landmarks that contradict the angles still tell how large the face is.
        size = (flat * flat).sum()
        self.scale = max(float((seen * flat).sum() / size), 0.5 * float((seen * seen).sum() / size) ** 0.5)
        rest = seen / self.scale - flat
        # Heads from here on have their own axes, the unit of the generic one, and the pivot as origin.
        moved = np.pad(shape.near @ rest, ((0, 0), (0, 1))) @ turned
        self.own = np.asarray(shape.hair + moved - PIVOT, np.float32)
        middle = (shape.five.mean(axis=0) - PIVOT) @ turned.T
        self.pivot = np.asarray(landmarks.mean(axis=0) - self.scale * middle[:2], np.float32)
        self.places = (self.own @ turned.T)[:, :2] * self.scale + self.pivot
        self.aside = np.degrees(np.arccos(np.clip(turned[2, 2], -1, 1))) > FRONTAL + NOD
        self.seen = self._seen()
        known = self.places[shape.known]
        if self.aside:
            there = self.seen[shape.known] >= self.seen[model.mirrored[shape.known]]
            known = np.where(there[:, None], known, self.places[model.mirrored[shape.known]])
        colours = _sampled(photograph, known[None])[0]
        self.paint = shape.paint @ np.concatenate([colours, colours])
        self.points = model.points(self.own)
        plate = _without_head(photograph, self.places[shape.head], HAIR * self.scale)
        self._front: tuple[int, Cover] | None = None
        self._whole, self._plate = (_wider(image) for image in (photograph, plate))

    def turn(self, yaw: float, pitch: float, size: int, shift: tuple[float, float] = (0, 0), zoom: float = 1) -> View:
        """The face turned.

        Args:
            yaw: degrees, of the face in the view.
            pitch: likewise.
            size: px.
            shift: how far the detector's box lies off to the right and down, in half widths of the face.
            zoom: how much larger than usual the face is.
        """
        shape = frontal_shape()
        turned = rotation(yaw, pitch, 0).astype(np.float32)
        window = self._window(turned, yaw, size, shift, zoom)
        placed = np.asarray(self.own @ turned.T * (self.scale * window[0, 0]), np.float32)
        placed[:, :2] += window[:, :2] @ self.pivot + window[:, 2]
        pixel, triangle, weights = covered = cover(placed, shape.triangles, size, size)
        lit = np.clip(shape.facing @ (turned.T @ LIGHT), 0, 1)
        values = np.column_stack([self.places, self.paint * (0.7 + 0.5 * lit)[:, None], self.seen, shape.fade])
        shown = mixed(values, shape.triangles[triangle], weights)
        paint, seen, fade = shown[:, 2:5], shown[:, 5:6], shown[:, 6:]
        own = _sampled(self.photograph, _rows(shown[:, :2])).reshape(-1, 3)[: len(pixel)]
        if self.aside:
            other_side = np.column_stack([self.places, self.seen])[head().mirrored]
            other = mixed(other_side, shape.triangles[triangle], weights)
            mirrored = _sampled(self.photograph, _rows(other[:, :2])).reshape(-1, 3)[: len(pixel)]
            paint += other[:, 2:] * (mirrored - paint)
        # Hardly turned, a head shows hardly anything that the photograph does not.
        far = min(abs(yaw - self.yaw) + abs(pitch - self.pitch), FAR) / FAR
        layer = np.zeros((size, size, 4), np.float32)
        layer.reshape(-1, 4)[pixel, :3] = paint + seen * (own - paint)
        layer.reshape(-1, 4)[pixel, 3:] = fade * (seen + far * (1 - seen))
        behind = self._behind(window, size, far)
        # The border's pixels are partly background: half a pixel of softness, as a lens has.
        alpha = np.clip(2 * cv2.blur(layer[..., 3], (3, 3)) - 1, 0, layer[..., 3])[..., None]
        image = np.asarray(np.clip(behind + alpha * (layer[..., :3] - behind), 0, 255), np.uint8)
        return View(image, placed, turned, window, covered)

    def flow(self, view: View, size: int) -> Image:
        """Where each px of the photograph, reduced to (size, size), lies in a view, and whether it is to be seen there.

        Returns:
            (size, size, 3) uint8: x and y in 256ths of the view's side, and 255 where the view shows that part of the
            head, 0 where it hides it and behind the head.
        """
        shape, side = frontal_shape(), len(view.image)
        if self._front is None or self._front[0] != size:
            scale = size / max(self.photograph.shape)
            places = np.column_stack(
                [(self.places + 0.5) * scale - 0.5, self.own @ self.turned[2] * self.scale * scale]
            )
            self._front = size, cover(np.asarray(places, np.float32), shape.triangles, size, size)
        pixel, triangle, weights = self._front[1]
        facing = -(shape.facing @ view.turned[2])
        shown = before(view.placed, shape.triangles, view.covered, side, side / 25) * (facing > SEEN[0] / 2)
        values = np.column_stack([(view.placed[:, :2] + 0.5) / side, shown * (shape.fade > 0.5)])
        # Behind the head the picture is only moved.
        along = (np.arange(size) + 0.5) * max(self.photograph.shape) / size - 0.5
        moved = (view.window[0, 0] * along[:, None] + view.window[:, 2] + 0.5) / side
        flow = np.zeros((size, size, 3))
        flow[..., 0], flow[..., 1] = moved[None, :, 0], moved[:, None, 1]
        flow.reshape(-1, 3)[pixel] = mixed(values, shape.triangles[triangle], weights)
        return np.asarray(np.clip(np.rint(flow * [256, 256, 255]), 0, 255), np.uint8)

    def _seen(self) -> Floats:
        """(n,) 0..1, how well the photograph shows each part of the head."""
        shape, (height, width, _) = frontal_shape(), self.photograph.shape
        facing = -(shape.facing @ self.turned.T)[:, 2]
        x, y = self.places.T
        within = (x > 0) & (y > 0) & (x < width - 1) & (y < height - 1)
        steepness = SEEN[1] - SEEN[0]
        if not self.aside:
            return np.asarray(np.clip((facing - SEEN[0]) / steepness, 0, 1).astype(np.float32) * shape.open * within)
        placed = np.column_stack([self.places, self.own @ self.turned[2] * self.scale]).astype(np.float32)
        side = max(height, width)
        shown = before(placed, shape.triangles, cover(placed, shape.triangles, side, side), side, self.scale / 4)
        # Skin counts however slanting it is seen; where the head may end, hair and background begin.
        seen = np.clip((facing - SEEN[0] * shape.outer) / steepness, 0, 1) * shown * within
        return np.asarray(seen, np.float32)

    def _window(
        self, turned: Floats, yaw: float, size: int, shift: tuple[float, float], zoom: float
    ) -> NDArray[np.float64]:
        """(2, 3), from px of the photograph to px of a view: what a detector's box moves by when the head turns."""
        height, width, _ = self.photograph.shape
        before, after = (_middle(self.points @ r.T) for r in (self.turned, turned))
        off = np.array([LEANING * np.sign(yaw) * min(abs(yaw) / 45, 1), 0]) + shift
        centre = np.array([width - 1, height - 1]) / 2 + self.scale * (after - before + off)
        scale = zoom * size / max(height, width)
        return np.column_stack([np.eye(2) * scale, (size - 1) / 2 - scale * centre])

    def _behind(self, window: NDArray[np.float64], size: int, far: float) -> Floats:
        """What a view shows behind the head, (size, size, 3) float32."""
        height, width, _ = self.photograph.shape
        matrix = window.copy()
        matrix[:, 2] -= window[:, :2] @ (np.array([width, height]) // 2)
        flags = cv2.INTER_AREA if window[0, 0] < 1 else cv2.INTER_LINEAR
        plate = cv2.addWeighted(self._plate, far, self._whole, 1 - far, 0)
        shown = cv2.warpAffine(plate, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(shown, np.float32)


def turn_to_front(photograph: Image, landmarks: Floats, yaw: float, pitch: float) -> View:
    """The same face from the front, framed as before; the arguments are `Turnable`'s."""
    return Turnable(photograph, landmarks, yaw, pitch).turn(0, 0, len(photograph))


LEANING = -0.07
"""Half widths of the face by which the detector's box lies nearer to where a face looks from 45 degrees on than the
middle of its points, over 8,942 faces of LFW and YouTube Faces; its side is the same at every yaw."""


def _middle(points: Floats) -> NDArray[np.float64]:
    return np.asarray((points.min(axis=0) + points.max(axis=0))[:2] / 2, np.float64)


def _rows(places: Floats) -> Floats:
    """(p, 2) -> (rows, 128, 2): OpenCV takes no picture of one long row."""
    count = -(-len(places) // 128) * 128
    return np.ascontiguousarray(np.pad(places, ((0, count - len(places)), (0, 0)), mode="edge").reshape(-1, 128, 2))


def _sampled(image: Image, places: Floats) -> Floats:
    found = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _without_head(photograph: Image, places: Floats, hair: float) -> Image:
    """The photograph, its head, whose points are (n, 2) px, filled from around it."""
    outline = cv2.convexHull(np.rint(places).astype(np.int32))
    there = cv2.fillConvexPoly(np.full(photograph.shape[:2], 255, np.uint8), outline, 0)
    around = 2 * round(2 * hair) + 1
    there = cv2.erode(there, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (around, around)))
    weight = cv2.blur(there, (5, 5)).astype(np.float32) / 255
    return np.asarray(_filled(photograph.astype(np.float32), weight), np.uint8)


def _wider(image: Image) -> Image:
    """An image with half of its sides more around it, as in a mirror."""
    height, width, _ = image.shape
    edges = (height // 2, height - height // 2, width // 2, width - width // 2)
    return np.asarray(cv2.copyMakeBorder(image, *edges, cv2.BORDER_REFLECT_101), np.uint8)


def _filled(image: Floats, weight: Floats) -> Floats:
    """An image (h, w, 3) where it counts, and the colours around it, ever smoother, where it does not: pull and push.

    Gortler, Grzeszczuk, Szeliski and Cohen, The Lumigraph (1996), section 3.4.
    """
    if min(weight.shape) < 2:
        return image
    size = (image.shape[1] // 2, image.shape[0] // 2)
    below = cv2.resize(image * weight[..., None], size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    below /= np.maximum(share, 1e-6)[..., None]
    rest = cv2.resize(_filled(below, np.minimum(2 * share, 1)), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(rest + weight[..., None] * (image - rest), np.float32)
