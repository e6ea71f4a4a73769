"""Makes one part of `faces`, a pure function of its sources and the settings: reads up to 32 pictures at a time."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from facepipe.detection import make_detector
from facepipe.errors import ImageError, InputError, OutputError, StorageDown
from facepipe.execution import PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.face.orientation import make_orientation
from facepipe.inputs.plan import read_part
from facepipe.media.signatures import VIDEO, sniff
from facepipe.records import FaceRow, Status
from facepipe.stages.extraction.cutting import RowMaker
from facepipe.stages.extraction.finding import FaceFinder, Picture
from facepipe.stages.extraction.frames import FrameReader
from facepipe.stages.extraction.photo import Photo
from facepipe.stages.extraction.searching import Search
from facepipe.stages.extraction.seen import Seen
from facepipe.storage import parquet, place, read_ahead
from facepipe.storage.partlist import IMAGES
from facepipe.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from facepipe.config import ExtractConfig
    from facepipe.detection import Detector
    from facepipe.execution import Guard
    from facepipe.records import Source

MOST_PICTURES = 32
MOST_BYTES = 8 * 2**20
"""Held by the pictures that are gone through together: more would not stay in a core's share of the last cache."""
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
        detector = _detector(config.detector, config.model, config.min_score, os.getpid())
        self._search = Search(config, detector, make_orientation(), watch)
        self._finder = FaceFinder(config, self._search, guard.on)
        self._frames = FrameReader(config, self._search, watch, guard.on)
        self._maker = RowMaker(config, self._finder, self._search, watch, guard.on)
        self._down = 0

    def rows(self, sources: Sequence[Source]) -> Iterator[FaceRow]:
        """At least one row for every source, none of them ever an exception.

        Raises:
            StorageDown: files in a row could not be read, and none of them is to blame.
        """
        self._down = 0
        batch: list[Picture | FaceRow] = []
        held = 0
        for one in self._pictures(sources):
            batch.append(one)
            held += one.view.image.nbytes if isinstance(one, Picture) else 0
            if len(batch) == MOST_PICTURES or held >= MOST_BYTES:
                yield from self._done(batch)
                batch, held = [], 0
        yield from self._done(batch)

    def _done(self, batch: Sequence[Picture | FaceRow]) -> Iterator[FaceRow]:
        pictures = [one for one in batch if isinstance(one, Picture)]
        if not self._config.cropped:
            self._finder.find_all(pictures)
        self._maker.make_all(pictures)
        self._watch.turn_to("write")
        for one in batch:
            if isinstance(one, Picture):
                yield from one.rows
            else:
                yield one

    def _pictures(self, sources: Sequence[Source]) -> Iterator[Picture | FaceRow]:
        """Every still and every frame, decoded; a row where that failed."""
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
                yield FaceRow.of(source, source.frame_index, -1, status, BLAMED[status])
            elif source.is_video:
                yield from self._video(source, index)
            else:
                _, data = next(files)
                self._judge(data)
                if isinstance(data, bytes) and sniff(data) == VIDEO:  # under a picture's name
                    yield from self._video(_as_video(source), index)
                else:
                    yield self._still(source, index, data, seen)

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

    def _still(self, source: Source, index: int, data: bytes | InputError, seen: Seen) -> Picture | FaceRow:
        if isinstance(data, InputError):
            return FaceRow.of(source, source.frame_index, -1, Status.READ_ERROR, self._said(source, data))
        self._watch.turn_to("decode")
        try:
            photo = Photo(data, self._config.max_pixels)
            if self._config.cropped:
                reduction = photo.reduction_for_whole(self._config.crop_size)
            else:
                reduction = photo.reduction_for(self._search.sizes(source, photo)[0])
            return Picture(index, source, source.frame_index, photo.view(reduction), seen, photo)
        except ImageError as error:
            return FaceRow.of(source, source.frame_index, -1, error.status, error.message)

    def _said(self, source: Source, error: InputError) -> str:
        """The error with the path as in the input: where that lies differs between machines, the bytes must not."""
        if not self._inputs.is_local:
            return str(error)
        return str(error).replace(printable(self._inputs.local_path(source.file)), printable(source.file))

    def _video(self, source: Source, index: int) -> Iterator[Picture | FaceRow]:
        """A video file's frames; where it breaks off, a row that says so."""
        last = -1
        try:
            with self._local_copy(source) as path:
                for picture in self._frames.frames(source, index, path):
                    last = picture.frame_index
                    yield picture
        except ImageError as error:
            yield FaceRow.of(source, error.frame_index, -1, error.status, error.message)
        except InputError as error:
            self._judge(error)
            yield FaceRow.of(source, last + 1, -1, Status.READ_ERROR, str(error))

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
                with open(copy, "wb") as local:
                    self._inputs.copy_to(source.file, local)
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
