"""How sharp a crop is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    from facepipe.records import BgraImage

WORKING_SIDE = 128
"""px: crops are compared at this side, whatever `--crop-size` was."""
CENTRE = 0.5
"""The share of the side that is looked at, in the middle: the face, without hair and background."""


def sharpness(bgra: BgraImage) -> float:
    """How much fine detail the face shows, for its contrast.

    The crop is brought to 128 px, and in the middle half, where the face is, the root mean square of its Laplacian is
    divided by the standard deviation of its gray values. So it depends neither on brightness and contrast nor on the
    crop's size, but on what the face shows at one and the same scale: an enlarged small face is as blurred as it looks.

    Args:
        bgra: the crop, (size, size, 4) uint8 BGRA.

    Returns:
        About 0.1 for a badly blurred face, 0.5 for a good photograph; 0 where there is nothing to see.
    """
    height, width = bgra.shape[:2]
    top, left = int(height * (1 - CENTRE) / 2), int(width * (1 - CENTRE) / 2)
    gray = cv2.cvtColor(bgra[top : height - top, left : width - left], cv2.COLOR_BGRA2GRAY)
    side = round(WORKING_SIDE * CENTRE)
    if gray.shape != (side, side):
        # Averaging at less than half the size would itself blur, by as much as a fifth.
        method = cv2.INTER_AREA if gray.shape[0] >= 2 * side else cv2.INTER_CUBIC
        gray = cv2.resize(gray, (side, side), interpolation=method)
    contrast = float(cv2.meanStdDev(gray)[1][0, 0])
    detail = float(cv2.norm(cv2.Laplacian(gray, cv2.CV_16S))) / side
    return detail / contrast if contrast >= 1 else 0.0
