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
from facepipe.sources.interlaced import Deinterlaced, is_installed
from facepipe.sources.movies import shown_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facepipe.records import Image

_READ_ATTEMPTS = "OPENCV_FFMPEG_READ_ATTEMPTS"
"""Packets of sound that OpenCV reads in search of the next picture: in a slideshow the film does not end with them."""
_LOGGING = "OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_DEBUG"
"""They send what FFmpeg says to standard output, where it can't be kept off the terminal, nor read."""
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
_INSTALL = "pip install 'facepipe[films]', then run again with --retry-failed"
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
    with _opened(path) as (capture, descriptor):
        film = _Film(capture, descriptor, max_pixels)
        try:
            yield from film.images(every)
            film.check_end(path)
        except ImageError as error:
            error.frame_index = film.frames
            raise


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, int]]:
    import cv2

    os.environ.setdefault(_READ_ATTEMPTS, str(10**9))
    for name in _LOGGING:
        os.environ.pop(name, None)
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
            yield capture, descriptor
        finally:
            with captured_chatter():
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


class _Film:
    """An open video, and how far it was read.

    frames: came so far. damaged: could not be decoded, and are not among them. interlaced: are, but gave no picture.
    """

    def __init__(self, capture: Any, descriptor: int, max_pixels: int) -> None:
        import cv2

        self._capture = capture
        self._descriptor = descriptor
        self._max_pixels = max_pixels
        width, height, self._expected, self._rate = map(
            capture.get,
            (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS),
        )
        check_size(int(width), int(height), max_pixels)
        self._stretch = _stretch(capture)
        self._seconds = 0.0
        self.frames = self.damaged = self.interlaced = 0

    def images(self, every: int) -> Iterator[tuple[int, Image]]:
        """Frames 0, `every`, 2 * `every`, ... with their indices."""
        in_a_row = 0
        while self._grab():
            if self.frames % every == 0:
                image = self._retrieve()
                if self.interlaced and is_installed():
                    yield from self._deinterlaced(every)
                    return
                in_a_row = in_a_row + 1 if image is None else 0
                if image is not None:
                    yield self.frames, image
                elif in_a_row == _DAMAGED[1]:
                    break
            self.frames += 1

    def _deinterlaced(self, every: int) -> Iterator[tuple[int, Image]]:
        """The frames from this one on."""
        film, start = Deinterlaced(self._descriptor), self.frames
        self.interlaced = 0
        for index, frame in enumerate(film):
            if index >= start and index % every == 0:
                yield index, self._shown(film.image(frame))
            self.frames, self.damaged, self._seconds = index + 1, film.damaged, film.seconds

    def _grab(self) -> bool:
        """Goes to the next frame; False: there are no more.

        A damaged frame looks like the end, so more is asked for, as much as there should still be.
        """
        import cv2

        least, most = _DAMAGED
        missing = self._expected - self.frames - self.damaged
        for skipped in range(int(min(max(missing, least), most))):
            with captured_chatter():
                found = self._capture.grab()
            if found:
                self.damaged += skipped
                self._seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                return True
        return False

    def _retrieve(self) -> Image | None:
        """The frame's picture; None where it is interlaced.

        Where the conversion to RGB fails, OpenCV gives memory that may hold another film's picture, and no sign of it
        but what FFmpeg says.
        """
        import cv2
        import numpy as np

        with captured_chatter() as said:
            found, image = self._capture.retrieve()
        faults = [line for line in said if line.startswith("[swscaler")]
        if any("interlaced" in line for line in faults):
            self.interlaced += 1
            return None
        if faults or not found or image is None or image.ndim != 3:
            raise ImageError(Status.DECODE_ERROR, "a frame of the video can't be decoded")
        return self._shown(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))

    def _shown(self, image: Image) -> Image:
        """With square pixels."""
        import cv2
        import numpy as np

        if self._stretch != (1.0, 1.0):
            x, y = self._stretch
            image = np.asarray(cv2.resize(image, None, fx=x, fy=y, interpolation=cv2.INTER_LINEAR), np.uint8)
        check_size(image.shape[1], image.shape[0], self._max_pixels)
        return image

    def check_end(self, path: str) -> None:
        """Raises ImageError where frames are missing: at the end, unless the film was trimmed, or before."""
        if self.frames == 0:
            raise ImageError(Status.DECODE_ERROR, "the video holds no frame that can be decoded")
        if self.interlaced:
            said = f"{self.interlaced:,} frames are interlaced, which OpenCV can't read; {_INSTALL}"
            raise ImageError(Status.DECODE_ERROR, said)
        expected = self._expected
        if (
            expected < 2**31
            and self.frames + self.damaged < expected * (1 - _TOLERATED) - 2
            and not self._is_whole(path)
        ):
            said = f"the video breaks off after {self.frames} of {int(expected)} frames"
            raise ImageError(Status.DECODE_ERROR, said)
        if self.damaged:
            said = f"the video is damaged: {self.damaged:,} of its frames can't be decoded; the others are kept"
            raise ImageError(Status.DECODE_ERROR, said)

    def _is_whole(self, path: str) -> bool:
        """Whether the last frame ends an MP4 or MOV film: a trimmed one announces more frames than it shows."""
        length = shown_seconds(path)
        return length > 0 and self._rate > 0 and self._seconds >= length * (1 - _TOLERATED) - 3 / self._rate


def _stretch(capture: Any) -> tuple[float, float]:
    """What makes a frame's pixels square, in x and y: those of DV, DVD and HDV are not. No side gets smaller."""
    import cv2

    wide, high = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180:
        wide, high = high, wide
    if min(wide, high) <= 0 or not 1 / _STRETCHED <= wide / high <= _STRETCHED:
        return 1.0, 1.0
    return max(wide / high, 1.0), max(high / wide, 1.0)
