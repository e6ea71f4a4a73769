"""Folders of photographs for tests of whole stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from facepipe.storage import Place


def write_people(root: Place, photograph: np.ndarray, people: int, frames: int, side: int = 180) -> None:
    """A folder a person: one photograph (the astronaut), narrowed and lit in ways of their own, about `side` px."""
    for person in range(people):
        for frame in range(frames):
            dice = np.random.default_rng([person, frame])
            width, height = dice.integers(side * 3 // 4, side, 2).tolist()
            image = cv2.resize(photograph[:300, 100:350], (width, height), interpolation=cv2.INTER_AREA)
            image = np.clip(image * dice.uniform(0.5, 1.2) + dice.uniform(0, 30), 0, 255).astype(np.uint8)
            content = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
            root.write(f"person-{person:02d}/{frame}.jpg", content, durable=False)
