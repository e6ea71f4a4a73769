"""Following faces through a video: between full searches, O-Net looks in a few frames where each face has gone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from facepipe.detection.spans import Searched, Span, on_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.detection import Detector
    from facepipe.detection.landmarks import Refiner
    from facepipe.records import Face, Image

SPAN = 12
"""Frames from one full search to the next, 0.4 s. A face that comes and goes in between is not seen."""
MOST_EVERY = 3
"""Frames further apart in the video than this show a face elsewhere: each is searched on its own."""
MOST_SPANS = 8
"""From one full search to the next: so many are gone through together, as O-Net looks at four faces in one go."""
MOST_BYTES = 32 * 2**20
"""Held by several spans of frames: many large ones would take more memory than they save time."""
LIMIT_BYTES = 128 * 2**20
"""Held by one span; of large frames it has fewer."""
DOUBT = 0.1
"""Faces further under the wanted score are not shown to O-Net, nor followed: what a search says of them has to do."""


class Tracker:
    """The faces of a video's frames, in order. One a video.

    Every twelfth frame is searched. A face that two searches found in about the same place is then looked for by O-Net
    in the middle between them, and in the middles of the halves, each time where a straight line would have it. In the
    frames between, it lies on the line between two looks, unless it moves too unevenly: then O-Net looks at those as
    well. Where one search alone found a face, the frame in the middle is searched; where O-Net does not see it, that
    one. So a cut, or a face that comes or goes, is found to the frame.

    O-Net's landmarks differ a little, and steadily, from those of a full search (which also has the detector's share):
    the differences seen at both searches are carried along.

    Args:
        detector: searches whole frames.
        refiner: O-Net.
        min_face: px, the smallest wanted face.
        min_score: faces from this score on are followed. Doubtful ones are given for searched frames only: one that
            comes and goes would make every frame a search.
        span: frames from one search to the next.
    """

    def __init__(
        self, detector: Detector, refiner: Refiner, min_face: float, min_score: float, span: int = SPAN
    ) -> None:
        self._detector = detector
        self._refiner = refiner
        self._min_face = min_face
        self._min_score = min_score
        self.span = span
        self._last: Searched | None = None

    def faces(self, images: Sequence[Image]) -> list[list[Face]]:
        """All faces of each of the next frames, (h, w, 3) uint8 RGB, best score first.

        The last of them is searched in any case. Where the first call has one frame and the others have whole spans, it
        does not matter how many spans each has.
        """
        if not images:
            return []
        start = -1 if self._last is not None else 0
        ends = [*range(start + self.span, len(images) - 1, self.span), len(images) - 1]
        if self._last is None and ends[0] > 0:
            ends.insert(0, 0)
        searched = dict(zip(ends, self._search([images[i] for i in ends]), strict=True))
        found = [searched[i].faces if i in searched else [] for i in range(len(images))]
        if self._last is not None:
            searched = {-1: self._last, **searched}
        self._last = searched[ends[-1]]
        spans = [Span(a, b, searched[a], searched[b]) for a, b in pairwise(searched)]
        while spans := [span for span in spans if span.end - span.start > 1]:
            self._follow(images, spans)
            for span in spans:
                if span.lost is None:
                    span.fill(found)
            spans = self._divide(images, found, [span for span in spans if span.lost is not None])
        return found

    def _search(self, images: Sequence[Image]) -> list[Searched]:
        """Searches whole frames."""
        faces = self._detector.detect(images, self._min_face)
        # Those worth a look come first.
        worth = [each[: sum(face.score >= self._min_score - DOUBT for face in each)] for each in faces]
        looks = self._refiner.look_at(images, worth)
        refined = self._detector.refine(images, worth, looks)
        return [
            Searched([*first, *each[len(first) :]], seen)
            for each, first, seen in zip(faces, refined, looks, strict=True)
        ]

    def _follow(self, images: Sequence[Image], spans: Sequence[Span]) -> None:
        """Looks for the faces of several spans, round by round, until each span is known or one of its frames lost."""
        for span in spans:
            span.begin(self._min_score)
        while places := [(span, *place) for span in spans for place in span.next_places()]:
            expected = [on_line(span.known, index, a, b) for span, index, a, b in places]
            shown = [images[index] for (_, index, *_), rows in zip(places, expected, strict=True) for _ in rows]
            looks = iter(self._refiner.look(shown, [row[:4].tolist() for rows in expected for row in rows]))
            for (span, index, *_), rows in zip(places, expected, strict=True):
                span.note(index, rows, [next(looks) for _ in rows])

    def _divide(self, images: Sequence[Image], found: list[list[Face]], spans: Sequence[Span]) -> list[Span]:
        """Searches the lost frame of each span: the spans before and after it."""
        lost = [span.lost for span in spans if span.lost is not None]
        halves = []
        for index, span, middle in zip(lost, spans, self._search([images[i] for i in lost]), strict=True):
            found[index] = middle.faces
            halves += [Span(span.start, index, span.before, middle), Span(index, span.end, middle, span.after)]
        return halves


def frames_held(size: int, span: int) -> int:
    """How many frames of `size` bytes are given to `Tracker.faces` at once: whole spans of so many, where they fit."""
    together = min(max(MOST_BYTES // (span * size), 1), MOST_SPANS) * span
    return max(min(together, LIMIT_BYTES // size), 2)
