"""The faces of pictures, many at a time: found, told where they look, the identity's chosen, landmarks refined.

Each step is done for all pictures before the next one: each network fills a core's caches with its own code and
weights, and finds them still there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.choosing import best_overlap, choose_face, size_of
from facepipe.errors import ImageError
from facepipe.records import Face
from facepipe.stages.facerows import failure_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from facepipe.config import ExtractConfig
    from facepipe.detection import Detector
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.face.orientation import Orientation, OrientationNetwork
    from facepipe.records import BgraImage, Box, FaceRow, Source
    from facepipe.stages.photo import Photo, View
    from facepipe.stages.seen import Seen

LOOK_AGAIN_PX = 96
"""Side to which a box is brought whose surroundings are searched alone."""
QUARTERS = (2, 1, 3)
"""By how many quarters of a circle a picture without an upright face is turned, to be searched again."""


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


@dataclass(slots=True, eq=False)
class Picture:
    """A picture on its way.

    index: of its source in the part. photo: what it can be read from again; None for a frame of a video. faces: all
    that were found, best score first; None: it is to be searched. refined: whether their landmarks are O-Net's already.
    """

    index: int
    source: Source
    frame_index: int
    view: View
    seen: Seen
    photo: Photo | None = None
    faces: list[Found] | None = None
    refined: bool = False
    chosen: Found | None = None
    crops: list[tuple[FaceRow, BgraImage]] = field(default_factory=list)
    rows: list[FaceRow] = field(default_factory=list)

    def fail(self, error: ImageError) -> None:
        """Leaves the picture with one row that says why it can't be read."""
        self.faces, self.crops = [], []
        self.rows = [failure_row(self.source, error.status, error.message, self.frame_index)]

    def again(self, reduction: int) -> View:
        """The picture read at another size, turned as it is."""
        assert self.photo is not None
        return self.photo.view(reduction).turned(self.view.quarters)


