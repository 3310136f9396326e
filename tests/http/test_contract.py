"""What every call keeps to, by execute and by execute_async alike, over real HTTP."""

import asyncio
import contextlib
import contextvars
import json
import re
import threading
from typing import Any, Callable, Dict, Optional

import attrs
import boto3
import pytest
from botocore.config import Config

from lambda_adapter import ExecuteResponse, LocalLambda
from support import fault_server as fs
from support.calls import CALLS, FAST
from support.fault_server import FaultServer
from support.waiting import until

LIMIT = 6_291_456
SECRET = "hunter2-said-by-aws"


@pytest.fixture(scope="module")
def local():
    handlers = {
        "function": lambda event, context: {"success": True, "message": event["trigger"]["context_text"]},
        "echo": lambda event, context: {"success": True, "event": event, "targets": [event["user"]["platform"], 5]},
        "fails": lambda event, context: {"success": False, "message": "Sorry", "error": "no such city"},
        "raises": lambda event, context: {}["city"],
        "answers_nothing": lambda event, context: None,
        "answers_too_much": lambda event, context: {"success": True, "x": "x" * (LIMIT + 100)},
        "stringifies": lambda event, context: json.dumps({"success": True, "message": "hi"}),
        "gateway": lambda event, context: {"statusCode": 200, "body": json.dumps({"success": True, "message": "hi"})},
    }
    with LocalLambda(handlers) as running:
        yield running


# -- Successes ------------------------------------------------------------------------------------


def test_a_success_is_one_request_and_one_answer(call, make_adapter, make_request, local):
    before = len(local.calls)
    adapter = make_adapter(function_identifier="echo", endpoint_url=local.endpoint_url)
    response = call(adapter, make_request(session_id="session_1"))
    assert len(local.calls) == before + 1
    assert (response.success, response.error, response.error_code) == (True, None, None)
    assert response.targets == [{"type": "discord"}]
    assert response.data["event"] == local.calls[-1].payload
    assert response.data["event"]["request_id"] == "session_1"
    invocation = response.invocation
    assert (invocation.function_name, invocation.attempts, invocation.executed) == ("echo", 1, "yes")
    assert (invocation.status_code, invocation.executed_version) == (200, "$LATEST")
    assert invocation.request_id == local.calls[-1].request_id
    assert adapter.health.to_dict()["error_rate"] == 0.0
    assert adapter.health.total_requests == 1


@pytest.mark.parametrize("function", ["stringifies", "gateway"])
def test_the_usual_envelopes_are_taken_off(call, make_adapter, make_request, local, function):
    response = call(make_adapter(function_identifier=function, endpoint_url=local.endpoint_url), make_request())
    assert (response.success, response.message) == (True, "hi")


@pytest.mark.parametrize(
    ("identifier", "prefix"),
    [
        ("echo", None),
        ("ho", "ec"),
        ("function:echo", None),
        ("echo:prod", None),
        ("echo:$LATEST", None),
        ("123456789012:function:echo", None),
        ("arn:aws:lambda:us-east-1:123456789012:function:echo:7", None),
    ],
)
def test_a_function_is_found_by_any_of_its_names(call, make_adapter, make_request, local, identifier, prefix):
    adapter = make_adapter(function_identifier=identifier, function_prefix=prefix, endpoint_url=local.endpoint_url)
    response = call(adapter, make_request(session_id=identifier))
    assert (response.error, response.data["event"]["request_id"]) == (None, identifier)
    assert local.calls[-1].function_name == "echo"


def test_an_event_is_queued_and_run_afterwards(call, make_adapter, make_request):
    ran = threading.Event()
    with LocalLambda({"function": lambda event, context: ran.set()}) as local:
        adapter = make_adapter(invocation_type="Event", endpoint_url=local.endpoint_url)
        response = call(adapter, make_request())
        assert ran.wait(10)
        assert local.calls[0].invocation_type == "Event"
    assert (response.success, response.message) == (True, "Lambda function queued")
    assert (response.invocation.status_code, response.invocation.executed) == (202, "maybe")
    assert adapter.health.total_requests == 1


