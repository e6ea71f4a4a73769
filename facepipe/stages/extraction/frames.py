"""The frames of a video with the faces found in them, followed from frame to frame, and turned where people lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.detection import make_refiner
from facepipe.detection.tracking import MOST_EVERY, SPAN, Tracker, frames_held
from facepipe.errors import ImageError, InputError
from facepipe.media.video import iter_frames
from facepipe.stages.extraction.finding import Picture
from facepipe.stages.extraction.photo import whole_view
from facepipe.stages.extraction.searching import Found
from facepipe.stages.extraction.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from facepipe.config import ExtractConfig
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.records import Image, Source
    from facepipe.stages.extraction.photo import View
    from facepipe.stages.extraction.searching import Search

MOST_FRAMES = 32
"""Held at once where faces are not followed."""


@dataclass(frozen=True)
class FrameReader:
    """Reads videos as pictures on their way.

    search: searches in frames. watch: told of every step. on: told the index of a video's source before anything is
    done to it.
    """

    config: ExtractConfig
    search: Search
    watch: Stopwatch
    on: Callable[[int], None]

    def frames(self, source: Source, index: int, path: str) -> Iterator[Picture]:
        """The frames, their faces found; the whole video is turned from where one is found to lie on its side."""
        frames = self._decoded(path, index)
        seen, tracker, quarters, wanted = Seen(), self._tracker(), 0, 1
        boxes = source.boxes
        rest: list[tuple[int, Image]] = []
        shape: tuple[int, ...] = ()
        while True:
            held, error = _take(frames, wanted, rest)
            if held and held[0][1].shape != shape:
                shape, tracker = held[0][1].shape, self._tracker()
            views = [whole_view(image).turned(quarters) for _, image in held]
            faces = self._tracked(views, tracker)
            if views and not self.config.cropped and (more := self._turn_of(views, faces)):
                quarters += more
                views, tracker = [view.turned(more) for view in views], self._tracker()
                faces = self._tracked(views, tracker)
            for (frame, _), view, some in zip(held, views, faces, strict=True):
                if boxes and frame not in boxes:
                    continue
                of_frame = source._replace(box=boxes[frame]) if boxes else source
                yield Picture(index, of_frame, frame, view, seen, faces=some, refined=tracker is not None)
            if error is not None:
                raise error
            if not held:
                return
            wanted = frames_held(held[0][1].nbytes, tracker.span if tracker is not None else MOST_FRAMES)

    def _decoded(self, path: str, index: int) -> Iterator[tuple[int, Image]]:
        """A video file's frames."""
        frames = iter_frames(path, self.config.every, self.config.max_pixels)
        while True:
            self.on(index)
            self.watch.turn_to("decode")
            found = next(frames, None)
            if found is None:
                return
            yield found

    def _tracked(self, views: Sequence[View], tracker: Tracker | None) -> Sequence[list[Found] | None]:
        """The faces of frames: followed from frame to frame, or each frame's own; None for crops."""
        if self.config.cropped:
            return [None] * len(views)
        if tracker is None:
            return self.search.find(views, [self.config.min_face] * len(views))
        self.watch.turn_to("track")
        return [[Found(face) for face in faces] for faces in tracker.faces([view.image for view in views])]

    def _turn_of(self, views: Sequence[View], faces: Sequence[list[Found] | None]) -> int:
        """By how many quarters of a circle frames are to be turned so that faces stand upright; 0 where some do.

        Faces are looked at until one stands upright; where none does, the frame in the middle is searched turned.
        """
        for view, some in zip(views, faces, strict=True):
            good = self.search.good(some or [], view)
            self.search.look([view], [good])
            if any(one.upright for one in good):
                return 0
        middle = views[len(views) // 2]
        [turned] = self.search.turn([middle], [self.config.min_face], [None])
        return (turned[0].quarters - middle.quarters) % 4 if turned is not None else 0

    def _tracker(self) -> Tracker | None:
        """What follows the faces of one video's frames; None where each frame is searched on its own."""
        every = self.config.every
        if not self.config.track or every > MOST_EVERY or self.config.cropped:
            return None
        return Tracker(self.search.detector, make_refiner(), self.config.min_face, self.config.min_score, SPAN // every)


def _take(
    frames: Iterator[tuple[int, Image]], count: int, rest: list[tuple[int, Image]]
) -> tuple[list[tuple[int, Image]], ImageError | InputError | None]:
    """Up to `count` frames of one size, and the error that came instead of the next one.

    `rest` keeps a frame of another size for the next call.
    """
    taken = [rest.pop()] if rest else []
    try:
        while len(taken) < count and (frame := next(frames, None)) is not None:
            if taken and frame[1].shape != taken[0][1].shape:
                rest.append(frame)
                break
            taken.append(frame)
    except (ImageError, InputError) as error:
        return taken, error
    return taken, None
