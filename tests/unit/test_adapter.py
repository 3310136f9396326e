"""The adapter's own surface: attributes, scopes, health, info, closing, and what it logs."""

import asyncio
import contextlib
import gc
import inspect
import json
import logging
import re
import threading
import warnings
import weakref

import attrs
import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from lambda_adapter import CircuitBreaker, ExecuteRequest, ExecuteResponse, Health, LambdaAdapter
from lambda_adapter._call import attempts
from lambda_adapter.errors import ClosedError
from support.clients import Client, client_error
from support.parameters import PARAMETERS
from support.waiting import FOREVER_S, SOON_S

#: Whatever the user typed or the deployment holds, which no log line and no error may show.
TYPED = "swordfish-typed"
SECRET = "hunter2-secret"
THROTTLED = client_error("TooManyRequestsException", 429, message=SECRET)


# -- Attributes -----------------------------------------------------------------------------------


def test_three_arguments_are_enough_and_the_rest_has_the_documented_defaults():
    with LambdaAdapter("function", "us-east-1", "module") as adapter:
        assert (adapter.function_identifier, adapter.region, adapter.module_name) == ("function", "us-east-1", "module")
        for parameter in PARAMETERS[3:]:
            expected = [] if parameter.name == "required_scopes" else parameter.default
            assert getattr(adapter, parameter.name) == expected, parameter.name


def test_the_documented_parameters_come_in_the_documented_order():
    actual = inspect.signature(LambdaAdapter).parameters.values()
    assert [(given.name, given.default) for given in actual] == [(row.name, row.default) for row in PARAMETERS]
    keyword_only = [given.name for given in actual if given.kind is inspect.Parameter.KEYWORD_ONLY]
    assert keyword_only == [row.name for row in PARAMETERS if row.keyword_only]


def test_every_parameter_is_readable_and_fixed(make_adapter):
    adapter = make_adapter(client=Client())
    for name in ("function_name", *(parameter.name for parameter in PARAMETERS)):
        before = getattr(adapter, name)
        with pytest.raises(AttributeError):
            setattr(adapter, name, "changed")
        with pytest.raises(AttributeError):
            delattr(adapter, name)
        assert getattr(adapter, name) is before


def test_the_required_scopes_are_fixed_too(make_adapter, make_request):
    adapter = make_adapter(client=Client(), required_scopes=["admin"])
    with contextlib.suppress(AttributeError):  # a tuple would do as well
        adapter.required_scopes.clear()
    assert adapter.execute(make_request()).error_code == "missing_scopes"


def test_the_bots_names_are_readable(make_adapter):
    adapter = make_adapter(client=Client(), module_version="2.1", required_scopes=["a"])
    assert (adapter.MODULE_NAME, adapter.MODULE_VERSION, adapter.REQUIRED_SCOPES) == ("module", "2.1", ["a"])
    adapter.REQUIRED_SCOPES.append("b")
    assert adapter.REQUIRED_SCOPES == ["a"]


def test_a_repr_shows_the_function_and_no_secret(make_adapter):
    adapter = make_adapter(
        aws_access_key_id=f"AKIA{SECRET}",
        aws_secret_access_key=SECRET,
        aws_session_token=SECRET,
        endpoint_url=f"https://{SECRET}.example",
        function_prefix="pre-",
    )
    assert repr(adapter) == "<LambdaAdapter module_name='module' function_name='pre-function' region='us-east-1'>"
    adapter.close()
    assert repr(adapter).endswith("region='us-east-1', closed>")


def test_an_adapter_whose_constructor_has_raised_has_a_repr_too():
    """A debugger, or a service that collects tracebacks, shows each frame's variables."""
    with pytest.raises(ValueError, match="module_name") as caught:
        LambdaAdapter("function", "us-east-1", "two words")
    frame = caught.traceback[1].frame
    assert repr(frame.f_locals["self"]).startswith("<LambdaAdapter module_name='two words' function_name='?'")


def test_adapters_are_equal_only_to_themselves(make_adapter):
    first, second = make_adapter(client=Client()), make_adapter(client=Client())
    assert first == first
    assert first != second
    assert len({first, second}) == 2