# -- Failures -------------------------------------------------------------------------------------


@attrs.frozen
class Case:
    """A fault, and what it has to come to."""

    reaction: fs.Reaction
    error_code: str
    executed: str
    #: Requests with two retries, and with two retries of a function that must not run twice.
    attempts: int = 1
    attempts_once: int = 1
    counted: bool = True
    status_code: Optional[int] = None
    settings: Dict[str, Any] = attrs.field(factory=dict)


def aws(code, status, **fields):
    return fs.aws_error(code, status, message=f"https://host/?{SECRET}", **fields)


CASES = {
    "throttled": Case(aws("TooManyRequestsException", 429), "throttled", "no", 3, 3, status_code=429),
    "throttled, with a reason": Case(
        aws("TooManyRequestsException", 429, Reason="CallerRateLimitExceeded"), "throttled", "no", 3, 3, status_code=429
    ),
    "throttled, untyped": Case(fs.untyped(429, b"<h1>slow down</h1>"), "throttled", "no", 3, 3, status_code=429),
    "not ready": Case(aws("SnapStartNotReadyException", 409), "service_error", "no", 3, 3, status_code=409),
    "service error": Case(aws("ServiceException", 500), "service_error", "no", 3, 3, status_code=500),
    "gateway's 502": Case(fs.untyped(502, SECRET.encode()), "service_error", "maybe", 3, 1, status_code=502),
    "gateway's 503, binary": Case(fs.binary_5xx(503), "service_error", "maybe", 3, 1, status_code=503),
    "501": Case(fs.untyped(501), "service_error", "maybe", 1, 1, status_code=501),
    "lost before the answer": Case(fs.reset_before(), "connection_lost", "maybe", 3, 1),
    "closed before the answer": Case(fs.close_before(), "connection_lost", "maybe", 3, 1),
    "lost within the answer": Case(fs.reset_mid_body(), "connection_lost", "maybe", 3, 1, status_code=200),
    "answer too short": Case(fs.short_body(), "connection_lost", "maybe", 3, 1, status_code=200),
    "timeout": Case(fs.hang(), "timeout", "maybe", 3, 1, settings={"read_timeout": 0.5}),
    "timeout within the answer": Case(
        fs.stall_body(), "timeout", "maybe", 3, 1, status_code=200, settings={"read_timeout": 0.5}
    ),
    "not found": Case(aws("ResourceNotFoundException", 404), "not_found", "no", status_code=404),
    "access denied": Case(aws("AccessDeniedException", 403), "access_denied", "no", status_code=403),
    "token expired": Case(aws("ExpiredTokenException", 403), "access_denied", "no", status_code=403),
    "invalid parameter": Case(aws("InvalidParameterValueException", 400), "invalid_parameter", "no", status_code=400),
    "configuration": Case(aws("KMSDisabledException", 502), "configuration_error", "no", status_code=502),
    "redirect": Case(fs.redirect(), "configuration_error", "no", status_code=302),
    "too large for AWS": Case(
        aws("RequestTooLargeException", 413), "payload_too_large", "no", counted=False, status_code=413
    ),
    "function error": Case(fs.function_error("boom", stackTrace=[SECRET]), "function_error", "yes", status_code=200),
    "function failed": Case(
        fs.answer({"success": False, "message": "Sorry"}), "function_failed", "yes", status_code=200
    ),
    "no JSON": Case(fs.respond(200, SECRET.encode()), "invalid_response", "yes", status_code=200),
    "nothing": Case(fs.respond(200, b""), "invalid_response", "yes", status_code=200),
    "no object": Case(fs.answer([SECRET]), "invalid_response", "yes", status_code=200),
    "success is no boolean": Case(fs.answer({"success": "true"}), "invalid_response", "yes", status_code=200),
}


