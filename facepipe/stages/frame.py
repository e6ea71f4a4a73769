"""One picture to its rows: detect, choose the identity's face, tell its pose, cut its crop."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.choosing import best_overlap, choose_face, size_of
from facepipe.cropping import cut_crop, encode_crop
from facepipe.lockstep import at_once
from facepipe.pose import estimate_pose
from facepipe.quality import sharpness
from facepipe.records import Face, Status
from facepipe.stages.facerows import face_row, failure_row, key_of
from facepipe.stages.photo import Photo, View, whole_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from facepipe.config import ExtractConfig
    from facepipe.detection import Detector
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.lockstep import Steps
    from facepipe.records import BgraImage, Box, FaceRow, Image, Source
    from facepipe.stages.seen import Seen

LOOK_AGAIN_PX = 96
"""Side to which a labelled box is brought when the first search found nothing there."""
CROPPED_BORDER = 0.25
"""Room put around pictures that are face crops already, as a share of their side: detectors want to see some."""


class FrameExtractor:
    """Turns pictures into rows."""

    def __init__(self, config: ExtractConfig, detector: Detector, watch: Stopwatch) -> None:
        self._config = config
        self._watch = watch
        self._detector = detector

    def still(self, source: Source, data: bytes, seen: Seen) -> Steps[list[FaceRow]]:
        """The rows of a still image.

        Args:
            source: Where it comes from.
            data: The file's bytes.
            seen: Where the identity was in the video's frames before.

        Raises:
            ImageError: the picture can't be decoded, or is too large.
        """
        self._watch.turn_to("decode")
        photo = Photo(data, self._config.max_pixels)
        if self._config.cropped:
            view = photo.view(photo.reduction_for_whole(self._config.crop_size))
            yield view.image.nbytes
            return [self._whole_row(source, source.frame_index, view)]
        first, *smaller = self._search_sizes(source, photo)
        view = photo.view(photo.reduction_for(first))
        yield view.image.nbytes
        faces = self._search(source, view, first)
        if smaller and not any(self._is_good(face, view, first) for face in faces):
            if view.reduction != photo.reduction_for(smaller[0]):
                self._watch.turn_to("decode")
                view = photo.view(photo.reduction_for(smaller[0]))
            faces = self._search(source, view, smaller[0])
        yield 0
        refine = partial(self._refined, view.image)
        return (yield from self._make_rows(source, source.frame_index, view, photo.view, faces, refine, seen))

    def _search_sizes(self, source: Source, photo: Photo) -> list[float]:
        """The smallest face, px, to search the picture for; the next one where that finds none.

        A large picture is searched for prominent faces first, unless smaller ones matter all the same: a tenth of the
        work where there is one.
        """
        smallest = self._config.min_face
        known = source.box is not None or bool(source.video)
        if known or self._config.face == "all" or not photo.is_large or photo.prominent_px <= smallest:
            return [smallest]
        return [photo.prominent_px, smallest]

    def frame(
        self, source: Source, frame_index: int, image: Image, faces: list[Face] | None, seen: Seen
    ) -> Steps[list[FaceRow]]:
        """The rows of a video frame, (H, W, 3) uint8 RGB. Its faces are known and refined; None: it is searched."""
        view = whole_view(image)
        yield image.nbytes
        if self._config.cropped:
            return [self._whole_row(source, frame_index, view)]
        refine = partial(self._refined, image) if faces is None else at_once
        if faces is None:
            faces = self._search(source, view, self._config.min_face)
            yield 0
        return (yield from self._make_rows(source, frame_index, view, None, faces, refine, seen))

    def _detect(self, image: Image, min_face: float, *, refine: bool = True) -> list[Face]:
        self._watch.turn_to("detect")
        [faces] = self._detector.detect([image], min_face)
        return self._detector.refine([image], [faces])[0] if refine else faces

    def _refined(self, image: Image, faces: list[Face]) -> Steps[list[Face]]:
        yield 0
        self._watch.turn_to("detect")
        return self._detector.refine([image], [faces])[0]

    def _search(self, source: Source, view: View, smallest: float) -> list[Face]:
        """All faces from `smallest` px of the full-size picture; those that will get no row are not worth refining."""
        faces = self._detect(view.image, smallest / view.scale, refine=False)
        if source.box is not None and best_overlap(faces, view.to_view(source.box)) is None:
            faces = faces + self._look_again(view, view.to_view(source.box), refine=False)
        return faces

    def _make_rows(
        self,
        source: Source,
        frame_index: int,
        view: View,
        reread: Callable[[int], View] | None,
        faces: list[Face],
        refine: Callable[[list[Face]], Steps[list[Face]]],
        seen: Seen,
    ) -> Steps[list[FaceRow]]:
        good = [face for face in faces if self._is_good(face, view, self._config.min_face)]
        chosen = self._choose(source, view, faces, good, seen)
        ordered = ([chosen] if chosen is not None else []) + [face for face in good if face is not chosen]
        # Nobody trains on the bystanders: the detector's own landmarks do for their rows.
        wanted = len(ordered) if self._config.face == "all" else int(chosen is not None)
        if not wanted:
            missing = yield from self._missing_row(source, frame_index, view, faces, refine)
            others = ordered if source.box is None else []
            rows = [self._row(source, frame_index, i, Status.OTHER_FACE, f, view) for i, f in enumerate(others, 1)]
            return [missing, *rows]
        seen.note(view, ordered[0].box)
        ordered = (yield from refine(ordered[:wanted])) + ordered[wanted:]
        yield 0
        rows, crops = [], []
        for index, face in enumerate(ordered):
            if index < wanted:
                row, crop = self._ok_row(source, frame_index, index, face, view, reread)
                crops.append(crop)
            else:
                row = self._row(source, frame_index, index, Status.OTHER_FACE, face, view)
            rows.append(row)
        yield 0
        for row, crop in zip(rows, crops, strict=False):
            self._finish(row, crop)
        return rows

    def _is_good(self, face: Face, view: View, smallest: float) -> bool:
        return face.score >= self._config.min_score and size_of(face) * view.scale >= smallest

    def _choose(self, source: Source, view: View, faces: list[Face], good: list[Face], seen: Seen) -> Face | None:
        """The identity's face. A label is evidence of its own: a face there needs neither size nor score."""
        if source.box is not None:
            index = best_overlap(faces, view.to_view(source.box))
            return None if index is None else faces[index]
        if self._config.face == "largest":
            return max(good, key=size_of, default=None)
        height, width = view.image.shape[:2]
        before = seen.box_in(view) if len(good) > 1 else None
        index = choose_face(good, width, height, previous=before)
        return None if index is None else good[index]

    def _look_again(self, view: View, box: Box, *, refine: bool = True) -> list[Face]:
        """Searches the labelled box's surroundings alone, at a size at which faces are found best."""
        x1, y1, x2, y2 = box
        side = max(x2 - x1, y2 - y1, 1.0)
        height, width = view.image.shape[:2]
        left, top = max(int(x1 - side), 0), max(int(y1 - side), 0)
        region = view.image[top : min(int(y2 + side), height), left : min(int(x2 + side), width)]
        if min(region.shape[:2]) < 2:
            return []
        scale = LOOK_AGAIN_PX / side
        size = (max(round(region.shape[1] * scale), 8), max(round(region.shape[0] * scale), 8))
        enlarged = np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))
        ratio = np.array([region.shape[1] / size[0], region.shape[0] / size[1]], np.float32)
        offset = np.array([left, top], np.float32)
        return [
            Face((face.box.reshape(2, 2) * ratio + offset).reshape(4), face.landmarks * ratio + offset, face.score)
            for face in self._detect(enlarged.astype(np.uint8), LOOK_AGAIN_PX / 3, refine=refine)
        ]

    def _missing_row(
        self,
        source: Source,
        frame_index: int,
        view: View,
        faces: list[Face],
        refine: Callable[[list[Face]], Steps[list[Face]]],
    ) -> Steps[FaceRow]:
        """Why there is no face: none at all, none at the labelled box, too small, or too unsure."""
        if not faces or source.box is not None:
            where = "at the labelled box" if source.box is not None else "in the picture"
            row = failure_row(source, Status.NO_FACE, f"no face was found {where}", frame_index)
            row.width, row.height = view.width, view.height
            return row
        sure = [face for face in faces if face.score >= self._config.min_score]
        best = max(sure, key=size_of) if sure else max(faces, key=lambda face: face.score)
        [best] = yield from refine([best])
        row = self._row(source, frame_index, 0, Status.SMALL_FACE if sure else Status.LOW_SCORE, best, view)
        if sure:
            size = _text_below(size_of(best) * view.scale, self._config.min_face, 0)
            row.error = f"the largest face is {size} px, smaller than --min-face {self._config.min_face:g}"
        else:
            score = _text_below(best.score, self._config.min_score, 2)
            row.error = f"the best face has a score of {score}, under --min-score {self._config.min_score:g}"
        return row

    def _row(self, source: Source, frame_index: int, face_index: int, status: str, face: Face, view: View) -> FaceRow:
        self._watch.turn_to("pose")
        pose = estimate_pose(face.landmarks, face.box)
        return face_row(source, frame_index, face_index, status, face, pose, view)

    def _ok_row(
        self,
        source: Source,
        frame_index: int,
        face_index: int,
        face: Face,
        view: View,
        reread: Callable[[int], View] | None,
    ) -> tuple[FaceRow, BgraImage]:
        needed = view.reduction_needed(face.box, self._config.margin, self._config.crop_size)
        if reread is not None and needed < view.reduction:
            self._watch.turn_to("decode")
            closer = reread(needed)
            box: Box = tuple(closer.to_view(view.to_full(face.box)))  # type: ignore[assignment]
            again = self._look_again(closer, box)
            index = best_overlap(again, box)
            face, view = (again[index], closer) if index is not None else (view.moved(face, closer), closer)
        row = self._row(source, frame_index, face_index, Status.OK, face, view)
        self._watch.turn_to("crop")
        roll = row.roll if row.roll == row.roll else 0.0
        crop = cut_crop(view.image, face.box, roll, self._config.crop_size, self._config.margin)
        row.crop_scale = crop.scale / view.scale
        return row, crop.bgra

    def _finish(self, row: FaceRow, crop: BgraImage) -> None:
        self._watch.turn_to("sharpness")
        row.sharpness = sharpness(crop)
        self._watch.turn_to("encode")
        row.crop = encode_crop(crop)

    def _whole_row(self, source: Source, frame_index: int, view: View) -> FaceRow:
        """The row of a picture that is a face crop already: kept whole, whatever is found in it."""
        height, width = view.image.shape[:2]
        side = max(height, width)
        border = round(side * CROPPED_BORDER)
        edges = ((side - height) // 2, side - height - (side - height) // 2)
        sides = ((side - width) // 2, side - width - (side - width) // 2)
        square = cv2.copyMakeBorder(view.image, *edges, *sides, cv2.BORDER_REPLICATE)
        padded = cv2.copyMakeBorder(square, border, border, border, border, cv2.BORDER_REPLICATE)
        faces = self._detect(np.asarray(padded), side / 4)
        offset = np.array([border + sides[0], border + edges[0]], np.float32)
        if faces:
            face = faces[choose_face(faces, padded.shape[1], padded.shape[0]) or 0]
            inside = Face((face.box.reshape(2, 2) - offset).reshape(4), face.landmarks - offset, face.score)
            row = self._row(source, frame_index, 0, Status.OK, inside, view)
        else:
            row = failure_row(source, Status.OK, "", frame_index)
            row.key, row.face_index = key_of(source, frame_index, 0), 0
            row.width, row.height = view.width, view.height
            row.bbox = [0.0, 0.0, float(view.width), float(view.height)]
        size = self._config.crop_size
        self._watch.turn_to("crop")
        method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        crop = cv2.cvtColor(cv2.resize(square, (size, size), interpolation=method), cv2.COLOR_RGB2BGRA)
        row.crop_scale = size / max(view.width, view.height)
        self._finish(row, np.asarray(crop, np.uint8))
        return row


def _text_below(value: float, limit: float, digits: int) -> str:
    """A value that is under a limit: with a digit more, rounded down, where rounding would reach the limit."""
    text = f"{value:.{digits}f}"
    return text if float(text) < limit else f"{math.floor(value * 10 ** (digits + 1)) / 10 ** (digits + 1):g}"
