"""Makes one part of `faces`: a pure function of its sources and the settings."""

from __future__ import annotations

import os
import posixpath
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from facepipe import parquet
from facepipe.detection import make_detector, make_refiner
from facepipe.detection.tracking import MOST_EVERY, SPAN, Tracker
from facepipe.errors import ImageError, InputError, OutputError, StorageDown
from facepipe.execution import PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.lockstep import at_once, in_lockstep
from facepipe.media.signatures import VIDEO, sniff
from facepipe.media.video import iter_frames
from facepipe.records import Status
from facepipe.sources.plan import read_part
from facepipe.stages.facerows import failure_row
from facepipe.stages.following import followed
from facepipe.stages.frame import FrameExtractor
from facepipe.stages.partlist import IMAGES
from facepipe.stages.seen import Seen
from facepipe.storage import place, read_ahead
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from facepipe.config import ExtractConfig
    from facepipe.detection import Detector
    from facepipe.execution import Guard
    from facepipe.lockstep import Steps
    from facepipe.records import FaceRow, Image, Source

MOST_DOWN = 8
"""Files in a row that a store may refuse, or not answer for: from then on it is not the files, and the run ends, rather
than to leave rows of failures that a later run would have to be told to read again."""
MAX_FILE_BYTES = 512 * 2**20
"""A still image's file may not be larger; videos may."""
BLAMED = {
    Status.WORKER_CRASH: "reading this file ended the process twice; it may be damaged on purpose",
    Status.TIMEOUT: "this file took longer than --timeout",
}


@dataclass(frozen=True)
class ExtractJob:
    """Part number -> the part's file. Small and picklable: what a worker reads stands in the plan."""

    config: ExtractConfig
    settings_hash: str

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Makes part `number` and writes it whole; `guard` is told of every file before it is touched."""
        watch = Stopwatch()
        out = place(self.config.output)
        watch.turn_to("plan")
        sources, name = read_part(out, number, self.settings_hash)
        watch.turn_to("")  # loading the networks, once a process, is no step of an image's
        extractor = PartExtractor(self.config, guard, watch)
        counts: Counter[str] = Counter()

        def counted() -> Iterator[FaceRow]:
            for row in extractor.rows(sources):
                counts[row.status] += 1
                counts[IMAGES] += row.face_index <= 0  # one row of each picture or frame is
                yield row

        def during(step: str) -> AbstractContextManager[None]:
            guard.off()
            return watch.step(step)

        digest = parquet.write_faces(out, name, counted(), during)
        return PartReport(counts=dict(counts), steps_s=dict(watch.seconds), items=len(sources), files={name: digest})


@lru_cache(maxsize=1)
def _detector(name: str, model: str, min_score: float, _pid: int) -> Detector:
    """The detector of this process, loaded once. The process id keeps a forked child from using its parent's."""
    return make_detector(name, model, min_score)


