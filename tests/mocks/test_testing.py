"""The test kit: what a mocked function does, what is kept of its calls, and that nothing of it stays behind."""

import asyncio
import base64
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError
from moto.core import patch_client
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.config import default_user_config

from lambda_adapter import LambdaAdapter, LocalLambda
from lambda_adapter._call import workers
from lambda_adapter._rules.limits import MAX_EVENT_BYTES, MAX_REQUEST_RESPONSE_BYTES
from lambda_adapter.testing import MockFunction, mock_lambda
from support.paths import PACKAGES, PROJECT
from support.sessions import MANY

#: Before anything was mocked.
MOTOS_OWN = BotocoreStubber.__call__

SUNNY = {"success": True, "message": "Sunny"}
RAINY = {"success": True, "message": "Rainy"}


@pytest.fixture
def mock():
    with mock_lambda() as made:
        yield made


@pytest.fixture
def adapter(mock):
    with LambdaAdapter("weather", "us-east-1", "module") as made:
        yield made


def test_dir_lists_the_public_names_before_they_were_asked_for():
    code = "import lambda_adapter.testing as kit; print(set(kit.__all__) <= set(dir(kit)), *sorted(kit.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.split() == ["True", "MockFunction", "MockLambda", "mock_lambda"]


@pytest.fixture
def attempt(mock, make_request):
    """One call of "weather" in a single attempt -> its message, or its error code."""
    with LambdaAdapter("weather", "us-east-1", "module", max_retries=0) as made:

        def attempt():
            response = made.execute(make_request())
            return response.message if response.success else response.error_code

        yield attempt


@pytest.fixture
def client(mock):
    """boto3's own client, which shows the API's answers as they are."""
    return boto3.client("lambda", "us-east-1")


def execute(adapter, request, awaited):
    return asyncio.run(adapter.execute_async(request)) if awaited else adapter.execute(request)


# --- Answers ---


@pytest.mark.parametrize(
    ("answer", "message", "error_code"),
    [
        pytest.param(SUNNY, "Sunny", None, id="a-response"),
        pytest.param(
            {"success": False, "error": "no such city"}, None, "function_failed", id="a-response-that-says-no"
        ),
        pytest.param(lambda event, context: SUNNY, "Sunny", None, id="a-handler"),
        pytest.param('{"success": true, "message": "Sunny"}', "Sunny", None, id="text-as-Node-sends-it"),
        pytest.param(b'{"success": true, "message": "Sunny"}', "Sunny", None, id="bytes-as-they-are"),
        pytest.param(b"<html>", None, "invalid_response", id="bytes-that-are-no-JSON"),
        pytest.param(None, None, "invalid_response", id="None-is-an-answer-too"),
        pytest.param(lambda event, context: {1, 2}, None, "function_error", id="a-handler-whose-result-is-no-JSON"),
    ],
)
def test_what_the_function_answers_becomes_the_response(mock, adapter, make_request, answer, message, error_code):
    mock.function("weather", answer)
    response = adapter.execute(make_request())
    assert (response.message, response.error_code) == (message, error_code)
    assert (response.invocation.status_code, response.invocation.attempts) == (200, 1)
    assert response.invocation.executed_version == "$LATEST"


def test_a_function_without_an_answer_succeeds(mock, adapter, make_request):
    mock.function("weather")
    assert adapter.execute(make_request()).success


def test_an_answer_changed_afterwards_changes_nothing(mock, attempt):
    answer = dict(SUNNY)
    mock.function("weather", answer)
    answer["message"] = "changed"
    assert attempt() == "Sunny"


@pytest.mark.parametrize("how", ["function", "answers"])
def test_an_answer_that_no_function_could_give_is_refused_where_it_is_made(mock, how):
    with pytest.raises(ValueError, match=r"'weather' must be a handler, JSON-able, or bytes .* set is not JSON"):
        mock.function("weather", {1, 2}) if how == "function" else mock.function("weather").answers({1, 2})


def test_an_async_handler_is_refused_where_it_is_given(mock):
    async def handler(event, context):
        return SUNNY

    with pytest.raises(ValueError, match="an answer of 'weather' is an async function"):
        mock.function("weather", handler)


