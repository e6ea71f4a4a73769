"""Interlaced films, as camcorders made them: since 4.13 OpenCV can't read them.

Decoded by PyAV (https://pyav.basswood-io.com), whole frames made from their fields by FFmpeg's `bwdif`
(https://ffmpeg.org/ffmpeg-filters.html#bwdif).
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import ImageError
from facepipe.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import VideoFrame
    from av.container import InputContainer
    from av.filter import Graph

    from facepipe.records import Image


def is_installed() -> bool:
    """Whether PyAV is there."""
    return find_spec("av") is not None


class Deinterlaced:
    """An interlaced film's frames.

    damaged: how many could not be decoded so far, and are not among them. seconds: when the frame that was given last
    is shown, counted from the film's start.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is of the open file; it is left open."""
        self._descriptor = descriptor
        self._rotation = 0
        self.damaged = 0
        self.seconds = 0.0

    def __iter__(self) -> Iterator[VideoFrame]:
        """The frames in order.

        Raises:
            ImageError: `decode_error`, where PyAV refuses the file.
        """
        import av

        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as file:
                file.seek(0)
                with av.open(file, "r") as container:
                    for frame in self._filtered(container):
                        self.seconds = frame.time or 0.0
                        yield frame
        except av.error.FFmpegError as error:
            raise ImageError(Status.DECODE_ERROR, f"the video can't be decoded: {error.strerror}") from None

    def image(self, frame: VideoFrame) -> Image:
        """(H, W, 3) uint8 RGB, turned upright as the file's rotation says."""
        return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), self._rotation // 90), np.uint8)

    def _filtered(self, container: InputContainer) -> Iterator[VideoFrame]:
        graph, kind = None, None
        for frame in self._decoded(container):
            if graph is None or kind != (frame.width, frame.height, frame.format.name):
                yield from _pulled(graph, None)
                graph, kind = _make_graph(frame), (frame.width, frame.height, frame.format.name)
                self._rotation = frame.rotation
            yield from _pulled(graph, frame)
        yield from _pulled(graph, None)

    def _decoded(self, container: InputContainer) -> Iterator[VideoFrame]:
        import av

        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # a core has a worker of its own
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self.damaged += 1


def _make_graph(frame: VideoFrame) -> Graph:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base, name="in"
    )
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Graph | None, frame: VideoFrame | None) -> Iterator[VideoFrame]:
    """What a filter gives for one frame more, or for none any more: it holds one back."""
    import av

    if graph is None:
        return
    graph.push(frame)
    while True:
        try:
            yield graph.pull()  # type: ignore[misc] # a graph of pictures gives pictures
        except (av.error.BlockingIOError, av.error.EOFError):
            return
