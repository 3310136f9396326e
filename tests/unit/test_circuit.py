"""The circuit breaker's states: what opens it, who may probe, and that no way of ending a probe leaves it stuck."""

import math
import sys
import threading

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambda_adapter import CircuitBreaker
from lambda_adapter.circuit import Circuit, effect_of
from support.clocks import Clock

THRESHOLD, RESET_S = 3, 10.0
TRIPPING = [
    "throttled",
    "service_error",
    "connection_lost",
    "timeout",
    "function_error",
    "invalid_response",
]
HARMLESS = [
    "function_failed",
    "connection_error",
    "not_found",
    "access_denied",
    "invalid_parameter",
    "configuration_error",
]
REFUSED = ["invalid_request", "missing_scopes", "payload_too_large", "overloaded", "circuit_open", "closed"]
SUCCESS = effect_of(None)
NOTHING = "ignores"  # cancelled, closed or raised through before it came to a result


def failure(error_code):
    return effect_of(error_code)


@pytest.fixture
def clock():
    return Clock(1_000.0)


@pytest.fixture
def circuit(clock):
    return Circuit(CircuitBreaker(THRESHOLD, RESET_S, clock=clock))


def run(circuit, result):
    """One call from its beginning to its end; whether it was let through."""
    passage = circuit.enter()
    if passage is not None:
        circuit.leave(passage, result)
    return passage is not None


def trip(circuit):
    while circuit.to_dict()["state"] == "closed":
        assert run(circuit, failure("timeout"))


def told(circuit):
    return tuple(circuit.to_dict().values())


# -- States ---------------------------------------------------------------------------------------

BAD = failure("service_error")
#: What happens, in order: a result is a call that ends so, a number is that many seconds. Then what is told.
STORIES = {
    "new": ([], ("closed", 0, None)),
    "one below the threshold": ([BAD, BAD], ("closed", 2, None)),
    "at the threshold": ([BAD, BAD, BAD], ("open", 3, 10.0)),
    "a success between": ([BAD, BAD, SUCCESS, BAD, BAD], ("closed", 2, None)),
    "failures far apart": ([BAD, 10_000, BAD, 10_000, BAD], ("open", 3, 10.0)),
    "a failure of the function's own choice between": (
        [BAD, BAD, failure("function_failed"), BAD],
        ("closed", 1, None),
    ),
    "a call without a result between": ([BAD, BAD, NOTHING, BAD], ("open", 3, 10.0)),
    "open, just before the time": ([BAD, BAD, BAD, 9.75], ("open", 3, 0.25)),
    "open, at the time": ([BAD, BAD, BAD, 10], ("half_open", 3, 0.0)),
    "open, long after the time": ([BAD, BAD, BAD, 10_000], ("half_open", 3, 0.0)),
    "the probe succeeds": ([BAD, BAD, BAD, 10, SUCCESS], ("closed", 0, None)),
    "the probe fails": ([BAD, BAD, BAD, 10, BAD], ("open", 4, 10.0)),
    "the probe fails late": ([BAD, BAD, BAD, 500, BAD, 1], ("open", 4, 9.0)),
    "the probe answers success=false": ([BAD, BAD, BAD, 10, failure("function_failed")], ("closed", 0, None)),
    "the probe comes to nothing": ([BAD, BAD, BAD, 10, NOTHING], ("half_open", 3, 0.0)),
    "the probe is refused": ([BAD, BAD, BAD, 10, failure("payload_too_large")], ("half_open", 3, 0.0)),
    "the second probe succeeds": ([BAD, BAD, BAD, 10, BAD, 10, SUCCESS], ("closed", 0, None)),
    "closed again, it counts from zero": ([BAD, BAD, BAD, 10, SUCCESS, BAD, BAD], ("closed", 2, None)),
    "closed again, it opens again": ([BAD, BAD, BAD, 10, SUCCESS, BAD, BAD, BAD], ("open", 3, 10.0)),
}


@pytest.mark.parametrize(("story", "expected"), STORIES.values(), ids=STORIES.keys())
def test_each_story_ends_in_its_state(circuit, clock, story, expected):
    for event in story:
        if isinstance(event, (int, float)):
            clock.now_s += event
        else:
            assert run(circuit, event), "every call of these stories comes when one is let through"
    assert told(circuit) == expected


@pytest.mark.parametrize("error_code", TRIPPING)
def test_a_fault_of_the_function_or_the_way_to_it_trips(circuit, error_code):
    for _ in range(THRESHOLD):
        assert run(circuit, failure(error_code))
    assert not run(circuit, SUCCESS)


@pytest.mark.parametrize("error_code", [*HARMLESS, "internal_error"])
def test_a_failure_that_waiting_does_not_mend_never_trips(circuit, error_code):
    for _ in range(THRESHOLD * 4):
        assert run(circuit, failure(error_code))
    assert circuit.to_dict()["state"] == "closed"


