"""What a bot host operates its modules with, over real HTTP, by execute and by execute_async alike."""

import asyncio
import base64
import enum
import json
import logging
import os
import threading
import time

import boto3
import fault_server as fs
import pytest
from conftest import CREDENTIALS
from test_adapter import Client
from test_contract import CALLS, FAST
from test_fork import in_child

from lambda_adapter import Attempt, CircuitBreaker, LocalLambda, Report

#: How long a test waits for what must happen at once.
SOON_S = 10
#: Waits that no test sits out.
FOREVER = {"initial_retry_delay": 3_000, "max_retry_delay": 3_000, "jitter": 0.0}
#: A wait that does not fit in, and that a test can sit out if it is begun nevertheless.
TOO_LONG = {"total_timeout": 1, "initial_retry_delay": 1.5, "max_retry_delay": 1.5, "jitter": 0.0}
#: A total_timeout that is up before anything can begin.
AT_ONCE = 5e-324
GOOD = fs.answer({"success": True})
THROTTLED = fs.aws_error("TooManyRequestsException", 429)
DOWN = fs.function_error()


@pytest.fixture(params=CALLS.values(), ids=CALLS.keys())
def call(request):
    """One call of an adapter, by either of the two ways."""
    return request.param


@pytest.fixture(scope="module")
def shared_client():
    """For its model of the API: it is never used."""
    client = boto3.client("lambda", "us-east-1", **CREDENTIALS)
    yield client
    client.close()


@pytest.fixture(scope="module")
def local():
    """Restarted by nobody: each test looks at the calls that came last."""

    def logs(event, context):
        context.log(event["trigger"]["context_text"])
        return {"success": True}

    def reads_context(event, context):
        return {"success": True, "custom": context.client_context.custom, "tenant": context.tenant_id}

    def raises(event, context):
        context.log("about to fail\n")
        raise KeyError("city")

    handlers = {
        "function": lambda event, context: {"success": True, "tenant": context.tenant_id},
        "logs": logs,
        "reads_context": reads_context,
        "raises": raises,
    }
    with LocalLambda(handlers) as running:
        yield running


class Gate:
    """Holds requests, by number, until they are let go; the others, and those, get their reactions."""

    def __init__(self, held=(1,), reactions=(GOOD,)):
        self.held = held
        self.reactions = reactions
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self, request):
        if request.number in self.held:
            self.arrived.release()
            assert self.let_go.wait(SOON_S)
        return self.reactions[min(request.number, len(self.reactions)) - 1]

    def end(self):
        self.let_go.set()

    async def full(self):
        """Waits until all the held requests are here, without holding the loop."""
        for _ in self.held:
            assert await in_thread(self.arrived.acquire, True, SOON_S)


async def in_thread(function, *args):
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


def start(adapter, request):
    return asyncio.ensure_future(adapter.execute_async(request))


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, SOON_S)


def assert_refused(response, error_code, adapter):
    """Nothing was attempted, and nobody's health suffers."""
    assert (response.success, response.error_code) == (False, error_code)
    assert (response.invocation.attempts, response.invocation.executed) == (0, "no")
    assert response.error.startswith(f"{error_code}: ")
    assert response.error.isprintable()
    assert adapter.health.total_requests == 0


# -- total_timeout --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reaction", "error_code"),
    [
        (THROTTLED, "throttled"),
        (fs.untyped(503), "service_error"),
        (fs.reset_before(), "connection_lost"),
        (fs.aws_error("TooManyRequestsException", 429, headers={"Retry-After": "5"}), "throttled"),
    ],
    ids=["throttled", "service_error", "connection_lost", "Retry-After"],
)
def test_a_wait_that_would_end_too_late_is_not_begun(call, make_adapter, make_request, reaction, error_code, serve):
    server = serve(reaction)
    adapter = make_adapter(endpoint_url=server.endpoint_url, **TOO_LONG)
    response = call(adapter, make_request())
    assert len(server.requests) == 1
    assert (response.error_code, response.invocation.attempts) == (error_code, 1)
    assert response.error.endswith("; the total_timeout of 1 s is up")
    assert response.error.startswith(f"{error_code}: ")
    assert response.invocation.duration_s < 1.5
    assert (adapter.health.total_requests, adapter.health.total_failures) == (1, 1)


def test_waits_that_end_in_time_are_waited_for(call, make_adapter, make_request, serve):
    server = serve([THROTTLED, THROTTLED, GOOD])
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=30, **FAST)
    response = call(adapter, make_request())
    assert (response.success, response.error, response.invocation.attempts) == (True, None, 3)


def test_without_time_for_an_attempt_none_is_made(call, make_adapter, make_request, serve):
    server = serve(GOOD)
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=AT_ONCE)
    response = call(adapter, make_request())
    assert (server.requests, server.connections) == ([], 0)
    assert_refused(response, "timeout", adapter)
    assert response.error.endswith("total_timeout of 4.94066e-324 s is up before the first attempt")


