"""Searches in pictures, turned and reduced as they may be: all faces, those that pass the limits, where they look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.face.association import best_overlap, size_of
from facepipe.face.profile import turned_far, with_profile_landmarks
from facepipe.records import Face

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from facepipe.config import ExtractConfig
    from facepipe.detection import Detector
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.face.orientation import Orientation, OrientationNetwork
    from facepipe.records import Box, Source
    from facepipe.stages.extraction.photo import Photo, View

QUARTERS = (2, 1, 3)
"""By how many quarters of a circle a picture without an upright face is turned, to be searched again."""
LOOK_AGAIN_PX = 96
"""Side to which a box is brought whose surroundings are searched alone."""


@dataclass(slots=True, eq=False)
class Found:
    """A face of a picture and where it looks; None: nobody has looked."""

    face: Face
    orientation: Orientation | None = None

    @property
    def upright(self) -> bool:
        """Whether it is known to stand upright in the view."""
        return self.orientation is not None and self.orientation.upright

    @property
    def aside(self) -> bool:
        """Whether it is known not to."""
        return self.orientation is not None and self.orientation.aside


@dataclass(frozen=True)
class Search:
    """The two networks and the limits of the options.

    detector: finds the faces. network: tells where they look. watch: told of every step.
    """

    config: ExtractConfig
    detector: Detector
    network: OrientationNetwork
    watch: Stopwatch

    def sizes(self, source: Source, photo: Photo | None) -> list[float]:
        """The smallest face, px, to search the picture for; the next one where that finds none.

        A large picture is searched for prominent faces first, unless smaller ones matter all the same: a tenth of the
        work where there is one.
        """
        smallest = self.config.min_face
        known = source.box is not None or bool(source.video)
        if photo is None or known or self.config.face == "all" or not photo.is_large or photo.prominent_px <= smallest:
            return [smallest]
        return [photo.prominent_px, smallest]

    def find(self, views: Sequence[View], smallest: Sequence[float]) -> list[list[Found]]:
        """All faces of the views from so many px of their full size on; their landmarks are not refined."""
        self.watch.turn_to("detect")
        sizes = [size / view.scale for size, view in zip(smallest, views, strict=True)]
        found = self.detector.detect([view.image for view in views], sizes)
        return [[Found(face) for face in faces] for faces in found]

    def refine(self, views: Sequence[View], faces: Sequence[Sequence[Found]]) -> None:
        """Betters the landmarks of faces of views; those of faces known to be turned far are as good as they get."""
        self.watch.turn_to("detect")
        faces = [[one for one in some if not turned_far(one.orientation)] for some in faces]
        refined = self.detector.refine([view.image for view in views], [[one.face for one in some] for some in faces])
        for some, better in zip(faces, refined, strict=True):
            for one, face in zip(some, better, strict=True):
                one.face = face

    def look(self, views: Sequence[View], faces: Sequence[Sequence[Found]]) -> None:
        """Tells where faces of views look, and where the landmarks are of those turned far."""
        self.watch.turn_to("pose")
        wanted = [(view, one) for view, some in zip(views, faces, strict=True) for one in some if not one.orientation]
        told = self.network.look([view.image for view, _ in wanted], [one.face.box for _, one in wanted])
        for (view, one), orientation in zip(wanted, told, strict=True):
            one.orientation = orientation
            one.face = with_profile_landmarks(view.image, one.face, orientation)

    def good(self, faces: Iterable[Found], view: View, smallest: float = 0.0) -> list[Found]:
        """The faces that pass the limits on score and size."""
        least = smallest or self.config.min_face
        return [
            one for one in faces if one.face.score >= self.config.min_score and size_of(one.face) * view.scale >= least
        ]

    def turn(
        self, views: Sequence[View], smallest: Sequence[float], labels: Sequence[Sequence[float] | None]
    ) -> list[tuple[View, list[Found]] | None]:
        """Each view turned so that a face stands upright in it, with all its faces; None where no turn helps.

        Args:
            views: in which no face stands upright.
            smallest: px, as `find` takes them.
            labels: x1, y1, x2, y2 of the face that is meant, px of the file's full-size picture; None for any.
        """
        best: list[tuple[View, list[Found]] | None] = [None] * len(views)
        scores = [0.0] * len(views)
        for quarters in QUARTERS:
            turned = [view.turned(quarters) for view in views]
            found = self.find(turned, smallest)
            self.look(turned, [self.good(faces, view) for faces, view in zip(found, turned, strict=True)])
            for number, (view, faces, label) in enumerate(zip(turned, found, labels, strict=True)):
                upright = [one for one in self.good(faces, view) if one.upright]
                if label is not None:
                    index = best_overlap([one.face for one in upright], view.box_here(label))
                    upright = [] if index is None else [upright[index]]
                score = max((one.face.score for one in upright), default=0.0)
                if score > scores[number]:
                    scores[number], best[number] = score, (view, faces)
        return best

    def look_again(self, view: View, box: Box) -> list[Found]:
        """Searches the surroundings of a box alone, at a size at which faces are found best."""
        x1, y1, x2, y2 = box
        side = max(x2 - x1, y2 - y1, 1.0)
        height, width = view.image.shape[:2]
        left, top = max(int(x1 - side), 0), max(int(y1 - side), 0)
        region = view.image[top : min(int(y2 + side), height), left : min(int(x2 + side), width)]
        if min(region.shape[:2]) < 2:
            return []
        scale = LOOK_AGAIN_PX / side
        size = (max(round(region.shape[1] * scale), 8), max(round(region.shape[0] * scale), 8))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        enlarged = np.asarray(cv2.resize(region, size, interpolation=method), np.uint8)
        ratio = np.array([region.shape[1] / size[0], region.shape[0] / size[1]], np.float32)
        offset = np.array([left, top], np.float32)
        self.watch.turn_to("detect")
        [faces] = self.detector.detect([enlarged], LOOK_AGAIN_PX / 3)
        return [
            Found(Face((f.box.reshape(2, 2) * ratio + offset).reshape(4), f.landmarks * ratio + offset, f.score))
            for f in faces
        ]
