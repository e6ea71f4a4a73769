"""Numbers drawn from names: the same wherever and whenever they are drawn."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facepipe.dataset import seeding

NAMES = st.lists(st.text(max_size=6), max_size=4)


@given(NAMES, NAMES)
def test_other_names_other_digest(some, others):
    """Names run together are told apart: ("a", "bc") is not ("ab", "c")."""
    assert (seeding.digest_names(*some) == seeding.digest_names(*others)) == (some == others)


def test_known_numbers():
    """The digest of today and all that is drawn from it are those of tomorrow: subsets, order of the shards, noise."""
    assert seeding.digest_names("key", 0, 0.03).hex() == "51cbd40ca730fcea"
    order = seeding.order_numbers(["anna", "berta"], 0)
    assert seeding.unit_interval("subset", 0, "anna") == 0.7552587937708957
    assert order.tolist() == [1942139495816808898, 2846902733832259624]
    assert [int(seeding.mix_numbers(order[:1], copy)[0]) for copy in (0, 1)] == [
        6023540304570408534,
        13038183607282897464,
    ]
    drawn = seeding.Draws().at("noise", 0, "gaussian", 0.1, "key").bit_generator.random_raw(2)
    assert drawn.tolist() == [3768803200242037418, 14830248218430175061]


def test_draws_do_not_depend_on_what_was_drawn_before():
    """A name's numbers are the same after other draws and from a new object, and another name's are others."""
    draws = seeding.Draws()
    first = draws.at("a", 0.1).standard_normal(100)
    draws.at("b").integers(0, 9, 7, dtype=np.uint32)  # leaves half a word behind
    again, other = draws.at("a", 0.1).standard_normal(100), draws.at("b", 0.1).standard_normal(100)
    fresh = seeding.Draws().at("a", 0.1).standard_normal(100)
    assert (first.tolist() == again.tolist() == fresh.tolist(), first.tolist() == other.tolist()) == (True, False)


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=50), st.integers(0, 99))
def test_mixing_keeps_numbers_distinct(numbers, copy):
    """Mixing is a bijection: no two examples of one copy get the same place."""
    mixed = seeding.mix_numbers(np.array(numbers, dtype=np.uint64), copy)
    assert len(set(mixed.tolist())) == len(numbers)


def test_order_depends_on_key_and_seed_alone():
    """A key's number is the same alone and among others, and another with another seed."""
    among = seeding.order_numbers(["a", "b", "ü"], 5)
    assert among.tolist() == [int(seeding.order_numbers([key], 5)[0]) for key in ("a", "b", "ü")]
    assert not set(among.tolist()) & set(seeding.order_numbers(["a", "b", "ü"], 6).tolist())