def test_a_handler_gets_the_event_and_a_context_like_aws(mock, make_request):
    seen = []

    def handler(event, context):
        seen.append((event, context))
        return SUNNY

    mock.function("weather", handler)
    with LambdaAdapter("weather:7", "eu-west-1", "module") as adapter:
        response = adapter.execute(make_request())
    ((event, context),) = seen
    assert [event] == mock.calls("weather")
    assert event["trigger"]["context_text"] == "Berlin today"
    assert (context.function_name, context.function_version) == ("weather", "7")
    assert context.invoked_function_arn == "arn:aws:lambda:eu-west-1:123456789012:function:weather:7"
    assert context.aws_request_id == response.invocation.request_id
    assert response.invocation.executed_version == "7"
    assert 0 < context.get_remaining_time_in_millis() <= 3_000


def test_a_handler_that_raises_is_a_function_error_shaped_like_aws(mock, client, caplog):
    def handler(event, context):
        raise ValueError("no such city")

    mock.function("weather", handler)
    answer = client.invoke(FunctionName="weather", Payload=b"{}")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    error = json.loads(answer["Payload"].read())
    assert set(error) == {"errorMessage", "errorType", "requestId", "stackTrace"}
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such city")
    assert error["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert 'raise ValueError("no such city")' in "".join(error["stackTrace"])
    (record,) = [record for record in caplog.records if record.name == "mock_lambda"]
    assert 'raise ValueError("no such city")' in record.getMessage()


def test_what_a_handler_said_is_in_no_line_below_the_adapter_s_logger(mock, adapter, make_request, caplog):
    def handler(event, context):
        raise ValueError("no such city")

    caplog.set_level(logging.DEBUG, logger="lambda_adapter")
    mock.function("weather", handler)
    adapter.execute(make_request())
    said = [record for record in caplog.records if "no such city" in record.getMessage()]
    assert [(record.name, record.levelname) for record in said] == [("mock_lambda", "WARNING")]
    assert [record for record in caplog.records if record.name.startswith("lambda_adapter")]


@pytest.mark.parametrize(
    ("invocation_type", "most"),
    [("RequestResponse", MAX_REQUEST_RESPONSE_BYTES), ("Event", MAX_EVENT_BYTES)],
)
def test_a_payload_may_be_as_large_as_on_aws(mock, client, invocation_type, most):
    mock.function("weather", SUNNY)
    client.invoke(FunctionName="weather", InvocationType=invocation_type, Payload=b"1".rjust(most))
    with pytest.raises(client.exceptions.RequestTooLargeException, match=f"smaller than {most} bytes") as caught:
        client.invoke(FunctionName="weather", InvocationType=invocation_type, Payload=b"1".rjust(most + 1))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert mock.calls("weather") == [1]


@pytest.mark.parametrize(
    "error",
    [GeneratorExit("x"), asyncio.CancelledError(), SystemExit(3)],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("yields", [False, True], ids=["returns", "yields"])
def test_a_handler_s_own_end_is_an_exit_of_the_runtime(mock, client, error, yields):
    def handler(event, context):
        raise error

    def generator(event, context):
        yield "Hel"
        raise error

    mock.function("weather", generator if yields else handler)
    answer = client.invoke(FunctionName="weather")
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "Runtime.ExitError"


@pytest.mark.parametrize("end", [ValueError, GeneratorExit])
@pytest.mark.parametrize("yields", [False, True], ids=["returns", "yields"])
def test_a_stack_begins_with_the_handler(mock, client, yields, end):
    def handler(event, context):
        raise end("x")

    def generator(event, context):
        yield "Hel"
        raise end("x")

    mock.function("weather", generator if yields else handler)
    answer = client.invoke(FunctionName="weather", LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    first = re.search(r"Traceback \(most recent call last\):\n\s*(.*)\n", log)
    assert re.fullmatch(r'File ".*test_testing\.py", line \d+, in (handler|generator)', first[1])
    stack = json.loads(answer["Payload"].read()).get("stackTrace")
    assert stack is None or (len(stack) == 1 and "test_testing.py" in stack[0])


def test_a_handler_that_exits_is_a_function_error(mock, attempt):
    mock.function("weather", lambda event, context: sys.exit(3))
    assert attempt() == "function_error"


@pytest.mark.parametrize("awaited", [False, True], ids=["execute", "execute_async"])
@pytest.mark.parametrize("end", [pytest.fail, pytest.skip])
def test_a_handler_can_end_the_test(mock, adapter, make_request, awaited, end):
    mock.function("weather", lambda event, context: end("by the handler"))
    with pytest.raises(end.Exception, match="by the handler"):
        execute(adapter, make_request(), awaited)


def test_ctrl_c_within_a_handler_is_no_error_of_the_function(mock, adapter, make_request):
    def handler(event, context):
        raise KeyboardInterrupt

    mock.function("weather", handler)
    with pytest.raises(KeyboardInterrupt):
        adapter.execute(make_request())


# --- Steps ---

FAILED, THROTTLED, LATE, DENIED = "function_error", "throttled", "timeout", "access_denied"


def denied(function):
    return function.rejects("AccessDeniedException", 403)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(
            lambda mock: mock.function("weather", SUNNY).throttles(times=2),
            [THROTTLED, THROTTLED, "Sunny", "Sunny"],
            id="the-answer-comes-after-the-steps",
        ),
        pytest.param(
            lambda mock: mock.function("weather", SUNNY).fails().throttles(times=2).times_out().answers(RAINY),
            [FAILED, THROTTLED, THROTTLED, LATE, "Rainy", "Sunny", "Sunny"],
            id="steps-come-one-after-the-other",
        ),
        pytest.param(
            lambda mock: denied(mock.function("weather")), [DENIED, DENIED, DENIED], id="without-answer-the-step-stays"
        ),
        pytest.param(
            lambda mock: mock.function("weather").throttles().times_out(),
            [THROTTLED, LATE, LATE, LATE],
            id="only-the-last-step-stays",
        ),
        pytest.param(
            lambda mock: mock.function("weather").fails(times=2), [FAILED, FAILED, None, None], id="as-often-as-it-says"
        ),
        pytest.param(
            lambda mock: mock.function("weather").times_out(times=1).throttles(times=1),
            [LATE, THROTTLED, None, None],
            id="counted-steps-end",
        ),
        pytest.param(
            lambda mock: mock.function("weather").answers(SUNNY, RAINY),
            ["Sunny", "Rainy", "Rainy"],
            id="the-last-of-several-answers-stays",
        ),
        pytest.param(
            lambda mock: mock.function("weather", lambda event, context: SUNNY).times_out().answers(lambda *_: RAINY),
            [LATE, "Rainy", "Sunny"],
            id="handlers-are-answers-as-well",
        ),
    ],
)
def test_steps_serve_one_attempt_each(mock, attempt, make, told):
    make(mock)
    assert [attempt() for _ in told] == told


def test_steps_may_be_added_while_the_function_is_in_use(mock, attempt):
    weather = mock.function("weather", SUNNY)
    assert attempt() == "Sunny"
    weather.fails()
    assert [attempt(), attempt()] == [FAILED, "Sunny"]


def test_a_function_made_anew_forgets_its_steps_and_keeps_its_calls(mock, attempt):
    mock.function("weather", SUNNY).fails().times_out()
    assert attempt() == FAILED
    mock.function("weather", RAINY)
    assert attempt() == "Rainy"
    assert len(mock.calls("weather")) == 2


def test_fails_says_what_it_was_told(mock, adapter, make_request):
    mock.function("weather").fails("ValueError", "no such city")
    response = adapter.execute(make_request())
    assert response.error == "function_error: ValueError: no such city"
    assert (response.invocation.function_error, response.invocation.attempts) == ("Unhandled", 1)
    assert response.invocation.executed == "yes"


def test_throttles_is_a_429_that_asks_to_wait(mock, client):
    mock.function("weather").throttles(retry_after=7)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        client.invoke(FunctionName="weather")
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"


def test_times_out_is_botocores_own_timeout(mock):
    mock.function("weather", SUNNY).times_out()
    client = boto3.client("lambda", "us-east-1", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ReadTimeoutError, match=r"lambda\.us-east-1\.amazonaws\.com"):
        client.invoke(FunctionName="weather")


def test_a_timeout_leaves_open_whether_the_function_ran(mock, make_request):
    mock.function("weather", SUNNY).times_out()
    with LambdaAdapter("weather", "us-east-1", "module", idempotent=False) as adapter:
        response = adapter.execute(make_request())
    assert (response.error_code, response.invocation.attempts, response.invocation.executed) == ("timeout", 1, "maybe")


@pytest.mark.parametrize(
    ("code", "status", "error_code", "attempts"),
    [
        ("AccessDeniedException", 403, "access_denied", 1),
        ("KMSDisabledException", 502, "configuration_error", 1),
        ("ServiceException", 500, "service_error", 4),
        ("SnapStartNotReadyException", 409, "service_error", 4),
    ],
)
def test_rejects_is_the_error_of_aws_that_it_names(mock, adapter, make_request, code, status, error_code, attempts):
    mock.function("weather").rejects(code, status)
    response = adapter.execute(make_request())
    assert (response.error_code, response.invocation.attempts) == (error_code, attempts)
    assert response.invocation.status_code == status
    assert code in response.error
    assert response.invocation.executed == "no"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda function: function.fails(times=0), "times must be a whole number"),
        (lambda function: function.times_out(times=True), "times must be a whole number"),
        (lambda function: function.throttles(times=1.5), "times must be a whole number"),
        (lambda function: function.throttles(retry_after=-1), "retry_after must be a whole number"),
        (lambda function: function.rejects("ServiceException", 200), "status must be a whole number from 400 to 599"),
        (lambda function: function.rejects(403, "AccessDeniedException"), "code must be text; got int"),
        (lambda function: function.rejects("AccessDeniedException", "403"), "status must be a whole number"),
        (lambda function: function.fails(5), "error_type must be text; got int"),
        (lambda function: function.fails(message=5), "message must be text; got int"),
        (lambda function: function.fails(ValueError), "error_type must be text; got type"),
        (lambda function: function.streams("Hel", {1}), r"texts\[1\] must be text, bytes or JSON-able: .*set"),
        (lambda function: function.streams("\ud800"), r"texts\[0\] must be text, bytes or JSON-able: "),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_and_not_added(mock, attempt, make, complaint):
    function = mock.function("weather", SUNNY)
    with pytest.raises(ValueError, match=complaint):
        make(function)
    assert attempt() == "Sunny"