@pytest.mark.parametrize("idempotent", [True, False], ids=["may run twice", "must not run twice"])
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_a_fault_ends_in_its_code(call, make_adapter, make_request, shared_server, case, idempotent):
    shared_server.restart(case.reaction)
    adapter = make_adapter(
        endpoint_url=shared_server.endpoint_url, max_retries=2, idempotent=idempotent, **{**FAST, **case.settings}
    )
    response = call(adapter, make_request())
    assert (response.success, response.error_code) == (False, case.error_code)
    assert response.invocation.attempts == (case.attempts if idempotent else case.attempts_once)
    # On a busy machine a time-out may come before the server has looked at the request.
    until(lambda: len(shared_server.requests) >= response.invocation.attempts)
    assert len(shared_server.requests) == response.invocation.attempts
    assert (response.invocation.executed, response.invocation.status_code) == (case.executed, case.status_code)
    assert adapter.health.total_requests == adapter.health.total_failures == int(case.counted)
    assert_fit_for_a_chat(response)


@pytest.mark.parametrize("body", [{"__type": 5}, {"code": ["x"]}, {"code": 123}], ids=json.dumps)
def test_a_gateways_error_in_json_of_its_own_is_known_by_its_status(call, make_adapter, make_request, body):
    """The gateway may have passed the request on before it failed."""
    with FaultServer(fs.respond(502, json.dumps(body).encode())) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, max_retries=2, **FAST)
        response = call(adapter, make_request())
        requests = len(server.requests)
    assert (response.error_code, response.invocation.executed) == ("service_error", "maybe")
    assert (response.invocation.status_code, requests) == (502, 3)


def assert_fit_for_a_chat(response: ExecuteResponse) -> None:
    """Only a connection error names the host: nobody can mend what is not named."""
    assert response.error.startswith(response.error_code + ": ")
    assert response.error.isprintable()
    assert len(response.error) < 500
    for unfit in (SECRET, "://", "Traceback", "secret-of-the-tests"):
        assert unfit not in response.error
    assert (re.search(r": 127\.0\.0\.1:\d+ in region us-east-1", response.error) is not None) == (
        response.error_code == "connection_error"
    )


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize(
    ("port", "settings"),
    [(fs.refused_port, {}), (fs.silent_port, {"connect_timeout": 0.05})],
    ids=["refused", "silent"],
)
def test_an_endpoint_that_cannot_be_reached_is_tried_again(
    call, make_adapter, make_request, port, settings, idempotent
):
    with port() as url:
        adapter = make_adapter(endpoint_url=url, max_retries=2, idempotent=idempotent, **FAST, **settings)
        response = call(adapter, make_request())
    assert (response.error_code, response.invocation.executed) == ("connection_error", "no")
    assert response.invocation.attempts == 3
    assert adapter.health.total_failures == 1
    assert_fit_for_a_chat(response)


def test_without_credentials_nothing_is_sent(call, make_adapter, make_request):
    with FaultServer(fs.answer({"success": True})) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, aws_access_key_id=None, aws_secret_access_key=None)
        response = call(adapter, make_request())
        assert server.requests == []
    assert (response.error_code, response.invocation.executed) == ("configuration_error", "no")
    assert (response.invocation.attempts, adapter.health.total_failures) == (1, 1)
    assert_fit_for_a_chat(response)


@pytest.mark.parametrize(
    ("function", "error_code", "executed"),
    [
        ("unknown", "not_found", "no"),
        ("fails", "function_failed", "yes"),
        ("raises", "function_error", "yes"),
        ("answers_nothing", "invalid_response", "yes"),
        ("answers_too_much", "function_error", "yes"),
    ],
)
def test_a_failing_function_is_not_run_again(call, make_adapter, make_request, local, function, error_code, executed):
    before = len(local.calls)
    adapter = make_adapter(function_identifier=function, endpoint_url=local.endpoint_url, **FAST)
    response = call(adapter, make_request())
    assert (response.error_code, response.invocation.executed) == (error_code, executed)
    assert len(local.calls) - before == (1 if executed == "yes" else 0)
    assert adapter.health.consecutive_failures == 1


