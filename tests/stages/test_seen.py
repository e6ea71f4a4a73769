"""A folder of stills is a video or an album: where the face was counts in the one and not in the other."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from skimage import data

from facepipe.config import Execution, ExtractConfig
from facepipe.execution.progress import QuietProgress
from facepipe.stages import extract
from facepipe.stages.extraction.photo import whole_view
from facepipe.stages.extraction.seen import Seen
from facepipe.storage import parquet, place

LEFT, MIDDLE = (20, 120, 380), (230, 10, 520)
"""Left, top and side of a picture of the astronaut: her face has 80 px and 110 px."""


def picture(background, astronaut, *places):
    """(600, 800, 3): a photograph with the astronaut at each (left, top, side), her face's surroundings alone."""
    canvas = cv2.resize(background, (800, 600), interpolation=cv2.INTER_AREA)
    for left, top, side in places:
        face = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_CUBIC)[
            : side // 2, side // 4 : side * 2 // 3
        ]
        canvas[top : top + face.shape[0], left : left + face.shape[1]] = face
    return canvas


def chosen(tmp_path, *pictures):
    """Left edges of the faces that are `ok`, in a folder below a person's."""
    folder = tmp_path / "images" / "anna" / "holiday"
    folder.mkdir(parents=True)
    for number, image in enumerate(pictures, 1):
        cv2.imwrite(str(folder / f"IMG_{number}.png"), np.ascontiguousarray(image[..., ::-1]))
    config = ExtractConfig(
        input=str(tmp_path / "images"), output=str(tmp_path / "faces"), execution=Execution(workers=1)
    )
    extract.run(config, QuietProgress())
    rows = [row for _, table in parquet.iterate_parts(place(config.output)) for row in table.to_pylist()]
    assert len(rows) == len(pictures) * 2 - 1  # the other one is a row of its own
    return [row["bbox"][0] for row in rows if row["status"] == "ok"]


def test_an_album_is_no_video(tmp_path, astronaut):
    """In another scene whoever stands where the person stood is nobody in particular: the middle one is chosen."""
    first = picture(data.coffee(), astronaut, LEFT)
    second = picture(data.chelsea(), astronaut, LEFT, MIDDLE)
    before, after = chosen(tmp_path, first, second)
    assert before < 200 < after


def test_the_person_of_a_video_is_followed(tmp_path, astronaut):
    """In the same scene it is the same person, though somebody more prominent has come."""
    first = picture(data.coffee(), astronaut, LEFT)
    second = picture(data.coffee(), astronaut, LEFT, MIDDLE)
    before, after = chosen(tmp_path, first, second)
    assert after == pytest.approx(before, abs=4)


@pytest.mark.parametrize(("width", "height"), [(800, 601), (600, 800)])
def test_a_picture_of_another_size_is_another_picture(width, height, astronaut):
    """A video's frames have one size."""
    seen = Seen()
    seen.note(whole_view(cv2.resize(astronaut, (800, 600))), np.array([10, 10, 90, 90], np.float32))
    assert seen.box_in(whole_view(cv2.resize(astronaut, (800, 600)))) == (10, 10, 90, 90)
    assert seen.box_in(whole_view(cv2.resize(astronaut, (width, height)))) is None


def test_most_steps_of_real_videos_go_on(shared_data):
    """Nine in ten steps of the YouTube Faces videos do, from one video to the next one in ten at most."""

    def share(pairs):
        found = []
        for one, other in pairs:
            seen = Seen()
            seen.note(whole_view(one), np.array([10, 10, 90, 90], np.float32))
            resized = cv2.resize(other, one.shape[1::-1], interpolation=cv2.INTER_AREA)
            found.append(seen.box_in(whole_view(resized)) is not None)
        return np.mean(found)

    videos = [
        sorted(f.glob("*.jpg"), key=lambda p: int(p.stem.split(".")[-1])) for f in (shared_data / "ytf").glob("*/*")
    ]
    films = [[cv2.imread(str(path)) for path in video] for video in sorted(videos)[:60]]
    assert share((a, b) for film in films for a, b in pairwise(film)) > 0.9
    assert share((a[0], b[0]) for a, b in pairwise(films)) < 0.1