@pytest.mark.parametrize("method", ["function", "calls", "invocations"])
@pytest.mark.parametrize("name", [5, None, [], b"weather"], ids=repr)
def test_a_name_that_is_no_text_is_refused_by_its_parameter(mock, method, name):
    with pytest.raises(ValueError, match=f"name must be text; got {type(name).__name__}"):
        getattr(mock, method)(name)


def test_a_function_tells_its_name_and_how_many_steps_are_to_come(mock, attempt):
    weather = mock.function("weather", SUNNY)
    assert repr(weather) == "<mock_lambda's function 'weather': 0 steps to come>"
    weather.throttles(times=2)
    assert repr(weather) == "<mock_lambda's function 'weather': 2 steps to come>"
    attempt()
    assert repr(weather.durable()) == "<mock_lambda's function 'weather': 1 step to come, durable>"


def test_every_public_method_of_a_function_has_words(mock):
    assert [name for name, value in vars(MockFunction).items() if not name.startswith("_") and not value.__doc__] == []
    assert "polls" not in dir(mock.function("weather"))


# --- Waits ---


@pytest.mark.parametrize("awaited", [False, True], ids=["execute", "execute_async"])
def test_waits_between_attempts_take_no_time(mock, adapter, make_request, awaited):
    mock.function("weather", SUNNY).throttles(times=3, retry_after=30)
    response = execute(adapter, make_request(), awaited)
    assert (response.message, response.invocation.attempts) == ("Sunny", 4)
    assert response.invocation.duration_s < 30, "the first of three waits alone would take as long"


