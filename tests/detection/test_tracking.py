"""Following faces through a video."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.detection import make_detector, make_refiner
from facepipe.detection.tracking import LIMIT_BYTES, SPAN, Tracker, frames_held
from facepipe.face.association import overlap
from facepipe.media.video import iter_frames

MIN_FACE, MIN_SCORE = 40.0, 0.7


class Counted:
    """A detector that counts its full searches."""

    def __init__(self):
        self.detector = make_detector("yunet", "", MIN_SCORE)
        self.refine = self.detector.refine
        self.searches = 0

    def detect(self, images, min_face):
        """Full searches."""
        self.searches += len(images)
        return self.detector.detect(images, min_face)


@pytest.fixture(scope="module")
def detector():
    """One for the module: it takes a moment to load."""
    return Counted()


@pytest.fixture
def tracker(detector):
    """A new track."""
    detector.searches = 0
    return Tracker(detector, make_refiner(), MIN_FACE, MIN_SCORE)


def shown(image, places, size=(640, 480)):
    """The picture over mid-gray, its corner at each of the places."""
    frames = []
    for x, y in places:
        matrix = np.float32([[0.75, 0, x], [0, 0.75, y]])
        frames.append(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_AREA, borderValue=(128, 128, 128)))
    return frames


def line(count, step=(2.0, 1.0)):
    """Places `step` px apart."""
    return [(20 + i * step[0], 10 + i * step[1]) for i in range(count)]


def faces_of(tracker, frames, at_once=4 * SPAN):
    """Every frame's faces; a call for the first frame, then calls with so many."""
    found = tracker.faces(frames[:1])
    for i in range(1, len(frames), at_once):
        found += tracker.faces(frames[i : i + at_once])
    return found


def off(one, other):
    """How far landmarks lie from others, on average, in box sides."""
    return np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean() / (other.box[2] - other.box[0])


def test_a_moving_face_is_followed_without_searching_every_frame(tracker, detector, astronaut, find_faces):
    """A search every twelfth frame; landmarks within a hundredth of the face of what a search of every frame gives."""
    frames = shown(astronaut, line(3 * SPAN + 1))
    found = faces_of(tracker, frames)
    assert detector.searches == 4
    searched = [find_faces(frame)[0] for frame in frames]
    differences = [off(followed[0], face) for followed, face in zip(found, searched, strict=True)]
    assert np.mean(differences) < 0.01
    assert max(differences) < 0.03
    boxes = zip(found, searched, strict=True)
    assert min(overlap(followed[0].box.tolist(), face.box.tolist()) for followed, face in boxes) > 0.8


def test_uneven_movement_is_looked_at_frame_by_frame(tracker, detector, astronaut, find_faces):
    """A camera that is pushed between two of the frames that O-Net looks at first."""
    frames = shown(astronaut, [(60 + 14 * (i > 4), 40) for i in range(SPAN + 1)])
    searched = [find_faces(frame)[0] for frame in frames]
    found = faces_of(tracker, frames)
    assert max(off(followed[0], face) for followed, face in zip(found, searched, strict=True)) < 0.03
    assert detector.searches == 2


@pytest.mark.parametrize("cut", [1, 5, 6, SPAN])
def test_a_cut_is_found_to_the_frame(tracker, detector, astronaut, find_faces, cut):
    """The frame after it has its own face, the one before its own."""
    frames = shown(astronaut, line(SPAN + 1))
    frames[cut:] = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames[cut:]]
    found = faces_of(tracker, frames)
    for faces, frame in zip(found, frames, strict=True):
        assert overlap(faces[0].box.tolist(), find_faces(frame)[0].box.tolist()) > 0.8
    assert detector.searches < SPAN