def test_an_attempt_in_flight_when_the_time_is_up_still_finishes(call, make_adapter, make_request, serve):
    gate, heard = Gate(), []
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=1, on_attempt=heard.append)
    response = call(adapter, make_request())
    assert (response.error_code, response.invocation.executed, heard) == ("timeout", "maybe", [])
    gate.let_go.set()
    until_s = time.monotonic() + SOON_S
    while not heard and time.monotonic() < until_s:
        time.sleep(0.001)
    assert [attempt.error_code for attempt in heard] == [None]
    assert (len(server.requests), adapter.health.total_requests, adapter.health.total_failures) == (1, 1, 1)


def test_an_attempt_that_fails_after_the_time_is_the_last(call, make_adapter, make_request, serve):
    server = serve(fs.delay(0.08, THROTTLED))
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=0.05, max_retries=100, **FAST)
    response = call(adapter, make_request())
    assert len(server.requests) <= 1
    assert response.error_code in ("throttled", "timeout")
    assert "the total_timeout of 0.05 s is up" in response.error


def test_a_queued_call_is_answered_at_its_time_though_all_threads_are_busy(make_adapter, make_request, serve):
    gate = Gate(held=(1, 2))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2, total_timeout=0.2)

    async def run():
        busy = [start(adapter, make_request()) for _ in range(2)]
        await soon(gate.full())
        began = time.monotonic()
        queued = await soon(asyncio.gather(*(adapter.execute_async(make_request()) for _ in range(5))))
        took_s = time.monotonic() - began
        for response in queued:
            assert (response.invocation.attempts, response.invocation.executed) == (0, "no")
            assert response.error == "timeout: the total_timeout of 0.2 s is up before the first attempt"
        gate.let_go.set()
        return took_s, await soon(asyncio.gather(*busy))

    took_s, finished = asyncio.run(run(), debug=True)
    assert len(server.requests) == 2
    assert 0.2 <= took_s < 5
    assert [(response.error_code, response.invocation.executed) for response in finished] == [("timeout", "maybe")] * 2


def test_a_parked_call_is_answered_at_its_time_though_all_threads_are_busy(make_adapter, make_request, serve):
    gate = Gate(held=(2,), reactions=(THROTTLED, GOOD))
    server = serve(gate)
    adapter = make_adapter(
        endpoint_url=server.endpoint_url,
        max_concurrency=1,
        total_timeout=0.4,
        initial_retry_delay=0.1,
        jitter=0.0,
    )

    async def run():
        parked = start(adapter, make_request())
        await asyncio.sleep(0)  # it has been handed over, and so comes first
        busy = start(adapter, make_request())
        response = await soon(parked)
        gate.let_go.set()
        await soon(busy)
        return response

    response = asyncio.run(run(), debug=True)
    assert len(server.requests) <= 2, "the parked call makes no second attempt"
    assert (response.error_code, response.invocation.attempts) == ("throttled", 1)
    assert response.error.endswith("; the total_timeout of 0.4 s is up")
    assert response.invocation.executed == "no"


def test_the_clock_starts_with_the_call_and_not_with_its_first_attempt(make_adapter, make_request, serve):
    """The wait would fit into the time that is left after the first attempt, but not into what the queue has left."""
    gate = Gate(held=(1,), reactions=(GOOD, THROTTLED))
    server = serve(gate)
    waits = {"initial_retry_delay": 999.95, "max_retry_delay": 999.95, "jitter": 0.0}
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, total_timeout=1_000, **waits)

    async def run():
        busy = start(adapter, make_request())
        await soon(gate.full())
        queued = start(adapter, make_request())
        await asyncio.sleep(0.06)
        gate.let_go.set()
        await soon(busy)
        return await soon(queued)

    response = asyncio.run(run())
    assert (response.error_code, response.invocation.attempts) == ("throttled", 1)
    assert response.error.endswith("; the total_timeout of 1000 s is up")


def test_a_queued_call_that_is_cancelled_before_its_time_leaves_nothing_behind(make_adapter, make_request, serve):
    gate = Gate()
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, total_timeout=0.1)

    async def run():
        busy = start(adapter, make_request())
        await soon(gate.full())
        queued = start(adapter, make_request())
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        await asyncio.sleep(0.15)  # its time has come
        gate.let_go.set()
        assert (await soon(busy)).error_code == "timeout"

    asyncio.run(run(), debug=True)
    assert len(server.requests) == 1
    assert adapter.health.total_requests == 1


def test_close_ends_what_waits_before_its_time(make_adapter, make_request, serve):
    gate = Gate(held=(2,), reactions=(THROTTLED, GOOD))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, total_timeout=3_600, **FOREVER)

    async def run():
        parked = start(adapter, make_request())
        await asyncio.sleep(0)
        busy = start(adapter, make_request())
        await soon(gate.full())
        queued = start(adapter, make_request())
        await asyncio.sleep(0)
        adapter.close()
        ended = await soon(asyncio.gather(parked, queued))
        gate.let_go.set()
        return [*ended, await soon(busy)]

    parked, queued, busy = asyncio.run(run())
    assert (parked.error_code, parked.invocation.attempts) == ("throttled", 1)
    assert parked.error.endswith("; the call was ended before its next attempt")
    assert (queued.error_code, queued.invocation.attempts) == ("closed", 0)
    assert busy.success