class FaceFinder:
    """Finds the faces of pictures.

    Args:
        config: the options.
        detector: finds the faces.
        network: tells where they look.
        watch: told of every step.
        on: told the index of a picture's source before anything is done to it.
    """

    def __init__(
        self,
        config: ExtractConfig,
        detector: Detector,
        network: OrientationNetwork,
        watch: Stopwatch,
        on: Callable[[int], None],
    ) -> None:
        self._config = config
        self._detector = detector
        self._network = network
        self._watch = watch
        self._on = on

    def find_all(self, pictures: Sequence[Picture]) -> None:
        """Gives every picture its faces, and chooses the identity's; one that can't be read gets its row."""
        self._search([picture for picture in pictures if picture.faces is None])
        pictures = [picture for picture in pictures if not picture.rows]
        self._orient(pictures)
        self._turn([picture for picture in pictures if picture.photo is not None])
        for picture in pictures:
            self._choose(picture)
        self._refine(pictures)

    def search_sizes(self, source: Source, photo: Photo) -> list[float]:
        """The smallest face, px, to search the picture for; the next one where that finds none.

        A large picture is searched for prominent faces first, unless smaller ones matter all the same: a tenth of the
        work where there is one.
        """
        smallest = self._config.min_face
        known = source.box is not None or bool(source.video)
        if known or self._config.face == "all" or not photo.is_large or photo.prominent_px <= smallest:
            return [smallest]
        return [photo.prominent_px, smallest]

    def find(self, views: Sequence[View], smallest: Sequence[float]) -> list[list[Found]]:
        """All faces of the views from so many px of their full size on; their landmarks are not refined."""
        self._watch.turn_to("detect")
        sizes = [size / view.scale for size, view in zip(smallest, views, strict=True)]
        found = self._detector.detect([view.image for view in views], sizes)
        return [[Found(face) for face in faces] for faces in found]

    def look(self, views: Sequence[View], faces: Sequence[Sequence[Found]]) -> None:
        """Tells where faces of views look."""
        self._watch.turn_to("pose")
        wanted = [(view, one) for view, some in zip(views, faces, strict=True) for one in some if not one.orientation]
        told = self._network.look([view.image for view, _ in wanted], [one.face.box for _, one in wanted])
        for (_, one), orientation in zip(wanted, told, strict=True):
            one.orientation = orientation

    def good(self, faces: Iterable[Found], view: View, smallest: float = 0.0) -> list[Found]:
        """The faces that pass the limits on score and size."""
        least = smallest or self._config.min_face
        return [
            one for one in faces if one.face.score >= self._config.min_score and size_of(one.face) * view.scale >= least
        ]

    def _search(self, pictures: Sequence[Picture]) -> None:
        """Finds all faces; in large pictures the small ones only where no large one is."""
        sizes = [self._sizes(one) for one in pictures]
        self._tell(pictures)
        found = self.find([one.view for one in pictures], [first for first, *_ in sizes])
        for picture, faces, (first, *smaller) in zip(pictures, found, sizes, strict=True):
            picture.faces = faces
            if smaller and not self.good(faces, picture.view, first):
                self._search_small(picture, smaller[0])
            if picture.source.box is not None:
                self._search_label(picture)

    def _search_small(self, picture: Picture, smallest: float) -> None:
        """Searches a large picture for small faces."""
        assert picture.photo is not None
        self._on(picture.index)
        self._watch.turn_to("decode")
        reduction = picture.photo.reduction_for(smallest)
        try:
            if reduction != picture.view.reduction:
                picture.view = picture.again(reduction)
        except ImageError as error:
            picture.fail(error)
            return
        [picture.faces] = self.find([picture.view], [smallest])

    def _search_label(self, picture: Picture) -> None:
        """Searches a labelled box's surroundings alone where nothing was found there."""
        assert picture.source.box is not None
        box = picture.view.box_here(picture.source.box)
        faces = picture.faces or []
        if best_overlap([one.face for one in faces], box) is None:
            picture.faces = [*faces, *self.look_again(picture.view, box)]

    def _tell(self, pictures: Sequence[Picture]) -> None:
        for picture in pictures[:1]:
            self._on(picture.index)

    def _candidates(self, picture: Picture) -> list[Found]:
        """The faces that may be the identity's: at the label, where there is one; a label is evidence of its own."""
        faces = picture.faces or []
        if picture.source.box is None:
            return self.good(faces, picture.view)
        index = best_overlap([one.face for one in faces], picture.view.box_here(picture.source.box))
        return [] if index is None else [faces[index]]

    def _orient(self, pictures: Sequence[Picture]) -> None:
        self._tell(pictures)
        self.look([one.view for one in pictures], [self._candidates(one) for one in pictures])

    def _turn(self, pictures: Sequence[Picture]) -> None:
        """Turns pictures in which no face stands upright so that one does, where that helps."""
        lying = [one for one in pictures if not any(face.upright for face in self._candidates(one))]
        if not lying:
            return
        self._tell(lying)
        best: list[tuple[float, View, list[Found]] | None] = [None] * len(lying)
        for quarters in QUARTERS:
            views = [one.view.turned(quarters) for one in lying]
            found = self.find(views, [self._sizes(one)[0] for one in lying])
            self.look(views, [self.good(faces, view) for faces, view in zip(found, views, strict=True)])
            for number, (picture, view, faces) in enumerate(zip(lying, views, found, strict=True)):
                score = self._uprightness(picture, view, faces)
                before = best[number]
                if score > 0 and (before is None or score > before[0]):
                    best[number] = score, view, faces
        for picture, turned in zip(lying, best, strict=True):
            if turned is not None:
                _, picture.view, picture.faces = turned

    def _sizes(self, picture: Picture) -> list[float]:
        if picture.photo is None:
            return [self._config.min_face]
        return self.search_sizes(picture.source, picture.photo)

    def _uprightness(self, picture: Picture, view: View, faces: Sequence[Found]) -> float:
        """The best score of an upright face in a turned picture, at its label where it has one; 0: there is none."""
        good = [one for one in self.good(faces, view) if one.upright]
        if picture.source.box is not None:
            index = best_overlap([one.face for one in good], view.box_here(picture.source.box))
            good = [] if index is None else [good[index]]
        return max((one.face.score for one in good), default=0.0)

    def _choose(self, picture: Picture) -> None:
        """Chooses the identity's face."""
        # One that lies on its side, and is not found where the picture is turned, is a mistake of the detector's.
        candidates = [one for one in self._candidates(picture) if not one.aside]
        if picture.source.box is not None:
            picture.chosen = next(iter(candidates), None)
        elif self._config.face == "largest":
            picture.chosen = max(candidates, key=lambda one: size_of(one.face), default=None)
        else:
            height, width = picture.view.image.shape[:2]
            before = picture.seen.box_in(picture.view) if len(candidates) > 1 else None
            index = choose_face([one.face for one in candidates], width, height, previous=before)
            picture.chosen = None if index is None else candidates[index]
        if picture.chosen is not None:
            picture.seen.note(picture.view, picture.chosen.face.box)

    def wanted(self, picture: Picture) -> list[Found]:
        """The faces that get a row of status `ok`: the identity's, or all that are good."""
        if picture.chosen is None:
            return []
        if self._config.face != "all":
            return [picture.chosen]
        others = [one for one in self.good(picture.faces or [], picture.view) if one is not picture.chosen]
        return [picture.chosen, *(one for one in others if not one.aside)]

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
        self._watch.turn_to("detect")
        [faces] = self._detector.detect([enlarged], LOOK_AGAIN_PX / 3)
        return [
            Found(Face((f.box.reshape(2, 2) * ratio + offset).reshape(4), f.landmarks * ratio + offset, f.score))
            for f in faces
        ]

    def best_missed(self, picture: Picture) -> list[Found]:
        """The faces of a picture without a usable one, the one that says most about why first."""
        if picture.source.box is not None or self.wanted(picture):
            return []
        faces = picture.faces or []
        sure = [one for one in faces if one.face.score >= self._config.min_score]
        return sorted(sure, key=lambda one: -size_of(one.face)) or sorted(faces, key=lambda one: -one.face.score)

    def _refine(self, pictures: Sequence[Picture]) -> None:
        """Betters the landmarks of the faces that matter; nobody trains on the bystanders."""
        self._watch.turn_to("detect")
        rough = [one for one in pictures if not one.refined]
        self._tell(rough)
        faces = [self.wanted(one) or self.best_missed(one)[:1] for one in rough]
        refined = self._detector.refine([one.view.image for one in rough], [[f.face for f in some] for some in faces])
        for some, better in zip(faces, refined, strict=True):
            for one, face in zip(some, better, strict=True):
                one.face = face
        self.look([one.view for one in pictures], [self._shown(one) for one in pictures])

    def _shown(self, picture: Picture) -> list[Found]:
        """All faces that get a row."""
        others = self.good(picture.faces or [], picture.view) if picture.source.box is None else []
        return [*self.wanted(picture), *others] or self.best_missed(picture)[:1]