# --- Names ---


@pytest.mark.parametrize(
    "made",
    [
        pytest.param("bot-weather", id="made-by-name"),
        pytest.param("bot-weather:prod", id="made-with-an-alias"),
        pytest.param("arn:aws:lambda:eu-west-1:111122223333:function:bot-weather", id="made-by-ARN"),
    ],
)
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"function_identifier": "bot-weather"}, id="name"),
        pytest.param({"function_identifier": "bot-weather:prod"}, id="name-and-alias"),
        pytest.param({"function_identifier": "weather", "function_prefix": "bot-"}, id="prefix-and-name"),
        pytest.param({"function_identifier": "123456789012:function:bot-weather"}, id="partial-ARN"),
        pytest.param({"function_identifier": "function:bot-weather:3"}, id="shorter-partial-ARN-and-version"),
        pytest.param({"function_identifier": "arn:aws:lambda:us-east-1:123456789012:function:bot-weather"}, id="ARN"),
        pytest.param(
            {"function_identifier": "arn:aws:lambda:us-east-1:123456789012:function:bot-weather:$LATEST"},
            id="ARN-and-$LATEST",
        ),
    ],
)
def test_a_function_is_found_by_whatever_names_it(mock, make_request, made, settings):
    mock.function(made, SUNNY)
    with LambdaAdapter(region="us-east-1", module_name="module", **settings) as adapter:
        assert adapter.execute(make_request()).message == "Sunny"
    assert len(mock.calls("bot-weather")) == len(mock.calls(made)) == 1


