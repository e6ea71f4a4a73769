"""The most frontal frame of each group; near-ties by picture quality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepipe.dataset import selection

NAN = float("nan")


def frames(rows):
    """rows: (group, angle, sharpness, size, score), all of a pose that is told well."""
    group, angle, *quality = list(zip(*rows, strict=True)) if rows else [[]] * 5
    columns = [group, angle, [1.0] * len(rows), *quality]
    kinds = (np.int64, *[np.float32] * 5)
    return selection.Frames(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([(0, 9, 1, 1, 1), (0, 3, 0.1, 1, 1), (0, 5, 9, 9, 1)], 1),  # the angle decides
        ([(0, 3.0, 0.2, 50, 0.9), (0, 3.4, 0.4, 50, 0.9)], 1),  # a near-tie goes to the sharper
        ([(0, 3.0, 0.2, 50, 0.9), (0, 3.4, 0.2, 90, 0.9)], 1),  # ... the larger
        ([(0, 3.0, 0.2, 50, 0.8), (0, 3.4, 0.2, 50, 0.9)], 1),  # ... the more confident
        ([(0, 3.0, 0.2, 50, 0.9), (0, 3.5, 0.9, 90, 0.9)], 1),  # ... up to half a degree
        ([(0, 3.0, 0.2, 50, 0.9), (0, 3.6, 0.9, 90, 0.9)], 0),  # beyond half a degree quality does not count
        ([(0, 3.4, 0.2, 50, 0.9), (0, 3.0, 0.2, 50, 0.9)], 1),  # equal quality: the smaller angle
        ([(0, 3.0, 0.2, 50, 0.9), (0, 3.0, 0.2, 50, 0.9)], 0),  # all equal: the first row
        ([(0, 3.0, NAN, NAN, NAN), (0, 3.2, 0.1, 10, 0.7)], 1),  # a missing value counts nothing
        ([(0, 3.0, NAN, NAN, NAN)], 0),
    ],
)
def test_rule(rows, best):
    """Each line of the rule, on two or three frames."""
    assert int(selection.rank_frames(frames(rows))[0]) == best


FRAME = st.tuples(st.integers(0, 4), *[st.floats(0, 90, width=16)] * 4)


@given(st.lists(FRAME, max_size=40))
def test_ranking_agrees_with_the_rule_in_words(rows):
    """Against a plain loop: a permutation, groups together, and the best of each group by the documented rule."""
    ranked = selection.rank_frames(frames(rows)).tolist()
    assert sorted(ranked) == list(range(len(rows)))
    for group in {row[0] for row in rows}:
        members = [i for i, row in enumerate(rows) if row[0] == group]
        near = [i for i in members if rows[i][1] <= min(rows[j][1] for j in members) + 0.5]
        merit = {i: sum(rows[i][c] / max(1e-30, *(rows[j][c] for j in near)) for c in (2, 3, 4)) for i in near}
        chosen = next(i for i in ranked if rows[i][0] == group)
        assert chosen in near
        assert merit[chosen] == pytest.approx(max(merit.values()))


@given(st.lists(FRAME, min_size=1, max_size=40), st.integers(1, 5))
def test_candidates_are_the_best_of_each_group(rows, count):
    """At most `count` a group, and they are the first in the ranking."""
    ranked = selection.rank_frames(frames(rows))
    groups = np.array([row[0] for row in rows])
    kept = selection.first_of_groups(groups, ranked, count).tolist()
    for group in set(groups.tolist()):
        ordered = [i for i in ranked.tolist() if groups[i] == group]
        assert [i for i in kept if groups[i] == group] == ordered[:count]


def test_groups_do_not_see_each_other():
    """An identity's ranking is the same alone and among others."""
    alone = [(0, 5, 1, 1, 1), (0, 5.2, 2, 1, 1), (0, 40, 1, 1, 1)]
    others = [(1, 0.1, 99, 99, 1), (2, 80, 0, 0, 0)]
    assert selection.rank_frames(frames(alone)).tolist() == selection.rank_frames(frames(alone + others))[:3].tolist()