class PartExtractor:
    """Turns a part's sources into rows, in order."""

    def __init__(self, config: ExtractConfig, guard: Guard, watch: Stopwatch) -> None:
        self._config = config
        self._guard = guard
        self._watch = watch
        self._inputs = place(config.input)
        self._detector = _detector(config.detector, config.model, config.min_score, os.getpid())
        self._extractor = FrameExtractor(config, self._detector, watch)
        self._down = 0

    def rows(self, sources: Sequence[Source]) -> Iterator[FaceRow]:
        """At least one row for every source, none of them ever an exception.

        Raises:
            StorageDown: files in a row could not be read, and none of them is to blame.
        """
        self._down = 0
        for rows in in_lockstep(self._works(sources), self._guard.on):
            self._watch.turn_to("write")
            yield from rows

    def _works(self, sources: Sequence[Source]) -> Iterator[tuple[int, Steps[list[FaceRow]]]]:
        """The work on every still and every frame, with its source's index."""
        blamed = self._guard.blamed
        wanted = [s.file for i, s in enumerate(sources) if not s.is_video and i not in blamed]
        files = read_ahead(self._inputs, wanted, max_bytes=MAX_FILE_BYTES)
        seen, group = Seen(), None
        for index, source in enumerate(sources):
            self._guard.on(index)
            self._watch.turn_to("read")
            if not source.video or group != (source.identity, source.video):
                seen, group = Seen(), (source.identity, source.video)
            if index in blamed:
                status = Status(blamed[index])
                yield index, at_once([failure_row(source, status, BLAMED[status])])
            elif source.is_video:
                yield from ((index, work) for work in self._video(source, index))
            else:
                _, data = next(files)
                self._judge(data)
                if isinstance(data, bytes) and sniff(data) == VIDEO:  # under a picture's name
                    yield from ((index, work) for work in self._video(_as_video(source), index))
                else:
                    yield index, self._still(source, data, seen)

    def _judge(self, outcome: object) -> None:
        """Ends the run where it is the store that fails, unless all failures are allowed."""
        if not isinstance(outcome, StorageDown):
            self._down = 0
            return
        self._down += 1
        if self._down >= MOST_DOWN and self._config.max_failed < 1:
            raise StorageDown(
                f"{outcome} ({self._down} files in a row could not be read, so the run ends: what is finished is kept; "
                "--max-failed 1 goes on all the same)"
            )

    def _still(self, source: Source, data: bytes | InputError, seen: Seen) -> Steps[list[FaceRow]]:
        if isinstance(data, InputError):
            return [failure_row(source, Status.READ_ERROR, self._said(source, data))]
        try:
            return (yield from self._extractor.still(source, data, seen))
        except ImageError as error:
            return [failure_row(source, error.status, error.message)]

    def _said(self, source: Source, error: InputError) -> str:
        """The error with the path as in the input: where that lies differs between machines, the bytes must not."""
        if not self._inputs.is_local:
            return str(error)
        return str(error).replace(printable(self._inputs.local_path(source.file)), printable(source.file))

    def _video(self, source: Source, index: int) -> Iterator[Steps[list[FaceRow]]]:
        """The work on a video file's frames; where it breaks off, a row that says so."""
        seen, last = Seen(), -1
        try:
            with self._local_copy(source) as path:
                frames = self._decoded(path, index)
                if (tracker := self._tracker()) is not None:
                    for last, image, faces in followed(frames, tracker, self._watch):
                        yield self._extractor.frame(source, last, image, faces, seen)
                else:
                    for last, image in frames:
                        yield self._extractor.frame(source, last, image, None, seen)
        except ImageError as error:
            yield at_once([failure_row(source, error.status, error.message, error.frame_index)])
        except InputError as error:
            self._judge(error)
            yield at_once([failure_row(source, Status.READ_ERROR, str(error), last + 1)])

    def _decoded(self, path: str, index: int) -> Iterator[tuple[int, Image]]:
        """A video file's frames."""
        frames = iter_frames(path, self._config.every, self._config.max_pixels)
        while True:
            self._guard.on(index)
            self._watch.turn_to("decode")
            found = next(frames, None)
            if found is None:
                return
            yield found

    def _tracker(self) -> Tracker | None:
        """What follows the faces of one video's frames; None where each frame is searched on its own."""
        every = self._config.every
        if not self._config.track or every > MOST_EVERY or self._config.cropped:
            return None
        return Tracker(self._detector, make_refiner(), self._config.min_face, self._config.min_score, SPAN // every)

    @contextmanager
    def _local_copy(self, source: Source) -> Iterator[str]:
        """A path that a video decoder can open; what lies in an object store is copied first."""
        if self._inputs.is_local:
            yield self._inputs.local_path(source.file)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, f"video{os.path.splitext(source.path)[1]}")
            self._watch.turn_to("read")
            try:
                with self._inputs.open_input(source.file) as remote, open(copy, "wb") as local:
                    shutil.copyfileobj(remote, local, 2**22)
            except OSError as error:
                raise OutputError(
                    f"can't copy {source.path} to {tempfile.gettempdir()}: {error.strerror}; set TMPDIR to a folder "
                    "with room"
                ) from None
            yield copy


def _as_video(source: Source) -> Source:
    """A file that was listed as a still."""
    name = posixpath.basename(source.path)
    return source._replace(is_video=True, video=f"{source.video}/{name}" if source.video else name)