def test_close_wakes_an_execute_before_its_time(make_adapter, make_request, serve):
    attempted = threading.Event()
    server = serve(THROTTLED)
    adapter = make_adapter(
        endpoint_url=server.endpoint_url, total_timeout=3_600, on_attempt=lambda _: attempted.set(), **FOREVER
    )
    responses = []
    thread = threading.Thread(target=lambda: responses.append(adapter.execute(make_request())))
    thread.start()
    assert attempted.wait(SOON_S)
    adapter.close()
    thread.join(SOON_S)
    assert [response.error_code for response in responses] == ["throttled"]


# -- max_pending ----------------------------------------------------------------------------------


def overloaded(response):
    return response.error_code == "overloaded"


def threads_of(adapter):
    return [
        thread for thread in threading.enumerate() if thread.name.startswith(f"lambda_adapter-{adapter.module_name}")
    ]


@pytest.mark.parametrize("max_pending", [0, 1, 3])
def test_as_many_calls_as_allowed_wait_and_one_more_is_refused(make_adapter, make_request, max_pending, serve):
    gate = Gate(held=(1, 2))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2, max_pending=max_pending)

    async def run():
        let_in = [start(adapter, make_request()) for _ in range(2 + max_pending)]
        await asyncio.sleep(0)
        refused = [await soon(adapter.execute_async(make_request())) for _ in range(3)]
        for response in refused:
            assert_refused(response, "overloaded", adapter)
            assert response.error == f"overloaded: 2 calls are under way and {max_pending} wait"
        assert not any(task.done() for task in let_in)
        gate.let_go.set()
        return await soon(asyncio.gather(*let_in))

    responses = asyncio.run(run(), debug=True)
    assert len(server.requests) == 2 + max_pending
    assert all(response.success for response in responses)


def test_a_refused_call_costs_no_thread_and_no_time(make_adapter, make_request, serve):
    gate = Gate(held=(1, 2))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=2, max_pending=0, module_name="raid")

    async def run():
        busy = [start(adapter, make_request()) for _ in range(2)]
        await soon(gate.full())
        before = threading.active_count()
        refused = [await adapter.execute_async(make_request()) for _ in range(200)]
        assert all(map(overloaded, refused))
        assert threading.active_count() == before
        assert len(threads_of(adapter)) == 2
        gate.let_go.set()
        await soon(asyncio.gather(*busy))

    asyncio.run(run())
    assert len(server.requests) == server.connections == 2


def test_the_callers_own_thread_is_never_overloaded(make_adapter, make_request, serve):
    """execute brings its own thread, and waits for nobody's place."""
    gate = Gate()
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=0)

    async def run():
        busy = start(adapter, make_request())
        await soon(gate.full())
        assert adapter.execute(make_request()).success
        gate.let_go.set()
        await soon(busy)

    asyncio.run(run())


def test_places_are_counted_over_all_event_loops(make_adapter, make_request, serve):
    gate, loops, together, codes = Gate(), 4, threading.Barrier(4), []
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=5)

    def run_loop():
        async def run():
            together.wait(SOON_S)
            tasks = [start(adapter, make_request()) for _ in range(5)]
            await asyncio.sleep(0)  # all are handed over, or refused
            await in_thread(together.wait, SOON_S)
            gate.let_go.set()
            return await soon(asyncio.gather(*tasks))

        codes.extend(response.error_code for response in asyncio.run(run()))

    threads = [threading.Thread(target=run_loop) for _ in range(loops)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(server.requests) == 6
    assert sorted(codes, key=str) == [None] * 6 + ["overloaded"] * 14


def test_a_call_in_backoff_holds_no_place(make_adapter, make_request, serve):
    gate = Gate(held=(), reactions=(*[THROTTLED] * 3, GOOD))
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=2, **FOREVER)

    async def run():
        parked = [start(adapter, make_request()) for _ in range(3)]
        until_s = time.monotonic() + SOON_S
        while adapter._workers.parked < 3 and time.monotonic() < until_s:
            await asyncio.sleep(0.001)
        response = await soon(adapter.execute_async(make_request()))
        assert not any(task.done() for task in parked)
        adapter.close()
        await soon(asyncio.gather(*parked))
        return response

    assert asyncio.run(run()).success
    assert len(server.requests) == 4


def test_when_the_queue_has_drained_calls_are_let_in_again(make_adapter, make_request, serve):
    gate = Gate()
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=1)

    async def run():
        for _ in range(2):
            full = [start(adapter, make_request()) for _ in range(2)]
            await asyncio.sleep(0)
            assert overloaded(await soon(adapter.execute_async(make_request())))
            gate.let_go.set()
            assert all(response.success for response in await soon(asyncio.gather(*full)))
            gate.held = (len(server.requests) + 2,)
            gate.let_go.clear()
            assert (await soon(adapter.execute_async(make_request()))).success

    asyncio.run(run())


@pytest.mark.parametrize("max_pending", [0, 2])
def test_closing_while_it_is_full_ends_the_queue_as_closed(make_adapter, make_request, serve, max_pending):
    gate = Gate()
    server = serve(gate)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=1, max_pending=max_pending)

    async def run():
        busy = start(adapter, make_request())
        await soon(gate.full())
        queued = [start(adapter, make_request()) for _ in range(max_pending)]
        await asyncio.sleep(0)
        adapter.close()
        queued.append(start(adapter, make_request()))
        for response in await soon(asyncio.gather(*queued)):
            assert_refused(response, "closed", adapter)
        gate.let_go.set()
        assert (await soon(busy)).success

    asyncio.run(run())
    assert len(server.requests) == 1


