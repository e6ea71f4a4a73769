"""Faces unlike their person's, people who are two, people who are one: on points around known centres."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.dataset import outliers


def faces_of(seed, count, spread=0.25):
    """`count` unit vectors around a centre of their own."""
    centre = np.random.default_rng(seed).normal(size=128)
    found = centre / np.linalg.norm(centre) + np.random.default_rng(seed + 99).normal(size=(count, 128)) * spread / 11.3
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("own", "strange"), [(2, 1), (5, 1), (12, 4)])
def test_strangers_are_less_alike_than_a_person_s_own(own, strange):
    """Up to a quarter of a person's faces, each another stranger's; the order of the rows does not matter."""
    embeddings = np.concatenate([faces_of(0, own), *(faces_of(7 + one, 1) for one in range(strange))])
    judged = outliers.judge_faces(embeddings, np.zeros(len(embeddings), np.int64), 1)
    assert judged.similarity[:own].min() > 0.7 > judged.similarity[own:].max()
    order = np.random.default_rng(1).permutation(len(embeddings))
    again = outliers.judge_faces(embeddings[order], np.zeros(len(embeddings), np.int64), 1)
    assert again.similarity == pytest.approx(judged.similarity[order], abs=2e-4)


@pytest.mark.parametrize(("own", "other"), [(5, 3), (3, 5), (4, 4), (30, 2)])
def test_a_person_that_is_two_is_told_and_the_larger_group_is_the_person(own, other):
    """Of equal groups it is that of the first face."""
    embeddings = np.concatenate([faces_of(0, own), faces_of(1, other)])
    second = outliers.find_second(embeddings)
    assert second.tolist() == [own < other] * own + [own >= other] * other
    judged = outliers.judge_faces(embeddings, np.zeros(own + other, np.int64), 1)
    assert judged.similarity[~second].min() > 0.8 > judged.similarity[second].max()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 40])
def test_one_person_is_one(count):
    """However many faces; of fewer than three none is judged."""
    embeddings = faces_of(3, count)
    judged = outliers.judge_faces(embeddings, np.zeros(count, np.int64), 1)
    assert not judged.second.any()
    assert np.isnan(judged.similarity).all() == (count < outliers.FEWEST)


def test_equal_faces_are_one_person():
    """Copies differ in no direction."""
    embeddings = np.repeat(faces_of(0, 1), 6, axis=0)
    judged = outliers.judge_faces(embeddings, np.zeros(6, np.int64), 1)
    assert judged.similarity.tolist() == [1.0] * 6


def test_two_people_who_are_one_are_a_pair(monkeypatch):
    """Across blocks; people of one face are no pair with anybody."""
    groups = [faces_of(0, 9, 0.1), faces_of(1, 9), faces_of(0, 9, 0.1), faces_of(0, 1)]
    person = np.repeat(np.arange(4), [len(group) for group in groups])
    judged = outliers.judge_faces(np.concatenate(groups), person, 5)
    monkeypatch.setattr(outliers, "_BLOCK", 2)
    ((a, b, alike),) = outliers.find_same(judged.medians)
    assert (a, b) == (0, 2)
    assert 0.96 <= alike <= 1
    assert outliers.find_same(np.zeros((0, 128), np.float32)) == []
