"""Faces turned by known angles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.photographs import load_photographs
from facepipe.scenery import Light, draw_backdrop, encode_jpeg
from facepipe.synthesis import Sitter, Turn, draw_scene, plan_turns

PLAIN = Light(direction=(0.0, 0.0, 1.0), strength=0.5, gain=1.0, gamma=1.0, blur=0.0, grain=0.0)


@pytest.fixture(scope="module")
def photographs():
    return load_photographs()


def rng(seed=0):
    return np.random.default_rng(seed)


def take(photograph, turn, light=PLAIN):
    sitter = Sitter(photograph, rng())
    scene = draw_scene(rng(), sitter)
    return sitter.take(turn, scene, light, rng()), scene


def test_the_photographs_are_those_of_scikit_image(photographs):
    """The embedded faces are lfw_subset's first 100, rounded to bytes; the astronaut is a cut of the original."""
    from skimage import data

    faces = (data.lfw_subset()[:100] * 255).round().astype(np.uint8)
    assert len(photographs) == 101
    for face, photograph in zip(faces, photographs[1:], strict=True):
        np.testing.assert_array_equal(photograph.image, np.repeat(face[..., None], 3, axis=2))
    np.testing.assert_array_equal(photographs[0].image, data.astronaut()[0:224, 124:332])


def test_landmarks_lie_on_the_photographs_the_right_way_round(photographs):
    """Eyes above the nose above the mouth above the chin, the image's left ones on the left."""
    for photograph in photographs:
        x, y = photograph.landmarks.T
        assert x[0] < x[1]
        assert x[3] < x[4]
        assert x[6] < x[7]
        assert max(y[0], y[1]) < y[2] < max(y[3], y[4]) < y[5]


@pytest.mark.parametrize("frames", [8, 12])
def test_turns_cover_the_range_and_one_is_close_to_none(frames):
    """Yaw spreads over +-45 degrees, pitch and roll stay in bounds."""
    for seed in range(20):
        turns = plan_turns(rng(seed), frames)
        assert len(turns) == frames
        assert min(turn.angle for turn in turns) < 3
        assert max(turn.yaw for turn in turns) > 25
        assert min(turn.yaw for turn in turns) < -25
        assert all(abs(t.yaw) <= 45 and abs(t.pitch) <= 20 and abs(t.roll) <= 15 for t in turns)


def test_a_turns_angle_leaves_roll_out():
    """It is the angle between where the face looks and where it looked."""
    assert Turn(0, 0, 40).angle == pytest.approx(0)
    assert Turn(30, 0, 5).angle == pytest.approx(30)
    assert Turn(30, 20, 0).angle == pytest.approx(35.53, abs=0.01)


def test_an_unturned_face_is_the_photograph(photographs):
    """Scaled back to the photograph's frame, the face looks as it does there."""
    photograph = photographs[0]
    image, scene = take(photograph, Turn(0, 0, 0), Light((0.0, 0.0, 1.0), 0.0, 1.0, 1.0, 0.0, 0.0))
    from facepipe.synthesis import _to_photograph

    affine = _to_photograph(photograph.landmarks)
    to_head = np.array(
        [
            [1 / scene.scale, 0, -scene.centre[0] / scene.scale],
            [0, -1 / scene.scale, scene.centre[1] / scene.scale],
            [0, 0, 1],
        ]
    )
    back = cv2.warpAffine(image, (np.vstack([affine, [0, 0, 1]]) @ to_head)[:2], photograph.image.shape[1::-1])
    face = slice(90, 165), slice(72, 128)
    assert np.corrcoef(back[face].ravel(), photograph.image[face].ravel())[0, 1] > 0.97


def test_pictures_are_never_flat_and_have_the_size_of_their_scene(photographs):
    """220 to 320 px with some structure wherever one looks."""
    sitter = Sitter(photographs[1], rng())
    for seed in range(6):
        scene = draw_scene(rng(seed), sitter)
        assert 220 <= scene.size[0] <= 320
        assert 260 <= scene.size[1] <= 320
        assert scene.backdrop.shape == (scene.size[1], scene.size[0], 3)
        assert scene.backdrop[..., 1].std() > 0.01
        assert 0 <= scene.backdrop.min() <= scene.backdrop.max() <= 1


def test_the_same_generators_give_the_same_bytes(photographs):
    """Twice the same picture, and another one for another turn."""
    pictures = [
        encode_jpeg(take(photographs[5], turn)[0], 90) for turn in (Turn(20, 5, 1), Turn(20, 5, 1), Turn(21, 5, 1))
    ]
    assert pictures[0] == pictures[1] != pictures[2]
    assert pictures[0].startswith(b"\xff\xd8")


@pytest.mark.parametrize("number", [0, 7, 41])
def test_the_detector_sees_the_turn(photographs, find_faces, number):
    """The pose that facepipe tells follows yaw, pitch and roll, with the contract's signs."""
    from facepipe.face.orientation import make_orientation

    sitter = Sitter(photographs[number], rng())
    scene = draw_scene(rng(), sitter)

    def pose(turn):
        image = sitter.take(turn, scene, PLAIN, rng())
        return make_orientation().look([image], [find_faces(image)[0].box])[0].pose

    yaws = [-35, -20, 0, 20, 35]
    estimated = [pose(Turn(yaw, 0, 0)).yaw for yaw in yaws]
    assert np.corrcoef(yaws, estimated)[0, 1] > 0.98
    assert 0.6 < np.polyfit(yaws, estimated, 1)[0] < 1.3
    assert pose(Turn(0, 15, 0)).pitch > pose(Turn(0, -15, 0)).pitch + 10
    assert pose(Turn(0, 0, 12)).roll > pose(Turn(0, 0, -12)).roll + 15


def test_a_backdrop_depends_on_its_generator():
    """Two seeds, two places."""
    first, second, again = (draw_backdrop(rng(seed), (64, 64)) for seed in (1, 2, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).mean() > 0.01
