"""A video's frames together with their faces, which are followed from frame to frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.detection.tracking import frames_held
from facepipe.errors import ImageError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.detection.tracking import Tracker
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.records import Face, Image


def followed(
    frames: Iterator[tuple[int, Image]], tracker: Tracker, watch: Stopwatch
) -> Iterator[tuple[int, Image, list[Face]]]:
    """The frames, (index, (h, w, 3) uint8 RGB), and all faces of each; an error comes after the frames before it."""
    wanted = 1
    error: ImageError | InputError | None = None
    while error is None:
        held, error = _take(frames, wanted)
        watch.turn_to("track")
        found = tracker.faces([image for _, image in held])
        for (index, image), faces in zip(held, found, strict=True):
            yield index, image, faces
        if error is None and len(held) < wanted:
            return
        wanted = frames_held(held[0][1].nbytes, tracker.span) if held else 0
    raise error


def _take(
    frames: Iterator[tuple[int, Image]], count: int
) -> tuple[list[tuple[int, Image]], ImageError | InputError | None]:
    """Up to `count` frames, and the error that came instead of the next one."""
    taken: list[tuple[int, Image]] = []
    try:
        for frame in frames:
            taken.append(frame)
            if len(taken) == count:
                break
    except (ImageError, InputError) as error:
        return taken, error
    return taken, None
