"""Faces turned in 3D: which can be, how far each view is turned, and their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.dataset.turns import draw_turn
from facepipe.errors import AS_BEFORE, DamagedFile
from facepipe.face.crop import points_in_crop
from facepipe.face.turning import FRONTAL, Turnable
from facepipe.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facepipe.dataset.seeding import Draws
    from facepipe.dataset.turns import Turn
    from facepipe.records import Image
    from facepipe.stages.sharding.plan import ShardPlan

COLUMNS = ("key", "yaw", "pitch", "frontal_angle", "landmarks", "transform")
"""Of the faces, beside status and crop."""


def name_view(key: str, number: int) -> str:
    """The key of a face's view."""
    return f"{key}~{number}"


def is_turnable(row: Mapping[str, Any]) -> bool:
    """Whether a face is frontal and its landmarks are known in its crop."""
    angle = row["frontal_angle"]
    if row["status"] != Status.OK or angle is None or not angle <= FRONTAL or not row["transform"]:
        return False
    points = points_in_crop(row["landmarks"], row["transform"])
    return bool(np.isfinite(points).all() and np.ptp(points[:, 0]) > 0 and np.ptp(points[:, 1]) > 0)


def turn_of(plan: ShardPlan, draws: Draws, key: str, number: int) -> Turn:
    """How view `number` of a face is turned."""
    return draw_turn(draws, plan.seed, key, number, plan.yaw, plan.pitch)


def draw_views(row: Mapping[str, Any], plan: ShardPlan, draws: Draws, itself: bytes) -> bytes:
    """The pixels of a face's places: itself, as given, then each view and its flow.

    Raises:
        DamagedFile: the crop is no picture.
    """
    crop = cv2.imdecode(np.frombuffer(row["crop"]["bytes"], np.uint8), cv2.IMREAD_COLOR_RGB)
    if crop is None:
        raise DamagedFile(f"a crop is no picture that can be decoded; run `facepipe extract` again {AS_BEFORE}")
    side = len(crop)
    # Finer than is asked for, and reduced as other crops are; no finer than twice that, which is slow.
    fine = max(plan.size, min(side, 2 * plan.size))
    photograph = np.asarray(cv2.resize(crop, (fine, fine), interpolation=cv2.INTER_AREA), np.uint8)
    points = (points_in_crop(row["landmarks"], row["transform"]) + 0.5) * (fine / side) - 0.5
    face = Turnable(photograph, points.astype(np.float32), row["yaw"], row["pitch"])
    pixels = [itself]
    for number in range(plan.turns):
        turn = turn_of(plan, draws, row["key"], number)
        view = face.turn(turn.yaw, turn.pitch, fine, turn.shift, turn.zoom)
        pixels.append(_reduced(view.image, plan).tobytes())
        if plan.flow:
            flow = face.flow(view, plan.size)
            pixels.append((flow if plan.channels == 3 else flow.transpose(2, 0, 1)).tobytes())
    return b"".join(pixels)


def join_flow(places: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Flows, (n, size, size, 3), of the pictures in their places: one of three channels, or three of one."""
    return places[0] if len(places) == 1 else np.concatenate(places, axis=3)


def _reduced(image: Image, plan: ShardPlan) -> Image:
    if len(image) != plan.size:
        image = np.asarray(cv2.resize(image, (plan.size, plan.size), interpolation=cv2.INTER_AREA), np.uint8)
    return image if plan.channels == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