REFUSED: Dict[str, Callable[[Any], Any]] = {
    "invalid_request": lambda make: make(args="text"),
    "missing_scopes": lambda make: make(scopes=["other"]),
    "payload_too_large": lambda make: make(scopes=["read"], args=["x" * LIMIT]),
    "closed": lambda make: make(scopes=["read"]),
}


@pytest.mark.parametrize("error_code", REFUSED)
def test_a_refused_call_sends_nothing_and_leaves_health_alone(call, make_adapter, make_request, error_code):
    with FaultServer(fs.answer({"success": True})) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, required_scopes=["read"])
        if error_code == "closed":
            adapter.close()
        response = call(adapter, REFUSED[error_code](make_request))
        assert (server.requests, server.connections) == ([], 0)
    assert (response.success, response.error_code) == (False, error_code)
    assert (response.invocation.attempts, response.invocation.executed) == (0, "no")
    assert adapter.health.total_requests == 0
    assert_fit_for_a_chat(response)


@pytest.mark.parametrize(("invocation_type", "limit"), [("RequestResponse", LIMIT), ("Event", 1_048_576)])
def test_the_limit_is_the_last_size_that_is_sent(call, make_adapter, make_request, invocation_type, limit):
    with FaultServer(fs.respond(202 if invocation_type == "Event" else 200, b'{"success": true}')) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, invocation_type=invocation_type)
        call(adapter, make_request(args=[""]))
        room = limit - len(server.requests[0].body)
        assert call(adapter, make_request(args=["x" * room])).success
        assert len(server.requests[1].body) == limit
        response = call(adapter, make_request(args=["x" * (room + 1)]))
        assert (response.error_code, len(server.requests)) == ("payload_too_large", 2)


# -- Retries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_retries", range(6))
def test_nobody_retries_but_the_adapter(call, make_adapter, make_request, monkeypatch, max_retries):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
    for reaction in (fs.aws_error("TooManyRequestsException", 429), fs.untyped(503), fs.reset_before()):
        with FaultServer(reaction) as server:
            adapter = make_adapter(endpoint_url=server.endpoint_url, max_retries=max_retries, **FAST)
            response = call(adapter, make_request())
            assert len(server.requests) == response.invocation.attempts == max_retries + 1


def test_a_call_that_is_throttled_twice_succeeds_with_the_same_bytes(call, make_adapter, make_request):
    throttled = fs.aws_error("TooManyRequestsException", 429)
    with FaultServer([throttled, fs.untyped(500), fs.answer({"success": True})]) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, **FAST)
        response = call(adapter, make_request(session_id="session_1"))
        bodies = {request.body for request in server.requests}
        assert len(server.requests) == 3
    assert (response.success, response.invocation.attempts) == (True, 3)
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["request_id"] == "session_1"
    assert (adapter.health.total_requests, adapter.health.total_failures) == (1, 0)


@pytest.mark.parametrize("value", ["0.03", "0.03 ", "3600", "9" * 400])
def test_retry_after_is_waited_for_up_to_the_longest_delay(call, make_adapter, make_request, value):
    throttled = fs.aws_error("TooManyRequestsException", 429, headers={"Retry-After": value})
    with FaultServer([throttled, fs.answer({"success": True})]) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, initial_retry_delay=0.001, max_retry_delay=0.03)
        response = call(adapter, make_request())
    assert (response.success, response.invocation.attempts) == (True, 2)
    assert 0.03 <= response.invocation.duration_s < 5


