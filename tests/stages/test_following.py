"""A video's frames with the faces that are followed through them."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from facepipe.detection.tracking import MOST_SPANS
from facepipe.errors import ImageError
from facepipe.execution.stopwatch import Stopwatch
from facepipe.records import Status
from facepipe.stages.following import followed


class Echo:
    """Gives each frame's number back as what was found in it, and notes how many frames it was given."""

    span = 12

    def __init__(self):
        self.calls = []

    def faces(self, images):
        """One number a frame."""
        self.calls.append(len(images))
        return [[int(image[0, 0, 0])] for image in images]


def film(count, error=None, shape=(8, 8, 3)):
    """So many small frames, then the end or an error."""
    for i in range(count):
        yield 2 * i, np.full(shape, i, np.uint8)
    if error:
        raise error


@pytest.mark.parametrize("count", [0, 1, 2, 96, 97, 98, 250])
def test_every_frame_comes_with_its_faces(count):
    """In order, and in whole spans after a single first frame."""
    echo = Echo()
    found = [(index, faces) for index, _, faces in followed(film(count), echo, Stopwatch())]
    assert found == [(2 * i, [i]) for i in range(count)]
    assert echo.calls[0] == min(count, 1)
    assert all(call == 12 * MOST_SPANS for call in echo.calls[1:-1])


@pytest.mark.parametrize("count", [0, 1, 20, 97])
def test_frames_before_an_error_come_first(count):
    """A video that breaks off loses nothing of what was decoded."""
    found = []
    with pytest.raises(ImageError):
        found.extend(followed(film(count, ImageError(Status.DECODE_ERROR, "broken")), Echo(), Stopwatch()))
    assert len(found) == count


MEASURE = """
import resource, sys
from facepipe.cli import main
sys.argv = ["facepipe", *sys.argv[1:]]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def peak_mb(folder, photograph, frames):
    """The largest child of `extract` on a video of so many frames, MB, and the bytes of its crops, MB."""
    (folder / "images" / "person").mkdir(parents=True)
    film = cv2.VideoWriter(
        str(folder / "images" / "person" / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (512, 512)
    )
    for i in range(frames):
        film.write(np.ascontiguousarray(np.roll(photograph, i % 40, axis=1)[..., ::-1]))
    film.release()
    options = ["-i", str(folder / "images"), "-o", str(folder / "faces"), "--crop-size", "1024", "--workers", "1", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "extract", *options], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-1]), (folder / "faces" / "part-00000.parquet").stat().st_size / 2**20


@pytest.mark.slow
def test_a_long_video_takes_no_more_memory_than_a_short_one(tmp_path, astronaut):
    """Rows are written as they come: five times the frames, whose crops would fill the memory."""
    (short, some), (long, many) = (peak_mb(tmp_path / str(n), astronaut, n) for n in (150, 750))
    assert many - some > 60
    assert long - short < 20
