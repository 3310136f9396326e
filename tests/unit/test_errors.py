"""raise_for_error: one exception class for each error code, each with its response, all of them picklable."""

import copy
import pickle
import re
import traceback

import pytest

import lambda_adapter
from lambda_adapter import ExecuteResponse, Invocation, LambdaAdapterError, errors
from support.paths import PROJECT

CLASSES = {
    "invalid_request": errors.InvalidRequestError,
    "missing_scopes": errors.MissingScopesError,
    "payload_too_large": errors.PayloadTooLargeError,
    "overloaded": errors.OverloadedError,
    "circuit_open": errors.CircuitOpenError,
    "closed": errors.ClosedError,
    "throttled": errors.ThrottledError,
    "service_error": errors.ServiceError,
    "connection_error": errors.ConnectionFailedError,
    "connection_lost": errors.ConnectionLostError,
    "timeout": errors.InvocationTimeoutError,
    "not_found": errors.FunctionNotFoundError,
    "access_denied": errors.AccessDeniedError,
    "invalid_parameter": errors.InvalidParameterError,
    "configuration_error": errors.ConfigurationError,
    "already_started": errors.AlreadyStartedError,
    "pending": errors.PendingError,
    "function_error": errors.FunctionError,
    "function_failed": errors.FunctionFailedError,
    "invalid_response": errors.InvalidResponseError,
    "abandoned": errors.AbandonedError,
    "internal_error": errors.InternalError,
}
ROWS = pytest.mark.parametrize(("error_code", "kind"), CLASSES.items())


def response(error_code, **fields):
    invocation = Invocation("function", attempts=2, executed="maybe", log_tail="a line")
    given = {"error": f"{error_code}: why", "data": {"x": [1]}, "targets": [{"type": "discord"}], **fields}
    return ExecuteResponse(success=False, error_code=error_code, invocation=invocation, **given)


def raised(failed):
    with pytest.raises(LambdaAdapterError) as caught:
        failed.raise_for_error()
    return caught.value


def test_a_success_returns_itself():
    succeeded = ExecuteResponse(success=True, message="hi")
    assert succeeded.raise_for_error() is succeeded


@ROWS
def test_each_code_raises_its_own_class_with_the_response(error_code, kind):
    failed = response(error_code)
    error = raised(failed)
    assert type(error) is kind
    assert error.response is failed
    assert str(error) == f"{error_code}: why"
    assert kind.error_code == error_code
    assert kind.__mro__[1] is LambdaAdapterError


def test_there_is_a_class_for_each_documented_code():
    usage = PROJECT / "LAMBDA_ADAPTER_USAGE.md"
    table = usage.read_text(encoding="utf-8").partition("| error_code |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert len(documented) >= 18
    assert documented == set(CLASSES)


def test_no_class_is_left_out_and_no_code_has_two():
    assert set(LambdaAdapterError.__subclasses__()) == set(CLASSES.values())


@pytest.mark.parametrize("error_code", ["new_code", "", None, "THROTTLED"])
def test_an_unknown_code_raises_the_base_class(error_code):
    assert type(raised(response(error_code))) is LambdaAdapterError


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@ROWS
def test_an_error_survives_pickling(error_code, kind, protocol):
    error = raised(response(error_code))
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert (again.response, str(again)) == (error.response, str(error))


def test_an_error_survives_copying():
    error = raised(response("timeout"))
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert (type(again), again.response) == (errors.InvocationTimeoutError, error.response)


@pytest.mark.parametrize(
    ("failed", "text"),
    [
        (response("timeout", error=None), "timeout"),
        (response("timeout", error=""), "timeout"),
        (ExecuteResponse(success=False), "the call failed"),
    ],
    ids=["code alone", "empty error", "neither"],
)
def test_an_error_always_has_a_text(failed, text):
    assert str(raised(failed)) == text


def test_a_traceback_shows_the_text_and_no_answer_of_the_function():
    error = raised(response("function_failed", error="no such city", data={"secret": "swordfish"}))
    shown = "".join(traceback.format_exception(type(error), error, None))
    assert shown == "lambda_adapter.errors.FunctionFailedError: no such city\n"


def test_one_except_catches_them_all_and_no_built_in_is_among_them():
    assert lambda_adapter.LambdaAdapterError is errors.LambdaAdapterError
    for kind in CLASSES.values():
        assert issubclass(kind, LambdaAdapterError)
        assert not issubclass(kind, (OSError, ValueError, RuntimeError))