@pytest.mark.parametrize("name", ["", "two words", "arn:aws:lambda:us-east-1:12:function:weather"])
def test_a_name_that_no_function_has_is_refused(mock, name):
    with pytest.raises(ValueError, match="name must be a function's name or ARN"):
        mock.function(name)


def test_a_function_that_was_not_made_is_not_found_as_on_aws(mock, client, caplog):
    mock.function("weather")
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.invoke(FunctionName="wether", Qualifier="prod")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    arn = "arn:aws:lambda:us-east-1:123456789012:function:wether:prod"
    assert caught.value.response["Error"]["Message"] == f"Function not found: {arn}"
    (record,) = [record for record in caplog.records if record.name == "mock_lambda"]
    assert "'wether'" in record.getMessage()
    assert "'weather' 0 calls" in record.getMessage()


# --- Invocation types ---


@pytest.fixture
def event_adapter(mock):
    with LambdaAdapter("weather", "us-east-1", "module", invocation_type="Event") as made:
        yield made


def test_an_event_runs_its_handler_once_and_loses_its_answer(mock, event_adapter, make_request):
    ran = []
    mock.function("weather", lambda event, context: ran.append(event))
    response = event_adapter.execute(make_request())
    assert (response.success, response.message, response.data) == (True, "Lambda function queued", None)
    assert response.invocation.status_code == 202
    assert ran == mock.calls("weather")
    assert len(ran) == 1


def test_an_event_that_fails_is_queued_all_the_same(mock, event_adapter, make_request):
    mock.function("weather").fails()
    response = event_adapter.execute(make_request())
    assert (response.success, response.invocation.status_code) == (True, 202)


def test_an_event_can_be_throttled(mock, event_adapter, make_request):
    mock.function("weather").throttles(times=2)
    response = event_adapter.execute(make_request())
    assert (response.invocation.status_code, response.invocation.attempts) == (202, 3)


def test_a_dry_run_is_no_call_and_leaves_the_answers_to_come(mock, client, attempt):
    mock.function("weather", SUNNY).answers(RAINY)
    assert client.invoke(FunctionName="weather", InvocationType="DryRun")["StatusCode"] == 204
    assert mock.calls("weather") == []
    assert [attempt(), attempt()] == ["Rainy", "Sunny"]


def test_a_dry_run_sees_what_keeps_the_function_from_running(mock, client):
    mock.function("weather", SUNNY).rejects("AccessDeniedException", 403, times=1)
    with pytest.raises(client.exceptions.ClientError, match="AccessDeniedException"):
        client.invoke(FunctionName="weather", InvocationType="DryRun")
    assert client.invoke(FunctionName="weather", InvocationType="DryRun")["StatusCode"] == 204


def test_a_payload_that_is_no_json_is_refused_as_on_aws(mock, client):
    mock.function("weather")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke(FunctionName="weather", Payload=b"{")
    assert mock.calls("weather") == []


def test_no_payload_is_an_empty_event(mock, client):
    mock.function("weather")
    client.invoke(FunctionName="weather")
    assert mock.calls("weather") == [{}]


# --- Calls ---


def test_calls_are_the_decoded_payloads_in_order(mock, adapter, make_request):
    mock.function("weather")
    for city in ("Berlin", "Lisbon"):
        adapter.execute(make_request(args=[city]))
    assert [call["trigger"]["context_text"] for call in mock.calls("weather")] == ["Berlin", "Lisbon"]
    assert list(mock.calls("weather")[0]) == ["community", "trigger", "user", "entity", "request_id", "timestamp"]


def test_every_attempt_is_a_call(mock, adapter, make_request):
    mock.function("weather", SUNNY).throttles().times_out()
    adapter.execute(make_request())
    first, second, third = mock.calls("weather")
    assert first == second == third


def test_what_a_test_does_to_a_payload_does_not_last(mock, adapter, make_request):
    mock.function("weather", lambda event, context: event.clear())
    adapter.execute(make_request())
    mock.calls("weather")[0].clear()
    assert mock.calls("weather")[0]["trigger"]["command"] == "weather"


def test_a_function_that_was_not_called_has_no_calls(mock):
    mock.function("weather")
    assert mock.calls("weather") == []


def test_calls_of_a_name_that_nobody_knows_are_an_error_that_lists_the_known(mock, adapter, make_request):
    mock.function("weather")
    mock.function("roll")
    adapter.execute(make_request())
    with pytest.raises(LookupError) as caught:
        mock.calls("wether")
    assert "no function 'wether'" in str(caught.value)
    assert "'weather' 1 call, 'roll' 0 calls" in str(caught.value)


