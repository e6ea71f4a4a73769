"""Faces of pictures to rows: why a face is refused, or its crop, sharpness and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.errors import ImageError
from facepipe.face.alignment import align_face, cut_aligned
from facepipe.face.association import best_overlap, choose_face, size_of
from facepipe.face.crop import encode_crop, sharpness
from facepipe.face.orientation import UNKNOWN
from facepipe.records import Face, FaceRow, Status
from facepipe.stages.extraction.photo import whole_view
from facepipe.stages.extraction.searching import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facepipe.config import ExtractConfig
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.face.crop import Similarity
    from facepipe.stages.extraction.finding import FaceFinder, Picture
    from facepipe.stages.extraction.photo import View
    from facepipe.stages.extraction.searching import Search

CROPPED_BORDER = 0.25
"""Room put around pictures that are face crops already, as a share of their side: detectors want to see some."""


@dataclass(frozen=True)
class RowMaker:
    """Makes the rows of pictures whose faces were found.

    finder: found the faces. search: finds one again in a picture that is read at a larger size. watch: told of every
    step. on: told the index of a picture's source before anything is done to it.
    """

    config: ExtractConfig
    finder: FaceFinder
    search: Search
    watch: Stopwatch
    on: Callable[[int], None]

    def make_all(self, pictures: Sequence[Picture]) -> None:
        """Gives every picture its rows."""
        for picture in pictures:
            self.on(picture.index)
            try:
                if self.config.cropped:
                    self._make_whole(picture)
                elif not picture.rows:
                    self._make_rows(picture)
            except ImageError as error:
                picture.fail(error)
        self._encode(pictures)

    def _make_rows(self, picture: Picture) -> None:
        """Makes the rows of a picture, and cuts the crops for them."""
        wanted = self.finder.wanted(picture)
        shown = wanted or self.finder.best_missed(picture)[:1]
        good = self.search.good(picture.faces or [], picture.view)
        others = [one for one in good if not any(one is other for other in shown)]
        if picture.source.box is not None and not wanted:
            others = []
        for index, one in enumerate(wanted):
            picture.rows.append(self._ok_row(picture, index, one))
        if not wanted:
            picture.rows.append(self._missing_row(picture))
        for one in others:
            picture.rows.append(self._row(picture, len(picture.rows), Status.OTHER_FACE, one, picture.view))

    def _ok_row(self, picture: Picture, index: int, one: Found) -> FaceRow:
        """The row of a face that has passed every limit, and the crop for it; why it is refused where it has not."""
        view, size = picture.view, self.config.crop_size
        needed = view.reduction_needed(size / self._aligned(one).scale, size)
        if picture.photo is not None and needed < view.reduction:
            one, view = self._closer(picture, one, needed)
        if picture.source.box is None and not self.search.good([one], view):
            return self._refused_row(picture, index, one, view)
        row = self._row(picture, index, Status.OK, one, view)
        self.watch.turn_to("crop")
        similarity = self._aligned(one)
        row.crop_scale = similarity.scale / view.scale
        row.transform = (similarity.matrix @ view.from_file).reshape(-1).tolist()
        picture.crops.append((row, cut_aligned(self.config.align, view.image, similarity, size)))
        return row

    def _aligned(self, one: Found) -> Similarity:
        """From px of the view to px of the face's crop."""
        config = self.config
        tilt = one.orientation.tilt if one.orientation is not None and one.orientation.known else 0.0
        return align_face(config.align, one.face, tilt, config.crop_size, config.margin)

    def _closer(self, picture: Picture, one: Found, reduction: int) -> tuple[Found, View]:
        """The same face in the picture read at a larger size, found anew where it is found there."""
        self.watch.turn_to("decode")
        closer = picture.again(reduction)
        moved = picture.view.moved(one.face, closer)
        x1, y1, x2, y2 = moved.box.tolist()
        again = self.search.look_again(closer, (x1, y1, x2, y2))
        index = best_overlap([other.face for other in again], (x1, y1, x2, y2))
        if index is None:
            return Found(moved, one.orientation), closer
        found = again[index]
        self.search.refine([closer], [[found]])
        self.search.look([closer], [[found]])
        return found, closer

    def _missing_row(self, picture: Picture) -> FaceRow:
        """Why there is no face: none at all, none at the labelled box, or none that passes the limits."""
        if picture.source.box is None and (missed := self.finder.best_missed(picture)):
            return self._refused_row(picture, 0, missed[0], picture.view)
        where = "at the labelled box" if picture.source.box is not None else "in the picture"
        row = FaceRow.of(picture.source, picture.frame_index, -1, Status.NO_FACE, f"no face was found {where}")
        row.width, row.height = picture.view.size_in_file
        return row

    def _refused_row(self, picture: Picture, index: int, one: Found, view: View) -> FaceRow:
        """Which limit a face does not pass: it is too unsure, too small, or does not stand upright."""
        config, size = self.config, size_of(one.face) * view.scale
        status, why = Status.LOW_SCORE, "what was found lies on its side, and is no face where the picture is turned"
        if one.face.score < config.min_score:
            score = _text_below(one.face.score, config.min_score, 2)
            why = f"the best face has a score of {score}, under --min-score {config.min_score:g}"
        elif size < config.min_face:
            status, text = Status.SMALL_FACE, _text_below(size, config.min_face, 0)
            why = f"the largest face is {text} px, smaller than --min-face {config.min_face:g}"
        row = self._row(picture, index, status, one, view)
        row.error = why
        return row

    def _row(self, picture: Picture, face_index: int, status: str, one: Found, view: View) -> FaceRow:
        """The row of a face found in a view of the picture, without its crop."""
        row = FaceRow.of(picture.source, picture.frame_index, face_index, status)
        row.width, row.height = view.size_in_file
        row.bbox, row.landmarks = view.box_in_file(one.face.box), view.points_in_file(one.face.landmarks)
        row.score = float(one.face.score)
        pose = UNKNOWN if one.orientation is None else one.orientation.turned(view.quarters).pose
        row.yaw, row.pitch, row.roll, row.frontal_angle, row.pose_error = pose
        return row

    def _encode(self, pictures: Sequence[Picture]) -> None:
        for picture in pictures:
            for row, crop in picture.crops:
                self.on(picture.index)
                self.watch.turn_to("sharpness")
                row.sharpness = sharpness(crop)
                self.watch.turn_to("encode")
                try:
                    row.crop = encode_crop(crop)
                except ImageError as error:
                    picture.fail(error)

    def _make_whole(self, picture: Picture) -> None:
        """The row of a picture that is a face crop already: kept whole, whatever is found in it."""
        self.watch.turn_to("detect")
        height, width = picture.view.image.shape[:2]
        side = max(height, width)
        border = round(side * CROPPED_BORDER)
        down, across = (side - height) // 2, (side - width) // 2
        edges = (down, side - height - down, across, side - width - across)
        square = np.asarray(cv2.copyMakeBorder(picture.view.image, *edges, cv2.BORDER_REPLICATE), np.uint8)
        padded = cv2.copyMakeBorder(square, border, border, border, border, cv2.BORDER_REPLICATE)
        view = whole_view(np.asarray(padded, np.uint8))
        [faces] = self.search.find([view], [side / 4])
        row = self._whole_row(picture, view, faces, np.array([border + across, border + down], np.float32))
        self.watch.turn_to("crop")
        size = self.config.crop_size
        method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        crop = cv2.cvtColor(cv2.resize(square, (size, size), interpolation=method), cv2.COLOR_RGB2BGRA)
        scale = size / side
        shift = [across * scale + (scale - 1) / 2, down * scale + (scale - 1) / 2]
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]) @ picture.view.from_file
        row.crop_scale = size / max(picture.view.width, picture.view.height)
        row.transform = matrix.reshape(-1).tolist()
        picture.rows.append(row)
        picture.crops.append((row, np.asarray(crop, np.uint8)))

    def _whole_row(self, picture: Picture, padded: View, faces: Sequence[Found], offset: np.ndarray) -> FaceRow:
        """The row of a picture that is a crop: of the face found in its padded form, else of the whole."""
        view = picture.view
        if faces:
            one = faces[choose_face([other.face for other in faces], padded.width, padded.height) or 0]
            self.search.refine([padded], [[one]])
            self.search.look([padded], [[one]])
            face = one.face
            inside = Face((face.box.reshape(2, 2) - offset).reshape(4), face.landmarks - offset, face.score)
            return self._row(picture, 0, Status.OK, Found(inside, one.orientation), view)
        row = FaceRow.of(picture.source, picture.frame_index, 0, Status.OK)
        row.width, row.height = view.size_in_file
        row.bbox = [0.0, 0.0, float(view.width), float(view.height)]
        return row


def _text_below(value: float, limit: float, digits: int) -> str:
    """A value that is under a limit: with a digit more, rounded down, where rounding would reach the limit."""
    text = f"{value:.{digits}f}"
    return text if float(text) < limit else f"{math.floor(value * 10 ** (digits + 1)) / 10 ** (digits + 1):g}"
