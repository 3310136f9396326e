"""One call: its attempts, their delays, what ends it, and every answer read to its end."""

import io
import json

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError, ResponseStreamingError

from lambda_adapter._aws.failures import Failure
from lambda_adapter._call.attempts import Invoker
from lambda_adapter._call.backoff import Backoff
from lambda_adapter._call.outcomes import failed
from lambda_adapter._call.reporter import AttemptReporter
from lambda_adapter._call.steps import drive
from lambda_adapter._rules.limits import MAX_ANSWER_BYTES
from lambda_adapter._wire.arguments import InvokeArguments
from lambda_adapter._wire.payload import EncodedRequest
from support.clients import client_error

PAYLOAD = json.dumps({"trigger": {"context_text": None, "event_data": None}}).encode()
CALL = EncodedRequest(PAYLOAD, request_id="request", scopes=(), session_id="request", community_id="community")
NOT_SENT = ConnectTimeoutError(endpoint_url="https://host")
MAYBE_RUN = ReadTimeoutError(endpoint_url="https://host")


class Body(io.BytesIO):
    """A body that knows whether it was read to the end, or closed; ``error`` is raised by the read that ends it."""

    def __init__(self, data, error=None):
        super().__init__(data)
        self.error = error
        self.sizes = []

    def read(self, size=-1):
        self.sizes.append(size)
        data = super().read(size)
        if self.error is not None and (size in (-1, None) or not data):
            raise self.error
        return data

    @property
    def exhausted(self):
        return not self.closed and self.tell() == len(self.getvalue())


def answered(obj=None, *, status=200, length=True, error=None, body=None, headers=None, **fields):
    """What boto3's invoke returns."""
    data = json.dumps({"success": True} if obj is None else obj).encode() if body is None else body
    all_headers = {**({"content-length": str(len(data))} if length else {}), **(headers or {})}
    metadata = {"RequestId": "0f4e0d1c-ab12", "HTTPStatusCode": status, "HTTPHeaders": all_headers}
    return {"StatusCode": status, "ResponseMetadata": metadata, "Payload": Body(data, error), **fields}


THROTTLED = client_error("TooManyRequestsException", 429)


class LeasedClient:
    """Stands for a boto3 client and for the shared object around it; the last reaction is repeated."""

    def __init__(self, *reactions):
        self.client = self
        self.reactions = reactions
        self.calls = []

    def __call__(self):
        return self

    def invoke(self, **arguments):
        self.calls.append(arguments)
        reaction = self.reactions[min(len(self.calls), len(self.reactions)) - 1]
        if isinstance(reaction, BaseException):
            raise reaction
        return reaction


def run(client, go_on=lambda delay_s: True, deadline=None, **settings):
    """The call's result and the delays that it asked for."""
    arguments = InvokeArguments("function", invocation_type=settings.pop("invocation_type", "RequestResponse"))
    defaults = {
        "arguments": arguments,
        "reporter": AttemptReporter(None, "module", "function"),
        "backoff": Backoff(0.5, 30.0, jitter=0.0),
        "max_retries": 3,
        "idempotent": True,
    }
    delays = []

    def wait(delay_s):
        delays.append(delay_s)
        return go_on(delay_s)

    invoker = Invoker(client=client, **{**defaults, **settings})
    return drive(invoker.attempts(CALL, deadline), wait), delays


# -- Attempts -------------------------------------------------------------------------------------


def test_a_success_is_one_attempt_without_a_delay():
    client = LeasedClient(answered({"success": True, "message": "hi"}, ExecutedVersion="7"))
    result, delays = run(client)
    assert (result.attempts, len(client.calls), delays) == (1, 1, [])
    outcome = result.outcome
    assert (outcome.failure, outcome.executed, outcome.answer.message) == (None, "yes", "hi")
    assert (
        outcome.head.status_code,
        outcome.head.request_id,
        outcome.head.executed_version,
        outcome.head.function_error,
    ) == (
        200,
        "0f4e0d1c-ab12",
        "7",
        None,
    )


