"""``circuit_breaker``: a function that is down is left alone, then probed once, however the probe ends."""

import asyncio
import json
import os
import threading

import pytest

from lambda_adapter import CircuitBreaker
from support import fault_server as fs
from support.calls import DOWN, FAST, GOOD, THROTTLED, start, state
from support.clocks import Clock
from support.forks import in_child
from support.gates import Gate
from support.waiting import SOON_S, soon, until_async


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_breaking(make_adapter, clock):
    """An adapter whose circuit opens with the second failure and may be probed 30 seconds later."""

    def make(server, **settings):
        breaker = CircuitBreaker(2, 30.0, clock=clock)
        return make_adapter(endpoint_url=server.endpoint_url, circuit_breaker=breaker, **{**FAST, **settings})

    return make


async def begin_probe(adapter, make_request, clock, gate):
    """Two failures open the circuit; when its time has come, the probe goes out, and the gate holds it."""
    for _ in range(2):
        await soon(adapter.execute_async(make_request()))
    clock.now_s = 30.0
    probe = start(adapter, make_request())
    await soon(gate.full())
    return probe


def test_after_enough_failures_nothing_is_sent_until_the_time(call, make_breaking, make_request, clock, serve):
    server = serve([DOWN, DOWN, GOOD])
    adapter = make_breaking(server)
    assert [call(adapter, make_request()).error_code for _ in range(2)] == ["function_error"] * 2
    health = adapter.health
    clock.now_s = 9.5
    refused = call(adapter, make_request())
    assert (refused.error_code, refused.invocation.attempts, refused.invocation.executed) == (
        "circuit_open",
        0,
        "no",
    )
    assert refused.error == "circuit_open: the function has failed too often and is tried again in 21 s"
    assert adapter.health == health
    assert len(server.requests) == 2
    clock.now_s = 30.0
    assert call(adapter, make_request()).success
    assert call(adapter, make_request()).success
    assert len(server.requests) == 4
    assert adapter.health.consecutive_failures == 0


def test_a_failed_probe_begins_the_time_anew(call, make_breaking, make_request, clock, serve):
    server = serve(DOWN)
    adapter = make_breaking(server)
    for _ in range(2):
        call(adapter, make_request())
    clock.now_s = 30.0
    assert call(adapter, make_request()).error_code == "function_error"
    assert call(adapter, make_request()).error_code == "circuit_open"
    clock.now_s = 59.9
    assert call(adapter, make_request()).error_code == "circuit_open"
    clock.now_s = 60.0
    assert call(adapter, make_request()).error_code == "function_error"
    assert len(server.requests) == 4


def test_a_call_counts_once_however_many_attempts_it_took(call, make_breaking, make_request, serve):
    server = serve(THROTTLED)
    adapter = make_breaking(server, max_retries=5)
    assert call(adapter, make_request()).invocation.attempts == 6
    assert (adapter.get_module_info()["circuit_breaker"]["consecutive_failures"], state(adapter)) == (1, "closed")


@pytest.mark.parametrize(
    "reaction",
    [
        fs.answer({"success": False}),
        fs.aws_error("ResourceNotFoundException", 404),
        fs.aws_error("AccessDeniedException", 403),
        fs.aws_error("RequestTooLargeException", 413),
    ],
    ids=["function_failed", "not_found", "access_denied", "payload_too_large"],
)
def test_what_is_no_fault_of_the_function_or_the_way_never_opens_it(call, make_breaking, make_request, reaction, serve):
    server = serve(reaction)
    adapter = make_breaking(server)
    for _ in range(6):
        call(adapter, make_request())
    assert (len(server.requests), state(adapter)) == (6, "closed")


def test_refused_requests_neither_open_it_nor_use_up_the_probe(call, make_breaking, make_request, clock, serve):
    server = serve([DOWN, DOWN, GOOD])
    adapter = make_breaking(server, required_scopes=["read"])
    fine = make_request(scopes=["read"])
    nonsense = [make_request(), make_request(scopes=["read"], args="text"), None]
    call(adapter, fine)
    for request in nonsense * 2:
        assert call(adapter, request).error_code in ("missing_scopes", "invalid_request")
    assert state(adapter) == "closed"
    call(adapter, fine)
    assert state(adapter) == "open"
    clock.now_s = 30.0
    for request in nonsense:
        call(adapter, request)
    assert state(adapter) == "half_open"
    assert call(adapter, fine).success


def test_one_probe_goes_out_and_the_rest_are_refused(make_breaking, make_request, clock, serve):
    gate = Gate(held=(3,), reactions=(DOWN, DOWN, GOOD))
    server = serve(gate)
    adapter = make_breaking(server)

    async def run():
        for _ in range(2):
            await soon(adapter.execute_async(make_request()))
        clock.now_s = 30.0
        calls = [start(adapter, make_request()) for _ in range(20)]
        await soon(gate.full())
        # A call that began only after the probe's success would be let through.
        await until_async(lambda: sum(call.done() for call in calls) == 19)
        assert state(adapter) == "half_open"
        assert "and is being tried" in adapter.execute(make_request()).error
        gate.let_go.set()
        return await soon(asyncio.gather(*calls))

    codes = [response.error_code for response in asyncio.run(run())]
    assert len(server.requests) == 3
    assert sorted(codes, key=str) == [None] + ["circuit_open"] * 19
    assert state(adapter) == "closed"


