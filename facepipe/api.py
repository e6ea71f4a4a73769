"""The library's functions: single images, whole stages, and the rows they made."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from facepipe.config import EmbedConfig, ExtractConfig, SelectConfig, ShardConfig, SplitConfig, make_config
from facepipe.errors import UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.options import options_of
from facepipe.text import show, to_path

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from facepipe.config import StageConfig
    from facepipe.detection import Detector
    from facepipe.records import Image, Pose, StageReport


Function = TypeVar("Function", bound="Callable[..., StageReport]")


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
    min_face: float = ExtractConfig.min_face,
    min_score: float = ExtractConfig.min_score,
    detector: str = ExtractConfig.detector,
    crop_size: int = ExtractConfig.crop_size,
    margin: float = ExtractConfig.margin,
) -> list[DetectedFace]:
    """Finds the faces of one image. Threads that call it take turns; for many images `extract` uses all cores.

    Args:
        image: (H, W, 3) uint8, RGB.
        min_face: px; this and the others as in `extract`.
        min_score: 0..1.
        detector: `yunet` or `mtcnn`.
        crop_size: px.
        margin: fraction of the face box's side.

    Returns:
        The faces, best score first.

    Raises:
        UsageError: no (H, W, 3) uint8 array, one without pixels, or an option that the command line would refuse.
        WeightsError: the networks' weights are not installed as expected.
    """
    import numpy as np

    from facepipe.face.association import size_of
    from facepipe.face.crop import cut_crop
    from facepipe.face.orientation import make_orientation
    from facepipe.face.profile import with_profile_landmarks

    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
        raise UsageError("detect takes an array (height, width, 3) of uint8 in RGB order")
    if image.size == 0:
        raise UsageError(f"the image has {image.shape[1]} x {image.shape[0]} pixels")
    config = ExtractConfig(
        min_face=min_face, min_score=min_score, detector=detector, crop_size=crop_size, margin=margin
    )
    shared, lock = _detector(config.detector, config.min_score, os.getpid())
    with lock:
        [faces] = shared.refine([image], shared.detect([image], config.min_face))
    found = []
    for face in [face for face in faces if face.score >= min_score and size_of(face) >= min_face]:
        [orientation] = make_orientation().look([image], [face.box])
        crop = cut_crop(image, face.box, orientation.tilt if orientation.known else 0.0, crop_size, margin)
        found.append(DetectedFace(*with_profile_landmarks(image, face, orientation), orientation.pose, crop.image))
    return found


def _documented(kind: type) -> Callable[[Function], Function]:
    """Adds every option of a config to a function's docstring."""

    def decorate(function: Function) -> Function:
        rows = [f"    {one.field}: {one.help_text}" for one in options_of(kind).values() if not one.retired]
        told = f"""
Takes a `facepipe.{kind.__name__}`, which says everything; or none, and options by name. Paths are texts or
`os.PathLike`. How it runs may also be given as `execution`, a `facepipe.Execution`.

Options:
{chr(10).join(rows)}

Raises:
    UsageError: an invalid option, or options beside a config.
    FacepipeError: what the command would end with.
"""
        function.__doc__ = f"{function.__doc__}\n{told}"
        return function

    return decorate


@_documented(ExtractConfig)
def extract(config: ExtractConfig | None = None, **options: Any) -> StageReport:
    """`facepipe extract`: images in, one row a face out."""
    return _run(ExtractConfig, config, options)


@_documented(EmbedConfig)
def embed(config: EmbedConfig | None = None, **options: Any) -> StageReport:
    """`facepipe embed`: whose face each is, (128,) float32 of length 1; the product of two is their similarity."""
    return _run(EmbedConfig, config, options)


@_documented(SelectConfig)
def select(config: SelectConfig | None = None, **options: Any) -> StageReport:
    """`facepipe select`: the most frontal frame of every identity."""
    return _run(SelectConfig, config, options)


@_documented(SplitConfig)
def split(config: SplitConfig | None = None, **options: Any) -> StageReport:
    """`facepipe split`: feature/target pairs, subsets by identity."""
    return _run(SplitConfig, config, options)


@_documented(ShardConfig)
def shard(config: ShardConfig | None = None, **options: Any) -> StageReport:
    """`facepipe shard`: pairs or single faces as TFRecord shards."""
    return _run(ShardConfig, config, options)


def _run(kind: type[StageConfig], given: object, options: dict[str, Any]) -> StageReport:
    """Runs a stage by the config that was given, or by the options."""
    from facepipe.stages.pipeline import run_stage

    name = kind.__name__
    if given is None:
        return run_stage(make_config(kind, options), QuietProgress())
    if not isinstance(given, kind):
        raise UsageError(f"got {show(given)} instead of a facepipe.{name}; give options by name, such as input=...")
    if options:
        raise UsageError(f"{', '.join(options)} beside a config would be left out: put it into the {name}")
    return run_stage(given, QuietProgress())


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
    from facepipe.storage import place
    from facepipe.storage.dataset import open_parts

    return open_parts(place(path))