@pytest.mark.parametrize("max_retries", range(6))
def test_attempts_are_one_and_the_retries(max_retries):
    client = LeasedClient(THROTTLED)
    result, delays = run(client, max_retries=max_retries)
    assert len(client.calls) == result.attempts == 1 + max_retries
    assert delays == [0.5, 1, 2, 4, 8][:max_retries]
    assert result.outcome.failure.error_code == "throttled"


def test_the_same_arguments_go_out_in_every_attempt():
    client = LeasedClient(THROTTLED)
    run(client)
    expected = {"FunctionName": "function", "Payload": PAYLOAD}
    assert client.calls == [expected] * 4


def test_a_retry_that_succeeds_ends_the_call():
    client = LeasedClient(THROTTLED, NOT_SENT, answered())
    result, delays = run(client)
    assert (result.attempts, result.outcome.failure, delays) == (3, None, [0.5, 1.0])


@pytest.mark.parametrize(
    ("reaction", "idempotent", "attempts"),
    [
        pytest.param(NOT_SENT, True, 4, id="not sent, idempotent"),
        pytest.param(NOT_SENT, False, 4, id="not sent"),
        pytest.param(THROTTLED, False, 4, id="throttled"),
        pytest.param(MAYBE_RUN, True, 4, id="maybe run, idempotent"),
        pytest.param(MAYBE_RUN, False, 1, id="maybe run"),
        pytest.param(client_error("503", 503), True, 4, id="gateway, idempotent"),
        pytest.param(client_error("503", 503), False, 1, id="gateway"),
        pytest.param(client_error("ServiceException", 500), False, 4, id="AWS says it did not run"),
        pytest.param(client_error("ResourceNotFoundException", 404), True, 1, id="permanent"),
        pytest.param(ValueError("?"), True, 1, id="unexplained"),
        pytest.param(StopIteration(), True, 1, id="StopIteration"),
    ],
)
def test_only_what_can_help_and_cannot_harm_is_retried(reaction, idempotent, attempts):
    client = LeasedClient(reaction)
    result, _ = run(client, idempotent=idempotent)
    assert len(client.calls) == result.attempts == attempts


def test_a_call_that_may_have_run_is_final_even_after_harmless_failures():
    client = LeasedClient(NOT_SENT, THROTTLED, MAYBE_RUN)
    result, _ = run(client, idempotent=False)
    assert (result.attempts, result.outcome.failure.error_code) == (3, "timeout")


@pytest.mark.parametrize(
    ("value", "delay_s"), [("7", 7.0), ("0", 0.5), ("100", 30.0), ("-1", 0.5), ("banana", 0.5), ("9" * 400, 30.0)]
)
def test_retry_after_raises_the_delay_up_to_the_maximum(value, delay_s):
    error = client_error("TooManyRequestsException", 429, {"retry-after": value})
    _, delays = run(LeasedClient(error, answered()))
    assert delays == [delay_s]


def test_retry_after_holds_for_one_delay_only():
    error = client_error("TooManyRequestsException", 429, {"retry-after": "7"})
    _, delays = run(LeasedClient(error, THROTTLED, answered()))
    assert delays == [7.0, 1.0]


def test_a_call_that_is_ended_in_a_wait_makes_no_further_attempt():
    client = LeasedClient(THROTTLED)
    result, delays = run(client, go_on=lambda delay_s: delay_s < 1)
    assert (len(client.calls), result.attempts, delays) == (2, 2, [0.5, 1.0])
    assert result.outcome.failure.error_code == "throttled"
    assert "ended before its next attempt" in result.outcome.failure.cause


def test_the_duration_is_from_the_first_attempt_to_the_outcome():
    times = iter([100.0, 101.0, 103.0, 107.0, 107.5])
    result, _ = run(LeasedClient(THROTTLED, answered()), clock=lambda: next(times))
    assert result.duration_s == 7.5


def test_a_client_is_asked_for_before_each_attempt():
    clients = iter([LeasedClient(THROTTLED), LeasedClient(NOT_SENT), LeasedClient(answered())])
    result, _ = run(lambda: next(clients))
    assert (result.attempts, result.outcome.failure) == (3, None)


