"""The faces of pictures, many at a time: found, told where they look, the identity's chosen, landmarks refined.

Each step is done for all pictures before the next one: each network fills a core's caches with its own code and
weights, and finds them still there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facepipe.errors import ImageError
from facepipe.face.association import best_overlap, choose_face, size_of
from facepipe.records import FaceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facepipe.config import ExtractConfig
    from facepipe.records import BgraImage, Source
    from facepipe.stages.extraction.photo import Photo, View
    from facepipe.stages.extraction.searching import Found, Search
    from facepipe.stages.extraction.seen import Seen


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
        self.rows = [FaceRow.of(self.source, self.frame_index, -1, error.status, error.message)]

    def again(self, reduction: int) -> View:
        """The picture read at another size, turned as it is."""
        assert self.photo is not None
        return self.photo.view(reduction).turned(self.view.quarters)


@dataclass(frozen=True)
class FaceFinder:
    """Finds the faces of pictures.

    search: searches in them. on: told the index of a picture's source before anything is done to it.
    """

    config: ExtractConfig
    search: Search
    on: Callable[[int], None]

    def find_all(self, pictures: Sequence[Picture]) -> None:
        """Gives every picture its faces, and chooses the identity's; one that can't be read gets its row."""
        for picture in pictures[:1]:
            self.on(picture.index)
        self._find([picture for picture in pictures if picture.faces is None])
        pictures = [picture for picture in pictures if not picture.rows]
        self.search.look([one.view for one in pictures], [self._candidates(one) for one in pictures])
        self._turn([picture for picture in pictures if picture.photo is not None])
        for picture in pictures:
            self._choose(picture)
        self._refine(pictures)

    def _find(self, pictures: Sequence[Picture]) -> None:
        """Finds all faces; in large pictures the small ones only where no large one is."""
        sizes = [self.search.sizes(one.source, one.photo) for one in pictures]
        found = self.search.find([one.view for one in pictures], [first for first, *_ in sizes])
        for picture, faces, (first, *smaller) in zip(pictures, found, sizes, strict=True):
            picture.faces = faces
            if smaller and not self.search.good(faces, picture.view, first):
                self._search_small(picture, smaller[0])
            if picture.source.box is not None:
                self._search_label(picture)

    def _search_small(self, picture: Picture, smallest: float) -> None:
        """Searches a large picture for small faces."""
        assert picture.photo is not None
        self.on(picture.index)
        reduction = picture.photo.reduction_for(smallest)
        try:
            if reduction != picture.view.reduction:
                picture.view = picture.again(reduction)
        except ImageError as error:
            picture.fail(error)
            return
        [picture.faces] = self.search.find([picture.view], [smallest])

    def _search_label(self, picture: Picture) -> None:
        """Searches a labelled box's surroundings alone where nothing was found there."""
        assert picture.source.box is not None
        box = picture.view.box_here(picture.source.box)
        faces = picture.faces or []
        if best_overlap([one.face for one in faces], box) is None:
            picture.faces = [*faces, *self.search.look_again(picture.view, box)]

    def _candidates(self, picture: Picture) -> list[Found]:
        """The faces that may be the identity's: at the label, where there is one; a label is evidence of its own."""
        faces = picture.faces or []
        if picture.source.box is None:
            return self.search.good(faces, picture.view)
        index = best_overlap([one.face for one in faces], picture.view.box_here(picture.source.box))
        return [] if index is None else [faces[index]]

    def _turn(self, pictures: Sequence[Picture]) -> None:
        """Turns pictures in which no face stands upright so that one does, where that helps."""
        lying = [one for one in pictures if not any(face.upright for face in self._candidates(one))]
        if not lying:
            return
        self.on(lying[0].index)
        sizes = [self.search.sizes(one.source, one.photo)[0] for one in lying]
        better = self.search.turn([one.view for one in lying], sizes, [one.source.box for one in lying])
        for picture, turned in zip(lying, better, strict=True):
            if turned is not None:
                picture.view, picture.faces = turned

    def _choose(self, picture: Picture) -> None:
        """Chooses the identity's face."""
        # One that lies on its side, and is not found where the picture is turned, is a mistake of the detector's.
        candidates = [one for one in self._candidates(picture) if not one.aside]
        if picture.source.box is not None:
            picture.chosen = next(iter(candidates), None)
        elif self.config.face == "largest":
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
        if self.config.face != "all":
            return [picture.chosen]
        others = [one for one in self.search.good(picture.faces or [], picture.view) if one is not picture.chosen]
        return [picture.chosen, *(one for one in others if not one.aside)]

    def best_missed(self, picture: Picture) -> list[Found]:
        """The faces of a picture without a usable one, the one that says most about why first."""
        if picture.source.box is not None or self.wanted(picture):
            return []
        faces = picture.faces or []
        sure = [one for one in faces if one.face.score >= self.config.min_score]
        return sorted(sure, key=lambda one: -size_of(one.face)) or sorted(faces, key=lambda one: -one.face.score)

    def _refine(self, pictures: Sequence[Picture]) -> None:
        """Betters the landmarks of the faces that matter, and tells where all look that get a row."""
        shown = [self.wanted(one) or self.best_missed(one)[:1] for one in pictures]
        rough = [(one.view, some) for one, some in zip(pictures, shown, strict=True) if not one.refined]
        # Nobody trains on the bystanders: the detector's own landmarks do for their rows.
        self.search.refine([view for view, _ in rough], [some for _, some in rough])
        self.search.look([one.view for one in pictures], shown)
        self.search.look(
            [one.view for one in pictures], [self.search.good(one.faces or [], one.view) for one in pictures]
        )
