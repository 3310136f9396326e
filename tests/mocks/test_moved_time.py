"""freezegun and time-machine: one clock for deadlines, circuits and attempts, which follows and is never held up."""

import asyncio
import datetime
import threading
import time

import pytest

from lambda_adapter import CircuitBreaker, LambdaAdapter, LocalLambda
from lambda_adapter._process import clock
from lambda_adapter.testing import mock_lambda
from lambda_adapter.testing.moved_clock import MovedClock, told_s
from support.clocks import Clock

DONE = {"success": True, "message": "Done."}
PATIENCE_S = 30.0  # no test here takes so long


class Freezegun:
    def __init__(self, when):
        freezegun = pytest.importorskip("freezegun")
        self._frozen = freezegun.freeze_time(when, real_asyncio=True)
        self._factory = self._frozen.start()

    def move(self, seconds):
        self._factory.tick(seconds)

    def stop(self):
        self._frozen.stop()


class TimeMachine:
    def __init__(self, when):
        time_machine = pytest.importorskip("time_machine")
        self._travel = time_machine.travel(datetime.datetime.fromisoformat(f"{when}+00:00"), tick=False)
        self._traveller = self._travel.start()

    def move(self, seconds):
        self._traveller.shift(seconds)

    def stop(self):
        self._travel.stop()


class PatchedByHand:
    def __init__(self, when):
        self._patch = pytest.MonkeyPatch()
        self._now = Clock(datetime.datetime.fromisoformat(f"{when}+00:00").timestamp())
        self._patch.setattr(time, "time", self._now)

    def move(self, seconds):
        self._now.now_s += seconds

    def stop(self):
        self._patch.undo()


@pytest.fixture(params=[Freezegun, TimeMachine, PatchedByHand])
def library(request):
    return request.param


@pytest.fixture
def freeze(library):
    """Stops the time, in the past unless told otherwise."""
    frozen = []

    def freeze(when="2020-02-02 12:00:00"):
        frozen.append(library(when))
        return frozen[-1]

    yield freeze
    for each in frozen:
        each.stop()


@pytest.fixture
def mock():
    with mock_lambda() as made:
        yield made


def execute(adapter, request, awaited):
    return asyncio.run(adapter.execute_async(request)) if awaited else adapter.execute(request)


BOTH = pytest.mark.parametrize("awaited", [False, True], ids=["execute", "execute_async"])
WHEN = pytest.mark.parametrize("when", ["2020-02-02 12:00:00", "2035-02-02 12:00:00"], ids=["past", "future"])


# --- With mock_lambda ---


@BOTH
@WHEN
def test_a_frozen_time_changes_no_call(mock, freeze, make_request, awaited, when):
    mock.function("report", DONE).throttles(times=2, retry_after=1)
    freeze(when)
    with LambdaAdapter("report", "us-east-1", "report", total_timeout=PATIENCE_S, jitter=0.0) as adapter:
        response = execute(adapter, make_request(), awaited)
    assert (response.message, response.invocation.attempts) == ("Done.", 3)
    assert 0 <= response.invocation.duration_s < PATIENCE_S


@BOTH
@WHEN
def test_an_adapter_that_is_older_than_the_freeze_is_no_exception(mock, freeze, make_request, awaited, when):
    mock.function("report", DONE)
    with LambdaAdapter("report", "us-east-1", "report", total_timeout=PATIENCE_S) as adapter:
        first = execute(adapter, make_request(), awaited)
        freeze(when)
        second = execute(adapter, make_request(), awaited)
    assert [first.message, second.message] == ["Done.", "Done."]


@BOTH
@pytest.mark.parametrize(
    ("took_s", "settings", "told"),
    [
        pytest.param(29, {}, (None, 1, "yes"), id="within-read_timeout"),
        pytest.param(31, {}, ("timeout", 1, "maybe"), id="longer-than-read_timeout"),
        pytest.param(31, {"read_timeout": 60}, (None, 1, "yes"), id="which-is-the-adapters"),
        pytest.param(11, {"total_timeout": 10}, ("timeout", 1, "maybe"), id="longer-than-total_timeout"),
        pytest.param(9, {"total_timeout": 10}, (None, 1, "yes"), id="within-total_timeout"),
        pytest.param(31, {"max_retries": 2}, ("timeout", 3, "maybe"), id="in-each-attempt"),
        pytest.param(31, {"max_retries": 2, "total_timeout": 60}, ("timeout", 2, "maybe"), id="until-the-time-is-up"),
    ],
)
def test_a_handler_takes_as_long_as_it_moves_the_time(mock, freeze, make_request, awaited, took_s, settings, told):
    frozen = freeze()

    def report(event, context):
        frozen.move(took_s)
        return DONE

    mock.function("report", report)
    with LambdaAdapter("report", "us-east-1", "report", **{"max_retries": 0, **settings}) as adapter:
        response = execute(adapter, make_request(), awaited)
    invocation = response.invocation
    code, attempts, executed = told
    if "total_timeout" in settings and code:  # the timer may be quicker than the handler's thread
        assert (response.error_code, invocation.executed) == (code, executed)
        assert invocation.attempts <= attempts
    else:
        assert (response.error_code, invocation.attempts, invocation.executed) == told
        assert invocation.duration_s == pytest.approx(took_s * attempts, abs=5)