def test_a_client_that_cannot_be_made_is_a_failure():
    def no_client():
        raise RuntimeError("swordfish")

    result, _ = run(no_client)
    assert (result.attempts, result.outcome.failure.error_code) == (1, "internal_error")
    assert "swordfish" not in result.outcome.failure.cause


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_through(error):
    with pytest.raises(error):
        run(LeasedClient(error()))


# -- Answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [True, False], ids=["with length", "without length"])
@pytest.mark.parametrize(
    ("invocation_type", "response"),
    [
        ("RequestResponse", {}),
        ("RequestResponse", {"body": b"not JSON"}),
        ("RequestResponse", {"FunctionError": "Unhandled"}),
        ("RequestResponse", {"body": b"x" * 200_000}),
        ("Event", {"status": 202, "body": b""}),
        ("Event", {"status": 202, "body": b"unexpected"}),
    ],
    ids=["success", "bad answer", "function error", "large", "event", "event with a body"],
)
def test_an_answer_is_read_to_its_end(invocation_type, response, length):
    """An unread one costs a connection."""
    given = answered(**response, length=length)
    run(LeasedClient(given), invocation_type=invocation_type)
    assert given["Payload"].exhausted


def test_an_answer_without_length_is_read_until_nothing_comes():
    given = answered(body=b'{"success": true}', length=False)
    run(LeasedClient(given))
    assert len(given["Payload"].sizes) == 2  # the second read says that there is no more


@pytest.mark.parametrize("length", [None, str(MAX_ANSWER_BYTES + 1), "9" * 400, "banana", "-1", "１"], ids=ascii)
def test_an_answer_larger_than_any_functions_is_given_up(length):
    headers = {} if length is None else {"content-length": length}
    given = answered(body=b"x" * (MAX_ANSWER_BYTES + 100_000), length=False, headers=headers)
    result, _ = run(LeasedClient(given))
    assert (result.attempts, result.outcome.failure.error_code, result.outcome.executed) == (
        1,
        "invalid_response",
        "yes",
    )
    assert given["Payload"].closed
    assert None not in given["Payload"].sizes
    assert -1 not in given["Payload"].sizes


@pytest.mark.parametrize("length", [True, False], ids=["with length", "without length"])
def test_the_largest_answer_is_read(length):
    message = "x" * (6_291_456 - len('{"success": true, "message": ""}'))
    result, _ = run(LeasedClient(answered({"success": True, "message": message}, length=length)))
    assert result.outcome.answer.message == message


@pytest.mark.parametrize("length", [True, False], ids=["with length", "without length"])
@pytest.mark.parametrize(
    ("error", "error_code"),
    [
        (ReadTimeoutError(endpoint_url="None"), "timeout"),
        (ResponseStreamingError(error="reset"), "connection_lost"),
        (ValueError("banana"), "connection_lost"),
    ],
    ids=["stalled", "reset", "bad length"],
)
@pytest.mark.parametrize(("idempotent", "attempts"), [(True, 4), (False, 1)])
def test_an_answer_that_breaks_off_is_retried_only_if_the_function_may_run_twice(
    error, error_code, idempotent, attempts, length
):
    client = LeasedClient(*(answered(error=error, length=length) for _ in range(4)))
    result, _ = run(client, idempotent=idempotent)
    assert len(client.calls) == attempts
    assert (result.outcome.failure.error_code, result.outcome.executed) == (error_code, "maybe")


@pytest.mark.parametrize(
    "response",
    [{"error": ResponseStreamingError(error="reset")}, {"body": b"x" * (MAX_ANSWER_BYTES + 1)}],
    ids=["broken off", "too large"],
)
def test_the_head_of_an_answer_is_told_even_if_its_body_is_lost(response):
    """AWS's request id is what leads to the log of a call that may have run."""
    result, _ = run(LeasedClient(answered(**response)), max_retries=0)
    assert (result.outcome.head.status_code, result.outcome.head.request_id) == (200, "0f4e0d1c-ab12")


@pytest.mark.parametrize("kind", ["Unhandled", "Handled", "SomethingNew", ""])
def test_any_function_error_means_that_the_function_failed(kind):
    response = answered({"success": True, "errorType": "KeyError", "errorMessage": "'city'"}, FunctionError=kind)
    result, _ = run(LeasedClient(response))
    assert (result.attempts, result.outcome.executed) == (1, "yes")
    assert (result.outcome.failure.error_code, result.outcome.failure.cause) == ("function_error", "KeyError: 'city'")
    assert result.outcome.head.function_error == (kind if kind in ("Unhandled", "Handled") else "unknown")