@pytest.mark.parametrize("error_code", REFUSED)
def test_a_refused_request_changes_nothing(circuit, error_code):
    run(circuit, BAD)
    for _ in range(THRESHOLD * 4):
        assert run(circuit, failure(error_code))
    assert told(circuit) == ("closed", 1, None)


def test_an_open_circuit_lets_nobody_through_until_its_time(circuit, clock):
    trip(circuit)
    for seconds in (0.0, 5.0, 4.999):
        clock.now_s += seconds
        assert not circuit.admits()
        assert circuit.enter() is None
    clock.now_s += 0.001
    assert circuit.admits()
    assert circuit.enter() is not None


def test_a_probe_keeps_all_others_out_until_it_ends(circuit, clock):
    trip(circuit)
    clock.now_s += RESET_S
    probe = circuit.enter()
    for _ in range(5):
        clock.now_s += 1_000
        assert not circuit.admits()
        assert circuit.enter() is None
    circuit.leave(probe, SUCCESS)
    assert [circuit.enter() is None for _ in range(5)] == [False] * 5


@pytest.mark.parametrize("result", [NOTHING, *map(failure, REFUSED)], ids=["nothing", *REFUSED])
def test_after_a_probe_that_says_nothing_the_next_call_probes(circuit, clock, result):
    trip(circuit)
    clock.now_s += RESET_S
    for _ in range(3):
        assert run(circuit, result)
    probe = circuit.enter()
    assert circuit.enter() is None
    circuit.leave(probe, SUCCESS)
    assert told(circuit) == ("closed", 0, None)


# -- Late results ---------------------------------------------------------------------------------

LATE = pytest.mark.parametrize("late", [SUCCESS, BAD, NOTHING], ids=["success", "failure", "nothing"])


@LATE
def test_a_call_from_before_the_opening_says_nothing_while_it_is_open(circuit, clock, late):
    old = circuit.enter()
    trip(circuit)
    clock.now_s += 4
    circuit.leave(old, late)
    assert told(circuit) == ("open", 3, 6.0)


@LATE
def test_a_call_from_before_the_opening_does_not_end_the_probe(circuit, clock, late):
    old = circuit.enter()
    trip(circuit)
    clock.now_s += RESET_S
    probe = circuit.enter()
    circuit.leave(old, late)
    assert circuit.enter() is None
    circuit.leave(probe, SUCCESS)
    assert told(circuit) == ("closed", 0, None)


@LATE
def test_a_call_from_before_the_opening_says_nothing_after_the_closing(circuit, clock, late):
    old = circuit.enter()
    trip(circuit)
    clock.now_s += RESET_S
    assert run(circuit, SUCCESS)
    assert run(circuit, BAD)
    circuit.leave(old, late)
    assert told(circuit) == ("closed", 1, None)


def test_many_calls_at_once_open_it_once(circuit, clock):
    """Failures after the one that opened it do not put off the probe."""
    passages = [circuit.enter() for _ in range(20)]
    for passage in passages:
        circuit.leave(passage, BAD)
        clock.now_s += 1
    # The third opened it, 18 seconds ago.
    assert told(circuit) == ("half_open", 3, 0.0)


# -- Any order, many threads ----------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Calls begin and end in any order, with any result, and time passes between."""

    def __init__(self):
        super().__init__()
        self.clock = Clock(1_000.0)
        self.circuit = Circuit(CircuitBreaker(2, RESET_S, clock=self.clock))
        self.old = []
        self.probes = []

    def is_closed(self):
        return self.circuit.to_dict()["state"] == "closed"

    @rule()
    def begin(self):
        state = self.circuit.to_dict()["state"]
        passage = self.circuit.enter()
        if state == "closed":
            assert passage is not None
            self.old.append(passage)
        elif state == "open" or self.probes:
            assert passage is None
        else:
            assert passage is not None, "it is time, and nobody probes"
            self.probes.append(passage)

    @precondition(lambda self: self.old)
    @rule(data=st.data(), result=st.sampled_from([SUCCESS, BAD, NOTHING]))
    def end_old(self, data, result):
        """One that began while it was closed: when it has opened since, this says nothing."""
        before, was_closed = told(self.circuit), self.is_closed()
        self.circuit.leave(self.old.pop(data.draw(st.integers(0, len(self.old) - 1))), result)
        assert was_closed or told(self.circuit) == before

    @precondition(lambda self: self.probes)
    @rule(result=st.sampled_from([SUCCESS, BAD, NOTHING]))
    def end_probe(self, result):
        self.circuit.leave(self.probes.pop(), result)
        expected = {id(SUCCESS): "closed", id(BAD): "open", id(NOTHING): "half_open"}
        assert self.circuit.to_dict()["state"] == expected[id(result)]

    @rule(seconds=st.sampled_from([0.0, 1.0, RESET_S]))
    def wait(self, seconds):
        self.clock.now_s += seconds

    @invariant()
    def tells_what_it_does(self):
        state, failures, wait_s = told(self.circuit)
        assert (wait_s is None) == (state == "closed")
        assert (wait_s == 0.0) == (state == "half_open")
        assert failures >= 2 or state == "closed"
        assert self.circuit.admits() == (state == "closed" or (state == "half_open" and not self.probes))

    def teardown(self):
        """Whatever happened: once all calls have ended and the time has come, one may try."""
        for passage in [*self.old, *self.probes]:
            self.circuit.leave(passage, NOTHING)
        self.clock.now_s += RESET_S
        assert run(self.circuit, SUCCESS)
        assert self.is_closed()


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnyOrder = AnyOrder.TestCase


