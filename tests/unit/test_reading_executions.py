"""Executions: what each state and each failure means, how long it looks, and what it asks AWS for. No sockets."""

import json
from datetime import datetime, timezone

import pytest
from botocore.exceptions import EndpointConnectionError

from lambda_adapter import ExecuteRequest
from lambda_adapter._aws.failures import Failure
from lambda_adapter._call.backoff import Backoff
from lambda_adapter._call.deadline import Deadline
from lambda_adapter._call.executions import Executions, Wanted
from lambda_adapter._call.outcomes import failed
from lambda_adapter._rules.identifiers import parse_identifier
from lambda_adapter._wire.payload import encode_request
from support.clients import client_error

NAME = "one-0f4e"
ARN = f"arn:aws:lambda:us-east-1:123456789012:function:dice:3/durable-execution/{NAME}/0f4e"
CALL = encode_request(ExecuteRequest("roll", ["2d6"], "u", "e", "c", "one", "discord"))
PAYLOAD = CALL.payload.decode()
REFUSAL = failed(Failure("already_started"))
DENIED = client_error("AccessDeniedException", 403)
THROTTLED = client_error("TooManyRequestsException", 429)
GONE = client_error("ResourceNotFoundException", 404)
DONE = {"Status": "SUCCEEDED", "Result": '{"success": true, "message": "rolled"}', "Version": "3"}
RUNNING = {"Status": "RUNNING"}
LISTED = {"DurableExecutions": [{"DurableExecutionArn": ARN, "DurableExecutionName": NAME}]}


class Aws:
    """A client whose operations react in order; the last reaction stays."""

    def __init__(self, get=(DONE,), listed=(LISTED,), stop=({},)):
        self.reactions = {"get": list(get), "list": list(listed), "stop": list(stop)}
        self.asked = []
        self.client = self

    def _react(self, what, arguments):
        self.asked.append((what, arguments))
        left = self.reactions[what]
        reaction = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reaction, Exception):
            raise reaction
        return reaction

    def get_durable_execution(self, **arguments):
        reaction = self._react("get", arguments)
        return {"InputPayload": PAYLOAD, "DurableExecutionArn": arguments["DurableExecutionArn"], **reaction}

    def list_durable_executions_by_function(self, **arguments):
        return self._react("list", arguments)

    def stop_durable_execution(self, **arguments):
        return self._react("stop", arguments)

    def count(self, what):
        return sum(asked == what for asked, _ in self.asked)


def executions(aws, **settings):
    given = {"backoff": Backoff(1.0, 8.0, jitter=0.0), "max_retries": 2, "answer_timeout_s": 30.0, **settings}
    return Executions(parse_identifier("dice:prod"), "us-east-1", lambda: aws, clock=lambda: 0.0, **given)


def drive(steps, ends_after=None):
    """The result, and the waits that were asked for, over which no time passes."""
    waits = []
    try:
        waits.append(next(steps))
        while True:
            waits.append(steps.send(len(waits) != ends_after))
    except StopIteration as done:
        return done.value, waits


def result(aws, wait_s=60.0, arn=ARN, **more):
    return drive(executions(aws).result(Wanted(NAME, arn), wait_s), **more)


ENDED = {
    "succeeded": (DONE, None, ""),
    "said no": ({"Status": "SUCCEEDED", "Result": '{"success": false}'}, "function_failed", ""),
    "no module's answer": ({"Status": "SUCCEEDED", "Result": "[1]"}, "invalid_response", "an array"),
    "no result": ({"Status": "SUCCEEDED"}, "invalid_response", "empty"),
    "a result that is no text": ({"Status": "SUCCEEDED", "Result": 1}, "invalid_response", ""),
    "failed": (
        {"Status": "FAILED", "Error": {"ErrorType": "KeyError", "ErrorMessage": "no dice"}},
        "function_error",
        "KeyError: no dice",
    ),
    "failed without a word": ({"Status": "FAILED"}, "function_error", "without saying why"),
    "timed out": ({"Status": "TIMED_OUT"}, "function_error", "timed out"),
    "stopped": ({"Status": "STOPPED", "Error": {"ErrorType": "Bored"}}, "function_error", "stopped: Bored"),
    "being deleted": ({"Status": "DELETING"}, "not_found", "deleted"),
}


@pytest.mark.parametrize(("reply", "code", "told"), ENDED.values(), ids=list(ENDED))
def test_what_an_end_means(reply, code, told):
    outcome, waits = result(Aws([RUNNING, reply]))
    assert (outcome.error_code, outcome.executed, waits) == (code, "yes", [0.25])
    assert told in (outcome.failure.cause if outcome.failure else "")
    assert outcome.head.execution_arn == ARN


def test_an_error_that_repeats_what_the_user_typed_is_withheld():
    typed = json.loads(PAYLOAD)
    typed["trigger"]["context_text"] = "hunter2hunter2"
    error = {"ErrorType": "ValueError", "ErrorMessage": "bad password hunter2hunter2"}
    outcome, _ = result(Aws([{"Status": "FAILED", "Error": error, "InputPayload": json.dumps(typed)}]))
    assert "hunter2" not in outcome.failure.cause
    for unknown in ("no JSON", "[]", "{}", '{"trigger": 1, "user": {}, "community": {}}', None, "[" * 100_000):
        outcome, _ = result(Aws([{"Status": "FAILED", "Error": error, "InputPayload": unknown}]))
        assert outcome.failure.cause == "ValueError"


