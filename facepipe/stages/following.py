"""A video's frames together with their faces, which are followed from frame to frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.errors import ImageError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.detection.tracking import Tracker
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.records import Face, Image

MOST_SPANS = 8
"""From one full search to the next: so many are gone through together, as O-Net looks at four faces in one go."""
MOST_BYTES = 32 * 2**20
"""Held by several spans of frames: many large ones would take more memory than they save time."""
LIMIT_BYTES = 128 * 2**20
"""Held by one span; of large frames it has fewer."""


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


def frames_held(size: int, span: int) -> int:
    """How many frames of `size` bytes are held: whole spans of so many frames, where they fit."""
    together = min(max(MOST_BYTES // (span * size), 1), MOST_SPANS) * span
    return max(min(together, LIMIT_BYTES // size), 2)


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