def test_the_module_info_has_the_documented_keys(make_adapter):
    adapter = make_adapter(client=Client(), function_prefix="pre-", required_scopes=["a"], module_version="2.0")
    assert list(adapter.get_module_info().items()) == [
        ("name", "module"),
        ("version", "2.0"),
        ("required_scopes", ["a"]),
        ("type", "lambda_adapter"),
        ("function_name", "pre-function"),
        ("region", "us-east-1"),
        ("invocation_type", "RequestResponse"),
        ("max_retries", 3),
        ("connect_timeout", 10.0),
        ("read_timeout", 30.0),
        ("health", adapter.get_health_status()),
        ("circuit_breaker", None),
    ]
    json.dumps(adapter.get_module_info())


# -- Health ---------------------------------------------------------------------------------------


def test_health_follows_the_calls(make_adapter, make_request):
    client = Client(*[{"success": False}] * 3, {"success": True})
    adapter = make_adapter(client=client)
    assert adapter.is_healthy()
    assert [adapter.execute(make_request()).success for _ in range(3)] == [False] * 3
    assert not adapter.is_healthy()
    assert adapter.execute(make_request()).success
    assert adapter.is_healthy()
    status = adapter.get_health_status()
    assert (status["total_requests"], status["total_failures"], status["error_rate"]) == (4, 3, 0.75)
    assert isinstance(adapter.health, Health)
    assert adapter.health.to_dict() == status


def test_the_threshold_is_the_adapters(make_adapter, make_request):
    adapter = make_adapter(client=Client({"success": False}), unhealthy_threshold=1)
    adapter.execute(make_request())
    assert not adapter.is_healthy()


def test_a_call_is_one_record_however_many_attempts_it_took(make_adapter, make_request):
    adapter = make_adapter(client=Client(THROTTLED), max_retries=4, initial_retry_delay=0.001)
    assert adapter.execute(make_request()).invocation.attempts == 5
    assert (adapter.health.total_requests, adapter.health.total_failures) == (1, 1)


def test_an_adapter_whose_circuit_is_open_is_not_healthy(make_adapter, make_request):
    now = [0.0]
    client = Client(*[b"no JSON"] * 3, {"success": True})
    breaker = CircuitBreaker(2, 60, clock=lambda: now[0])
    adapter = make_adapter(client=client, circuit_breaker=breaker, unhealthy_threshold=9)

    def told():
        info = adapter.get_module_info()["health"]
        assert adapter.get_health_status() == info
        assert adapter.health.is_healthy is adapter.is_healthy() is info["is_healthy"]
        return adapter.is_healthy()

    adapter.execute(make_request())
    assert told()
    before = adapter.health
    adapter.execute(make_request())
    assert not told()
    assert "circuit_is_closed=False" in repr(adapter.health)
    assert before.is_healthy, "a snapshot does not change"
    now[0] = 60.0  # half open: nothing has shown that the function is there again
    assert not told()
    assert adapter.execute(make_request()).error_code == "invalid_response"
    assert not told()
    now[0] = 120.0
    assert adapter.execute(make_request()).success
    assert told()
    assert adapter.health.circuit_is_closed


# -- Scopes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("required", "granted", "expected"),
    [
        ([], [], True),
        ([], ["a"], True),
        (["a"], ["a"], True),
        (["a"], ["b", "a"], True),
        (["a", "b"], {"a", "b"}, True),
        (["a"], [], False),
        (["a", "b"], ["a"], False),
        (["a"], ["A"], False),
        (["a"], ["a.b"], False),
    ],
)
def test_scopes_are_valid_when_all_required_ones_are_granted(make_adapter, required, granted, expected):
    assert make_adapter(client=Client(), required_scopes=required).validate_scopes(granted) is expected


def test_a_request_that_lacks_scopes_is_refused_with_their_names(make_adapter, make_request):
    adapter = make_adapter(client=Client(), required_scopes=["b", "a", "c"])
    response = adapter.execute(make_request(scopes=["b"]))
    assert (response.error_code, response.error) == ("missing_scopes", "missing_scopes: the caller lacks a, c")
    assert adapter.client.calls == []


