"""Frames of video files, by PyAV (https://pyav.basswood-io.com), that is, by FFmpeg's libraries."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.errors import ImageError
from facepipe.media.containers import is_asf_whole, length_s, mpeg_size, orientation_of, stretch_of
from facepipe.media.image import check_size, decode
from facepipe.media.samples import FIRST_TRANSPOSED, upright
from facepipe.media.signatures import START_BYTES, VIDEO, sniff
from facepipe.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import VideoFrame
    from av.filter import Graph

    from facepipe.records import Image

_TOLERATED = 0.02
"""Share of a video that may be missing at its end: some containers only estimate their length."""
_TOLERATED_FRAMES = 3
_OPTIONS = {"protocol_whitelist": "file"}
"""A video opens no other file and no URL."""


def iter_frames(path: str, every: int, max_pixels: int) -> Iterator[tuple[int, Image]]:
    """Decodes a video file; a picture under a video's name is a video of one frame.

    Args:
        path: a local file.
        every: give frames 0, `every`, 2 * `every`, ...
        max_pixels: refuse videos with larger frames.

    Yields:
        (frame index from 0, (H, W, 3) uint8 RGB), turned upright as the file says, with square pixels; each frame has
        its own size. Frames that can't be decoded are left out and have no index.

    Raises:
        ImageError: `read_error`, `decode_error` or `too_large`; for a video that breaks off or has damaged frames,
            after its last frame. It has the index after that frame's, whether `every` would have given it or not.
    """
    with _opened(path) as descriptor:
        start = os.pread(descriptor, START_BYTES, 0)
        kind = sniff(start)
        if kind == VIDEO:
            yield from _frames(descriptor, every, max_pixels)
        elif kind:
            with os.fdopen(os.dup(descriptor), "rb") as file:
                yield 0, decode(file.read(), max_pixels=max_pixels)
        elif not start:
            raise ImageError(Status.DECODE_ERROR, "the file is empty")
        else:
            raise ImageError(Status.DECODE_ERROR, f"not a video that can be read: it starts with {start[:16]!r}")


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """The descriptor of a regular file: any name works, also one that is no UTF-8."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(Status.READ_ERROR, f"can't read the video: {(error.strerror or str(error)).lower()}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ImageError(Status.READ_ERROR, "can't read the video: it is no regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _frames(descriptor: int, every: int, max_pixels: int) -> Iterator[tuple[int, Image]]:
    import av

    try:
        container = av.open(f"/dev/fd/{descriptor}", "r", options=_OPTIONS)
    except (av.error.FFmpegError, ValueError):
        said = "the video can't be opened: it is damaged, cut off, or of an unknown codec"
        raise ImageError(Status.DECODE_ERROR, said) from None
    with container:
        video = _Video(container, max_pixels, is_asf_whole(descriptor))
        try:
            yield from video.images(every)
            video.check_end()
        except av.error.FFmpegError as error:
            said = f"the video can't be decoded: {error.strerror}"
            raise ImageError(Status.DECODE_ERROR, said, video.frames) from None
        except ImageError as error:
            error.frame_index = video.frames
            raise