@pytest.mark.parametrize("gone", [range(4, 9), range(7, SPAN + 1), range(5)])
def test_a_face_that_goes_or_comes_is_found_to_the_frame(tracker, astronaut, gone):
    """Frames without a face have none; a face is covered, or the film begins or ends without it."""
    frames = shown(astronaut, line(SPAN + 1))
    for i in gone:
        frames[i] = np.full_like(frames[i], 128)
    found = faces_of(tracker, frames)
    assert [i for i, faces in enumerate(found) if not faces] == list(gone)


def test_a_doubtful_face_is_not_followed(detector, astronaut, find_faces):
    """It is reported by full searches, and does not make every frame one."""
    frames = shown(astronaut, line(SPAN + 1))
    for frame in frames:  # a second face, blurred until the detector doubts it
        small = cv2.GaussianBlur(cv2.resize(astronaut[60:180, 170:290], (60, 60)), (0, 0), 5)
        frame[400:460, 560:620] = small
    scores = [face.score for face in find_faces(frames[0])]
    strict = Tracker(detector, make_refiner(), MIN_FACE, min_score=sum(sorted(scores)[-2:]) / 2)
    detector.searches = 0
    counts = [len(faces) for faces in faces_of(strict, frames)]
    assert len(scores) >= 2
    assert counts[1:-1] == [1] * (SPAN - 1)
    assert min(counts[0], counts[-1]) >= 2
    assert detector.searches == 2


def test_the_same_frames_give_the_same_faces(detector, astronaut):
    """To the last bit, however many spans of frames are held."""
    frames = shown(astronaut, line(3 * SPAN - 2))
    frames[7] = np.full_like(frames[7], 128)
    runs = []
    for spans in (1, 2, 4):
        track = Tracker(detector, make_refiner(), MIN_FACE, MIN_SCORE)
        found = faces_of(track, frames, spans * SPAN)
        runs.append([(face.box.tobytes(), face.landmarks.tobytes(), face.score) for faces in found for face in faces])
    assert runs[0] == runs[1] == runs[2]


def test_two_faces_are_both_followed(tracker, detector, astronaut, find_faces):
    """Each along its own path."""
    left, right = shown(astronaut, line(SPAN + 1)), shown(astronaut, line(SPAN + 1, (-1.0, 2.0)))
    frames = [np.hstack([a, b]) for a, b in zip(left, right, strict=True)]
    found = faces_of(tracker, frames)
    assert detector.searches == 2
    for faces, frame in zip(found, frames, strict=True):
        searched = find_faces(frame)
        assert len(faces) >= 2
        for side in (slice(0, 640), slice(640, 1280)):
            [one], [other] = (
                [face for face in each if side.start <= face.box[0] < side.stop and face.score > MIN_SCORE]
                for each in (faces, searched)
            )
            assert off(one, other) < 0.03


def test_a_real_video_is_followed_as_well_as_searched(shared_data, tracker, detector, find_faces):
    """The same recall, landmarks within half a pixel on average, less than a tenth of the searches."""
    frames = [image for _, image in iter_frames(str(shared_data / "video/one_face_320x240.avi"), 1, 10**8)][:150]
    found = faces_of(tracker, frames)
    assert detector.searches < 15
    searched = [find_faces(frame) for frame in frames]
    assert [bool(faces) for faces in found] == [bool(faces) for faces in searched]
    pairs = [(f[0].landmarks, s[0].landmarks) for f, s in zip(found, searched, strict=True) if s]
    assert len(pairs) >= 147
    assert np.mean([np.linalg.norm(a - b, axis=1).mean() for a, b in pairs]) < 0.5


@pytest.mark.parametrize(
    ("width", "height", "frames"),
    [(320, 240, 8 * SPAN), (640, 480, 3 * SPAN), (1920, 1080, SPAN), (3840, 2160, 5), (30720, 17280, 2)],
)
def test_as_many_whole_spans_are_held_as_memory_allows(width, height, frames):
    """More of them where frames are small; of the largest a part of one, and never fewer than two frames."""
    assert frames_held(width * height * 3, SPAN) == frames
    assert frames * width * height * 3 <= LIMIT_BYTES or frames == 2
