"""The library's functions: single images, whole stages, and the rows they made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from facepipe.config import ExtractConfig, SelectConfig, ShardConfig, SplitConfig
from facepipe.progress import QuietProgress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facepipe.detection import Detector
    from facepipe.records import Image, Pose, StageReport


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """A face in one image.

    box: (4,) float32, x1, y1, x2, y2, px. landmarks: (5, 2) float32, px: the eye on the image's left, the eye on its
    right, nose tip, mouth corner on the image's left, on its right. score: 0..1. pose: degrees. crop: (size, size, 3)
    uint8 RGB, roll levelled.
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float
    pose: Pose
    crop: Image


@lru_cache(maxsize=2)
def _detector(name: str) -> Detector:
    from facepipe.detection import make_detector

    return make_detector(name)


def detect(
    image: Image,
    *,
    min_face: float = 40.0,
    min_score: float = 0.7,
    detector: str = "yunet",
    crop_size: int = 128,
    margin: float = 0.3,
) -> list[DetectedFace]:
    """Finds the faces of one image.

    Args:
        image: (H, W, 3) uint8, RGB.
        min_face: smallest face, px.
        min_score: lowest confidence, 0..1.
        detector: `yunet` or `mtcnn`.
        crop_size: side of the crops, px.
        margin: room around the face box on each side, as a share of its side.

    Returns:
        The faces, best score first.

    Raises:
        UsageError: no (H, W, 3) uint8 array, or no such detector.
        WeightsError: the networks' weights are not installed as expected.
    """
    import numpy as np

    from facepipe.choosing import size_of
    from facepipe.cropping import cut_crop
    from facepipe.errors import UsageError
    from facepipe.pose import estimate_pose

    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError("detect takes an array (height, width, 3) of uint8 in RGB order")
    found = []
    for face in _detector(detector).detect(image, min_face):
        if face.score >= min_score and size_of(face) >= min_face:
            pose = estimate_pose(face.landmarks, face.box)
            roll = pose.roll if pose.roll == pose.roll else 0.0  # NaN: not levelled
            crop = cut_crop(image, face.box, roll, crop_size, margin)
            found.append(DetectedFace(face.box, face.landmarks, face.score, pose, crop.image))
    return found


def extract(config: ExtractConfig | None = None, **options: Any) -> StageReport:
    """`facepipe extract`, with an `ExtractConfig` or its fields as keyword arguments."""
    from facepipe.stages import extract as stage

    return stage.run(config or ExtractConfig(**options), QuietProgress())


def select(config: SelectConfig | None = None, **options: Any) -> StageReport:
    """`facepipe select`, with a `SelectConfig` or its fields as keyword arguments."""
    from facepipe.stages import select as stage

    return stage.run(config or SelectConfig(**options), QuietProgress())


def split(config: SplitConfig | None = None, **options: Any) -> StageReport:
    """`facepipe split`, with a `SplitConfig` or its fields as keyword arguments."""
    from facepipe.stages import split as stage

    return stage.run(config or SplitConfig(**options), QuietProgress())


def shard(config: ShardConfig | None = None, **options: Any) -> StageReport:
    """`facepipe shard`, with a `ShardConfig` or its fields as keyword arguments."""
    from facepipe.stages import shard as stage

    return stage.run(config or ShardConfig(**options), QuietProgress())


def verify(root: str = "data") -> list[str]:
    """`facepipe verify`: what is wrong with a workspace or one stage's folder, a sentence each; [] when all is well."""
    from facepipe.stages import verify as stage

    return [str(problem) for problem in stage.run(root, QuietProgress())]


def open_faces(path: str = "data/faces") -> Any:
    """The rows that `extract` wrote, as a `pyarrow.dataset.Dataset` that reads only what is asked for.

    Raises:
        InputError: there are no parts.
    """
    from facepipe.sources.dataset import open_parts
    from facepipe.storage import place

    return open_parts(place(path))
