"""Following faces through a video."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.choosing import overlap
from facepipe.detection import make_detector, make_refiner
from facepipe.sources.videos import iter_frames
from facepipe.tracking import EVERY, Tracker

MIN_FACE, MIN_SCORE = 40.0, 0.7


class Counted:
    """A detector that counts its full searches."""

    def __init__(self):
        self.detector = make_detector("yunet", "", MIN_SCORE)
        self.searches = 0

    def detect(self, image, min_face, *, refine=True):
        """A full search."""
        self.searches += 1
        return self.detector.detect(image, min_face, refine=refine)

    def blend(self, faces, looks):
        """Not a search."""
        return self.detector.blend(faces, looks)


@pytest.fixture(scope="module")
def detector():
    """One for the module: it takes a moment to load."""
    return Counted()


@pytest.fixture
def tracker(detector):
    """A new track."""
    detector.searches = 0
    return Tracker(detector, make_refiner(), MIN_FACE, MIN_SCORE)


def moving(image, frames, step=(2.0, 1.0), size=(640, 480)):
    """A picture that moves over mid-gray, `step` px a frame."""
    for number in range(frames):
        x, y = 20 + number * step[0], 10 + number * step[1]
        matrix = np.float32([[0.75, 0, x], [0, 0.75, y]])
        yield cv2.warpAffine(image, matrix, size, flags=cv2.INTER_AREA, borderValue=(128, 128, 128))


def test_a_moving_face_is_followed_without_searching_every_frame(tracker, detector, astronaut):
    """A search every sixth frame; landmarks within a hundredth of the face of what a search of every frame gives."""
    differences = []
    for frame in moving(astronaut, 3 * EVERY):
        followed, searched = tracker.faces(frame)[0], detector.detector.detect(frame, MIN_FACE)[0]
        side = searched.box[2] - searched.box[0]
        differences.append(np.linalg.norm(followed.landmarks - searched.landmarks, axis=1).mean() / side)
        assert overlap(followed.box.tolist(), searched.box.tolist()) > 0.8
    assert detector.searches == 3
    assert np.mean(differences) < 0.01
    assert max(differences) < 0.03


def test_a_cut_is_searched_at_once(tracker, detector, astronaut):
    """The frame after a cut has its own face, and one without a face has none."""
    first, *_ = moving(astronaut, 1)
    mirrored = np.ascontiguousarray(first[:, ::-1])
    [before] = tracker.faces(first)[:1]
    [after] = tracker.faces(mirrored)[:1]
    assert overlap(before.box.tolist(), after.box.tolist()) < 0.3
    assert tracker.faces(np.full_like(first, 128)) == []
    assert detector.searches == 3


def test_a_doubtful_face_is_not_followed(detector, astronaut):
    """It is reported by full searches, and does not make every frame one."""
    frames = list(moving(astronaut, EVERY))
    for frame in frames:  # a second face, blurred until the detector doubts it
        small = cv2.GaussianBlur(cv2.resize(astronaut[60:180, 170:290], (60, 60)), (0, 0), 5)
        frame[400:460, 560:620] = small
    scores = [face.score for face in detector.detector.detect(frames[0], MIN_FACE)]
    strict = Tracker(detector, make_refiner(), MIN_FACE, min_score=sum(sorted(scores)[-2:]) / 2)
    detector.searches = 0
    counts = [len(strict.faces(frame)) for frame in frames]
    assert len(scores) >= 2
    assert counts == [len(scores), *[1] * (EVERY - 1)]
    assert detector.searches == 1


def test_the_same_frames_give_the_same_faces(detector, astronaut):
    """To the last bit, whatever was tracked before."""
    frames = list(moving(astronaut, EVERY + 2))
    runs = []
    for _ in range(2):
        track = Tracker(detector, make_refiner(), MIN_FACE, MIN_SCORE)
        runs.append([face.landmarks.tobytes() for frame in frames for face in track.faces(frame)])
    assert runs[0] == runs[1]


def test_a_real_video_is_followed_as_well_as_searched(shared_data, tracker, detector):
    """The same recall, landmarks within half a pixel on average, a fifth of the searches."""
    frames = [image for _, image in iter_frames(str(shared_data / "video/one_face_320x240.avi"), 1, 10**8)][:300]
    found, differences = 0, []
    for frame in frames:
        followed, searched = tracker.faces(frame), detector.detector.detect(frame, MIN_FACE)
        assert bool(followed) == bool(searched)
        if searched:
            found += 1
            differences.append(np.linalg.norm(followed[0].landmarks - searched[0].landmarks, axis=1).mean())
    assert found >= 295
    assert np.mean(differences) < 0.5
    assert detector.searches < 60