@pytest.mark.parametrize("value", ["-1", "1e999", "banana", "Wed, 21 Oct 2065 07:28:00 GMT", ""])
def test_a_retry_after_that_is_no_number_is_ignored(call, make_adapter, make_request, value):
    throttled = fs.aws_error("TooManyRequestsException", 429, headers={"Retry-After": value})
    with FaultServer([throttled, fs.answer({"success": True})]) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, initial_retry_delay=0.001)
        assert call(adapter, make_request()).invocation.attempts == 2


def test_answers_that_fail_leave_their_connection_usable(call, make_adapter, make_request):
    """An unread answer would cost a connection."""
    script = [
        fs.aws_error("TooManyRequestsException", 429),
        fs.function_error(),
        fs.respond(200, b"not JSON"),
        fs.answer({"success": False}),
        fs.answer({"success": True}),
    ]
    with FaultServer(script) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, **FAST)
        for _ in range(8):
            call(adapter, make_request())
        assert (len(server.requests), server.connections) == (9, 1)


def test_queued_events_leave_their_connection_usable(call, make_adapter, make_request):
    with FaultServer(fs.respond(202, b"")) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, invocation_type="Event")
        for _ in range(8):
            assert call(adapter, make_request()).success
        assert (len(server.requests), server.connections) == (8, 1)


# -- Event loops ----------------------------------------------------------------------------------


def test_execute_works_inside_a_running_loop(make_adapter, make_request, local):
    adapter = make_adapter(endpoint_url=local.endpoint_url)

    async def run():
        return adapter.execute(make_request(args=["hi"]))

    assert asyncio.run(run()).message == "hi"


def test_a_hundred_calls_at_once_all_get_their_own_answer(make_adapter, make_request, local):
    adapter = make_adapter(endpoint_url=local.endpoint_url)

    async def run():
        return await asyncio.gather(*(adapter.execute_async(make_request(args=[str(n)])) for n in range(100)))

    responses = asyncio.run(run())
    assert [response.message for response in responses] == [str(n) for n in range(100)]
    assert (adapter.health.total_requests, adapter.health.total_failures) == (100, 0)


def test_calls_run_at_once_up_to_max_concurrency(make_adapter, make_request):
    together, running, most, lock = threading.Barrier(4), [0], [], threading.Lock()

    def react(request):
        with lock:
            running[0] += 1
            most.append(running[0])
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(10)
        with lock:
            running[0] -= 1
        return fs.answer({"success": True})

    with FaultServer(react) as server:
        adapter = make_adapter(endpoint_url=server.endpoint_url, max_concurrency=4)

        async def run():
            return await asyncio.gather(*(adapter.execute_async(make_request()) for _ in range(12)))

        assert all(response.success for response in asyncio.run(run()))
        assert (max(most), server.connections) == (4, 4)


def test_a_call_in_backoff_holds_no_place(make_adapter, make_request):
    """One place, one call that waits for ever, and still the next call is answered."""
    with FaultServer([fs.aws_error("TooManyRequestsException", 429), fs.answer({"success": True})]) as server:
        adapter = make_adapter(
            endpoint_url=server.endpoint_url,
            max_concurrency=1,
            initial_retry_delay=3_000,
            max_retry_delay=3_000,
            jitter=0.0,
        )

        async def run():
            waits = asyncio.ensure_future(adapter.execute_async(make_request()))
            await asyncio.sleep(0)  # it has been handed over, and so comes first
            answered = await asyncio.wait_for(adapter.execute_async(make_request()), 10)
            assert not waits.done()
            adapter.close()
            return answered, await waits

        answered, ended = asyncio.run(run())
    assert (answered.success, ended.error_code) == (True, "throttled")


def test_an_adapter_serves_one_loop_after_the_other(make_adapter, make_request, local):
    adapter = make_adapter(endpoint_url=local.endpoint_url)
    responses = [asyncio.run(adapter.execute_async(make_request(args=[word]))) for word in ("one", "two")]
    assert [response.message for response in responses] == ["one", "two"]