def test_calls_of_a_function_that_was_not_made_can_be_looked_at(mock, adapter, make_request):
    assert adapter.execute(make_request()).error_code == "not_found"
    assert mock.calls("weather")[0]["trigger"]["command"] == "weather"
    assert repr(mock) == "<mock_lambda: 'weather' 1 call, but not a function>"


def test_without_functions_the_repr_says_so(mock):
    assert repr(mock) == "<mock_lambda: no functions>"


# --- Many at once ---


def test_calls_from_many_threads_get_one_step_each(mock, make_request):
    answers = [{"success": True, "message": str(number)} for number in range(100)]
    mock.function("weather").answers(*answers)
    with LambdaAdapter("weather", "us-east-1", "module") as adapter:

        async def all_at_once():
            return await asyncio.gather(*(adapter.execute_async(make_request()) for _ in answers))

        responses = asyncio.run(all_at_once())
    assert sorted(int(response.message) for response in responses) == list(range(100))
    assert len(mock.calls("weather")) == 100


def test_handlers_run_at_the_same_time(mock, adapter, make_request):
    together = threading.Barrier(4)
    mock.function("weather", lambda event, context: {"success": together.wait(timeout=30) is not None})
    with ThreadPoolExecutor(4) as pool:
        assert all(response.success for response in pool.map(adapter.execute, [make_request()] * 4))


def test_a_handler_may_invoke_another_function(mock, client, attempt):
    mock.function("weather", lambda *_: {"success": client.invoke(FunctionName="radar")["StatusCode"] == 200})
    mock.function("radar")
    assert attempt() is None
    assert len(mock.calls("radar")) == 1


def test_adapters_side_by_side_have_their_own_functions(mock, make_request):
    names = ("weather", "roll")
    for name in names:
        mock.function(name, {"success": True, "message": name})
    adapters = [LambdaAdapter(name, "us-east-1", name) for name in names]
    assert [adapter.execute(make_request()).message for adapter in adapters] == list(names)


# --- Clients and other services ---


def test_an_adapter_needs_no_settings_changed(mock, make_request):
    """Its credentials, its endpoint and its region are those of production, or of a bot under development."""
    mock.function("weather", SUNNY)
    with LocalLambda({"weather": lambda event, context: RAINY}) as local:
        for settings in (
            {"region": "cn-north-1"},
            {"region": "us-gov-west-1", "aws_access_key_id": "AKIA", "aws_secret_access_key": "secret"},
            {"region": "us-east-1", "endpoint_url": "https://vpce-0123.lambda.us-east-1.vpce.amazonaws.com"},
            {"region": "us-east-1", "endpoint_url": local.endpoint_url},
        ):
            with LambdaAdapter("weather", module_name="module", **settings) as adapter:
                assert adapter.execute(make_request()).message == "Sunny", settings
        assert local.calls == []


def test_an_adapter_made_before_is_mocked_within_and_only_there(make_adapter, make_request):
    with LocalLambda({"function": lambda event, context: RAINY}) as local:
        adapter = make_adapter(endpoint_url=local.endpoint_url)
        assert adapter.execute(make_request()).message == "Rainy"
        for message in ("first", "second"):
            with mock_lambda() as mock:
                mock.function("function", {"success": True, "message": message})
                assert adapter.execute(make_request()).message == message
                within = make_adapter(endpoint_url=local.endpoint_url)
            assert adapter.execute(make_request()).message == "Rainy"
            assert within.execute(make_request()).message == "Rainy"


@pytest.mark.parametrize("patch_it", [False, True], ids=["", "patched-twice"])
def test_a_client_of_the_bots_own_is_mocked_once(mock, client, make_request, patch_it):
    mock.function("weather", SUNNY)
    if patch_it:
        patch_client(client)
    with LambdaAdapter("weather", "us-east-1", "module", client=client) as adapter:
        assert adapter.execute(make_request()).message == "Sunny"
    assert len(mock.calls("weather")) == 1


def test_other_services_are_mocked_too(mock, adapter, make_request):
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="forecasts")

    def handler(event, context):
        s3.put_object(Bucket="forecasts", Key="Berlin", Body=b"Sunny")
        return SUNNY

    mock.function("weather", handler)
    assert adapter.execute(make_request()).success
    assert s3.get_object(Bucket="forecasts", Key="Berlin")["Body"].read() == b"Sunny"


