"""``on_attempt``: each attempt is told as it ended, and whatever is done about it harms no call."""

import threading

import pytest

from lambda_adapter import Attempt
from support import fault_server as fs
from support.calls import AT_ONCE, CALLS, DOWN, FAST, FOREVER, GOOD, THROTTLED, TOO_LONG


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