def test_scopes_may_be_left_to_the_bot(make_adapter, make_request):
    adapter = make_adapter(client=Client(), required_scopes=["a"], enforce_scopes=False)
    assert adapter.execute(make_request()).success


# -- Closing --------------------------------------------------------------------------------------


def test_a_closed_adapter_refuses_calls_and_still_tells(make_adapter, make_request):
    adapter = make_adapter(client=Client())
    adapter.execute(make_request())
    adapter.close()
    adapter.close()
    response = adapter.execute(make_request())
    assert (response.success, response.error_code, response.invocation.attempts) == (False, "closed", 0)
    assert asyncio.run(adapter.execute_async(make_request())).error_code == "closed"
    assert len(adapter.client.calls) == 1
    assert adapter.health.total_requests == 1
    assert adapter.get_module_info()["health"]["is_healthy"]


def test_with_closes(make_request):
    with LambdaAdapter("function", "us-east-1", "module", client=Client()) as adapter:
        assert adapter.execute(make_request()).success
    assert adapter.execute(make_request()).error_code == "closed"


def test_async_with_closes(make_request):
    async def run():
        async with LambdaAdapter("function", "us-east-1", "module", client=Client()) as adapter:
            assert (await adapter.execute_async(make_request())).success
        return await adapter.execute_async(make_request())

    assert asyncio.run(run()).error_code == "closed"


def test_a_closed_adapter_cannot_be_entered(make_request):
    adapter = LambdaAdapter("function", "us-east-1", "module", client=Client())

    async def enter():
        async with adapter:
            pytest.fail("it was entered")

    with adapter, adapter:
        assert adapter.execute(make_request()).success
    with pytest.raises(ClosedError, match="the adapter is closed, and cannot be opened again"), adapter:
        pytest.fail("it was entered")
    with pytest.raises(ClosedError) as caught:
        asyncio.run(enter())
    assert caught.value.response.error_code == "closed"


def test_with_closes_when_its_block_fails(make_request):
    with pytest.raises(KeyError), LambdaAdapter("function", "us-east-1", "module", client=Client()) as adapter:
        raise KeyError
    assert adapter.execute(make_request()).error_code == "closed"


def test_close_wakes_an_execute_in_its_backoff(make_adapter, make_request):
    attempted = threading.Event()
    client = Client(lambda: attempted.set() or THROTTLED)
    adapter = make_adapter(client=client, initial_retry_delay=FOREVER_S, max_retry_delay=FOREVER_S, jitter=0)
    responses = []
    thread = threading.Thread(target=lambda: responses.append(adapter.execute(make_request())))
    thread.start()
    assert attempted.wait(SOON_S)
    adapter.close()
    thread.join(SOON_S)
    (response,) = responses
    assert (response.error_code, response.invocation.attempts, len(client.calls)) == ("throttled", 1, 1)
    assert "ended before its next attempt" in response.error
    assert adapter.health.total_failures == 1


def test_close_ends_execute_async_in_its_backoff(make_adapter, make_request):
    async def run():
        attempted, loop = asyncio.Event(), asyncio.get_running_loop()
        client = Client(lambda: loop.call_soon_threadsafe(attempted.set) and THROTTLED)
        adapter = make_adapter(client=client, initial_retry_delay=FOREVER_S, max_retry_delay=FOREVER_S, jitter=0)
        task = asyncio.ensure_future(adapter.execute_async(make_request()))
        await asyncio.wait_for(attempted.wait(), SOON_S)
        adapter.close()
        return await asyncio.wait_for(task, SOON_S)

    response = asyncio.run(run())
    assert (response.error_code, response.invocation.attempts) == ("throttled", 1)


def test_a_given_client_stays_its_owners(make_adapter, make_request):
    client = Client()
    client.close = lambda: pytest.fail("closed")
    make_adapter(client=client).close()
    assert make_adapter(client=client).execute(make_request()).success


def test_a_dropped_adapter_is_collected(make_request):
    adapter = LambdaAdapter("function", "us-east-1", "module", client=Client())
    adapter.execute(make_request())
    reference = weakref.ref(adapter)
    del adapter
    gc.collect()
    assert reference() is None


