"""Where a face lies in its crop: by its box, or by its landmarks, as the field's networks were taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.face.crop import Similarity, crop_similarity, fit_similarity, warp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import BgraImage, Face, Image

ARCFACE = "112,38.2946,51.6963,73.5318,51.5014,56.0252,71.7366,41.5493,92.3655,70.7299,92.2041"
"""Side and five points, px, of InsightFace's `norm_crop` (python-package/insightface/utils/face_align.py)."""
NEAR_PX = 4
"""FFHQ's script softens from where a crop comes as near as this to the image's border."""


def align_face(align: str, face: Face, roll: float, size: int, margin: float) -> Similarity:
    """The similarity from px of the image to px of a square crop of a face.

    Args:
        align: `box`, `arcface`, `ffhq`, or `points:` with a template's side and its five points.
        face: in px of the image.
        roll: degrees that the face is turned clockwise, taken out by `box`; landmarks tell it themselves.
        size: px, the crop's side.
        margin: of `box`: share of the box's longer side that is added on each side.

    Returns:
        That of `box` as well where the landmarks lie all in one place.
    """
    found = None
    if align == "ffhq":
        found = _quadrangle(face.landmarks, size)
    elif align != "box":
        side, *points = map(float, (ARCFACE if align == "arcface" else align.removeprefix("points:")).split(","))
        found = fit_similarity(face.landmarks, np.reshape(points, (5, 2)) * (size / side))
    return found if found and found.scale > 0 else crop_similarity(face.box, roll, size, margin)


def _quadrangle(landmarks: NDArray[np.float32], size: int) -> Similarity:
    """FFHQ's square, by eyes and mouth (NVlabs/ffhq-dataset, download_ffhq.py, "Choose oriented crop rectangle")."""
    left, right, _, *mouth = (landmarks.astype(np.float64) @ [1, 1j]).tolist()  # x + iy
    eyes, across = (left + right) / 2, right - left
    down = sum(mouth) / 2 - eyes
    rightwards = across - 1j * down
    twice = 2 * max(2 * abs(across), 1.8 * abs(down)) * abs(rightwards)
    turn = size * rightwards / twice if twice else 0j
    shift = (size - 1) / 2 * (1 + 1j) - turn.conjugate() * (eyes + 0.1 * down)
    return Similarity(turn.real, turn.imag, shift.real, shift.imag)


def cut_aligned(align: str, image: Image, similarity: Similarity, size: int) -> BgraImage:
    """The crop of an image, (size, size, 4) uint8; beyond the border as `align` has it.

    `ffhq` reflects there, blurs, and goes over into the crop's median colour; all others repeat the outermost pixels.
    """
    if align != "ffhq":
        return warp(image, similarity, size)
    return _soften(warp(image, similarity, size, cv2.BORDER_REFLECT_101), image, similarity)


def _soften(crop: BgraImage, image: Image, similarity: Similarity) -> BgraImage:
    """Blurs a crop towards the image's border, fades it beyond (download_ffhq.py, "Pad"); here at the crop's size."""
    size, side = len(crop), len(crop) / similarity.scale
    inverse = cv2.invertAffineTransform(similarity.matrix)
    ends = np.array([-0.5, size - 0.5])
    # For each of the image's borders: its axis, and how a place becomes px inside of it.
    borders = [(axis, sign, start) for axis in (0, 1) for sign, start in ((1, 0), (-1, image.shape[1 - axis] - 1))]
    fade = np.full((size, size), -np.inf, np.float32)
    nearest = np.inf
    for axis, sign, start in borders:
        (by_u, by_v, shift) = sign * inverse[axis] + (0, 0, start)
        least = float(min(by_u * ends) + min(by_v * ends) + shift)
        nearest = min(nearest, least)
        room = max(0.1 * side - least, 0.3 * side)
        inside = (np.arange(size) * by_u)[None, :] + (np.arange(size) * by_v + shift)[:, None]
        fade = np.maximum(fade, (-inside / room).astype(np.float32))
    if nearest >= NEAR_PX:
        return crop
    pixels = crop.astype(np.float32)
    pixels += (cv2.GaussianBlur(pixels, (0, 0), 0.02 * size) - pixels) * np.clip(3 * fade + 1, 0, 1)[..., None]
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(fade, 0, 1)[..., None]
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)
