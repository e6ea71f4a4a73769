"""Head pose from a dense face mesh: 468 points in three dimensions for one crop.

The network is MediaPipe's face mesh (Kartynnik et al. 2019, "Real-time Facial Surface Geometry from Monocular Video on
Mobile GPUs"), run with LiteRT. It costs a few times a whole detection, so `select` uses it on the few best candidates
of each identity, on their stored crops.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.detection import runtime, weights
from facepipe.errors import WeightsError
from facepipe.pose import frontal_angle
from facepipe.records import Pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import Image

    Array = NDArray[np.float64]

SIDE = 192
"""px, the network's input."""
POINTS = 468
MARGIN = 0.15
"""What the network is shown around the face box, as a share of its side; trained on 0.25 of a narrower box."""
WEIGHT = 0.7
"""The mesh's share where its pose and the five landmarks' are averaged."""
_YAW_SCALE, _PITCH_SCALE = 0.84, 0.86

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


def _mean_face() -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """The points' numbers, the numbers of their mirror images, and where they lie on the mean face (n, 3)."""
    points = [(i, i, xyz) for i, xyz in _MIDDLE.items()]
    for (left, right), (x, y, z) in _PAIRS.items():
        points += [(left, right, (-x, y, z)), (right, left, (x, y, z))]
    numbers, mirrored, face = zip(*points, strict=True)
    return np.array(numbers), np.array(mirrored), np.array(face, dtype=np.float64)


_NUMBERS, _MIRRORED, _FACE = _mean_face()


class Mesh:
    """The face mesh. Not thread-safe; one a process.

    Args:
        model_path: own weights, a TFLite file of the same inputs and outputs; empty: the packaged ones.

    Raises:
        MissingExtra: the packaged weights are not installed.
        WeightsError: the weights are not the expected ones, or not a face mesh.
    """

    def __init__(self, model_path: str = "") -> None:
        data = weights.read_model(model_path) if model_path else weights.read_weights(weights.FACE_MESH)
        self._network = _load(data, model_path)

    def pose(self, crop: Image, margin: float = 0.3) -> Pose | None:
        """Where the face in a crop looks.

        Args:
            crop: (size, size, 3) uint8 RGB, as `cut_crop` makes it: the face box in the middle, roll levelled.
            margin: the crop's margin, as given to `cut_crop`.

        Returns:
            Degrees, the roll counted from the crop's level; None where the network sees no face. A crop and its mirror
            image are looked at, since either alone errs more to one side.
        """
        view = show(crop, margin)
        straight = self._look(view)
        mirrored = self._look(view[:, ::-1])
        if straight is None or mirrored is None:
            return None
        mirrored[:, 0] = (SIDE - 1) - mirrored[:, 0]
        return fit_pose((straight[_NUMBERS] + mirrored[_MIRRORED]) / 2)

    def _look(self, view: Image) -> Array | None:
        """The mesh (468, 3) in px of the view; None where there is no face."""
        pixels = view.astype(np.float32)[None] / np.float32(255)
        presence, mesh = sorted(self._network.run(pixels), key=np.size)
        # A logit: above 0 a face is likelier than not.
        if float(presence.reshape(())) <= 0:
            return None
        points: Array = mesh.reshape(POINTS, 3).astype(np.float64)
        return points if np.isfinite(points).all() else None


def show(crop: Image, margin: float) -> Image:
    """The part of a crop that the network is shown, (192, 192, 3) uint8."""
    size = crop.shape[0]
    scale = SIDE / (size * (1 + 2 * MARGIN) / (1 + 2 * margin))
    shift = (SIDE - 1) / 2 - scale * (size - 1) / 2
    matrix = np.array([[scale, 0.0, shift], [0.0, scale, shift]])
    if scale <= 0.5:
        # Bilinear samples further apart than two pixels would alias: whole blocks are averaged first.
        blocks = int(1 / scale)
        crop = np.asarray(cv2.resize(crop, (size // blocks, size // blocks), interpolation=cv2.INTER_AREA))
        return show(crop.astype(np.uint8), margin)
    view = cv2.warpAffine(crop, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(view, dtype=np.uint8)


def fit_pose(points: Array) -> Pose:
    """The pose of mesh points (30, 3), those of the mean face in its order.

    The mean of two fits: the rotation that carries the mean face onto the points in three dimensions, and the affine
    camera that shows it as their x and y. The first leans on the network's depth, the second does without; their errors
    differ.
    """
    angles = np.array([_angles(_rotation(points)), _angles(_camera(points))])
    yaw, pitch, roll = (float(v) for v in angles.mean(axis=0))
    yaw, pitch = yaw * _YAW_SCALE, pitch * _PITCH_SCALE
    return Pose(yaw, pitch, roll, frontal_angle(yaw, pitch))


def _rotation(points: Array) -> Array:
    """The rotation (3, 3) from the mean face to the points (Kabsch)."""
    face, seen = _FACE - _FACE.mean(axis=0), points - points.mean(axis=0)
    left, _, right = np.linalg.svd(face.T @ seen)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(right.T @ left.T))])
    rotation: Array = right.T @ flip @ left.T
    return rotation


def _camera(points: Array) -> Array:
    """The rotation (3, 3) nearest to the affine camera that shows the mean face at the points' x and y."""
    face = np.concatenate([_FACE, np.ones((len(_FACE), 1))], axis=1)
    rows = np.linalg.lstsq(face, points[:, :2], rcond=None)[0][:3].T
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    across = left @ right
    return np.concatenate([across, np.cross(across[0], across[1])[None]])


def _angles(rotation: Array) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a face that looks along -z before it is turned."""
    forward = -rotation[:, 2]
    yaw = math.degrees(math.atan2(-forward[0], -forward[2]))
    pitch = math.degrees(math.asin(min(max(-forward[1], -1.0), 1.0)))
    return yaw, pitch, math.degrees(math.atan2(rotation[1, 0], rotation[0, 0]))


def merge_poses(mesh: Pose | None, landmarks: Pose) -> Pose:
    """A mesh's pose and the five landmarks' as one: their weighted mean, or whichever there is; the landmarks' roll."""
    if mesh is None or math.isnan(mesh.yaw):
        return landmarks
    if math.isnan(landmarks.yaw):
        return mesh
    yaw = WEIGHT * mesh.yaw + (1 - WEIGHT) * landmarks.yaw
    pitch = WEIGHT * mesh.pitch + (1 - WEIGHT) * landmarks.pitch
    return Pose(yaw, pitch, landmarks.roll, frontal_angle(yaw, pitch))


def _load(data: bytes, model_path: str) -> runtime.Network:
    """The network of a TFLite file, checked for its shape."""
    name = model_path or "the packaged face mesh"
    try:
        network = runtime.Network(data, name)
    except WeightsError as error:
        raise WeightsError(f"{error}: give --mesh-model the path of face_landmark.tflite") from error
    inputs, sizes = network.input_shapes, sorted(network.output_sizes)
    if inputs != [(1, SIDE, SIDE, 3)] or sizes != [1, 3 * POINTS]:
        raise WeightsError(f"{name} is no face mesh: it takes {inputs} and gives outputs of sizes {sizes}")
    return network
