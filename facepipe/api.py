"""The library's functions: single images, whole stages, and the rows they made."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from facepipe.config import Execution, ExtractConfig, SelectConfig, ShardConfig, SplitConfig
from facepipe.errors import UsageError
from facepipe.progress import QuietProgress
from facepipe.values import nearest, show, to_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facepipe.detection import Detector
    from facepipe.records import Image, Pose, StageReport


Config = TypeVar("Config", ExtractConfig, SelectConfig, SplitConfig, ShardConfig)


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
def _detector(name: str, min_score: float, _pid: int) -> tuple[Detector, threading.Lock]:
    """A process's detector and its lock: it is not thread-safe, and a forked child can't use its parent's."""
    from facepipe.detection import make_detector

    return make_detector(name, min_score=min_score), threading.Lock()


def detect(
    image: Image,
    *,
    min_face: float = 40.0,
    min_score: float = 0.7,
    detector: str = "yunet",
    crop_size: int = 128,
    margin: float = 0.3,
) -> list[DetectedFace]:
    """Finds the faces of one image. Threads that call it take turns; for many images `extract` uses all cores.

    Args:
        image: (H, W, 3) uint8, RGB.
        min_face: smallest face, px, from 8.
        min_score: lowest confidence, 0..1.
        detector: `yunet` or `mtcnn`.
        crop_size: side of the crops, px, 16..2048.
        margin: room around the face box on each side, as a share of its side, 0..3.

    Returns:
        The faces, best score first.

    Raises:
        UsageError: no (H, W, 3) uint8 array, one without pixels, or an option that the command line would refuse.
        WeightsError: the networks' weights are not installed as expected.
    """
    import numpy as np

    from facepipe.choosing import size_of
    from facepipe.cropping import cut_crop
    from facepipe.pose import estimate_pose

    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError("detect takes an array (height, width, 3) of uint8 in RGB order")
    if image.size == 0:
        raise UsageError(f"the image has {image.shape[1]} x {image.shape[0]} pixels")
    config = ExtractConfig(
        min_face=min_face, min_score=min_score, detector=detector, crop_size=crop_size, margin=margin
    )
    shared, lock = _detector(config.detector, config.min_score, os.getpid())
    with lock:
        faces = shared.detect(image, config.min_face)
    found = []
    for face in faces:
        if face.score >= config.min_score and size_of(face) >= config.min_face:
            pose = estimate_pose(face.landmarks, face.box)
            roll = pose.roll if pose.roll == pose.roll else 0.0  # NaN: not levelled
            crop = cut_crop(image, face.box, roll, config.crop_size, config.margin)
            found.append(DetectedFace(face.box, face.landmarks, face.score, pose, crop.image))
    return found


def extract(config: ExtractConfig | None = None, **options: Any) -> StageReport:
    """`facepipe extract`: images in, one row a face out.

    Args:
        config: an `ExtractConfig`, which says everything; or none, and options.
        **options: as on the command line, with `_` for `-`: `input`, `output`, `layout`, `manifest`, `label`, `every`,
            `limit`, `part_of`, `detector`, `min_face`, `min_score`, `crop_size`, `margin`, `face`, `cropped`, `track`,
            `model`, `part_size`, `timeout_s`, `max_pixels`, `max_failed`; and how it runs: `workers`, `engine`,
            `scheduler`, `overwrite`, `dry_run`, `retry_failed`, or these as `execution`, a `facepipe.Execution`.
            Paths are texts or `os.PathLike`. `facepipe extract --help` says what each means.

    Raises:
        UsageError: an option that can't be meant, or options beside a config.
        FacepipeError: what the command would end with.
    """
    from facepipe.stages import extract as stage

    return stage.run(_make_config(ExtractConfig, config, options), QuietProgress())


def select(config: SelectConfig | None = None, **options: Any) -> StageReport:
    """`facepipe select`: the most frontal frame of every identity.

    Args:
        config: a `SelectConfig`, which says everything; or none, and options.
        **options: as on the command line, with `_` for `-`: `input`, `output`, `per`, `max_angle`, `min_frames`,
            `refine`, `candidates`, `overrides`, `mesh_model`; and how it runs: `workers`, `overwrite`, `dry_run`, or
            `execution`.

    Raises:
        UsageError: an option that can't be meant, or options beside a config.
        FacepipeError: what the command would end with.
    """
    from facepipe.stages import select as stage

    return stage.run(_make_config(SelectConfig, config, options), QuietProgress())


def split(config: SplitConfig | None = None, **options: Any) -> StageReport:
    """`facepipe split`: feature/target pairs, subsets by identity.

    Args:
        config: a `SplitConfig`, which says everything; or none, and options.
        **options: as on the command line, with `_` for `-`: `faces`, `targets`, `output`, `validation`, `test`,
            `seed`, `images`; and how it runs: `workers`, `overwrite`, `dry_run`, or `execution`.

    Raises:
        UsageError: an option that can't be meant, or options beside a config.
        FacepipeError: what the command would end with.
    """
    from facepipe.stages import split as stage

    return stage.run(_make_config(SplitConfig, config, options), QuietProgress())


def shard(config: ShardConfig | None = None, **options: Any) -> StageReport:
    """`facepipe shard`: pairs or single faces as TFRecord shards.

    Args:
        config: a `ShardConfig`, which says everything; or none, and options.
        **options: as on the command line, with `_` for `-`: `input`, `faces`, `output`, `shards`, `noise` (one text or
            a list of them), `keep_clean`, `size`, `color`, `encoding`, `examples`, `seed`; and how it runs: `workers`,
            `engine`, `scheduler`, `overwrite`, `dry_run`, or `execution`.

    Raises:
        UsageError: an option that can't be meant, or options beside a config.
        FacepipeError: what the command would end with.
    """
    from facepipe.stages import shard as stage

    return stage.run(_make_config(ShardConfig, config, options), QuietProgress())


def _make_config(kind: type[Config], given: object, options: dict[str, Any]) -> Config:
    """The config that was given, or one of the options."""
    name = kind.__name__
    if given is not None:
        if not isinstance(given, kind):
            raise UsageError(f"got {show(given)} instead of a facepipe.{name}; give options by name, such as input=...")
        if options:
            raise UsageError(f"{', '.join(options)} beside a config would be left out: put it into the {name}")
        return given
    named = {"timeout_s" if option == "timeout" else option: value for option, value in options.items()}
    own, running = ({item.name for item in fields(kind)}, {item.name for item in fields(Execution)})
    for option in named:
        if option not in own | running:
            raise UsageError(f"there is no option {option!r}; {nearest(option, sorted(own | running))}")
    execution = {option: named.pop(option) for option in list(named) if option in running}
    if execution and named.get("execution") is not None:
        raise UsageError(f"{', '.join(execution)} beside execution would be left out: put it into the Execution")
    return kind(**(named | {"execution": Execution(**execution)} if execution else named))


def verify(root: str | os.PathLike[str] = "data") -> list[str]:
    """`facepipe verify`: what is wrong with a workspace or one stage's folder, a sentence each; [] when all is well."""
    from facepipe.stages import verify as stage

    return [str(problem) for problem in stage.run(to_path("the folder", root), QuietProgress())]


def open_faces(path: str | os.PathLike[str] = "data/faces") -> Any:
    """The rows that `extract` wrote, as a `pyarrow.dataset.Dataset` that reads only what is asked for.

    Raises:
        InputError: there are no parts.
        UsageError: it is neither a text nor a path.
    """
    from facepipe.sources.dataset import open_parts
    from facepipe.storage import place

    return open_parts(place(path))
