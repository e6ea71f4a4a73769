"""The generic head and what a turned one shows."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe import relief

VIEW = {"scale": 4.0, "centre": (60.0, 65.0), "size": (120, 130)}


def test_turns_have_the_signs_of_the_contract():
    """Yaw > 0 faces the image's left, pitch > 0 looks up, roll > 0 turns clockwise in the image."""
    forward, up = np.array([0, 0, 1]), np.array([0, 1, 0])
    assert (relief.turn_matrix(30, 0, 0) @ forward)[0] == pytest.approx(-0.5, abs=1e-6)
    assert (relief.turn_matrix(0, 30, 0) @ forward)[1] == pytest.approx(0.5, abs=1e-6)
    assert (relief.turn_matrix(0, 0, 30) @ up)[0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("turn", [(0, 0, 0), (45, 20, 15), (-45, -20, -15)])
def test_turns_are_rotations(turn):
    """Neither stretches nor mirrors."""
    matrix = relief.turn_matrix(*turn)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("hair", [0.0, 1.6])
@pytest.mark.parametrize("tip", [(-1.5, -3.0), relief.NOSE_TIP, (1.5, -0.3)])
def test_rays_start_outside_the_whole_head(tip, hair):
    """Every point of the head lies in the hull at which the march of a ray begins."""
    head = relief.build_relief(tip, hair)
    rows, columns = np.nonzero(head.surfaces[..., 0] > head.surfaces[..., 1])
    x, y = relief._LEFT + relief._STEP * columns, relief._TOP - relief._STEP * rows
    for side in (0, 1):
        points = np.c_[x, y, head.surfaces[rows, columns, side]] - np.array(relief._HULL_CENTRE)
        assert np.linalg.norm(points / (np.array(relief._HULL_RADII) + hair), axis=1).max() < 1


@pytest.mark.parametrize("turn", [(0, 0, 0), (45, 0, 0), (-30, 20, 10), (0, -20, 0)])
def test_a_ray_ends_on_the_surface_it_meets_first(turn):
    """No point of a hit ray that lies nearer to the camera is inside the head; the hit lies on the surface."""
    head, rotation = relief.build_relief(), relief.turn_matrix(*turn)
    hits = relief.cast(head, rotation, **VIEW)
    towards_camera = rotation[2]
    surface = np.abs(hits.points[..., 2:] - head.at(hits.points)).min(axis=-1)
    # The walls are steep at the outline, so there the distance along z says little.
    inner = hits.hit & (hits.normals[..., 2] > 0.4)
    assert inner.sum() > 2000
    assert np.percentile(surface[inner], 99) < 0.2
    # Thinner than one step of the march, a rim may be missed: a pixel in a thousand.
    hidden = np.zeros_like(hits.hit)
    for distance in np.arange(0.3, 20, 0.1):
        points = hits.points + np.float32(distance) * towards_camera
        ends = head.at(points)
        hidden |= hits.hit & (points[..., 2] < ends[..., 0]) & (points[..., 2] > ends[..., 1])
    assert hidden.sum() / hits.hit.sum() < 0.005


def test_the_head_has_no_holes():
    """From every side, what is hit is one piece without gaps."""
    import cv2

    for yaw in (-45, -20, 0, 20, 45):
        hit = relief.cast(relief.build_relief(), relief.turn_matrix(yaw, 10, 5), **VIEW).hit.astype(np.uint8)
        assert cv2.connectedComponents(hit)[0] - 1 == 1
        assert cv2.connectedComponents(1 - hit)[0] - 1 == 1


def test_a_turned_nose_moves_to_the_side_it_points_to():
    """With yaw > 0 the tip is seen left of the head's middle, with pitch > 0 above its place."""
    head = relief.build_relief()
    tip = np.array([*relief.NOSE_TIP, head.at(np.array([[[*relief.NOSE_TIP, 0]]], np.float32))[0, 0, 0]])
    seen = {turn: relief.turn_matrix(*turn) @ tip for turn in [(0, 0, 0), (30, 0, 0), (0, 20, 0)]}
    assert seen[30, 0, 0][0] < -3
    assert seen[0, 20, 0][1] > seen[0, 0, 0][1] + 2
