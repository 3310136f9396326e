"""``total_timeout``: a caller has an answer by then, whether its call was queued, in flight or between attempts."""

import asyncio
import threading
import time

import pytest

from support import fault_server as fs
from support.calls import AT_ONCE, FAST, FOREVER, GOOD, THROTTLED, TOO_LONG, assert_refused, start
from support.gates import Gate
from support.waiting import SOON_S, soon, until


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
    until(lambda: heard)
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
