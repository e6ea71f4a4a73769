"""Face detection: what a detector is, and how to get one."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.detection.landmarks import Look, Refiner
    from facepipe.records import Face, Image


class Detector(Protocol):
    """Finds faces in several images at once; no result depends on the other images, to the last bit."""

    def detect(self, images: Sequence[Image], min_face: float | Sequence[float]) -> list[list[Face]]:
        """All faces of at least about `min_face` px in each image, best score first.

        Faces of a score below the detector's `min_score` are among them, down to 0.3, and smaller ones: the caller
        decides. Coordinates are px of the image; a box may reach beyond its border. Landmarks are the detector's own;
        `refine` betters those of the faces that matter.

        Args:
            images: (h, w, 3) uint8 RGB, of any sizes; those that are shown to the network in one size share a run.
            min_face: px; one for all, or one for each image.
        """
        ...

    def refine(
        self,
        images: Sequence[Image],
        faces: Sequence[Sequence[Face]],
        looks: Sequence[Sequence[Look]] | None = None,
    ) -> list[list[Face]]:
        """The same faces, in their order, with landmarks refined by O-Net on the images' own pixels.

        Args:
            images: (h, w, 3) uint8 RGB.
            faces: of each image, as `detect` gave them.
            looks: what O-Net sees in the faces' boxes, where that is known already.
        """
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

        return YuNet(make_refiner(), _rebuilt(model) if model else b"", min_score)
    if name != "mtcnn":
        raise UsageError(f"there is no detector {name!r}; it can be yunet or mtcnn")
    if model:
        raise UsageError("--model gives weights of YuNet's shape; it can't be used with --detector mtcnn")
    from facepipe.detection.mtcnn import Mtcnn

    return Mtcnn(min_score=min_score)


def _rebuilt(path: str) -> bytes:
    """A user's own weights of YuNet's shape as facepipe runs them."""
    from facepipe.detection import weights, yunet_graph  # `onnx`, which it needs, takes longer to load than all others

    return yunet_graph.rebuild(weights.read_model(path))


def make_refiner() -> Refiner:
    """O-Net on boxes that are already known. One a thread: its detector and its trackers share it.

    Raises:
        WeightsError: the weights are missing or not the expected ones.
    """
    return _refiner(os.getpid(), threading.get_ident())


@lru_cache(maxsize=1)
def _refiner(_pid: int, _thread: int) -> Refiner:
    """It is not thread-safe, and a forked child can't use its parent's."""
    from facepipe.detection.landmarks import Refiner

    return Refiner()