def test_what_waits_when_it_opens_is_refused_when_its_turn_comes(make_breaking, make_request, serve):
    gate = Gate(held=(1,), reactions=(DOWN,))
    server = serve(gate)
    adapter = make_breaking(server, max_concurrency=1)

    async def run():
        calls = [start(adapter, make_request()) for _ in range(10)]
        await soon(gate.full())
        gate.let_go.set()
        return await soon(asyncio.gather(*calls))

    codes = [response.error_code for response in asyncio.run(run())]
    assert len(server.requests) == 2
    assert codes == ["function_error"] * 2 + ["circuit_open"] * 8
    assert adapter.health.total_requests == 2


def test_late_answers_from_before_the_opening_change_nothing(make_breaking, make_request, serve):
    gate = Gate(held=(1, 2), reactions=(GOOD, DOWN, DOWN, DOWN))
    server = serve(gate)
    adapter = make_breaking(server)

    async def run():
        late = [start(adapter, make_request()) for _ in range(2)]
        await soon(gate.full())
        for _ in range(2):
            await soon(adapter.execute_async(make_request()))
        before = adapter.get_module_info()["circuit_breaker"]
        gate.let_go.set()
        await soon(asyncio.gather(*late))
        return before

    before = asyncio.run(run())
    assert adapter.get_module_info()["circuit_breaker"] == before
    assert before == {"state": "open", "consecutive_failures": 2, "seconds_until_probe": 30.0}


@pytest.mark.parametrize("reaction", [GOOD, THROTTLED], ids=["succeeds", "fails"])
def test_a_probe_that_is_cancelled_in_flight_still_tells(make_breaking, make_request, clock, reaction, serve):
    gate = Gate(held=(3,), reactions=(DOWN, DOWN, reaction))
    server = serve(gate)
    adapter = make_breaking(server)

    async def run():
        probe = await begin_probe(adapter, make_request, clock, gate)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert state(adapter) == "half_open"
        gate.let_go.set()
        await until_async(lambda: state(adapter) != "half_open")

    asyncio.run(run())
    assert state(adapter) == ("closed" if reaction is GOOD else "open")


def test_a_probe_that_is_cancelled_in_the_queue_leaves_the_next_one_its_place(
    make_breaking, make_request, clock, serve
):
    gate = Gate(held=(1,), reactions=(GOOD, DOWN, DOWN, GOOD))
    server = serve(gate)
    adapter = make_breaking(server, max_concurrency=1)

    async def run():
        busy = start(adapter, make_request())
        await soon(gate.full())
        for _ in range(2):
            adapter.execute(make_request())
        clock.now_s = 30.0
        probe = start(adapter, make_request())
        await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        gate.let_go.set()
        await soon(busy)
        return await soon(adapter.execute_async(make_request()))

    assert asyncio.run(run()).success
    assert state(adapter) == "closed"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_probe_that_an_interrupt_ends_leaves_the_next_one_its_place(
    call, make_breaking, make_request, clock, error, serve
):
    armed = []

    def on_attempt(attempt):
        if armed:
            raise armed.pop()

    server = serve([DOWN, DOWN, GOOD])
    adapter = make_breaking(server, on_attempt=on_attempt)
    for _ in range(2):
        call(adapter, make_request())
    clock.now_s = 30.0
    armed.append(error())
    with pytest.raises(error):
        call(adapter, make_request())
    assert state(adapter) == "half_open"
    assert call(adapter, make_request()).success
    assert state(adapter) == "closed"


def test_closing_during_a_probe_sticks_nothing_and_still_tells(make_breaking, make_request, clock, serve):
    gate = Gate(held=(3,), reactions=(DOWN, DOWN, GOOD))
    server = serve(gate)
    adapter = make_breaking(server)

    async def run():
        probe = await begin_probe(adapter, make_request, clock, gate)
        adapter.close()
        gate.let_go.set()
        return await soon(probe)

    assert asyncio.run(run()).success
    assert state(adapter) == "closed"
    assert adapter.execute(make_request()).error_code == "closed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_child_probes_though_its_parents_probe_is_under_way(make_breaking, make_request, clock, serve):
    gate = Gate(held=(3,), reactions=(DOWN, DOWN, GOOD))
    server = serve(gate)
    adapter = make_breaking(server)
    for _ in range(2):
        adapter.execute(make_request())
    clock.now_s = 30.0
    probe = threading.Thread(target=adapter.execute, args=[make_request()])
    probe.start()
    assert gate.arrived.acquire(timeout=SOON_S)
    assert adapter.execute(make_request()).error_code == "circuit_open"
    in_child(lambda: adapter.execute(make_request()).success, timeout_s=5)()
    gate.let_go.set()
    probe.join(SOON_S)
    assert state(adapter) == "closed"


def test_the_module_info_tells_the_state_and_the_time(make_breaking, make_adapter, make_request, clock, serve):
    server = serve(DOWN)
    adapter = make_breaking(server)

    def told():
        return tuple(adapter.get_module_info()["circuit_breaker"].values())

    assert told() == ("closed", 0, None)
    for _ in range(2):
        adapter.execute(make_request())
    clock.now_s = 12.3456
    assert told() == ("open", 2, 17.654)
    clock.now_s = 1_000.0
    assert told() == ("half_open", 2, 0.0)
    json.dumps(adapter.get_module_info())
    assert make_adapter(endpoint_url=server.endpoint_url).get_module_info()["circuit_breaker"] is None


def test_one_value_for_two_adapters_is_two_circuits(make_adapter, make_request, serve):
    breaker = CircuitBreaker(1, 30.0)
    server = serve(DOWN)
    down, other = (make_adapter(endpoint_url=server.endpoint_url, circuit_breaker=breaker) for _ in range(2))
    down.execute(make_request())
    assert (state(down), state(other)) == ("open", "closed")