# -- circuit_breaker ------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


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


def state(adapter):
    return adapter.get_module_info()["circuit_breaker"]["state"]


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
    assert refused.error == "circuit_open: the function has failed too often in a row and is tried again in 21 s"
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
        for _ in range(2):
            await soon(adapter.execute_async(make_request()))
        clock.now_s = 30.0
        probe = start(adapter, make_request())
        await soon(gate.full())
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert state(adapter) == "half_open"
        gate.let_go.set()
        while state(adapter) == "half_open":
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), SOON_S))
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
        for _ in range(2):
            await soon(adapter.execute_async(make_request()))
        clock.now_s = 30.0
        probe = start(adapter, make_request())
        await soon(gate.full())
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


# -- qualifier ------------------------------------------------------------------------------------


@pytest.mark.parametrize("qualifier", ["prod", "7", "$LATEST", "a-b_c", "x" * 128])
def test_the_qualifier_reaches_the_function(call, make_adapter, make_request, local, qualifier):
    adapter = make_adapter(endpoint_url=local.endpoint_url, qualifier=qualifier)
    assert call(adapter, make_request()).success
    assert (local.calls[-1].function_name, local.calls[-1].qualifier) == ("function", qualifier)
    assert adapter.function_name == "function"


def test_a_qualifier_goes_with_a_prefix_and_an_arn(call, make_adapter, make_request, local):
    arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    for names in ({"function_identifier": arn}, {"function_identifier": "tion", "function_prefix": "func"}):
        adapter = make_adapter(endpoint_url=local.endpoint_url, qualifier="prod", **names)
        assert call(adapter, make_request()).success
        assert (local.calls[-1].function_name, local.calls[-1].qualifier) == ("function", "prod")


@pytest.mark.parametrize(
    "identifier",
    ["roll:prod", "roll:7", "roll:$LATEST", "arn:aws:lambda:us-east-1:123456789012:function:function:prod"],
)
@pytest.mark.parametrize("qualifier", ["prod", "test"], ids=["the same", "another"])
def test_two_qualifiers_are_refused(make_adapter, identifier, qualifier):
    with pytest.raises(ValueError, match=r"^qualifier must be None where function_identifier ends in one"):
        make_adapter(function_identifier=identifier, qualifier=qualifier)


# -- isolate_communities --------------------------------------------------------------------------


@pytest.fixture
def botocore_knows_tenants(shared_client):
    return "TenantId" in shared_client.meta.service_model.operation_model("Invoke").input_shape.members


@pytest.fixture
def make_isolating(make_adapter, botocore_knows_tenants):
    """On Python 3.8 no botocore can."""
    if not botocore_knows_tenants:
        pytest.skip("the installed botocore does not know TenantId")
    return lambda **settings: make_adapter(isolate_communities=True, **settings)


@pytest.mark.parametrize(("community_id", "tenant"), [("guild 42", "guild 42"), (42, "42"), ("x" * 256, "x" * 256)])
def test_each_community_is_a_tenant_of_its_own(call, make_isolating, make_request, local, community_id, tenant):
    adapter = make_isolating(endpoint_url=local.endpoint_url)
    response = call(adapter, make_request(community_id=community_id))
    assert (response.success, response.data) == (True, {"tenant": tenant})
    assert local.calls[-1].tenant_id == tenant
    assert local.calls[-1].payload["community"]["id"] == community_id


@pytest.mark.parametrize(
    "community_id", ["", "x" * 257, "a\n", "naïve", "１２", "a#b", 10**300], ids=lambda id_: ascii(id_)[:9]
)
def test_a_community_that_cannot_be_a_tenant_is_refused(call, make_isolating, make_request, local, community_id):
    before = len(local.calls)
    adapter = make_isolating(endpoint_url=local.endpoint_url)
    response = call(adapter, make_request(community_id=community_id))
    assert_refused(response, "invalid_request", adapter)
    assert "community_id must be 1 to 256 letters" in response.error
    assert len(local.calls) == before


def test_without_isolation_no_tenant_is_named(call, make_adapter, make_request, local):
    assert call(make_adapter(endpoint_url=local.endpoint_url), make_request(community_id="naïve")).success
    assert local.calls[-1].tenant_id is None


def test_the_installed_botocore_isolates_or_is_refused(make_adapter, botocore_knows_tenants):
    if botocore_knows_tenants:
        assert make_adapter(isolate_communities=True).isolate_communities is True
    else:
        with pytest.raises(ValueError, match=r"^isolate_communities must be False here: "):
            make_adapter(isolate_communities=True)


class OldClient:
    """A client of a botocore that knows Invoke with these arguments only."""

    def __init__(self, *members):
        self.meta = self.service_model = self.input_shape = self
        self.members = dict.fromkeys(members)

    def operation_model(self, name):
        assert name == "Invoke"
        return self

    def invoke(self, **_):
        raise AssertionError("never called")


