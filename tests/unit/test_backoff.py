"""Delays follow min(initial * 2**n, maximum), the random share of which is jitter, and never exceed the maximum."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_adapter._aws.failures import parse_retry_after
from lambda_adapter._call.backoff import Backoff
from lambda_adapter._rules.limits import MAX_DELAY_S

#: Everything that the adapter's validation lets through.
SECONDS = st.floats(min_value=0, max_value=MAX_DELAY_S, exclude_min=True) | st.integers(1, MAX_DELAY_S)
JITTER = st.floats(0, 1)
RANDOM = st.floats(0, 1, exclude_max=True)

HOSTILE = {
    "negative": "-1",
    "over any float": "1e999",
    "infinite": "inf",
    "not a number": "nan",
    "a word": "banana",
    "an HTTP date": "Wed, 21 Oct 2065 07:28:00 GMT",
    "an ISO date": "2065-10-21T07:28:00Z",
    "hexadecimal": "0x10",
    "with underscores": "1_000",
    "other scripts' digits": "１２",
    "two values": "1, 2",
    "a unit": "5s",
    "a sign": "+5",
    "no digits after the point": "5.",
    "no digits before the point": ".5",
    "empty": "",
    "blank": "  ",
    "a line break within": "5\n6",
    "null": None,
    "a number": 5,
    "bytes": b"5",
    "a list": ["5"],
}


def test_the_bare_schedule_doubles_up_to_the_maximum():
    backoff = Backoff(0.5, 30.0, jitter=0.0)
    assert [backoff.delay_s(retry) for retry in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(
    ("jitter", "drawn", "expected"),
    [
        pytest.param(1.0, 0.0, 4.0, id="full jitter, least drawn"),
        pytest.param(1.0, 0.75, 1.0, id="full jitter"),
        pytest.param(0.5, 0.5, 3.0, id="half jitter"),
        pytest.param(0.0, 0.9, 4.0, id="none"),
    ],
)
def test_jitter_is_the_random_share_of_a_delay(jitter, drawn, expected):
    assert Backoff(0.5, 30.0, jitter, random=lambda: drawn).delay_s(3) == expected


def test_jitter_is_full_and_really_random_unless_told_otherwise():
    backoff = Backoff(0.5, 30.0)
    delays = {backoff.delay_s(5) for _ in range(50)}
    assert len(delays) > 40
    assert backoff.random is random.random


@pytest.mark.parametrize(
    ("retry_after_s", "expected"),
    [
        pytest.param(None, 2.0, id="none"),
        pytest.param(0.0, 2.0, id="zero"),
        pytest.param(1.0, 2.0, id="less than the schedule"),
        pytest.param(7.0, 7.0, id="more than the schedule"),
        pytest.param(31.0, 30.0, id="more than the maximum"),
        pytest.param(math.inf, 30.0, id="infinite"),
    ],
)
def test_retry_after_raises_a_delay_up_to_the_maximum(retry_after_s, expected):
    assert Backoff(0.5, 30.0, jitter=0.0).delay_s(2, retry_after_s) == expected


def test_retry_after_is_not_shortened_by_jitter():
    assert Backoff(0.5, 30.0, jitter=1.0, random=lambda: 0.999).delay_s(0, retry_after_s=3.0) == 3.0


@given(st.integers(0, 10_000), SECONDS, SECONDS, JITTER, RANDOM, st.none() | st.floats(0, math.inf))
def test_a_delay_is_never_negative_nor_over_the_maximum(retry, initial, maximum, jitter, drawn, retry_after_s):
    delay_s = Backoff(initial, maximum, jitter, random=lambda: drawn).delay_s(retry, retry_after_s)
    assert 0 <= delay_s <= maximum


@given(st.integers(0, 10_000), SECONDS, SECONDS)
def test_without_jitter_no_delay_is_shorter_than_the_one_before(retry, initial, maximum):
    backoff = Backoff(initial, maximum, jitter=0.0)
    assert backoff.delay_s(retry) <= backoff.delay_s(retry + 1)


@pytest.mark.parametrize("retry", [0, 1, 1_074, 10_000])
@pytest.mark.parametrize("initial", [5e-324, 1e-9, 0.5, 3_600])
def test_the_schedules_ends_are_reached_without_an_overflow(initial, retry):
    assert 0 < Backoff(initial, 30.0, jitter=0.0).delay_s(retry) <= 30.0


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0), ("1", 1), ("007", 7), ("1.25", 1.25), (" 30 ", 30), ("9" * 400, math.inf)]
)
def test_plain_seconds_are_read(value, seconds):
    assert parse_retry_after(value) == seconds


@pytest.mark.parametrize("value", list(HOSTILE.values()), ids=list(HOSTILE))
def test_anything_but_plain_seconds_is_no_retry_after(value):
    assert parse_retry_after(value) is None


@given(st.text() | st.from_regex(r"[0-9]+(\.[0-9]+)?") | st.binary() | st.integers() | st.floats() | st.none())
def test_whatever_a_server_asks_for_the_delay_stays_in_its_limits(value):
    delay_s = Backoff(0.5, 30.0).delay_s(0, parse_retry_after(value))
    assert 0 <= delay_s <= 30.0
