"""total_timeout is the caller's deadline: an answer comes by then, and what is in flight finishes on its own."""

import asyncio
import contextvars
import signal
import threading
import time

import pytest

from lambda_adapter import CircuitBreaker
from support import fault_server as fs
from support.calls import CALLS
from support.clients import Client
from support.signals import Interruption
from support.waiting import until_async

SOON_S = 10
GOOD = fs.answer({"success": True})
CALLS = {**CALLS, "execute_many": lambda adapter, request: next(adapter.execute_many([request]))[1]}


@pytest.fixture(params=CALLS.values(), ids=CALLS.keys())
def call(request):
    return request.param


class Held:
    """Holds the first requests until they are let go."""

    def __init__(self, reaction=GOOD, held=1):
        self.reaction, self.held = reaction, held
        self.arrived = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self, request):
        if request.number <= self.held:
            self.arrived.release()
            assert self.let_go.wait(SOON_S)
        return self.reaction

    def end(self):
        self.let_go.set()


def until(condition):
    deadline_s = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.001)


def test_the_caller_has_an_answer_when_the_time_is_up(call, make_adapter, make_request, serve):
    held, heard = Held(), []
    server = serve(held)
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=1, on_attempt=heard.append)
    began = time.monotonic()
    response = call(adapter, make_request())
    assert 1 <= time.monotonic() - began < 3
    invocation = response.invocation
    assert (response.error_code, invocation.executed, invocation.attempts) == ("timeout", "maybe", 1)
    assert (invocation.why_ended, heard) == ("total_timeout", [])
    assert response.error == (
        "timeout: the total_timeout of 1 s is up while attempt 1 is in flight, which may still finish"
    )
    assert 0.5 < invocation.duration_s < 3


@pytest.mark.parametrize(
    ("reaction", "error_code"), [(GOOD, None), (fs.untyped(503), "service_error")], ids=["a success", "a failure"]
)
def test_a_call_is_recorded_once_at_its_deadline(call, make_adapter, make_request, serve, caplog, reaction, error_code):
    caplog.set_level("INFO", "lambda_adapter")
    held, heard = Held(reaction), []
    server = serve(held)
    adapter = make_adapter(
        endpoint_url=server.endpoint_url,
        total_timeout=0.5,
        on_attempt=heard.append,
        circuit_breaker=CircuitBreaker(failure_threshold=2),
    )
    assert call(adapter, make_request()).error_code == "timeout"

    def records():
        ends = [r.getMessage() for r in caplog.records if r.getMessage().startswith(("Gave up", "Succeeded"))]
        circuit = adapter.get_module_info()["circuit_breaker"]["consecutive_failures"]
        return adapter.health.total_requests, adapter.health.total_failures, circuit, len(ends)

    assert records() == (1, 1, 1, 1)
    held.let_go.set()
    until(lambda: heard)
    assert [(attempt.error_code, attempt.number) for attempt in heard] == [(error_code, 1)]
    assert heard[0].next_delay_s is None, "no further attempt begins after the deadline"
    until(lambda: adapter._workers.idle)
    assert records() == (1, 1, 1, 1)
    assert len(server.requests) == 1


def test_an_attempt_in_flight_keeps_its_place_until_it_ends(make_adapter, make_request, serve):
    held = Held()
    server = serve(held)
    adapter = make_adapter(endpoint_url=server.endpoint_url, total_timeout=0.3, max_concurrency=1, max_pending=0)

    async def run():
        late = await adapter.execute_async(make_request())
        refused = await adapter.execute_async(make_request())
        held.let_go.set()
        await until_async(lambda: adapter._workers.idle)
        return late.error_code, refused.error_code, (await adapter.execute_async(make_request())).error_code

    assert asyncio.run(run()) == ("timeout", "overloaded", None)


