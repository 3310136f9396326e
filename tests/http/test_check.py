"""``check()``: asks AWS whether the function could be invoked; runs nothing, counts nowhere."""

import threading

import pytest

from lambda_adapter import CircuitBreaker, LocalLambda
from support import fault_server as fs
from support.calls import DOWN, FAST, FOREVER, THROTTLED, TOO_LONG, assert_refused, state
from support.waiting import SOON_S, until


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
    until(lambda: server.requests)
    adapter.close()
    thread.join(SOON_S)
    assert [response.error_code for response in responses] == ["throttled"]