def test_success_false_is_a_failure_with_an_answer():
    result, _ = run(LeasedClient(answered({"success": False, "message": "Sorry", "error": "no such city"})))
    assert (result.attempts, result.outcome.executed) == (1, "yes")
    assert result.outcome.failure.error_code == "function_failed"
    assert (result.outcome.answer.message, result.outcome.answer.error) == ("Sorry", "no such city")


def test_a_bad_answer_is_final_and_the_function_ran():
    result, _ = run(LeasedClient(answered([1])))
    assert (result.attempts, result.outcome.executed) == (1, "yes")
    assert result.outcome.failure.error_code == "invalid_response"
    assert (result.outcome.head.status_code, result.outcome.head.request_id) == (200, "0f4e0d1c-ab12")


def test_an_event_is_queued_and_nobody_knows_whether_it_ran():
    client = LeasedClient(answered(status=202, body=b""))
    result, _ = run(client, invocation_type="Event")
    assert client.calls[0]["InvocationType"] == "Event"
    assert (result.outcome.failure, result.outcome.executed) == (None, "maybe")
    assert (result.outcome.answer.success, result.outcome.answer.message) == (True, "Lambda function queued")


@pytest.mark.parametrize(
    "response",
    [{}, {"Payload": None}, {"ResponseMetadata": None, "Payload": None}, {"Payload": io.BytesIO(b"")}, None, 5],
    ids=["empty", "Payload is None", "ResponseMetadata is None", "no StatusCode", "None", "5"],
)
def test_a_client_that_returns_no_answer_is_a_failure_and_not_an_exception(response):
    result, _ = run(LeasedClient(response), max_retries=0)
    assert result.outcome.failure.error_code in ("invalid_response", "connection_lost", "internal_error")


@pytest.mark.parametrize("version", ["$LATEST", "12", None])
def test_the_executed_version_is_told(version):
    fields = {} if version is None else {"ExecutedVersion": version}
    assert run(LeasedClient(answered(**fields)))[0].outcome.head.executed_version == version


def test_what_a_server_puts_into_names_is_shown_only_if_it_looks_like_one():
    result, _ = run(LeasedClient(answered(ExecutedVersion="<b>\n", FunctionError="https://host")))
    assert (result.outcome.head.executed_version, result.outcome.head.function_error) == (None, "unknown")


# -- DryRun ---------------------------------------------------------------------------------------


def test_a_dry_run_that_is_answered_204_is_permitted():
    result, _ = run(LeasedClient(answered(body=b"", status=204)), invocation_type="DryRun")
    assert (result.outcome.failure, result.outcome.executed) == (None, "no")


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("fields", [{}, {"FunctionError": "Unhandled"}], ids=["success", "function error"])
def test_a_dry_run_that_is_answered_otherwise_is_none(status, fields):
    """What does not know DryRun has run the function, and may run anything."""
    result, _ = run(LeasedClient(answered(status=status, **fields)), invocation_type="DryRun")
    assert result.outcome.failure.error_code == "invalid_response"
    assert result.outcome.executed == "maybe"


@pytest.mark.parametrize(
    ("transient", "executed", "idempotent", "why_ended"),
    [
        (True, "no", True, None),
        (True, "no", False, None),
        (True, "maybe", True, None),
        (True, "maybe", False, "may_have_run"),
        (True, "yes", False, "may_have_run"),
        (False, "no", True, "permanent"),
        (False, "maybe", True, "permanent"),
        (False, "maybe", False, "permanent"),
    ],
)
def test_what_may_have_run_is_retried_only_if_it_may_run_twice(transient, executed, idempotent, why_ended):
    invoker = Invoker(None, None, Backoff(0.5, 30.0), 3, idempotent, None)
    outcome = failed(Failure("timeout", "no answer", executed=executed, transient=transient))
    assert invoker._why_final(outcome, 1, None, 0.0) == why_ended
