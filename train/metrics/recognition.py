"""Whether a drawn face is the person's: judged by facepipe's identity embedding.

It sees no training, unless a run's `identity` lets it teach: then it judges its own pupil.

All pictures of one set of shards are judged in one fixed frontal frame, so that no detector can help or hinder: where
the landmarks of its targets lie in the median. With them sharpness, and the error that light does not explain, within
the face.

Images are (n, s, s, c) float32 of 0..1, or uint8 where it says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

import facepipe
from facepipe.face.identity import make_identity
from facepipe.face.turning import turn_to_front

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from facepipe.records import Pose

    Images = NDArray[np.float32]
    Floats = NDArray[np.float32]

USUAL = np.array([[0.35, 0.42], [0.65, 0.42], [0.5, 0.56], [0.38, 0.69], [0.62, 0.69]], np.float32)
"""Shares of a crop's side: where the landmarks of a frontal face lie with the default margin."""
LOOKED_AT, FOUND = 48, 5
"""Faces in which landmarks are looked for, and how many must have some."""
ENLARGED = 256
"""px, for the detector."""
REACH = (1.15, 1.6)
"""Half the face's width and height, in distances between the eyes, around the middle of the five points."""
FLAT = 1e-6


def find_face(image: NDArray[np.uint8]) -> tuple[Floats, Pose] | None:
    """The largest face of a picture (s, s, c) uint8; None where none is found.

    Returns:
        Its landmarks (5, 2), shares of the picture's side, and where it looks.
    """
    large = cv2.resize(to_rgb(image), (ENLARGED, ENLARGED), interpolation=cv2.INTER_CUBIC)
    found = facepipe.detect(large, min_score=0.5)
    if not found:
        return None
    largest = max(found, key=lambda face: float(face.box[2] - face.box[0]))
    return np.asarray((largest.landmarks + 0.5) / ENLARGED, np.float32), largest.pose


def embed_turned(images: NDArray[np.uint8], faces: Sequence[tuple[Floats, Pose] | None], frame: Floats) -> Floats:
    """(n, 128) embeddings of pictures (n, s, s, c) whose faces are turned to the front in 3D, without learning.

    faces: what `find_face` says of each; where it knows no pose, the picture itself is embedded.
    """
    turned, points = [], []
    for image, face in zip(map(to_rgb, images), faces, strict=True):
        if face is None or np.isnan(face[1].yaw):
            turned.append(image)
            points.append(face[0] if face else frame)
        else:
            landmarks, pose = face
            view = turn_to_front(image, landmarks * len(image) - 0.5, pose.yaw, pose.pitch)
            turned.append(view.image)
            points.append((view.landmarks + 0.5) / len(image))
    return embed(np.stack(turned), np.stack(points))


def find_frame(targets: NDArray[np.uint8]) -> Floats:
    """(5, 2), shares of the side: the median of the targets' landmarks; USUAL where faces are too small to have any."""
    chosen = targets[np.linspace(0, len(targets) - 1, min(LOOKED_AT, len(targets))).astype(int)]
    found = [face[0] for image in chosen if (face := find_face(image))]
    return np.asarray(np.median(found, axis=0), np.float32) if len(found) >= FOUND else USUAL


def to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(s, s, 1 or 3) uint8 -> (s, s, 3)."""
    return np.ascontiguousarray(np.repeat(image, 4 - image.shape[2], axis=2)[..., :3])


def face_mask(frame: Floats, size: int) -> NDArray[np.bool_]:
    """(size, size): the ellipse of a face whose landmarks lie in `frame`."""
    middle, apart = frame.mean(axis=0), float(np.linalg.norm(frame[1] - frame[0]))
    across = ((np.arange(size) + 0.5) / size - middle[0]) / (REACH[0] * apart)
    down = ((np.arange(size) + 0.5) / size - middle[1]) / (REACH[1] * apart)
    return np.asarray(across[None] ** 2 + down[:, None] ** 2 <= 1)


def face_measures(target: Images, output: Images, face: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Of each image, within the face, (n,) float64.

    sharpness: the mean gradient of the output against the target's; 1 is as sharp. gain_free: the mean squared error
    that is left after the output's best gain and offset, for two photographs of a person differ in their light.
    """
    sharpness = _gradient(output)[:, face].mean(axis=1) / np.maximum(_gradient(target)[:, face].mean(axis=1), FLAT)
    wanted, drawn = (np.asarray(x, np.float64)[:, face].reshape(len(x), -1) for x in (target, output))
    wanted, drawn = (x - x.mean(axis=1, keepdims=True) for x in (wanted, drawn))
    gain = (wanted * drawn).sum(axis=1) / np.maximum((drawn * drawn).sum(axis=1), FLAT)
    return {"sharpness": sharpness, "gain_free": np.square(wanted - gain[:, None] * drawn).mean(axis=1)}


def _gradient(images: Images) -> NDArray[np.float64]:
    """(n, s, s): its length, of the mean over channels, from each pixel to the next ones."""
    gray = np.asarray(images, np.float64).mean(axis=3)
    return np.hypot(np.diff(gray, axis=1, append=gray[:, -1:]), np.diff(gray, axis=2, append=gray[:, :, -1:]))


def embed(images: Images | NDArray[np.uint8], frame: Floats) -> NDArray[np.float32]:
    """(n, 128) embeddings of length 1 of faces whose landmarks lie in `frame`: (5, 2), or (n, 5, 2) of each."""
    whole = images if images.dtype == np.uint8 else np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    pixels = [to_rgb(image) for image in whole]
    points = np.broadcast_to(frame, (len(pixels), 5, 2)) * whole.shape[1] - 0.5
    return make_identity().embed(pixels, [np.asarray(each, np.float32) for each in points])