def test_an_interrupt_passes_through_execute(make_adapter, make_request):
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            make_adapter(client=Client(error())).execute(make_request())


# -- Responses ------------------------------------------------------------------------------------


def test_a_success_is_told_in_full(make_adapter, make_request):
    body = {"success": True, "message": "Sunny", "targets": ["discord"], "custom": 1}
    response = make_adapter(client=Client((body, {"ExecutedVersion": "3"}))).execute(make_request())
    assert attrs.evolve(response, invocation=None) == ExecuteResponse(
        success=True,
        message="Sunny",
        data={"targets": ["discord"], "custom": 1},
        targets=[{"type": "discord"}],
    )
    invocation = response.invocation
    assert (invocation.function_name, invocation.attempts, invocation.executed) == ("function", 1, "yes")
    assert (invocation.status_code, invocation.request_id, invocation.executed_version) == (200, "0f4e0d1c-ab12", "3")
    assert 0 <= invocation.duration_s < SOON_S


def test_a_functions_own_failure_keeps_its_message_its_data_and_its_words(make_adapter, make_request):
    body = {"success": False, "message": "Sorry", "error": "no such city\x1b see https://host/x", "custom": 1}
    response = make_adapter(client=Client(body)).execute(make_request())
    assert (response.error_code, response.message) == ("function_failed", "Sorry")
    assert response.error == body["error"]
    assert response.data == {"error": body["error"], "custom": 1}


@pytest.mark.parametrize(
    "body", [{"success": False}, {"success": False, "error": ""}, {"success": False, "error": None}]
)
def test_a_failure_without_a_word_gets_one(make_adapter, make_request, body):
    response = make_adapter(client=Client(body)).execute(make_request())
    assert response.error == "function_failed: the function answered success=false"


# -- Logging --------------------------------------------------------------------------------------


def levels(caplog):
    return [record.levelname for record in caplog.records]


def test_a_program_without_logging_hears_nothing():
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("lambda_adapter").handlers)


def test_a_success_logs_initialised_invoked_and_succeeded(make_adapter, make_request, caplog):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    make_adapter(client=Client()).execute(make_request())
    assert {record.name for record in caplog.records} == {"lambda_adapter"}
    assert levels(caplog) == ["INFO", "INFO", "INFO"]
    initialised, invoking, succeeded = caplog.messages
    assert initialised == "Initialised module=module function=function region=us-east-1 type=RequestResponse retries=3"
    assert re.fullmatch(r"Invoking function=function request=session_abc123 bytes=\d{3}", invoking)
    assert succeeded.startswith(
        "Succeeded: function=function request=session_abc123 code=None executed=yes attempts=1 "
    )


def test_a_failure_logs_each_retry_as_a_warning_and_the_end_as_an_error(make_adapter, make_request, caplog):
    adapter = make_adapter(client=Client(THROTTLED), max_retries=2, initial_retry_delay=0.001, jitter=0)
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    adapter.execute(make_request())
    assert levels(caplog) == ["INFO", "WARNING", "WARNING", "ERROR"]
    assert caplog.messages[1] == (
        "Retry 1 of 2 in 0.001 s: function=function request=session_abc123 code=throttled executed=no status=429 "
        "aws_request=0f4e0d1c-ab12 cause=AWS is throttling the function (TooManyRequestsException)"
    )
    assert "Gave up" in caplog.messages[3]
    assert "code=throttled executed=no attempts=3 why_ended=no_attempts_left" in caplog.messages[3]


def test_success_false_is_a_warning(make_adapter, make_request, caplog):
    adapter = make_adapter(client=Client({"success": False}))
    caplog.set_level(logging.INFO, "lambda_adapter")
    adapter.execute(make_request())
    assert levels(caplog) == ["INFO", "WARNING"]
    assert "success=false" in caplog.messages[1]


