"""Texts between two threads: in their order, few at a time, and none behind the response."""

import threading

import pytest

from lambda_adapter import ExecuteResponse
from lambda_adapter._call.channel import Channel
from support.waiting import SOON_S, until

RESPONSE = ExecuteResponse(success=True)


def test_texts_come_in_their_order_and_then_the_end():
    channel = Channel()
    assert channel.take() == ""
    assert channel.put("a", None)
    assert channel.put("b", None)
    channel.end(RESPONSE)
    assert [channel.take() for _ in range(4)] == ["a", "b", None, None]


def test_the_first_response_counts():
    channel = Channel()
    channel.end(None)
    channel.end(RESPONSE)
    channel.end(ExecuteResponse(success=False))
    assert channel.response is RESPONSE


def test_no_text_comes_behind_the_response():
    """The time is up while the thread that reads has a text in its hand: the message has it not."""
    channel = Channel()
    channel.put("a", None)
    channel.end(RESPONSE)
    assert channel.put("b", None)
    assert [channel.take(), channel.take()] == ["a", None]


def test_no_text_comes_to_who_has_left():
    channel = Channel()
    channel.put("a", None)
    channel.leave()
    assert not channel.put("b", None)
    assert channel.take() is None


@pytest.mark.parametrize(
    ("text", "count", "taken"), [("x", 64, 33), ("x" * 100_000, 3, 2)], ids=["many texts", "many characters"]
)
def test_whoever_sends_too_much_waits_until_half_of_it_is_taken(text, count, taken):
    channel = Channel()
    for _ in range(count - 1):
        channel.put(text, None)
    sender = threading.Thread(target=channel.put, args=(text, None))
    sender.start()
    until(lambda: channel._waiting)
    for _ in range(taken - 1):
        assert channel.take() == text
        assert channel._waiting
    assert channel.take() == text
    sender.join(SOON_S)
    assert not sender.is_alive()


def test_whoever_sends_does_not_wait_beyond_its_deadline():
    channel = Channel(clock=lambda: 5.0)
    for _ in range(100):
        assert channel.put("x", 5.0)


def test_whoever_takes_is_told_what_ended_the_thread_that_sends():
    channel = Channel()
    channel.put("a", None)
    channel.end(None, SystemExit(3))
    assert channel.take() == "a"
    with pytest.raises(SystemExit):
        channel.take()


def test_an_event_loop_is_woken_once():
    woken = []
    channel = Channel()
    assert channel.wake(lambda: woken.append(1))
    channel.put("a", None)
    channel.put("b", None)
    assert woken == [1]
    assert not channel.wake(lambda: woken.append(2))
