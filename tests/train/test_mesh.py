"""`reconstruct mesh`: photographs -> frontal faces without any learning."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

import facepipe
from facepipe.face.turning import Turnable

ALONE = """
import sys
from train.reconstruction import reconstruct
reconstruct(None, sys.argv[2:], sys.argv[1], "best", print)
assert not {"keras", "tensorflow", "jax"} & set(sys.modules)
"""


def test_a_side_view_is_drawn_from_the_front(astronaut, tmp_path):
    """Of a head that looks 40 degrees aside comes one that looks ahead, framed alike; no framework is needed."""
    [face, *_] = facepipe.detect(astronaut, crop_size=256)
    [found, *_] = facepipe.detect(face.crop)
    side = Turnable(face.crop, found.landmarks, found.pose.yaw, found.pose.pitch).turn(40, 0, 256)
    cv2.imwrite(str(tmp_path / "side.png"), side.image[..., ::-1])
    cv2.imwrite(str(tmp_path / "nobody.png"), np.zeros((90, 90, 3), np.uint8))
    names = [str(tmp_path / name) for name in ("side.png", "nobody.png")]
    out = tmp_path / "out"
    told = subprocess.run([sys.executable, "-c", ALONE, out, *names], capture_output=True, text=True, check=True).stdout
    assert sorted(path.name for path in out.iterdir()) == ["sheet.png", "side.png"]
    assert "degrees from frontal" in told
    assert "nobody.png: no face" in told
    image = cv2.imread(str(out / "side.png"), cv2.IMREAD_COLOR_RGB)
    assert image.shape == (128, 128, 3)
    [drawn] = facepipe.detect(cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC))
    assert drawn.pose.yaw == pytest.approx(0, abs=12)
    [before] = facepipe.detect(side.image)
    assert before.pose.yaw > 25