class ClientWithoutModel:
    invoke = OldClient.invoke


@pytest.mark.parametrize("client", [OldClient(), OldClient("FunctionName", "Payload"), ClientWithoutModel()])
def test_isolation_is_never_dropped_in_silence(make_adapter, client):
    """botocore would leave out an argument that it does not know, and say nothing."""
    with pytest.raises(ValueError, match=r"^isolate_communities must be False here: .* does not know TenantId"):
        make_adapter(client=client, isolate_communities=True)
    make_adapter(client=client)
    make_adapter(client=OldClient("TenantId"), isolate_communities=True)


# -- log_tail -------------------------------------------------------------------------------------


def test_a_cold_and_a_warm_start_are_reported(call, make_adapter, make_request):
    def handler(event, context):
        context.log("hello, 天気\n")
        return {"success": True}

    with LocalLambda({"function": handler}, memory_mb=256) as local:
        adapter = make_adapter(endpoint_url=local.endpoint_url, log_tail=True)
        cold, warm = (call(adapter, make_request()).invocation for _ in range(2))
    for invocation in (cold, warm):
        assert "hello, 天気\n" in invocation.log_tail
        assert f"REPORT RequestId: {invocation.request_id}" in invocation.log_tail
        assert isinstance(invocation.report, Report)
        assert invocation.report.memory_mb == 256
        assert invocation.report.duration_ms <= invocation.report.billed_ms
    assert cold.report.init_ms > 0
    assert warm.report.init_ms is None


def test_a_function_that_fails_has_its_log_too(call, make_adapter, make_request, local):
    adapter = make_adapter(function_identifier="raises", endpoint_url=local.endpoint_url, log_tail=True)
    response = call(adapter, make_request())
    assert response.error_code == "function_error"
    assert "about to fail" in response.invocation.log_tail
    assert response.invocation.report.memory_mb == 128
    assert "about to fail" not in response.error


def test_a_long_log_is_told_from_the_middle_of_a_character(call, make_adapter, make_request, local):
    adapter = make_adapter(function_identifier="logs", endpoint_url=local.endpoint_url, log_tail=True)
    starts = set()
    for filler in ("", "x", "xx"):
        invocation = call(adapter, make_request(args=["天" * 3_000 + filler + "\n"])).invocation
        assert invocation.report.memory_mb == 128
        starts.add(invocation.log_tail[0])
    assert starts == {"天", "\ufffd"}


def test_a_report_that_the_function_prints_is_not_the_report(call, make_adapter, make_request, local):
    fake = "REPORT RequestId: 1\tDuration: 1.00 ms\tBilled Duration: 1 ms\tMemory Size: 9 MB\tMax Memory Used: 9 MB\t\n"
    adapter = make_adapter(function_identifier="logs", endpoint_url=local.endpoint_url, log_tail=True)
    invocation = call(adapter, make_request(args=[fake])).invocation
    assert fake in invocation.log_tail
    assert invocation.report.memory_mb == 128


@pytest.mark.parametrize(
    ("header", "log_tail"),
    [
        ("%%%", None),
        ("QUJ", None),
        ("é", None),
        (base64.b64encode(b"no report").decode(), "no report"),
        (base64.b64encode(b"\xa9\xe2\x98\x82").decode(), "\ufffd☂"),
        (base64.b64encode(b"REPORT RequestId: 1 of another shape").decode(), "REPORT RequestId: 1 of another shape"),
        ("", ""),
    ],
    ids=["no base64", "cut base64", "no ASCII", "no report", "cut character", "another shape", "empty"],
)
def test_a_log_that_is_none_is_no_failure(call, make_adapter, make_request, header, log_tail, serve):
    server = serve(fs.answer({"success": True}, X_Amz_Log_Result=header))
    adapter = make_adapter(endpoint_url=server.endpoint_url, log_tail=True)
    response = call(adapter, make_request())
    assert server.requests[0].headers["x-amz-log-type"] == "Tail"
    assert response.success
    assert (response.invocation.log_tail, response.invocation.report) == (log_tail, None)


def test_without_log_tail_none_is_asked_for(call, make_adapter, make_request, serve):
    server = serve(GOOD)
    response = call(make_adapter(endpoint_url=server.endpoint_url), make_request())
    assert "x-amz-log-type" not in server.requests[0].headers
    assert (response.invocation.log_tail, response.invocation.report) == (None, None)


def test_a_log_is_in_no_repr_and_in_no_log_of_ours(call, make_adapter, make_request, local, caplog):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    adapter = make_adapter(function_identifier="logs", endpoint_url=local.endpoint_url, log_tail=True)
    response = call(adapter, make_request(args=["swordfish"]))
    assert "swordfish" in response.invocation.log_tail
    assert "swordfish" in response.to_dict()["invocation"]["log_tail"]
    assert "swordfish" not in repr(response) + caplog.text
    assert "memory_mb=128" in repr(response)
    json.dumps(response.to_dict())


# -- check() --------------------------------------------------------------------------------------