def test_an_adapter_serves_loops_of_several_threads_at_once(make_adapter, make_request, local):
    adapter, start, messages = make_adapter(endpoint_url=local.endpoint_url), threading.Barrier(4), {}

    def run(number):
        async def gather():
            return await asyncio.gather(
                *(adapter.execute_async(make_request(args=[f"{number}.{n}"])) for n in range(10))
            )

        start.wait(10)
        messages[number] = [response.message for response in asyncio.run(gather())]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert messages == {number: [f"{number}.{n}" for n in range(10)] for number in range(4)}


def test_a_request_that_changes_after_the_start_changes_nothing(make_adapter, make_request, local):
    adapter = make_adapter(function_identifier="echo", endpoint_url=local.endpoint_url)
    args, metadata = ["before"], {"is_event": True, "event_data": {"word": "before"}}

    async def run():
        command = asyncio.ensure_future(adapter.execute_async(make_request(args=args)))
        event = asyncio.ensure_future(adapter.execute_async(make_request(metadata=metadata)))
        await asyncio.sleep(0)  # both have begun
        args[0] = "after"
        metadata["event_data"]["word"] = "after"
        return await asyncio.gather(command, event)

    triggers = [response.data["event"]["trigger"] for response in asyncio.run(run())]
    assert triggers[0]["context_text"] == "before"
    assert triggers[1]["event_data"] == {"word": "before"}


def test_a_timestamp_is_the_start_and_not_the_last_attempt(call, make_adapter, make_request):
    with FaultServer([fs.untyped(503), fs.answer({"success": True})]) as server:
        call(make_adapter(endpoint_url=server.endpoint_url, **FAST), make_request())
        first, second = (json.loads(request.body)["timestamp"] for request in server.requests)
    assert first == second


variable = contextvars.ContextVar("variable", default="unset")


def test_context_variables_are_seen_where_boto3_works(call, make_adapter, make_request, local):
    """Tracing and logging of a bot hang on them; in a worker's thread as in the caller's own."""
    client = boto3.client(
        "lambda",
        "us-east-1",
        endpoint_url=local.endpoint_url,
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )
    seen = []

    def hook(**_):
        seen.append((variable.get(), threading.current_thread() is threading.main_thread()))

    client.meta.events.register("before-send.lambda.Invoke", hook)
    adapter = make_adapter(client=client)
    token = variable.set("the caller's")
    try:
        assert call(adapter, make_request()).success
    finally:
        variable.reset(token)
        client.close()
    assert seen == [("the caller's", call is CALLS["execute"])]


def test_a_hook_that_raises_is_a_failure_and_not_an_exception(call, make_adapter, make_request, local):
    client = boto3.client(
        "lambda", "us-east-1", endpoint_url=local.endpoint_url, aws_access_key_id="id", aws_secret_access_key="secret"
    )

    def hook(**_):
        raise StopIteration(SECRET)

    client.meta.events.register("before-call.lambda.Invoke", hook)
    try:
        response = call(make_adapter(client=client), make_request())
    finally:
        client.close()
    assert (response.error_code, response.invocation.executed) == ("internal_error", "no")  # nothing was sent
    assert_fit_for_a_chat(response)


# -- raise_for_error -----------------------------------------------------------------------------


def test_who_would_rather_catch_can(call, make_adapter, make_request, local):
    from lambda_adapter.errors import FunctionNotFoundError

    response = call(make_adapter(endpoint_url=local.endpoint_url), make_request())
    assert response.raise_for_error() is response
    failed = call(make_adapter(function_identifier="unknown", endpoint_url=local.endpoint_url), make_request())
    with pytest.raises(FunctionNotFoundError, match=r"^not_found: ") as caught:
        failed.raise_for_error()
    assert caught.value.response is failed
