"""Pictures that go through their steps together."""

import pytest

from facepipe import lockstep
from facepipe.lockstep import in_lockstep


def work(name, steps, log, held=1):
    """A work that notes its steps and returns its name."""
    for step in range(steps):
        log.append((step, name))
        yield held
    log.append((steps, name))
    return name


def test_each_step_is_done_for_the_whole_group_in_order():
    """Also where works have fewer steps than others; the results keep the works' order."""
    log, items = [], []
    works = [(i, work(name, steps, log)) for i, (name, steps) in enumerate(zip("abc", (2, 0, 1), strict=True))]
    assert list(in_lockstep(works, items.append)) == ["a", "b", "c"]
    assert log == [(0, "a"), (0, "b"), (0, "c"), (1, "a"), (1, "c"), (2, "a")]
    assert items == [0, 1, 2, 0, 2, 0]


@pytest.mark.parametrize(
    ("held", "groups"), [(1, (3, 2)), (lockstep.MOST_BYTES, (1, 1, 1, 1, 1)), (lockstep.MOST_BYTES // 2, (2, 2, 1))]
)
def test_a_group_ends_where_it_has_enough_pictures_or_bytes(held, groups, monkeypatch):
    """Memory is bounded: no picture is begun while those before it hold as much as may be held."""
    monkeypatch.setattr(lockstep, "MOST_PICTURES", 3)
    log = []
    assert list(in_lockstep(((i, work(i, 1, log, held)) for i in range(5)), lambda _item: None)) == [0, 1, 2, 3, 4]
    seen, start = [], 0
    for size in groups:
        seen += [(step, i) for step in (0, 1) for i in range(start, start + size)]
        start += size
    assert log == seen


def test_works_are_asked_for_as_they_are_needed():
    """A work is asked for when the one before has done its first step, and a group's results come before the next."""
    log = []

    def coming():
        for i in range(2 * lockstep.MOST_PICTURES):
            log.append(("asked", i))
            yield i, work(i, 1, log)

    results = in_lockstep(coming(), lambda _item: None)
    assert next(results) == 0
    assert log[:4] == [("asked", 0), (0, 0), ("asked", 1), (0, 1)]
    assert ("asked", lockstep.MOST_PICTURES) not in log


def test_an_error_comes_out_where_it_happens():
    """A fault of the program is nobody's row."""

    def broken():
        yield 0
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_lockstep([(0, work("a", 1, [])), (1, broken())], lambda _item: None))