def test_check_finds_a_function_without_running_it(make_adapter):
    with LocalLambda({"function": lambda event, context: pytest.fail("run")}) as local:
        adapter = make_adapter(endpoint_url=local.endpoint_url, qualifier="prod")
        response = adapter.check()
        (checked,) = local.calls
    assert (response.success, response.message, response.error_code) == (True, "Lambda function can be invoked", None)
    assert (response.invocation.status_code, response.invocation.executed) == (204, "no")
    assert (response.invocation.function_name, response.invocation.attempts) == ("function", 1)
    assert (checked.invocation_type, checked.qualifier, checked.raw) == ("DryRun", "prod", b"")
    assert adapter.health.total_requests == 0


@pytest.mark.parametrize(
    ("reaction", "error_code"),
    [
        (fs.aws_error("ResourceNotFoundException", 404), "not_found"),
        (fs.aws_error("AccessDeniedException", 403), "access_denied"),
        (fs.aws_error("UnrecognizedClientException", 403), "access_denied"),
        (fs.aws_error("KMSDisabledException", 502), "configuration_error"),
        (fs.redirect(), "configuration_error"),
    ],
    ids=["not_found", "access_denied", "bad credentials", "configuration_error", "redirect"],
)
def test_check_says_what_is_wrong_and_no_counter_knows(make_adapter, make_request, reaction, error_code, serve):
    heard, breaker = [], CircuitBreaker(1, 30.0)
    server = serve(reaction)
    adapter = make_adapter(endpoint_url=server.endpoint_url, on_attempt=heard.append, circuit_breaker=breaker)
    for _ in range(3):
        response = adapter.check()
    assert len(server.requests) == 3
    assert (response.success, response.error_code, response.invocation.executed) == (False, error_code, "no")
    assert response.error.startswith(f"{error_code}: ")
    assert (adapter.health.total_requests, heard, state(adapter)) == (0, [], "closed")


def test_check_of_a_function_that_is_not_there(make_adapter, local):
    assert (
        make_adapter(function_identifier="unknown", endpoint_url=local.endpoint_url).check().error_code == "not_found"
    )


def test_check_is_tried_again_like_any_call(make_adapter, serve):
    heard, breaker = [], CircuitBreaker(1, 30.0)
    server = serve([THROTTLED, fs.untyped(503), fs.respond(204)])
    adapter = make_adapter(endpoint_url=server.endpoint_url, on_attempt=heard.append, circuit_breaker=breaker, **FAST)
    response = adapter.check()
    assert [request.headers["x-amz-invocation-type"] for request in server.requests] == ["DryRun"] * 3
    assert (response.success, response.invocation.attempts) == (True, 3)
    assert (adapter.health.total_requests, heard, state(adapter)) == (0, [], "closed")


def test_check_that_keeps_failing_trips_nothing(make_adapter, serve):
    server = serve(THROTTLED)
    breaker = CircuitBreaker(1, 30.0)
    adapter = make_adapter(endpoint_url=server.endpoint_url, circuit_breaker=breaker, max_retries=1, **FAST)
    response = adapter.check()
    assert (response.error_code, response.invocation.attempts, state(adapter)) == ("throttled", 2, "closed")


def test_check_ends_with_the_total_timeout(make_adapter, serve):
    server = serve(THROTTLED)
    response = make_adapter(endpoint_url=server.endpoint_url, **TOO_LONG).check()
    assert response.error.endswith("; the total_timeout of 1 s is up")


def test_check_of_a_closed_adapter_sends_nothing(make_adapter, serve):
    server = serve(fs.respond(204))
    adapter = make_adapter(endpoint_url=server.endpoint_url)
    adapter.close()
    assert_refused(adapter.check(), "closed", adapter)
    assert server.connections == 0


def test_check_asks_though_the_circuit_is_open(make_adapter, make_request, serve):
    server = serve([DOWN, fs.respond(204)])
    adapter = make_adapter(endpoint_url=server.endpoint_url, circuit_breaker=CircuitBreaker(1, 30.0))
    adapter.execute(make_request())
    assert adapter.execute(make_request()).error_code == "circuit_open"
    assert adapter.check().success
    assert (state(adapter), adapter.execute(make_request()).error_code) == ("open", "circuit_open")


def test_check_needs_no_scope_and_sends_only_what_a_dry_run_takes(make_adapter, serve):
    server = serve(fs.respond(204))
    adapter = make_adapter(
        endpoint_url=server.endpoint_url,
        required_scopes=["admin"],
        send_client_context=True,
        log_tail=True,
    )
    assert adapter.check().success
    (request,) = server.requests
    assert not {"x-amz-log-type", "x-amz-client-context"} & set(request.headers)
    assert (request.headers["x-amz-invocation-type"], request.body) == ("DryRun", b"")


def test_check_of_a_function_with_tenants(make_isolating, local):
    assert make_isolating(endpoint_url=local.endpoint_url).check().success


def test_check_of_an_event_adapter_queues_nothing(make_adapter, local):
    before = len(local.calls)
    assert make_adapter(endpoint_url=local.endpoint_url, invocation_type="Event").check().success
    assert [called.invocation_type for called in local.calls[before:]] == ["DryRun"]


