"""Grouping: average linkage as SciPy has it, names that are kept apart, tracks of videos, faces that fit badly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from facepipe.dataset.grouping import compare, link_groups, tie_tracks


def make_faces(people, count, spread=0.3, seed=0):
    """(people * count, 128) float32 of length 1, alike for those of one person."""
    dice = np.random.default_rng(seed)
    faces = np.repeat(dice.normal(size=(people, 128)) + 2, count, axis=0)
    faces += dice.normal(size=faces.shape) * spread * dice.uniform(0.5, 2, size=(len(faces), 1))
    return (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32)


def partition(groups):
    return sorted(np.flatnonzero(groups == one).tolist() for one in np.unique(groups))


@pytest.mark.parametrize("least", [0.85, 0.93, 0.97])
@pytest.mark.parametrize("seed", range(3))
def test_groups_are_those_of_average_linkage(least, seed):
    """The same sets as SciPy's average linkage of all pairs, whatever the threshold."""
    faces = make_faces(20, 15, seed=seed)
    tree = linkage(faces.astype(np.float64), "average", metric=lambda a, b: 1 - a @ b)
    found = link_groups(faces, np.arange(len(faces)), 0, least)
    assert 1 < len(np.unique(found)) < len(faces)
    assert partition(found) == partition(fcluster(tree, 1 - least, "distance"))


def test_names_stay_apart_and_take_others_in():
    """Two names of one person stay two, everybody else joins the nearer; equal faces are one group; none give none."""
    faces = make_faces(2, 20)
    start = np.array([0, 0, 1, *range(2, 39)])
    found = link_groups(faces, start, 2, 0.9)
    assert found[:4].tolist() in ([0, 0, 1, 0], [0, 0, 1, 1])
    assert set(found[:20]) == {0, 1}
    assert len(set(found[20:])) == 1
    assert len(set(link_groups(np.repeat(faces[:1], 1000, axis=0), np.arange(1000), 0, 0.9))) == 1
    assert link_groups(faces[:0], np.zeros(0, np.int64), 0, 0.9).shape == (0,)


def test_tracks_follow_faces_and_end_at_cuts():
    """Two faces side by side are two tracks, a face of somebody else in the same place begins a third; stills none."""
    ada, ben, eve = make_faces(3, 1)
    left, right = [0, 0, 50, 50], [100, 0, 150, 50]
    shown = [(0, left, ada), (0, right, ben), (10, right, ben), (10, left, ada), (20, left, eve)]
    frames, boxes, embeddings = (np.array(column) for column in zip(*shown, strict=True))
    tracks = tie_tracks(["v"] * 5, frames, boxes.astype(np.float32), embeddings)
    assert tracks.tolist() == [0, 1, 1, 0, 4]
    assert tie_tracks([""] * 5, frames, boxes.astype(np.float32), embeddings).tolist() == list(range(5))


def test_how_well_a_face_fits():
    """The mean similarity to the others of the group without itself, and the nearest other group of several."""
    faces = make_faces(3, 3)[:8]
    groups = np.array([5, 5, 5, 7, 7, 7, 9, 2])
    own, other, nearest = compare(faces, groups)
    assert own[0] == pytest.approx((faces[0] @ faces[1] + faces[0] @ faces[2]) / 2, abs=1e-5)
    assert own[6:].tolist() == [1, 1]
    assert other[0] == pytest.approx((faces[3:6] @ faces[0]).mean(), abs=1e-5)
    assert set(nearest.tolist()) <= {5, 7}
    assert compare(faces[:2], np.zeros(2, np.int64))[1].tolist() == [-1, -1]