def test_other_operations_of_lambda_are_motos_without_docker(mock, client):
    mock.function("weather")
    assert client.list_functions()["Functions"] == []
    assert default_user_config["lambda"] == {"use_docker": False}


# --- The end ---


class ExampleError(Exception):
    pass


@pytest.mark.parametrize("error", [None, ExampleError, KeyboardInterrupt], ids=["", "exception", "Ctrl-C"])
def test_everything_is_as_before_when_it_ends(monkeypatch, error):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-my-own")

    def state():
        session = boto3.DEFAULT_SESSION
        return (workers.wait_scale, BotocoreStubber.__call__, dict(os.environ), session, moto_is_on())

    before = state()
    try:
        with mock_lambda() as mock:
            assert workers.wait_scale == 0.0
            assert moto_is_on()
            mock.function("weather").fails()
            if error:
                raise error
    except (ExampleError, KeyboardInterrupt):
        pass
    assert state() == before
    assert (workers.wait_scale, BotocoreStubber.__call__) == (1.0, MOTOS_OWN)


def moto_is_on():
    return sys.modules["moto.core.models"].botocore_stubber.enabled


def test_one_after_the_other_do_not_meet(make_request):
    for _ in range(2):
        with mock_lambda() as mock, LambdaAdapter("weather", "us-east-1", "module") as adapter:
            assert adapter.execute(make_request()).error_code == "not_found"
            mock.function("weather").fails(times=3)
            assert adapter.execute(make_request()).error_code == "function_error"
            assert len(mock.calls("weather")) == 2
            s3 = boto3.client("s3", region_name="us-east-1")
            assert s3.list_buckets()["Buckets"] == []
            s3.create_bucket(Bucket="forecasts")


def test_within_another_the_inner_functions_come_first_and_the_outer_after_them(mock, attempt, make_request):
    outer = mock
    outer.function("weather", SUNNY).fails()
    outer.function("roll")
    with mock_lambda() as inner:
        inner.function("weather", RAINY)
        assert attempt() == "Rainy"
        with LambdaAdapter("roll", "us-east-1", "module") as roll, LambdaAdapter("news", "us-east-1", "module") as news:
            assert roll.execute(make_request()).success
            assert news.execute(make_request()).error_code == "not_found"
    assert repr(inner) == "<mock_lambda: 'weather' 1 call, 'news' 1 call, but not a function>"
    assert repr(outer) == "<mock_lambda: 'weather' 0 calls, 'roll' 1 call>"
    assert workers.wait_scale == 0.0
    assert [attempt(), attempt()] == ["function_error", "Sunny"]


def test_unittest_can_use_it_as_well(make_request):
    class TestBot(unittest.TestCase):
        def setUp(self):
            context = mock_lambda()
            self.mock_lambda = context.__enter__()
            self.addCleanup(context.__exit__, None, None, None)

        def test_weather(self):
            self.mock_lambda.function("weather", SUNNY)
            with LambdaAdapter("weather", "us-east-1", "module") as adapter:
                assert adapter.execute(make_request()).message == "Sunny"

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(TestBot).run(result)
    assert (result.testsRun, result.failures, result.errors) == (1, [], [])
    assert workers.wait_scale == 1.0


# --- The plugin, in a pytest of its own ---


@pytest.fixture
def run_pytest(tmp_path):
    """Runs pytest in a new directory, with this text as its only test file."""

    def run(text, *args):
        (tmp_path / "test_bot.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return run_python(tmp_path, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", *args, "test_bot.py")

    return run


#: Harmless where the installed package's entry point has loaded it already.
PLUGIN = ["-p", "lambda_adapter.testing.pytest_plugin"]

WARNINGS = [
    *("-W", "error", "-W", "ignore:Boto3 will no longer support Python", "-W", "ignore:Python 3.8 is no longer"),
    *("-W", "ignore:datetime.datetime.utc:DeprecationWarning:botocore"),
]