def test_an_event_waits_for_no_handler(mock, freeze, make_request):
    frozen = freeze()
    mock.function("report", lambda event, context: frozen.move(31))
    with LambdaAdapter("report", "us-east-1", "report", invocation_type="Event") as adapter:
        assert adapter.execute(make_request()).success


def test_a_handler_that_really_takes_longer_is_a_timeout_when_it_has_ended(mock, make_request):
    longer = threading.Event()
    mock.function("report", lambda event, context: longer.wait(0.05) or DONE)
    with LambdaAdapter("report", "us-east-1", "report", read_timeout=0.01, max_retries=0) as adapter:
        assert adapter.execute(make_request()).error_code == "timeout"


def test_a_circuit_is_tried_again_when_the_test_says_that_it_is_time(mock, freeze, make_request):
    mock.function("report", DONE).fails(times=2)
    frozen = freeze()
    breaker = CircuitBreaker(failure_threshold=2, reset_timeout=60)
    with LambdaAdapter("report", "us-east-1", "report", circuit_breaker=breaker) as adapter:
        codes = []
        for move_s in (0, 0, 0, 50, 11, 0):
            frozen.move(move_s)
            codes.append(adapter.execute(make_request()).error_code)
        assert codes == ["function_error"] * 2 + ["circuit_open"] * 2 + [None, None]


def test_a_handler_sees_its_time_pass(mock, freeze, make_request):
    frozen, left_ms = freeze(), []

    def report(event, context):
        left_ms.append(context.get_remaining_time_in_millis())
        frozen.move(2)
        left_ms.append(context.get_remaining_time_in_millis())

    mock.function("report", report)
    with LambdaAdapter("report", "us-east-1", "report") as adapter:
        adapter.execute(make_request())
    assert left_ms[0] - left_ms[1] == pytest.approx(2_000, abs=500)


# --- Over HTTP, where no mock is: the time that a test stops holds nothing up ---


@BOTH
@WHEN
def test_over_http_retries_and_deadlines_take_real_time(freeze, make_request, awaited, when):
    freeze(when)

    def call(local, **settings):
        with LambdaAdapter("held", module_name="held", **settings, **local.settings) as adapter:
            return execute(adapter, make_request(), awaited)

    held = threading.Event()
    try:
        with LocalLambda({"held": lambda event, context: held.wait(PATIENCE_S)}) as local:
            late = call(local, total_timeout=0.2)
    finally:
        held.set()
    with LocalLambda({"held": print}, concurrency_limit=0, retry_after=0) as full:
        throttled = call(full, max_retries=2, initial_retry_delay=0.01, total_timeout=PATIENCE_S)
    assert (late.error_code, late.invocation.why_ended) == ("timeout", "total_timeout")
    assert (throttled.error_code, throttled.invocation.attempts) == ("throttled", 3)
    assert 0 < throttled.invocation.duration_s < PATIENCE_S


# --- The clock ---


def test_the_clock_is_out_of_their_reach(freeze):
    before_s = clock.monotonic_s()
    frozen = freeze()
    frozen.move(3_600)
    assert 0 <= clock.monotonic_s() - before_s < PATIENCE_S


@pytest.mark.parametrize(
    ("moves", "seconds"),
    [
        pytest.param([(1, 1)], 1, id="time-goes-on"),
        pytest.param([(1, 0)], 1, id="a-stopped-time-holds-nothing-up"),
        pytest.param([(1, 61)], 61, id="forward"),
        pytest.param([(1, -600)], 1, id="back-is-not-followed"),
        pytest.param([(1, -600), (1, 61)], 62, id="forward-after-back"),
        pytest.param([(0, 30), (0, 30), (5, 5)], 65, id="moves-add-up"),
        pytest.param([(0, 0)], 0, id="none"),
    ],
)
def test_a_moved_clock_goes_on_by_what_is_more(moves, seconds):
    read, told = Clock(100.0), Clock(1_000_000.0)
    moved = MovedClock(read, told)
    before_s = moved()
    for read_s, told_s_ in moves:
        read.now_s += read_s
        told.now_s += told_s_
        after_s = moved()
    assert after_s - before_s == pytest.approx(seconds)


def test_all_threads_are_told_the_same(freeze):
    frozen = freeze()
    seen = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: seen.append(told_s()))
        thread.start()
        thread.join()
        seen.append(told_s())
        frozen.move(60)
    assert seen[0] == seen[1] == seen[2] - 60 == seen[3] - 60


def test_asking_what_the_time_is_does_not_make_it_tick():
    freezegun = pytest.importorskip("freezegun")
    with freezegun.freeze_time("2020-02-02", auto_tick_seconds=15):
        assert told_s() == told_s()


def test_after_the_mock_the_clock_is_the_own_one(freeze):
    with mock_lambda():
        with mock_lambda():
            pass
        assert isinstance(clock.source, MovedClock)
    assert not isinstance(clock.source, MovedClock)
