"""Health counts every outcome exactly once, from any number of threads."""

import random
import re
import threading

import attrs
import pytest

from lambda_adapter import Health
from lambda_adapter.health import HealthTracker

KEYS = [
    "is_healthy",
    "last_success",
    "last_failure",
    "consecutive_failures",
    "total_requests",
    "total_failures",
    "error_rate",
]


def tracker(outcomes="", threshold=3):
    """A tracker that has seen ``outcomes``, "+" and "-", at the times "t1", "t2", …"""
    times = (f"t{number}" for number in range(1, 1_000))
    tracked = HealthTracker(threshold, clock=lambda: next(times))
    for outcome in outcomes:
        tracked.record(success=outcome == "+")
    return tracked


def test_before_the_first_call_all_is_well():
    assert tracker().health.to_dict() == {
        "is_healthy": True,
        "last_success": None,
        "last_failure": None,
        "consecutive_failures": 0,
        "total_requests": 0,
        "total_failures": 0,
        "error_rate": 0.0,
    }


def test_the_status_has_exactly_the_documented_keys_in_their_order():
    assert list(tracker("+-").health.to_dict()) == KEYS


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("+", (True, "t1", None, 0, 1, 0, 0.0)),
        ("-", (True, None, "t1", 1, 1, 1, 1.0)),
        ("--", (True, None, "t2", 2, 2, 2, 1.0)),
        ("---", (False, None, "t3", 3, 3, 3, 1.0)),
        ("---+", (True, "t4", "t3", 0, 4, 3, 0.75)),
        ("---+--", (True, "t4", "t6", 2, 6, 5, 0.8333)),
        ("--+--+", (True, "t6", "t5", 0, 6, 4, 0.6667)),
        ("-++", (True, "t3", "t1", 0, 3, 1, 0.3333)),
    ],
)
def test_outcomes_are_counted(outcomes, expected):
    assert tuple(tracker(outcomes).health.to_dict().values()) == expected


@pytest.mark.parametrize(("threshold", "healthy"), [(1, False), (2, False), (3, True)])
def test_the_threshold_is_the_first_count_that_is_unhealthy(threshold, healthy):
    assert tracker("+--", threshold).health.is_healthy is healthy


def test_a_snapshot_does_not_change():
    tracked = tracker("+")
    snapshot = tracked.health
    tracked.record(success=False)
    assert (snapshot.total_requests, tracked.health.total_requests) == (1, 2)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        snapshot.total_requests = 5


def test_times_are_utc_with_microseconds():
    tracked = HealthTracker(3)
    tracked.record(success=True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", tracked.health.last_success, re.ASCII)


def test_no_record_is_lost_between_threads():
    tracked, start = HealthTracker(3), threading.Barrier(8)

    def record():
        start.wait(10)
        for number in range(500):
            tracked.record(success=number % 4 != 0)

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (tracked.health.total_requests, tracked.health.total_failures) == (4_000, 1_000)


def test_records_of_two_threads_do_not_overlap():
    """A record that another one could overtake would be lost, or put an older time over a newer one."""
    inside, go_on, entered = threading.Event(), threading.Event(), []

    def clock():
        entered.append(threading.current_thread().name)
        inside.set()
        assert go_on.wait(10)
        return f"t{len(entered)}"

    tracked = HealthTracker(3, clock=clock)
    threads = [threading.Thread(target=tracked.record, args=(True,)) for _ in range(2)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(0.05)  # what it would need to get in, if anything let it
    assert len(entered) == 1
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (tracked.health.total_requests, tracked.health.last_success) == (2, "t2")


def test_a_reader_never_sees_half_a_record():
    tracked, done, torn = HealthTracker(10**9), threading.Event(), []

    def read():
        while not done.is_set():
            seen = tracked.health
            if not seen.total_requests == seen.total_failures == seen.consecutive_failures:
                torn.append(seen)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2_000):
        tracked.record(success=False)
    done.set()
    reader.join(10)
    assert torn == []


def test_after_a_fork_a_held_lock_does_not_matter_and_the_counters_stay():
    tracked = tracker("+-")
    tracked._lock.acquire()  # as a thread that does not exist in the child would have left it
    tracked.reset_after_fork()
    tracked.record(success=True)
    assert tracked.health.total_requests == 3


def test_the_public_snapshot_is_the_packages_health():
    assert isinstance(tracker().health, Health)


def test_snapshots_are_consistent_while_64_threads_record():
    """10,000 snapshots amid random outcomes: successes and failures add up, and so does what is consecutive."""
    tracked = HealthTracker(unhealthy_threshold=3)
    start, stop = threading.Barrier(65), threading.Event()
    counted = []

    def record(seed):
        outcomes = random.Random(seed)
        successes = failures = 0
        start.wait(10)
        while not stop.is_set():
            success = outcomes.random() < 0.5
            tracked.record(success)
            successes, failures = successes + success, failures + (not success)
        counted.append((successes, failures))

    threads = [threading.Thread(target=record, args=[seed]) for seed in range(64)]
    for thread in threads:
        thread.start()
    start.wait(10)
    try:
        for _ in range(10_000):
            seen = tracked.health
            assert 0 <= seen.consecutive_failures <= seen.total_failures <= seen.total_requests
            assert seen.is_healthy == (seen.consecutive_failures < 3)
            assert seen.error_rate == (
                round(seen.total_failures / seen.total_requests, 4) if seen.total_requests else 0
            )
            assert (seen.last_failure is None) == (seen.total_failures == 0)
            assert (seen.last_success is None) == (seen.total_requests == seen.total_failures)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    successes, failures = (sum(column) for column in zip(*counted))
    assert (tracked.health.total_requests, tracked.health.total_failures) == (successes + failures, failures)