def test_a_check_that_waits_is_ended_by_close(make_adapter, serve):
    server = serve(THROTTLED)
    adapter, responses = make_adapter(endpoint_url=server.endpoint_url, **FOREVER), []
    thread = threading.Thread(target=lambda: responses.append(adapter.check()))
    thread.start()
    deadline_s = time.monotonic() + SOON_S
    while not server.requests and time.monotonic() < deadline_s:
        threading.Event().wait(0.001)
    adapter.close()
    thread.join(SOON_S)
    assert [response.error_code for response in responses] == ["throttled"]


# -- on_attempt -----------------------------------------------------------------------------------


def test_each_attempt_is_told_as_it_ended(call, make_adapter, make_request, serve):
    heard = []
    server = serve([THROTTLED, fs.untyped(503), fs.reset_before(), GOOD])
    adapter = make_adapter(
        endpoint_url=server.endpoint_url,
        on_attempt=heard.append,
        initial_retry_delay=0.002,
        max_retry_delay=0.005,
        jitter=0.0,
    )
    response = call(adapter, make_request())
    assert all(isinstance(attempt, Attempt) for attempt in heard)
    assert [(a.number, a.error_code, a.executed, a.status_code, a.next_delay_s) for a in heard] == [
        (1, "throttled", "no", 429, 0.002),
        (2, "service_error", "maybe", 503, 0.004),
        (3, "connection_lost", "maybe", None, 0.005),
        (4, None, "yes", 200, None),
    ]
    assert {(attempt.module_name, attempt.function_name) for attempt in heard} == {("module", "function")}
    assert 0 < sum(attempt.duration_s for attempt in heard) <= response.invocation.duration_s


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        (DOWN, ("function_error", "yes", 200)),
        (fs.answer({"success": False}), ("function_failed", "yes", 200)),
        (fs.respond(200, b"?"), ("invalid_response", "yes", 200)),
        (fs.aws_error("ResourceNotFoundException", 404), ("not_found", "no", 404)),
    ],
    ids=["function_error", "function_failed", "invalid_response", "not_found"],
)
def test_a_final_failure_is_told_without_a_next_delay(call, make_adapter, make_request, reaction, expected, serve):
    heard = []
    server = serve(reaction)
    call(make_adapter(endpoint_url=server.endpoint_url, on_attempt=heard.append), make_request())
    ((number, error_code, executed, status_code, next_delay_s),) = (
        (a.number, a.error_code, a.executed, a.status_code, a.next_delay_s) for a in heard
    )
    assert (number, (error_code, executed, status_code), next_delay_s) == (1, expected, None)


def test_the_last_attempt_in_time_has_no_next_delay(call, make_adapter, make_request, serve):
    heard = []
    server = serve(THROTTLED)
    adapter = make_adapter(endpoint_url=server.endpoint_url, on_attempt=heard.append, **TOO_LONG)
    call(adapter, make_request())
    assert [(attempt.error_code, attempt.next_delay_s) for attempt in heard] == [("throttled", None)]


def test_a_call_without_an_attempt_is_not_told(call, make_adapter, make_request):
    heard = []
    adapter = make_adapter(endpoint_url="http://127.0.0.1:1", on_attempt=heard.append, total_timeout=AT_ONCE)
    call(adapter, make_request())
    call(adapter, make_request(args="text"))
    adapter.close()
    call(adapter, make_request())
    assert heard == []


def test_an_attempt_is_told_in_the_thread_that_made_it(call, make_adapter, make_request, local):
    heard = []
    adapter = make_adapter(
        endpoint_url=local.endpoint_url, on_attempt=lambda _: heard.append(threading.current_thread())
    )
    call(adapter, make_request())
    (thread,) = heard
    if call is CALLS["execute"]:
        assert thread is threading.current_thread()
    else:
        assert thread.name.startswith("lambda_adapter-module-")


