"""Face detection: what a detector is, and how to get one."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.detection.onet import Look, Refiner, Square
    from facepipe.detection.reduction import Reduced
    from facepipe.records import Face, Image


class Detector(Protocol):
    """Finds faces in one image at a time; no result depends on the images before it."""

    def reduce(self, image: Image, min_face: float) -> Reduced | None:
        """What the network is shown of an image, for `detect`; None where that is left to `detect` itself.

        Best done while the image has just been decoded, and still lies in the core's cache.
        """
        ...

    def detect(
        self, image: Image, min_face: float, *, refine: bool = True, reduced: Reduced | None = None
    ) -> list[Face]:
        """All faces of at least about `min_face` px in an image (h, w, 3) uint8 RGB, best score first.

        Faces of a score below the detector's `min_score` are among them, down to 0.3, and smaller ones: the caller
        decides. Coordinates are px of `image`; a box may reach beyond its border. Landmarks are refined by O-Net on the
        image's own pixels; with `refine=False` that is left for `refine` to do, for the faces that matter.
        `reduced` is what `reduce` gave for the same image and `min_face`.
        """
        ...

    def show(self, image: Image, faces: Sequence[Face]) -> list[Square]:
        """What O-Net is shown of faces that `detect` left unrefined, for `refine`."""
        ...

    def refine(self, image: Image, faces: Sequence[Face], shown: Sequence[Square] = ()) -> list[Face]:
        """The same faces with refined landmarks, where `detect` left them unrefined.

        `shown` is what `show` gave for them: faces of several images that have been shown are refined together.
        """
        ...

    def blend(self, faces: Sequence[Face], looks: Sequence[Look]) -> list[Face]:
        """What `refine` gives, where what O-Net sees in the faces' boxes is known already."""
        ...


def make_detector(name: str, model: str = "", min_score: float = 0.7) -> Detector:
    """The detector called `yunet` or `mtcnn`.

    Args:
        name: `yunet` or `mtcnn`.
        model: path of own weights of YuNet's shape; empty: the packaged ones.
        min_score: the score from which the caller takes a face.

    Raises:
        UsageError: no such detector, or `model` given for MTCNN.
        WeightsError: weights are missing, unreadable or not the expected ones.
    """
    from facepipe.errors import UsageError

    if name == "yunet":
        from facepipe.detection.yunet import YuNet

        return YuNet(make_refiner(), model, min_score)
    if name != "mtcnn":
        raise UsageError(f"there is no detector {name!r}; it can be yunet or mtcnn")
    if model:
        raise UsageError("--model gives weights of YuNet's shape; it can't be used with --detector mtcnn")
    from facepipe.detection.mtcnn import Mtcnn

    return Mtcnn(min_score=min_score)


def make_refiner() -> Refiner:
    """O-Net on boxes that are already known. One a thread: its detector and its trackers share it.

    Raises:
        WeightsError: the weights are missing or not the expected ones.
    """
    return _refiner(os.getpid(), threading.get_ident())


@lru_cache(maxsize=1)
def _refiner(_pid: int, _thread: int) -> Refiner:
    """It is not thread-safe, and a forked child can't use its parent's."""
    from facepipe.detection.onet import Refiner

    return Refiner()
