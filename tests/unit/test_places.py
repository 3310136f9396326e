"""Places go round the groups that wait for one; within a group it is first come, first served."""

import pytest

from lambda_adapter._call.places import Places, QueueFullError


def places(limit=1, max_pending=None, per_group=None):
    return Places(limit, max_pending, per_group)


def waiting(*items):
    """Places with ``items`` that wait, each in the group of its first letter; a capital one has had a place before."""
    made = places()
    for item in items:
        made.wait(item, item[0].lower(), again=item[0].isupper())
    return made


def in_turn(made):
    return list(iter(made.pop, None))


@pytest.mark.parametrize(
    ("items", "order"),
    [
        ([], []),
        (["a1", "a2", "a3"], ["a1", "a2", "a3"]),
        (["a1", "a2", "a3", "b1"], ["a1", "b1", "a2", "a3"]),
        (["a1", "a2", "b1", "b2", "c1"], ["a1", "b1", "c1", "a2", "b2"]),
        (["a1", "a2", "A3", "A4", "b1"], ["A3", "b1", "A4", "a1", "a2"]),
    ],
    ids=["none", "one group", "a raid and another", "three groups", "those that had a place before"],
)
def test_groups_take_turns(items, order):
    assert in_turn(waiting(*items)) == order


def test_a_group_that_comes_anew_has_its_turn_after_those_that_wait():
    made = waiting("a1", "a2", "b1", "b2")
    assert made.pop() == "a1"
    made.wait("c1", "c")
    assert in_turn(made) == ["b1", "a2", "c1", "b2"]


def test_what_was_discarded_gets_no_turn():
    made = waiting("a1", "a2", "A3", "b1")
    assert [made.discard(item, item[0].lower()) for item in ("a1", "A3", "b1", "a1", "x1")] == [True] * 3 + [False] * 2
    assert (made.new, in_turn(made), made.new) == (1, ["a2"], 0)


def test_items_that_the_limits_do_not_count_wait_in_line_like_the_others():
    made = places(1, max_pending=1, per_group=1)
    made.taken = 1
    for item in ("a1", "b1", "a2", "b2"):
        made.wait(item, item[0], counts=False)
    made.check_room("a")
    made.wait("a3", "a")
    assert made.new == 5
    for group in ("a", "c"):
        with pytest.raises(QueueFullError):
            made.check_room(group)
    assert made.discard("a2", "a")
    with pytest.raises(QueueFullError):
        made.check_room("a")
    assert [made.pop() for _ in range(3)] == ["a1", "b1", "a3"]
    made.check_room("a")
    assert (made.new, in_turn(made), made.new) == (1, ["b2"], 0)


@pytest.mark.parametrize(
    ("max_pending", "per_group", "waits", "group", "cause"),
    [
        (None, None, ["a1", "a2"], "a", None),
        (2, None, ["a1"], "a", None),
        (2, None, ["a1", "b1"], "c", "1 calls are under way and 2 wait"),
        (0, None, [], "a", "1 calls are under way and 0 wait"),
        (None, 2, ["a1"], "a", None),
        (None, 2, ["a1", "a2"], "b", None),
        (
            None,
            2,
            ["a1", "a2"],
            "a",
            "max_pending_per_community allows 2 of this community's calls to wait, and so many do",
        ),
        (None, 2, ["a1", "A2"], "a", None),
        (None, 0, [], "a", "max_pending_per_community allows 0 of this community's calls to wait, and so many do"),
        (2, 2, ["a1", "a2"], "a", "1 calls are under way and 2 wait"),
    ],
)
def test_room_to_wait(max_pending, per_group, waits, group, cause):
    made = places(1, max_pending, per_group)
    made.check_room(group)  # a place is free
    made.taken = 1
    for item in waits:
        made.wait(item, item[0].lower(), again=item[0].isupper())
    if cause is None:
        made.check_room(group)
    else:
        with pytest.raises(QueueFullError, match=f"^{cause}$"):
            made.check_room(group)


def test_who_waits_no_more_is_counted_no_more():
    made = places(limit=1, max_pending=2, per_group=2)
    made.wait("first", "a")
    made.taken = 1
    made.discard("first", "a")
    for item in ("a1", "a2"):
        made.wait(item, "a")
    with pytest.raises(QueueFullError):
        made.check_room("a")
    made.discard("a1", "a")
    made.check_room("a")