@pytest.mark.parametrize(
    ("targets", "told"),
    [([1, "a", None], "Dropped 2 targets of"), (["a", None], "Dropped 1 target of")],
    ids=["2", "1"],
)
def test_dropped_targets_are_a_warning(make_adapter, make_request, caplog, targets, told):
    adapter = make_adapter(client=Client({"success": True, "targets": targets}))
    caplog.set_level(logging.WARNING, "lambda_adapter")
    assert adapter.execute(make_request()).targets == [{"type": "a"}]
    assert levels(caplog) == ["WARNING"]
    assert told in caplog.messages[0]


def test_a_refusal_is_a_warning(make_adapter, make_request, caplog):
    adapter = make_adapter(client=Client(), required_scopes=["a"])
    caplog.set_level(logging.INFO, "lambda_adapter")
    adapter.execute(make_request())
    told = "Refused: module=module function=function code=missing_scopes executed=no cause=the caller lacks a"
    assert (levels(caplog), caplog.messages) == (["WARNING"], [told])


HOSTILE = {
    "success": Client({"success": True, "message": SECRET, "x": SECRET, "targets": [5, SECRET]}),
    "success=false": Client({"success": False, "message": SECRET, "error": SECRET}),
    "function error": Client(
        ({"errorType": SECRET, "errorMessage": SECRET, "stackTrace": [SECRET]}, {"FunctionError": "x"})
    ),
    "throttled": Client(THROTTLED),
    "connect timeout": Client(ConnectTimeoutError(endpoint_url=f"https://{SECRET}")),
    "read timeout": Client(ReadTimeoutError(endpoint_url=f"https://{SECRET}")),
    "unexplained": Client(ValueError(SECRET)),
    "no JSON": Client(SECRET.encode()),
    "strange names": Client(({"success": True}, {"ExecutedVersion": f"{SECRET}\n", "FunctionError": f" {SECRET}"})),
}


@pytest.mark.parametrize("client", [pytest.param(client, id=name) for name, client in HOSTILE.items()])
@pytest.mark.parametrize("invocation_type", ["RequestResponse", "Event"])
def test_no_log_line_shows_what_was_typed_answered_or_secret(
    make_adapter, make_request, caplog, client, invocation_type
):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    adapter = make_adapter(client=client, max_retries=1, initial_retry_delay=0.001, invocation_type=invocation_type)
    request = make_request(
        command=TYPED,
        args=[TYPED],
        user_id=TYPED,
        metadata={"user": {"username": TYPED}, "is_event": False, "x": TYPED},
    )
    adapter.execute(request)
    adapter.execute(make_request(metadata={"is_event": True, "event_data": TYPED}))
    adapter.execute(make_request(metadata={TYPED: {1}}, args=[TYPED]))
    adapter.execute(make_request(args=TYPED))
    assert len(caplog.records) >= 5
    for record in caplog.records:
        line = logging.Formatter().format(record)
        assert TYPED not in line
        assert SECRET not in line
        assert "Traceback" not in line


@pytest.mark.parametrize("session_id", ["a\nFAKE ERROR line", "\x1b[2Jgone", "\u202eevil", "x" * 5_000], ids=ascii)
def test_an_id_cannot_forge_a_log_line(make_adapter, make_request, caplog, session_id):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    adapter = make_adapter(client=Client(THROTTLED), max_retries=1, initial_retry_delay=0.001)
    adapter.execute(make_request(session_id=session_id))
    for line in caplog.messages:
        assert line.isprintable()
        assert len(line) < 500


# -- Wrong use ------------------------------------------------------------------------------------


class Partial:
    """A request without most of its attributes."""

    command = "x"


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"command": "x"}, "not a dict"),
        ("text", "not a string"),
        (None, "not None"),
        (5, "not a number"),
        ([], "not a list"),
        (ExecuteRequest, "not a class"),
        (Partial, "not a class"),
        (object(), "not of type object"),
        (lambda: None, "not of type function"),
        (Partial(), None),
    ],
    ids=["dict", "string", "None", "number", "list", "our class", "a class", "object", "function", "partial"],
)
def test_what_is_no_request_is_named(make_adapter, request_, told):
    response = make_adapter(client=Client()).execute(request_)
    expected = (
        f"the request must be an ExecuteRequest or have its attributes, {told}" if told else "metadata is missing"
    )
    assert response.error == f"invalid_request: {expected}"


