"""Frames of video files, by OpenCV's own FFmpeg."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from facepipe.chatter import captured_chatter
from facepipe.decoding import check_size
from facepipe.errors import ImageError
from facepipe.records import Status
from facepipe.sources.movies import shown_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facepipe.records import Image

_OPENCV = {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_FFMPEG_READ_ATTEMPTS": str(10**9)}
"""What OpenCV reads from the environment: FFmpeg says nothing; however long a picture stands still while sound goes on,
the next one is found (unless told, OpenCV takes 4,096 packets of sound, a minute and a half, for the film's end)."""
_CONTAINERS = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"), (8, b"AVI "), (8, b"AVIX"),
    (0, b"\x1a\x45\xdf\xa3"), (0, b"FLV\1"), (0, b"\0\0\1\xba"), (0, b"\0\0\1\xb3"), (0, b"OggS"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), (0, b"\x47"), (4, b"\x47"),
)  # fmt: skip
"""Offset and bytes of what FFmpeg may be given: no playlists, which make it open other files and URLs."""
_TOLERATED = 0.02
"""Share of a video's frames that may be missing at its end: some containers only estimate their number."""
_DAMAGED = 30, 1000
"""How many frames in a row that can't be decoded are skipped: where a film doesn't say how long it is, and at most."""
_STRETCHED = 4.0
"""Pixels further from square than this are a mistake in the file."""


def iter_frames(path: str, every: int, max_pixels: int) -> Iterator[tuple[int, Image]]:
    """Decodes a video file.

    Args:
        path: a local file.
        every: give frames 0, `every`, 2 * `every`, ...
        max_pixels: refuse videos with larger frames.

    Yields:
        (frame index from 0, (H, W, 3) uint8 RGB), turned upright as the file's rotation says, with square pixels.
        Frames that can't be decoded are left out and have no index.

    Raises:
        ImageError: `read_error`, `decode_error` or `too_large`; for a video that breaks off or has damaged frames,
            after its last frame. It has the index after that frame's, whether `every` would have given it or not.
    """
    import cv2

    with _opened(path) as capture:
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        check_size(width, height, max_pixels)
        stretch = _stretch(capture)
        expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        index, damaged, seconds = 0, 0, 0.0
        try:
            while (skipped := _grab(capture, expected - index - damaged)) is not None:
                damaged += skipped
                seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if index % every == 0:
                    image = _retrieve(capture, stretch)
                    check_size(image.shape[1], image.shape[0], max_pixels)
                    yield index, image
                index += 1
            _check_end(index, damaged, expected, lambda: _is_shown(capture, path, seconds))
        except ImageError as error:
            error.frame_index = index
            raise


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    import cv2

    for name, value in _OPENCV.items():
        os.environ.setdefault(name, value)
    descriptor = _open_regular(path)
    try:
        # By descriptor: any name works, also one that is no UTF-8, and it is the file that was checked.
        options = [cv2.CAP_PROP_N_THREADS, 1]
        with captured_chatter():
            capture = cv2.VideoCapture(f"/dev/fd/{descriptor}", cv2.CAP_FFMPEG, options)
        try:
            if not capture.isOpened():
                raise ImageError(
                    Status.DECODE_ERROR, "the video can't be opened: it is damaged, cut off, or of an unknown codec"
                )
            yield capture
        finally:
            capture.release()
    except cv2.error as error:
        raise ImageError(Status.DECODE_ERROR, f"the video can't be decoded: {error.err}") from None
    finally:
        os.close(descriptor)


def _open_regular(path: str) -> int:
    """A descriptor of a regular file that begins as a video does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(Status.READ_ERROR, f"can't read the video: {(error.strerror or str(error)).lower()}") from None
    try:
        _check_start(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_start(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ImageError(Status.READ_ERROR, "can't read the video: it is no regular file")
    start = os.pread(descriptor, 16, 0)
    if not start:
        raise ImageError(Status.DECODE_ERROR, "the file is empty")
    if not any(start.startswith(signature, offset) for offset, signature in _CONTAINERS):
        raise ImageError(Status.DECODE_ERROR, f"not a video that can be read: it starts with {start!r}")


def _grab(capture: Any, missing: float) -> int | None:
    """Goes to the next frame; how many could not be decoded before it, None: there are no more.

    A damaged frame looks like the end, so more is asked for; `missing`: how many frames there should still be.
    """
    least, most = _DAMAGED
    for damaged in range(int(min(max(missing, least), most))):
        with captured_chatter():
            if capture.grab():
                return damaged
    return None


def _retrieve(capture: Any, stretch: tuple[float, float]) -> Image:
    import cv2
    import numpy as np

    found, image = capture.retrieve()
    if not found or image is None or image.ndim != 3:
        raise ImageError(Status.DECODE_ERROR, "a frame of the video can't be decoded")
    if stretch != (1.0, 1.0):
        image = cv2.resize(image, None, fx=stretch[0], fy=stretch[1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _stretch(capture: Any) -> tuple[float, float]:
    """What makes a frame's pixels square, in x and y: those of DV, DVD and HDV are not. No side gets smaller."""
    import cv2

    wide, high = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180:
        wide, high = high, wide
    if min(wide, high) <= 0 or not 1 / _STRETCHED <= wide / high <= _STRETCHED:
        return 1.0, 1.0
    return max(wide / high, 1.0), max(high / wide, 1.0)


def _check_end(frames: int, damaged: int, expected: float, is_whole: Callable[[], bool]) -> None:
    """A video that ends well before the number of frames that it announces has lost its end."""
    if frames == 0:
        raise ImageError(Status.DECODE_ERROR, "the video holds no frame that can be decoded")
    if expected < 2**31 and frames + damaged < expected * (1 - _TOLERATED) - 2 and not is_whole():
        raise ImageError(Status.DECODE_ERROR, f"the video breaks off after {frames} of {int(expected)} frames")
    if damaged:
        said = f"the video is damaged: {damaged:,} of its frames can't be decoded; the others are kept"
        raise ImageError(Status.DECODE_ERROR, said)


def _is_shown(capture: Any, path: str, seconds: float) -> bool:
    """Whether the last frame, at so many seconds, ends an MP4 or MOV film: a trimmed one announces more frames."""
    import cv2

    length, rate = shown_seconds(path), capture.get(cv2.CAP_PROP_FPS)
    return length > 0 and rate > 0 and seconds >= length * (1 - _TOLERATED) - 3 / rate