class _Video:
    """An open video, and how far it was read.

    frames: came so far. damaged: could not be decoded, and are not among them. end_s: when the last of them, or what
    else the file holds, ends. longest_s: the longest time from one frame to the next.
    """

    def __init__(self, container: Any, max_pixels: int, is_whole: bool | None) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._container = container
        self._max_pixels = max_pixels
        self._is_whole = is_whole
        self._stream = container.streams.best("video")
        if self._stream is None or self._stream.codec_context is None:
            raise ImageError(Status.DECODE_ERROR, "the video holds no picture, or one of an unknown codec")
        self._stream.thread_type = "NONE"  # a core has a worker of its own
        check_size(self._stream.width, self._stream.height, max_pixels)
        self._clock_s = float(self._stream.time_base)
        self._reformatter, self._method = VideoReformatter(), int(Interpolation.FAST_BILINEAR)
        self._size, self._shape = (0, 0), (1.0, 1.0)
        self._mpeg_size = b""
        self.frames = self.damaged = 0
        self._starts_s: float | None = None
        self.end_s = self.longest_s = 0.0

    def images(self, every: int) -> Iterator[tuple[int, Image]]:
        """Frames 0, `every`, 2 * `every`, ... with their indices."""
        for frame in self._whole():
            if self.frames % every == 0:
                yield self.frames, self._image(frame)
            self.frames += 1

    def _image(self, frame: VideoFrame) -> Image:
        """(H, W, 3) uint8 RGB, upright, with square pixels."""
        if (size := (frame.width, frame.height)) != self._size:
            check_size(*size, self._max_pixels)
            self._size, self._shape = size, stretch_of(self._stream.sample_aspect_ratio)
        rgb = self._reformatter.reformat(frame, format="rgb24", interpolation=self._method, threads=1)
        orientation = orientation_of(frame)
        image = upright(np.ascontiguousarray(rgb.to_ndarray(), np.uint8), orientation)
        if self._shape == (1.0, 1.0):
            return image
        x, y = self._shape[::-1] if orientation >= FIRST_TRANSPOSED else self._shape
        check_size(round(image.shape[1] * x), round(image.shape[0] * y), self._max_pixels)
        return np.asarray(cv2.resize(image, None, fx=x, fy=y, interpolation=cv2.INTER_LINEAR), np.uint8)

    def _whole(self) -> Iterator[VideoFrame]:
        """The frames, interlaced ones made whole of their fields by FFmpeg's `bwdif`."""
        graph, kind = None, None
        for frame in self._decoded():
            found = (frame.width, frame.height, frame.format.name)
            if graph is not None and found != kind:
                yield from _pulled(graph, None)
                graph = None
            if graph is None and frame.interlaced_frame:
                graph, kind = _deinterlacer(frame), found
            if graph is None:
                yield frame
            else:
                yield from _pulled(graph, frame)
        if graph is not None:
            yield from _pulled(graph, None)

    def _decoded(self) -> Iterator[VideoFrame]:
        import av

        for packet in self._packets():
            try:
                frames = [*self._held_back(packet), *self._stream.decode(packet)]
            except av.error.FFmpegError:
                self.damaged += packet is not None
                continue
            for frame in frames:
                self._note(frame)
                yield frame

    def _held_back(self, packet: Any) -> list[VideoFrame]:
        """What FFmpeg's decoder of MPEG-1 and MPEG-2 would forget where the next frame has another size."""
        before, self._mpeg_size = self._mpeg_size, mpeg_size(packet, self._stream) or self._mpeg_size
        if before in (b"", self._mpeg_size):
            return []
        frames: list[VideoFrame] = self._stream.decode(None)
        self._stream.codec_context.flush_buffers()
        return frames

    def _packets(self) -> Iterator[Any]:
        """The video's packets, then None."""
        import av

        index, clocks = self._stream.index, {stream.index: stream.time_base for stream in self._container.streams}
        try:
            for packet in self._container.demux():
                if packet.size == 0:  # a frame that was left out, or a stream's end
                    continue
                if packet.stream_index == index:
                    yield packet
                elif packet.pts is not None and (clock := clocks[packet.stream_index]):
                    self.end_s = max(self.end_s, float((packet.pts + (packet.duration or 0)) * clock))
        except av.error.FFmpegError:
            pass  # what breaks off is noticed by its length
        yield None

    def _note(self, frame: VideoFrame) -> None:
        if frame.pts is None:
            return
        start, before = frame.pts * self._clock_s, self._starts_s
        self.longest_s = max(self.longest_s, 0.0 if before is None else start - before)
        self.end_s = max(self.end_s, start + frame.duration * self._clock_s)
        self._starts_s = start

    def check_end(self) -> None:
        """Raises ImageError where frames are missing: at the end, or before."""
        if self.frames == 0:
            raise ImageError(Status.DECODE_ERROR, "the video holds no frame that can be decoded")
        expected_s = length_s(self._container, self._stream)
        tolerated_s = max(_TOLERATED_FRAMES * self.end_s / self.frames, self.longest_s) + _TOLERATED * expected_s
        is_whole = self._is_whole if self._is_whole is not None else self.end_s >= expected_s - tolerated_s
        if not is_whole:
            length = f" of {expected_s:.1f}" if expected_s > self.end_s else ""
            said = f"the video breaks off after {self.frames} frames, {self.end_s:.1f}{length} seconds"
            raise ImageError(Status.DECODE_ERROR, said)
        if self.damaged:
            said = f"the video is damaged: {self.damaged:,} of its frames can't be decoded; the others are kept"
            raise ImageError(Status.DECODE_ERROR, said)


def _deinterlacer(frame: VideoFrame) -> Graph:
    """See https://ffmpeg.org/ffmpeg-filters.html#bwdif."""
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base, name="in"
    )
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Graph, frame: VideoFrame | None) -> Iterator[VideoFrame]:
    """What a filter gives for one frame more, or for none any more: it holds one back."""
    import av

    graph.push(frame)
    while True:
        try:
            yield graph.pull()  # type: ignore[misc] # a graph of pictures gives pictures
        except (av.error.BlockingIOError, av.error.EOFError):
            return