def test_a_request_of_no_community_is_told_what_to_do(make_adapter, make_request):
    response = make_adapter(client=Client()).execute(make_request(community_id=None))
    assert response.error == (
        "invalid_request: community_id must be a string or an integer, not null; for a direct message make one of the "
        "user's id"
    )


BLOCKING = {
    "execute": (lambda adapter, request: adapter.execute(request), "await execute_async"),
    "execute_many": (lambda adapter, request: next(adapter.execute_many([request])), "use execute_many_async"),
    "execute_stream": (lambda adapter, request: adapter.execute_stream(request).close(), "use execute_stream_async"),
    "check": (lambda adapter, request: adapter.check(), "run it in a thread"),
    "start": (lambda adapter, request: adapter.start(request), "await start_async"),
    "result": (lambda adapter, request: adapter.result("a", wait=0), "await result_async"),
    "stop": (lambda adapter, request: adapter.stop("a"), "await stop_async"),
}


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("method", BLOCKING)
def test_what_blocks_a_running_loop_warns_in_asyncios_debug_mode_only(method, make_adapter, make_request, debug):
    adapter = make_adapter(client=Client())
    call, instead = BLOCKING[method]

    async def blocking():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with contextlib.suppress(ValueError):  # start, result and stop are for durable adapters
                call(adapter, make_request())
            assert (await adapter.execute_async(make_request())).success
        return caught

    caught = asyncio.run(blocking(), debug=debug)
    assert [(each.category, str(each.message), each.filename) for each in caught] == [
        (
            RuntimeWarning,
            f"{method} blocks the running event loop until the answer is there; {instead} instead",
            __file__,
        )
    ] * debug


def test_execute_beside_a_debugged_loop_warns_nobody(make_adapter, make_request):
    """In a thread of its own it blocks no loop, and before one neither. Warnings are errors here."""
    adapter = make_adapter(client=Client())

    async def elsewhere():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, adapter.execute, make_request())

    assert asyncio.run(elsewhere(), debug=True).success
    assert adapter.execute(make_request()).success


def test_requests_of_any_shape_are_answered_and_never_raise(make_adapter):
    adapter = make_adapter(client=Client())
    for request in (None, 5, "text", object(), {"command": "x"}, ExecuteResponse):
        assert adapter.execute(request).error_code == "invalid_request"
        assert asyncio.run(adapter.execute_async(request)).error_code == "invalid_request"
    assert adapter.client.calls == []
    assert adapter.health.total_requests == 0


@pytest.mark.parametrize("raised", [KeyError("Attempt"), KeyError("hunter2"), RuntimeError("x")], ids=repr)
def test_a_programs_own_filter_that_raises_ends_no_call_and_is_told(make_adapter, make_request, raised, capsys):
    lines = []

    def fail(record):
        lines.append(record.msg)
        raise raised

    logger = logging.getLogger("lambda_adapter")
    logger.addFilter(fail)
    try:
        adapter = make_adapter(client=Client(THROTTLED), initial_retry_delay=0.001)
        response = adapter.execute(make_request())
        assert (response.error_code, response.invocation.attempts) == ("throttled", 4)
    finally:
        logger.removeFilter(fail)
    assert capsys.readouterr().err.count(repr(raised).partition("(")[0]) == len(lines) > 0
    assert len({*lines}) == len(lines)


@pytest.fixture
def failing_log(monkeypatch):
    """Fails at the line of a retry, in the middle of a call."""

    def fail(level, head, *_):
        if head.startswith("Retry"):
            raise KeyError("hunter2")

    monkeypatch.setattr(attempts, "log_line", fail)


def test_what_breaks_between_attempts_is_an_internal_error_that_is_final(make_adapter, make_request, failing_log):
    response = make_adapter(client=Client(THROTTLED)).execute(make_request())
    assert (response.error_code, response.invocation.attempts) == ("internal_error", 1)
    assert response.invocation.why_ended == "permanent"
    assert "hunter2" not in response.error
