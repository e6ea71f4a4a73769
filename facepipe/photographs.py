"""The photographs that the demo turns: those bundled with scikit-image, carried along with their landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from facepipe.records import Image, Points


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A face to turn.

    image: (h, w, 3) uint8 RGB. landmarks: (8, 2) float32 px: eyes, nose tip, mouth corners (the image's left one
    first), chin, edges of the face. gray: whether it
    is to be tinted and given hair. hair: cm its own hair adds to the head. cloth: RGB 0..1, or None for any.
    """

    name: str
    image: Image
    landmarks: Points
    gray: bool = True
    hair: float = 0.0
    cloth: tuple[float, float, float] | None = None


def load_photographs() -> list[Photograph]:
    """The embedded photographs: the astronaut, then the 100 faces of scikit-image's subset of LFW."""
    with as_file(files("facepipe") / "demo_faces" / "faces.npz") as path, np.load(path) as arrays:
        astronaut = Photograph(
            "astronaut",
            arrays["astronaut"],
            arrays["astronaut_landmarks"],
            gray=False,
            hair=1.6,
            cloth=(0.85, 0.33, 0.16),
        )
        faces = [
            Photograph(f"person-{number:03d}", np.repeat(face[..., None], 3, axis=2), landmarks)
            for number, (face, landmarks) in enumerate(zip(arrays["faces"], arrays["face_landmarks"], strict=True), 1)
        ]
    return [astronaut, *faces]