def test_an_on_attempt_that_raises_harms_nobody_and_is_logged_once(call, make_adapter, make_request, caplog, serve):
    heard = []

    def on_attempt(attempt):
        heard.append(attempt.number)
        raise KeyError("swordfish")

    server = serve([THROTTLED, THROTTLED, GOOD])
    adapter = make_adapter(endpoint_url=server.endpoint_url, on_attempt=on_attempt, **FAST)
    assert [call(adapter, make_request()).success for _ in range(2)] == [True, True]
    assert heard == [1, 2, 3, 1]
    complaints = [record for record in caplog.records if "on_attempt" in record.getMessage()]
    assert [record.getMessage() for record in complaints] == ["on_attempt raised KeyError: module=module"]
    assert "swordfish" not in caplog.text
    assert (adapter.health.total_requests, adapter.health.total_failures) == (2, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_within_on_attempt_reaches_the_caller(call, make_adapter, make_request, error, serve):
    """As anywhere: it is no failure of the call, whose answer is lost, but of the program."""
    interrupts = [error()]

    def on_attempt(attempt):
        if interrupts:
            raise interrupts.pop()

    server = serve(GOOD)
    adapter = make_adapter(endpoint_url=server.endpoint_url, on_attempt=on_attempt, max_concurrency=1)
    with pytest.raises(error):
        call(adapter, make_request())
    assert call(adapter, make_request()).success


def test_on_attempt_may_close_the_adapter(call, make_adapter, make_request, serve):
    """A bot that gives up on the first sign of trouble; no lock is held while it is told."""
    server = serve(THROTTLED)
    adapter = make_adapter(endpoint_url=server.endpoint_url, on_attempt=lambda _: adapter.close(), **FOREVER)
    response = call(adapter, make_request())
    assert len(server.requests) == 1
    assert (response.error_code, response.invocation.attempts) == ("throttled", 1)


def test_on_attempt_may_call_an_adapter(call, make_adapter, make_request, local):
    others = []

    def on_attempt(attempt):
        if not others:
            others.append(None)
            others.append(adapter.execute(make_request()).success)

    adapter = make_adapter(endpoint_url=local.endpoint_url, on_attempt=on_attempt, max_concurrency=1)
    assert call(adapter, make_request()).success
    assert others == [None, True]


# -- send_client_context --------------------------------------------------------------------------


def contexts(server):
    return [json.loads(base64.b64decode(r.headers["x-amz-client-context"]))["custom"] for r in server.requests]


@pytest.mark.parametrize("session_id", ["session_1", 42, "天気 ☂ 🌧"], ids=ascii)
def test_the_function_reads_request_and_attempt(call, make_adapter, make_request, local, session_id):
    adapter = make_adapter(
        function_identifier="reads_context", endpoint_url=local.endpoint_url, send_client_context=True
    )
    response = call(adapter, make_request(session_id=session_id))
    assert response.data["custom"] == {"request_id": session_id, "attempt": 1}
    assert local.calls[-1].payload["request_id"] == session_id


def test_each_attempt_has_its_number_and_all_the_same_deadline(call, make_adapter, make_request, serve):
    server = serve([THROTTLED, THROTTLED, GOOD])
    adapter = make_adapter(endpoint_url=server.endpoint_url, send_client_context=True, total_timeout=30, **FAST)
    before_ms = time.time() * 1_000
    call(adapter, make_request())
    after_ms = time.time() * 1_000
    sent = contexts(server)
    assert [custom["attempt"] for custom in sent] == [1, 2, 3]
    (deadline_ms,) = {custom["deadline_ms"] for custom in sent}
    assert before_ms + 29_999 <= deadline_ms <= after_ms + 30_000
    assert {custom["request_id"] for custom in sent} == {"session_abc123"}


def test_without_a_total_timeout_there_is_no_deadline_to_send(call, make_adapter, make_request, serve):
    server = serve(GOOD)
    call(make_adapter(endpoint_url=server.endpoint_url, send_client_context=True), make_request())
    assert contexts(server) == [{"request_id": "session_abc123", "attempt": 1}]


def test_without_send_client_context_none_is_sent(call, make_adapter, make_request, local):
    call(make_adapter(endpoint_url=local.endpoint_url, total_timeout=30), make_request())
    assert local.calls[-1].client_context is None


@pytest.mark.parametrize(("char", "most"), [("x", 2_615), ("天", 435)], ids=["ASCII", "escaped"])
def test_the_longest_session_arrives_and_a_longer_one_is_refused(call, make_adapter, make_request, local, char, most):
    adapter = make_adapter(
        function_identifier="reads_context", endpoint_url=local.endpoint_url, send_client_context=True
    )
    refused = call(adapter, make_request(session_id=char * (most + 1)))
    assert_refused(refused, "invalid_request", adapter)
    assert "session_id is too long for the client context" in refused.error
    response = call(adapter, make_request(session_id=char * most))
    assert response.data["custom"]["request_id"] == char * most


@pytest.mark.parametrize("name", ["log_tail", "send_client_context"])
def test_what_aws_ignores_for_events_is_refused(make_adapter, name):
    with pytest.raises(ValueError, match=f"^{name} must be False with invocation_type 'Event'"):
        make_adapter(invocation_type="Event", **{name: True})


# -- raise_for_error ------------------------------------------------------------------------------


def test_who_would_rather_catch_can(call, make_adapter, make_request, local):
    from lambda_adapter.errors import FunctionNotFoundError

    response = call(make_adapter(endpoint_url=local.endpoint_url), make_request())
    assert response.raise_for_error() is response
    failed = call(make_adapter(function_identifier="unknown", endpoint_url=local.endpoint_url), make_request())
    with pytest.raises(FunctionNotFoundError, match=r"^not_found: ") as caught:
        failed.raise_for_error()
    assert caught.value.response is failed


class Community(str, enum.Enum):
    ONE = "one"


class Number(enum.IntEnum):
    ONE = 1


class Hostile(str):
    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("community_id", "tenant"), [(Community.ONE, "one"), (Number.ONE, "1"), (Hostile("one"), "one")]
)
def test_the_tenant_is_the_community_that_the_payload_names(
    make_isolating, shared_client, make_request, community_id, tenant
):
    client = Client()
    client.meta = shared_client.meta
    adapter = make_isolating(client=client)
    assert adapter.execute(make_request(community_id=community_id)).success
    (sent,) = client.calls
    assert sent["TenantId"] == str(json.loads(sent["Payload"])["community"]["id"]) == tenant


def test_a_qualifier_that_comes_with_the_prefix_is_one_too(make_adapter):
    with pytest.raises(ValueError, match=r"^qualifier must be None"):
        make_adapter(function_identifier="prod", function_prefix="roll:", qualifier="test")