def test_of_many_threads_never_two_probe_at_once():
    """Every look at the clock is late enough for another probe, and every probe fails or comes to nothing."""
    ticks = iter(range(0, 10**9, 100))
    circuit = Circuit(CircuitBreaker(1, RESET_S, clock=lambda: next(ticks)))
    trip(circuit)
    begin, lock, probing, probes, together = threading.Barrier(8), threading.Lock(), [0], [0], []

    def hammer():
        begin.wait(10)
        for n in range(200):
            passage = circuit.enter()
            if passage is None:
                continue
            with lock:
                probing[0] += 1
                probes[0] += 1
                together.append(probing[0])
            circuit.to_dict()
            with lock:
                probing[0] -= 1
            circuit.leave(passage, BAD if n % 2 else NOTHING)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    finally:
        sys.setswitchinterval(interval_s)
    assert set(together) == {1}
    assert probes[0] >= 8
    assert run(circuit, SUCCESS), "none is stuck"


# -- The rest -------------------------------------------------------------------------------------


def test_without_settings_everybody_passes_and_there_is_nothing_to_tell():
    circuit = Circuit(None)
    for _ in range(20):
        assert circuit.admits()
        assert run(circuit, BAD)
    assert (circuit.wait_s(), circuit.to_dict()) == (None, None)


def test_after_a_fork_the_parents_probe_and_its_lock_bind_nobody(circuit, clock):
    trip(circuit)
    clock.now_s += RESET_S
    assert circuit.enter() is not None
    with circuit._lock:
        circuit.reset_after_fork()
        assert run(circuit, SUCCESS)
    assert told(circuit) == ("closed", 0, None)


def test_a_fork_neither_opens_nor_closes_it(circuit):
    run(circuit, BAD)
    circuit.reset_after_fork()
    assert told(circuit) == ("closed", 1, None)
    trip(circuit)
    circuit.reset_after_fork()
    assert told(circuit) == ("open", 3, RESET_S)


def test_a_circuit_breaker_has_the_documented_defaults_and_is_fixed():
    breaker = CircuitBreaker()
    assert (breaker.failure_threshold, breaker.reset_timeout) == (5, 30.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        breaker.failure_threshold = 1


NO_NUMBERS = [True, False, None, "5", b"5", [], 1j, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("failure_threshold", value) for value in [*NO_NUMBERS, 0, -1, 2.5, 5.0]),
        *(("reset_timeout", value) for value in [*NO_NUMBERS, 0, 0.0, -0.0, -1, 3_600.001, 10**400]),
    ],
)
def test_a_bad_setting_is_a_value_error_that_names_it(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be a") as caught:
        CircuitBreaker(**{name: value})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("name", "values"), [("failure_threshold", [1, 10**6]), ("reset_timeout", [5e-324, 1, 3_600])])
def test_a_good_setting_is_kept_as_given(name, values):
    for value in values:
        assert getattr(CircuitBreaker(**{name: value}), name) == value


def test_a_circuit_that_closes_while_somebody_looks_harms_nobody():
    """``admits`` and ``wait_s`` are asked without the lock: between two lines of theirs another thread may close it."""
    circuit = Circuit(CircuitBreaker(1, 10.0, clock=lambda: 1_000.0))
    for line in range(6):
        circuit._opened_at, lines = 0.0, [0]

        def closing(frame, event, argument, line=line, lines=lines):
            if frame.f_code.co_name == "wait_s" and event == "line":
                lines[0] += 1
                if lines[0] == line:
                    circuit._opened_at = None
            return closing

        before = sys.gettrace()
        sys.settrace(closing)
        try:
            found = circuit.wait_s()
        finally:
            sys.settrace(before)
        # Closed before it looked, or open and due: what it saw first holds to the end.
        assert found in (None, 0.0)
        assert lines[0] > 0, "nobody was watching"


@pytest.mark.parametrize("clock", [None, 5, "time.monotonic"])
def test_a_clock_that_is_none_is_refused(clock):
    with pytest.raises(ValueError, match=r"^clock must be"):
        CircuitBreaker(clock=clock)
