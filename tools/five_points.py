"""Head pose from five landmarks and the face's box.

The eyes and the corners of the mouth lie nearly in one plane, the nose stands out of it. Turned by a yaw, the nose
moves sideways by protrusion · sin(yaw) while the eyes' distance shrinks by cos(yaw): the yaw's tangent is the ratio of
the two, and still tells it for a full profile, where the eyes' distance is nothing. Pitch shows in how far down between
eyes and mouth the nose lies. A detector's box takes in the head's outline, which a turn moves against the landmarks, so
its centre sharpens both.

Where the constants come from: the shape (`_WITH_BOX`, `_ALONE`) was fitted on 4,279 photographs of LFW, outliers
weighing little, to the pose that a dense face mesh gives there, so no labelled pose is in it; it differs from the mesh
by 1.8 degrees of yaw and 3.0 of pitch, on held-out people likewise. The mesh has a scale of its own; ours is set by
`_YAW_SCALE` and `_PITCH_SCALE`, from 484 labelled YouTube Faces frames of 40 people: random halves of the people give
0.88 +- 0.02 and 0.73 +- 0.04, and errors of 2.1 and 2.9 degrees on the other half. They are set a little above, towards
photographs of larger turns (AFLW2000), where mesh and labels disagree; for the same reason yaws beyond `_STRETCH_FROM`
grow faster, so that a profile of 70 degrees is given as one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facepipe.records import Pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from facepipe.records import Box, Points

UNKNOWN = Pose(math.nan, math.nan, math.nan, math.nan)
"""What is said of a face whose pose can't be told."""


class _Constants(NamedTuple):
    nose_to_eyes: float
    nose_to_mouth: float
    box_aside: float
    eyes_share: float
    nose_down: float
    slimness: float
    box_down: float
    level: float
    turned: float


_WITH_BOX = _Constants(0.713, 0.431, -0.294, 0.323, 1.971, 0.368, -0.205, 0.194, -0.087)
_ALONE = _Constants(0.899, 0.587, 0.0, 0.113, 2.025, 0.356, 0.0, 0.175, -0.126)
_YAW_SCALE, _PITCH_SCALE = 0.89, 0.78
_STRETCH, _STRETCH_FROM = 1.4, 35.0
_SLIMNESS = 1.1
"""Width over height of the eyes-and-mouth quadrangle of a frontal face, the nose's depth counted in."""


def frontal_angle(yaw: float, pitch: float) -> float:
    """Degrees between the face's forward direction and the camera axis."""
    return math.degrees(math.acos(math.cos(math.radians(yaw)) * math.cos(math.radians(pitch))))


def estimate_pose(landmarks: Points | NDArray[np.floating], box: Box | NDArray[np.floating] | None = None) -> Pose:
    """Where a face looks.

    Args:
        landmarks: (5, 2) px: eye on the image's left, eye on its right, nose tip, mouth corners likewise.
        box: the detector's x1, y1, x2, y2, px; None: the landmarks alone tell.

    Returns:
        Degrees; all NaN where the landmarks are no face's: not finite, on one spot, the mouth between the eyes, the
        nose far outside.
    """
    points = np.asarray(landmarks).tolist()
    corners = None if box is None else np.asarray(box).tolist()
    # A sum is finite where all that is summed is.
    if not math.isfinite(sum(map(sum, points)) + (sum(corners) if corners else 0.0)):
        return UNKNOWN
    level = _level(points)
    if level is None:
        return UNKNOWN
    roll, cosine, sine = level
    upright = [(cosine * x + sine * y, cosine * y - sine * x) for x, y in points]
    centre = None
    if corners is not None:
        x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
        centre = (cosine * x + sine * y, cosine * y - sine * x)
    angles = _turn(upright, centre)
    if angles is None:
        return UNKNOWN
    yaw, pitch = angles
    return Pose(yaw, pitch, roll, frontal_angle(yaw, pitch))


def _level(points: list[list[float]]) -> tuple[float, float, float] | None:
    """Roll in degrees, its cosine and sine; None where all points lie on one spot.

    The lines through the eyes and the mouth and the one from the eyes to the mouth tell it together: in a profile the
    first two are too short to be trusted.
    """
    (lx, ly), (rx, ry), _, (mx, my), (nx, ny) = points
    down_x, down_y = (mx + nx - lx - rx) / 2, (my + ny - ly - ry) / 2
    x, y = (rx - lx) + (nx - mx) + down_y, (ry - ly) + (ny - my) - down_x
    length = math.hypot(x, y)
    if length < 1.0:
        return None
    return math.degrees(math.atan2(y, x)), x / length, y / length


def _turn(upright: list[tuple[float, float]], centre: tuple[float, float] | None) -> tuple[float, float] | None:
    """Yaw and pitch in degrees of five levelled points and the centre of their box; None for what is no face."""
    (lx, ly), (rx, ry), (x, y), (mx, my), (nx, ny) = upright
    eyes_x, eyes_y, mouth_x, mouth_y = (lx + rx) / 2, (ly + ry) / 2, (mx + nx) / 2, (my + ny) / 2
    height = mouth_y - eyes_y
    k = _ALONE if centre is None else _WITH_BOX
    aside, down = (0.0, 0.0)
    if centre is not None:
        aside, down = centre[0] - (eyes_x + mouth_x) / 2, centre[1] - (eyes_y + mouth_y) / 2
    sideways = k.nose_to_eyes * (x - eyes_x) + k.nose_to_mouth * (x - mouth_x) + k.box_aside * aside
    across = k.eyes_share * (rx - lx) + (1 - k.eyes_share) * (nx - mx)
    width = math.hypot(sideways, across)
    # Far outside what any head shows: swapped or scattered points.
    if height <= 0 or not 0.3 < width / height < 4 or across < -0.3 * width or not -0.5 < (y - eyes_y) / height < 1.5:
        return None
    turn = -math.atan2(sideways, across)
    nose = (y - eyes_y) / height - 0.5
    slope = k.nose_down * nose + k.slimness * (_SLIMNESS - width / height) + k.box_down * down / height
    pitch = math.degrees(-math.atan(slope) + k.level + k.turned * turn * turn) * _PITCH_SCALE
    return _stretch(math.degrees(turn)), min(max(pitch, -90.0), 90.0)


def _stretch(yaw: float) -> float:
    """The mesh's yaw as ours, degrees."""
    if -_STRETCH_FROM <= yaw <= _STRETCH_FROM:
        return _YAW_SCALE * yaw
    near = math.copysign(_STRETCH_FROM, yaw)
    return min(max(_YAW_SCALE * near + _STRETCH * (yaw - near), -90.0), 90.0)