def run_python(directory, *args):
    path = os.pathsep.join([str(PACKAGES), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return subprocess.run(
        [sys.executable, *WARNINGS, *args],
        env={**os.environ, "PYTHONPATH": path.strip(os.pathsep), "PYTHONIOENCODING": "utf-8"},
        cwd=str(directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
    )


PRELUDE = """
    from lambda_adapter import ExecuteRequest, LambdaAdapter

    def ask(name):
        request = ExecuteRequest("weather", [], "Pingu", "lobby", "penguins", "session", "discord")
        with LambdaAdapter(name, "us-east-1", "module") as adapter:
            return adapter.execute(request)
"""


def test_the_example_passes(tmp_path):
    example = PROJECT / "examples" / "test_my_bot.py"
    (tmp_path / example.name).write_bytes(example.read_bytes())  # away from this project's own conftest and settings
    done = run_python(tmp_path, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-q", example.name)
    assert done.returncode == 0, done.stdout
    assert f"{example.read_text(encoding='utf-8').count('def test_')} passed" in done.stdout


def test_the_fixture_is_there_without_an_import_and_ends_with_its_test(run_pytest):
    done = run_pytest(
        PRELUDE
        + """
    def test_one(mock_lambda):
        mock_lambda.function("weather", {"success": True, "message": "Sunny"})
        assert ask("weather").message == "Sunny"
        raise OSError("in the test's body")

    def test_two(mock_lambda):
        assert ask("weather").error_code == "not_found"

    def test_three():
        from lambda_adapter._call import workers
        assert workers.wait_scale == 1.0
    """
    )
    assert "1 failed, 2 passed" in done.stdout
    assert "OSError: in the test's body" in done.stdout


def test_a_failing_test_says_what_is_known_and_what_was_called(run_pytest):
    done = run_pytest(
        PRELUDE
        + """
    def test_typing_error(mock_lambda):
        mock_lambda.function("weather")
        ask("wether")
        assert len(mock_lambda.calls("weather")) == 1
    """
    )
    assert "<mock_lambda: 'weather' 0 calls, 'wether' 1 call, but not a function>" in done.stdout
    assert "A function was invoked that the test has not made: 'wether'" in done.stdout


def test_parallel_workers_do_not_meet(run_pytest, tmp_path):
    pytest.importorskip("xdist")
    done = run_pytest(
        PRELUDE
        + """
    import os, pathlib, time, boto3, pytest

    @pytest.mark.parametrize("number", [0, 1])
    def test_at_the_same_time(mock_lambda, number):
        mock_lambda.function("weather", {"success": True, "message": str(number)}).throttles(times=1)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=f"bucket-{number}")
        pathlib.Path(f"worker-{number}").write_text(os.environ["PYTEST_XDIST_WORKER"])
        deadline = time.monotonic() + 60
        while not pathlib.Path(f"worker-{1 - number}").exists():
            assert time.monotonic() < deadline, "the other worker never came"
            time.sleep(0.01)
        assert ask("weather").message == str(number)
        assert len(mock_lambda.calls("weather")) == 2
        (bucket,) = boto3.client("s3", region_name="us-east-1").list_buckets()["Buckets"]
        assert bucket["Name"] == f"bucket-{number}"
    """,
        *("-n", "2"),
    )
    assert "2 passed" in done.stdout, done.stdout
    assert {(tmp_path / f"worker-{number}").read_text() for number in (0, 1)} == {"gw0", "gw1"}


def test_loading_the_plugin_imports_next_to_nothing(tmp_path):
    """Every pytest run loads it, whether it tests a bot or not."""
    done = run_python(
        tmp_path,
        "-c",
        "import pytest, sys; before = set(sys.modules); import lambda_adapter.testing.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))",
    )
    assert done.stdout.split() == ["lambda_adapter", "lambda_adapter.testing", "lambda_adapter.testing.pytest_plugin"]


@pytest.mark.parametrize("missing", ["moto", "moto.core.botocore_stubber"])
def test_without_moto_the_message_says_what_to_install(run_pytest, missing):
    done = run_pytest(
        f"""
    import sys
    sys.modules[{missing!r}] = None

    def test_bot(mock_lambda):
        pass
    """
    )
    assert "ImportError: lambda_adapter.testing needs moto from 5.0.4: " in done.stdout
    assert "pip install 'lambda-adapter[testing]'" in done.stdout


@pytest.mark.parametrize("many", MANY.values(), ids=MANY.keys())
def test_many_calls_are_answered_by_the_mock(mock, make_request, many):
    """They run in threads of the adapter's, with retries that nobody waits for."""
    weather = mock.function("weather", lambda event, context: {"success": True, "message": event["request_id"]})
    weather.throttles(times=3)
    given = [make_request(session_id=str(number)) for number in range(20)]
    with LambdaAdapter("weather", "us-east-1", "module", max_concurrency=4) as adapter:
        pairs = many(adapter, given)
    assert sorted(response.message for _, response in pairs) == sorted(request.session_id for request in given)
    assert all(response.message == request.session_id for request, response in pairs)
    assert sum(response.invocation.attempts for _, response in pairs) == 23