@pytest.mark.parametrize("status", ["RUNNING", "PAUSING", "PAUSED", "A_NEW_ONE", None])
def test_what_has_not_ended_is_pending_after_the_wait_and_looked_at_once_more_at_its_end(status):
    aws = Aws([{"Status": status}])
    outcome, waits = result(aws, wait_s=12.0)
    assert (outcome.error_code, outcome.executed) == ("pending", "yes")
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.25]
    assert aws.count("get") == 7


def test_polls_are_five_seconds_apart_at_most():
    assert set(result(Aws([RUNNING]), wait_s=60.0)[1][5:-1]) == {5.0}


def test_without_a_wait_it_looks_once():
    aws = Aws([RUNNING])
    assert result(aws, wait_s=0)[1] == []
    assert aws.count("get") == 1


def test_a_wait_that_is_ended_is_pending():
    outcome, waits = result(Aws([RUNNING]), ends_after=2)
    assert (outcome.error_code, len(waits)) == ("pending", 2)


FAULTS = {
    "denied": (DENIED, "access_denied", "lambda:GetDurableExecution", []),
    "gone": (GONE, "not_found", "none any more", []),
    "throttled": (THROTTLED, "throttled", "GetDurableExecution", [1.0, 2.0]),
    "unreachable": (EndpointConnectionError(endpoint_url="x"), "connection_error", "", [1.0, 2.0]),
    "beyond all knowledge": (ZeroDivisionError(), "internal_error", "ZeroDivisionError", []),
}


@pytest.mark.parametrize(("fault", "code", "told", "waited"), FAULTS.values(), ids=list(FAULTS))
def test_a_look_that_fails_leaves_open_whether_the_function_ran(fault, code, told, waited):
    outcome, waits = result(Aws([fault]), wait_s=0)
    assert (outcome.error_code, outcome.executed, waits) == (code, "maybe", waited)
    assert told in outcome.failure.cause


def test_a_look_that_fails_for_a_while_does_not_end_a_wait_with_patience_left():
    outcome, waits = result(Aws([*[THROTTLED] * 6, DONE]), wait_s=60.0)
    assert outcome.error_code is None
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_credentials_that_aws_refuses_are_renewed_once():
    renewed = []
    aws = Aws([client_error("ExpiredTokenException", 403)] * 2 + [DONE])
    reader = executions(aws, renew=lambda shared: renewed.append(shared) or True)
    outcome, _ = drive(reader.result(Wanted(NAME, ARN), 0))
    assert (outcome.error_code, len(renewed)) == ("access_denied", 2)
    assert aws.count("get") == 2


def test_an_execution_is_found_by_its_name_in_all_versions_and_over_pages_that_are_empty():
    pages = [{"DurableExecutions": [], "NextMarker": "1"}, {"NextMarker": "2"}, LISTED]
    aws = Aws(listed=pages)
    assert result(aws, arn=None)[0].error_code is None
    assert [asked for what, asked in aws.asked if what == "list"] == [
        {"FunctionName": "dice", "DurableExecutionName": NAME},
        {"FunctionName": "dice", "DurableExecutionName": NAME, "Marker": "1"},
        {"FunctionName": "dice", "DurableExecutionName": NAME, "Marker": "2"},
    ]


def test_of_several_the_newest_is_meant_and_of_other_names_none():
    def at(day, arn, name=NAME):
        started = datetime(2026, 1, day, tzinfo=timezone.utc)
        return {"DurableExecutionArn": arn, "DurableExecutionName": name, "StartTimestamp": started}

    aws = Aws(listed=[{"DurableExecutions": [at(1, "old"), at(3, ARN), at(2, "middle"), at(4, "other", "other")]}])
    result(aws, arn=None)
    assert aws.asked[-1] == ("get", {"DurableExecutionArn": ARN})


@pytest.mark.parametrize("listed", [{"DurableExecutions": []}, {}], ids=["an empty list", "none"])
def test_a_name_that_is_not_listed_is_not_found(listed):
    outcome, waits = result(Aws(listed=[listed]), arn=None)
    assert (outcome.error_code, outcome.executed, waits) == ("not_found", "maybe", [])


def test_stop_finds_and_stops():
    aws = Aws(stop=[THROTTLED, {}])
    outcome, waits = drive(executions(aws).stop(Wanted(NAME)))
    assert (outcome.error_code, waits) == (None, [1.0])
    assert aws.asked[-1] == ("stop", {"DurableExecutionArn": ARN})


# --- After a 409 ---


def attach(aws, deadline=None, waits=True, **more):
    steps = executions(aws).attach(CALL, NAME, REFUSAL, deadline, waits)
    (outcome, goes_on), delays = drive(steps, **more)
    return outcome, goes_on, delays


