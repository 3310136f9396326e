"""Items are due in the order of their times; one that was struck out is due no more, and leaves nothing behind."""

import gc
import math
import random
import weakref

import pytest

from lambda_adapter._call.agenda import Agenda


@pytest.mark.parametrize(
    ("now_s", "expected"),
    [(0.5, []), (1.0, ["a"]), (2.5, ["a", "b"]), (math.inf, ["a", "b", "c", "d"]), (-math.inf, [])],
)
def test_what_is_due_comes_in_order_and_the_rest_waits(now_s, expected):
    agenda = Agenda()
    for due_s, item in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (3.0, "d")):
        agenda.add(due_s, item)
    assert agenda.pop_all_due(now_s) == expected
    assert len(agenda) == 4 - len(expected)
    assert agenda.pop_all_due(math.inf) == ["a", "b", "c", "d"][len(expected) :]
    assert agenda.next_due_s() is None


def test_an_item_that_is_struck_out_is_due_no_more():
    agenda = Agenda()
    entries = [agenda.add(float(number), number) for number in range(1_000)]
    struck = set(random.Random(7).sample(range(1_000), 900))
    for number in struck:
        agenda.strike(entries[number])
        agenda.strike(entries[number])  # twice changes nothing
    assert len(agenda) == 100
    assert agenda.next_due_s() == min(set(range(1_000)) - struck)
    assert agenda.pop_all_due(math.inf) == sorted(set(range(1_000)) - struck)
    agenda.strike(entries[0])  # nor does it afterwards
    assert len(agenda) == 0


def test_a_struck_out_item_is_let_go_and_its_entry_soon_after():
    class Item:
        pass

    agenda, item = Agenda(), Item()
    gone = weakref.ref(item)
    agenda.strike(agenda.add(1.0, item))
    del item
    gc.collect()
    assert gone() is None
    for _ in range(10_000):
        agenda.strike(agenda.add(1.0, Item()))
    assert len(agenda._heap) < 100


def test_no_more_are_taken_than_wanted():
    agenda = Agenda()
    for number in range(5):
        agenda.add(float(number), number)
    assert [agenda.pop_all_due(3.0, 2) for _ in range(3)] == [[0, 1], [2, 3], []]
    assert len(agenda) == 1
