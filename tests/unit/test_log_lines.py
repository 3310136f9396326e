"""Each line of the log says why, as text and as fields of its record, and the fields collide with nothing."""

import logging

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from lambda_adapter import CircuitBreaker
from lambda_adapter._text.log_lines import FIELDS, log_line
from support.clients import Client, client_error

TYPED = "swordfish"
ATTEMPT = {"function_name": "function", "session_id": "session_abc123"}


def raised(error_type, message="the data base is down"):
    return Client(({"errorType": error_type, "errorMessage": message}, {"FunctionError": "Unhandled"}))


def line(caplog, level):
    """The last record of a level."""
    return [record for record in caplog.records if record.levelname == level][-1]


@pytest.mark.parametrize(
    ("client", "level", "cause", "fields"),
    [
        pytest.param(
            Client(client_error("TooManyRequestsException", 429, message=TYPED)),
            "ERROR",
            "AWS is throttling the function (TooManyRequestsException)",
            {"error_code": "throttled", "executed": "no", "status_code": 429, "why_ended": "no_attempts_left"},
            id="a refusal of AWS's",
        ),
        pytest.param(
            Client(ReadTimeoutError(endpoint_url=f"https://{TYPED}")),
            "ERROR",
            "no answer within read_timeout (ReadTimeoutError)",
            {"error_code": "timeout", "executed": "maybe", "status_code": None},
            id="no answer",
        ),
        pytest.param(
            Client(ConnectTimeoutError(endpoint_url=f"https://{TYPED}")),
            "ERROR",
            "no connection within connect_timeout (ConnectTimeoutError)",
            {"error_code": "connection_error", "executed": "no"},
            id="no connection",
        ),
        pytest.param(
            Client(ValueError(TYPED)),
            "ERROR",
            "an unexpected error occurred (ValueError)",
            {"error_code": "internal_error", "executed": "maybe"},
            id="what nothing explains",
        ),
        pytest.param(
            Client([TYPED]),
            "ERROR",
            "the answer must be a JSON object, not an array",
            {"error_code": "invalid_response", "executed": "yes"},
            id="no module's answer",
        ),
        pytest.param(
            raised("KeyError"),
            "ERROR",
            "the function failed (KeyError)",
            {"error_code": "function_error", "executed": "yes", "attempts": 1, "why_ended": "permanent"},
            id="an exception",
        ),
        pytest.param(
            raised("&alloc::boxed::Box<dyn core::error::Error>"),
            "ERROR",
            "the function failed (&alloc::boxed::Box<dyn core::error::Error>)",
            {"error_code": "function_error"},
            id="a type of Rust's",
        ),
        pytest.param(
            raised(f"could not find {TYPED}"),
            "ERROR",
            "the function failed",
            {"error_code": "function_error"},
            id="a sentence for a type",
        ),
        pytest.param(
            raised("my-secret"), "ERROR", "the function failed", {"error_code": "function_error"}, id="no class's name"
        ),
        pytest.param(
            raised("", "2026-01-01 abc Task timed out after 3.00 seconds"),
            "ERROR",
            "the function failed (Task timed out)",
            {"error_code": "function_error"},
            id="out of time",
        ),
        pytest.param(
            Client({"success": False, "message": TYPED, "error": TYPED}),
            "WARNING",
            "the function answered success=false",
            {"error_code": "function_failed", "executed": "yes"},
            id="success=false",
        ),
        pytest.param(
            Client({"statusCode": 503, "body": TYPED}),
            "WARNING",
            "the function answered with HTTP status 503",
            {"error_code": "function_failed", "executed": "yes"},
            id="an HTTP status",
        ),
    ],
)
def test_the_end_of_a_failed_call_says_why(make_adapter, make_request, caplog, client, level, cause, fields):
    caplog.set_level(logging.INFO, "lambda_adapter")
    make_adapter(client=client, max_retries=0).execute(make_request())
    record = line(caplog, level)
    assert record.getMessage().endswith(f" cause={cause}")
    expected = {**ATTEMPT, "cause": cause, **fields}
    assert {name: getattr(record, name) for name in expected} == expected
    assert TYPED not in str(vars(record))


@pytest.mark.parametrize(
    ("settings", "changes", "code", "cause"),
    [
        pytest.param(
            {},
            {"args": [5]},
            "invalid_request",
            "args[0] must be a string, not a number",
            id="an argument",
        ),
        pytest.param(
            {},
            {"metadata": {"user": {"username": 5}}},
            "invalid_request",
            "metadata.user.username must be a string, not a number",
            id="a name of ours",
        ),
        pytest.param(
            {},
            {"metadata": {"is_event": True, "event_data": {TYPED: [{1}]}}},
            "invalid_request",
            "metadata.event_data.*[0] must be JSON, not set",
            id="a key that may have been typed",
        ),
        pytest.param(
            {},
            {"metadata": {TYPED: {5: 1}}},
            "invalid_request",
            "metadata.* has a key of type a number; JSON's keys are strings",
            id="a key of no string",
        ),
        pytest.param(
            {},
            {"metadata": {"user": {"\ud83d": 1}}},
            "invalid_request",
            "a key of metadata.user holds half a surrogate pair, which is no text",
            id="a key that is no text",
        ),
        pytest.param(
            {"strict_metadata": True},
            {"metadata": {"user": {TYPED: 1}}},
            "invalid_request",
            "metadata.user.* is not known; known are platform_user_id, username",
            id="an unknown key",
        ),
        pytest.param(
            {"required_scopes": ["a", "b"]}, {"scopes": ["b"]}, "missing_scopes", "the caller lacks a", id="a scope"
        ),
        pytest.param(
            {"invocation_type": "Event"},
            {"args": ["x" * 1_048_576]},
            "payload_too_large",
            None,
            id="too large",
        ),
    ],
)
def test_a_refusal_says_why(make_adapter, make_request, caplog, settings, changes, code, cause):
    adapter = make_adapter(client=Client(), **settings)
    caplog.set_level(logging.INFO, "lambda_adapter")
    response = adapter.execute(make_request(**changes))
    record = line(caplog, "WARNING")
    cause = cause or response.error.partition(": ")[2]
    assert record.getMessage() == f"Refused: module=module function=function code={code} executed=no cause={cause}"
    assert (record.error_code, record.cause, record.module_name) == (code, cause, "module")
    assert TYPED not in str(vars(record))