SAME = {
    "as it is": {},
    "another time": {"timestamp": "2000-01-01T00:00:00.000000Z"},
    "what OpenTelemetry adds": {"headers": {"traceparent": "00-1-2-00"}},
}
OTHER = {
    "other words": {"trigger": {}},
    "another id": {"request_id": "other"},
    "a number for its digits": {"request_id": 1},
    "one key more": {"more": None},
}


@pytest.mark.parametrize("change", SAME.values(), ids=list(SAME))
def test_the_same_words_attach(change):
    payload = json.dumps({**json.loads(PAYLOAD), **change})
    outcome, goes_on, delays = attach(Aws([{**RUNNING, "InputPayload": payload}, {**DONE, "InputPayload": payload}]))
    assert (outcome.error_code, outcome.attached, goes_on, delays) == (None, True, True, [0.25])


@pytest.mark.parametrize(("replies", "is_old"), [([DONE], True), ([RUNNING, DONE], False)], ids=["ended", "running"])
def test_what_had_ended_before_the_call_is_old(replies, is_old):
    outcome, _, _ = attach(Aws(replies))
    assert (outcome.attached, outcome.is_old) == (True, is_old)


FOREIGN = {
    "another function's": ARN.replace(":dice:", ":other:"),
    "another name's": ARN.replace(NAME, "other"),
    "no ARN": "not-an-arn",
    "a number": 5,
}


@pytest.mark.parametrize("arn", FOREIGN.values(), ids=list(FOREIGN))
def test_a_list_that_names_a_foreign_execution_is_followed_nowhere(arn):
    aws = Aws(listed=[{"DurableExecutions": [{"DurableExecutionArn": arn, "DurableExecutionName": NAME}]}])
    outcome, _ = result(aws, arn=None)
    assert (outcome.error_code, outcome.executed, aws.count("get")) == ("invalid_response", "maybe", 0)


def test_an_answer_about_a_foreign_execution_does_not_lead_there():
    aws = Aws([{**RUNNING, "DurableExecutionArn": FOREIGN["another function's"]}, DONE])
    result(aws)
    assert [asked for what, asked in aws.asked if what == "get"] == [{"DurableExecutionArn": ARN}] * 2


@pytest.mark.parametrize(
    "listed",
    [{"DurableExecutions": [], "NextMarker": "m"}, {"DurableExecutions": "abc"}, {"DurableExecutions": [None, 5]}],
    ids=["without an end", "text", "of no objects"],
)
def test_of_a_list_that_is_none_nothing_is_known(listed):
    outcome, _ = result(Aws(listed=[listed]), arn=None)
    assert (outcome.error_code, outcome.executed) == ("invalid_response", "maybe")


@pytest.mark.parametrize("change", OTHER.values(), ids=list(OTHER))
def test_other_words_are_already_started(change):
    outcome, _, delays = attach(Aws([{**DONE, "InputPayload": json.dumps({**json.loads(PAYLOAD), **change})}]))
    assert (outcome.error_code, outcome.attached, outcome.executed, delays) == ("already_started", False, "yes", [])
    assert outcome.head.execution_arn == ARN


@pytest.mark.parametrize("payload", ["", "no JSON", "[" * 100_000, None, 1], ids=["empty", "text", "deep", "none", "1"])
def test_an_input_that_cannot_be_compared_is_another(payload):
    assert attach(Aws([{**DONE, "InputPayload": payload}]))[0].error_code == "already_started"


def test_a_start_attaches_without_waiting():
    outcome, _, delays = attach(Aws([RUNNING]), waits=False)
    assert (outcome.answer.message, outcome.attached, delays) == ("Lambda function queued", True, [])


def test_an_execution_that_is_not_listed_yet_is_waited_for():
    outcome, _, delays = attach(Aws(listed=[{"DurableExecutions": []}, LISTED]))
    assert (outcome.error_code, delays) == (None, [0.25])


def test_a_permission_that_is_missing_is_named_and_the_function_did_run():
    outcome, _, _ = attach(Aws(listed=[DENIED]))
    assert (outcome.error_code, outcome.executed) == ("access_denied", "yes")
    assert "lambda:ListDurableExecutionsByFunction" in outcome.failure.cause


def test_the_wait_ends_with_read_timeout_and_may_be_tried_again():
    outcome, goes_on, delays = attach(Aws([RUNNING]))
    assert (outcome.error_code, outcome.executed, goes_on) == ("timeout", "yes", True)
    assert outcome.failure.transient
    assert sum(delays) == 30.0


def test_the_wait_ends_with_the_deadline():
    outcome, goes_on, delays = attach(Aws([RUNNING]), Deadline(3.0, 3.0, 3_000))
    assert (outcome.error_code, goes_on, sum(delays)) == ("timeout", True, 3.0)


def test_a_call_that_is_ended_while_it_waits_is_pending():
    outcome, goes_on, _ = attach(Aws([RUNNING]), ends_after=1)
    assert (outcome.error_code, outcome.executed, outcome.attached, goes_on) == ("pending", "yes", True, False)