def test_a_credential_source_that_hangs_is_within_the_deadline(call, make_adapter, make_request):
    let_go = threading.Event()

    class SlowSource(Client):
        def invoke(self, **arguments):
            let_go.wait(SOON_S)  # as a credential_process that hangs, before anything is sent
            return super().invoke(**arguments)

    adapter = make_adapter(client=SlowSource(), total_timeout=0.2)
    response = call(adapter, make_request())
    let_go.set()
    assert (response.error_code, response.invocation.why_ended) == ("timeout", "total_timeout")


def test_check_is_within_the_deadline_too(make_adapter, serve):
    held = Held()
    adapter = make_adapter(endpoint_url=serve(held).endpoint_url, total_timeout=0.2)
    response = adapter.check()
    assert (response.error_code, adapter.health.total_requests) == ("timeout", 0)


def test_a_probe_that_is_late_opens_the_circuit_again(call, make_adapter, make_request, serve):
    held = Held()
    now = [0.0]
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout=10, clock=lambda: now[0])
    adapter = make_adapter(endpoint_url=serve(held).endpoint_url, total_timeout=0.3, circuit_breaker=breaker)
    assert call(adapter, make_request()).error_code == "timeout"
    assert call(adapter, make_request()).error_code == "circuit_open"
    held.let_go.set()
    until(lambda: adapter._workers.idle)
    now[0] = 11.0
    assert call(adapter, make_request()).success, "a probe is let through"


variable = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("total_timeout", [None, 60])
def test_execute_keeps_the_callers_context_and_only_with_a_deadline_leaves_its_thread(
    make_adapter, make_request, total_timeout
):
    seen = []
    adapter = make_adapter(
        client=Client(),
        total_timeout=total_timeout,
        on_attempt=lambda _: seen.append((variable.get(), threading.current_thread() is threading.main_thread())),
    )
    token = variable.set("the caller's")
    try:
        assert adapter.execute(make_request()).success
    finally:
        variable.reset(token)
    assert seen == [("the caller's", total_timeout is None)]


def test_execute_with_a_deadline_needs_no_place(make_adapter, make_request, serve):
    held = Held()
    adapter = make_adapter(endpoint_url=serve(held).endpoint_url, total_timeout=60, max_concurrency=1, max_pending=0)

    async def run():
        busy = asyncio.ensure_future(adapter.execute_async(make_request()))
        await asyncio.get_running_loop().run_in_executor(None, held.arrived.acquire, True, SOON_S)
        response = adapter.execute(make_request())
        held.let_go.set()
        return response.success, (await busy).success

    assert asyncio.run(run()) == (True, True)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this platform has no such signals")
def test_an_interrupt_reaches_who_waits_and_no_attempt_follows(make_adapter, make_request, serve):
    held, interruption = Held(fs.untyped(503)), Interruption(signal.SIGINT, KeyboardInterrupt())

    def script(request):
        interruption.send()
        return held(request)

    script.end = held.end
    server = serve(script)
    adapter = make_adapter(
        endpoint_url=server.endpoint_url, total_timeout=60, initial_retry_delay=0.001, max_retry_delay=0.001
    )
    before = signal.signal(signal.SIGINT, interruption)
    try:
        with pytest.raises(KeyboardInterrupt):
            adapter.execute(make_request())
    finally:
        signal.signal(signal.SIGINT, before)
    assert not held.let_go.is_set()
    held.let_go.set()
    until(lambda: adapter.health.total_requests == 1)
    assert len(server.requests) == 1


# -- Many at once ---------------------------------------------------------------------------------

MANY = 10_000


async def held_up(work):
    """For how long the event loop could not run anything else in all, beyond 5 ms at a time."""
    longest, stop = [0.0], False

    async def beat():
        while not stop:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest[0] = max(longest[0], time.thread_time() - before)

    beating = asyncio.ensure_future(beat())
    await asyncio.sleep(0)
    result = await work()
    stop = True
    await beating
    return longest[0], result