def test_a_refusal_by_an_open_circuit_says_when_it_ends(make_adapter, make_request, caplog):
    adapter = make_adapter(client=raised("KeyError"), circuit_breaker=CircuitBreaker(1, 60))
    adapter.execute(make_request())
    adapter.execute(make_request())
    assert line(caplog, "WARNING").cause == "the function has failed too often and is tried again in 60 s"


def test_a_retry_says_why(make_adapter, make_request, caplog):
    throttled = client_error("TooManyRequestsException", 429)
    adapter = make_adapter(client=Client(throttled), max_retries=1, initial_retry_delay=0.001, jitter=0)
    adapter.execute(make_request())
    record = line(caplog, "WARNING")
    expected = {**ATTEMPT, "error_code": "throttled", "status_code": 429, "attempts": 1, "delay_s": 0.001}
    assert {name: getattr(record, name) for name in expected} == expected
    assert record.cause == "AWS is throttling the function (TooManyRequestsException)"


def test_a_success_has_fields_and_no_cause(make_adapter, make_request, caplog):
    caplog.set_level(logging.INFO, "lambda_adapter")
    make_adapter(client=Client({"success": True, "targets": [1]})).execute(make_request())
    initialised, invoking, succeeded, dropped = caplog.records
    assert (initialised.module_name, initialised.region, initialised.max_retries) == ("module", "us-east-1", 3)
    assert (invoking.session_id, type(invoking.payload_bytes)) == ("session_abc123", int)
    assert (succeeded.error_code, succeeded.executed, type(succeeded.duration_s)) == (None, "yes", float)
    assert not hasattr(succeeded, "cause")
    assert dropped.dropped_targets == 1


@pytest.mark.parametrize(
    ("section", "key", "named", "meant"),
    [
        ("user", "usrename", "usrename", "did you mean username?"),
        ("community", "subscribed", "subscribed", "did you mean is_subscribed?"),
        ("entity", "x", "x", "known are platform_entity_id"),
        ("user", "what was typed", "*", "known are platform_user_id, username"),
        ("user", "", "*", "known are platform_user_id, username"),
    ],
)
def test_an_unknown_key_is_a_line_at_debug(make_adapter, make_request, caplog, section, key, named, meant):
    request = make_request(metadata={section: {key: 1}, "elsewhere": {"usrename": 1}})
    adapter = make_adapter(client=Client())
    with caplog.at_level(logging.INFO, "lambda_adapter"):
        adapter.execute(request)
        assert "Not sent" not in caplog.text
    with caplog.at_level(logging.DEBUG, "lambda_adapter"):
        adapter.execute(request)
    (record,) = [record for record in caplog.records if record.levelname == "DEBUG"]
    assert record.getMessage() == f"Not sent: key=metadata.{section}.{named} cause=is not known; {meant}"
    assert record.unknown_key == f"metadata.{section}.{named}"


def test_known_keys_are_no_line(make_adapter, make_request, caplog):
    caplog.set_level(logging.DEBUG, "lambda_adapter")
    metadata = {"user": {"username": "x"}, "community": None, "entity": {"platform_entity_id": 5}, "locale": "de"}
    make_adapter(client=Client()).execute(make_request(metadata=metadata))
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_no_field_is_an_attribute_of_every_record():
    record = logging.makeLogRecord({})
    logging.Formatter("%(message)s %(asctime)s").format(record)
    assert not FIELDS.keys() & {*vars(record), "taskName"}
    assert hasattr(record, "asctime")


@pytest.mark.parametrize("both", [False, True])
def test_a_programs_own_record_factory_may_use_the_same_names(caplog, both):
    before = logging.getLogRecordFactory()

    def factory(*args, **kwargs):
        record = before(*args, **kwargs)
        record.session_id = "the program's"
        if both:
            record.lambda_adapter_session_id = "the program's, too"
        return record

    logging.setLogRecordFactory(factory)
    try:
        log_line(logging.ERROR, "Gave up:", {"session_id": "ours"}, attempts=1)
    finally:
        logging.setLogRecordFactory(before)
    (record,) = caplog.records
    assert record.getMessage() == "Gave up: request=ours"
    assert record.session_id == "the program's"
    assert record.lambda_adapter_session_id == ("the program's, too" if both else "ours")
    assert getattr(record, "lambda_adapter_attempts", None) == (None if both else 1)


def test_a_record_names_the_place_that_wrote_it(make_adapter, make_request, caplog):
    make_adapter(client=raised("KeyError")).execute(make_request())
    assert line(caplog, "ERROR").funcName == "log_end"
