"""A failure of any shape is told by its code, whether it may be retried, and whether the function ran."""

import socket

import boto3
import pytest
import urllib3.exceptions
from botocore import exceptions
from botocore.retries.standard import ThrottledRetryableChecker

from lambda_adapter._aws.aws_codes import ALREADY_STARTED, shown_code
from lambda_adapter._aws.failures import (
    NOT_READY,
    THROTTLED,
    from_error_response,
    from_exception,
    from_lost_answer,
)
from support import clients

SECRET = "https://user:hunter2@host.example/?token=hunter2"

#: AWS's code -> HTTP status, error_code. Every code of the Invoke API that is known by name.
THROTTLING = {
    "TooManyRequestsException": 429,
    "ThrottlingException": 400,
    "Throttling": 400,
    "ThrottledException": 429,
    "RequestThrottled": 400,
    "RequestThrottledException": 400,
    "RequestLimitExceeded": 503,
    "BandwidthLimitExceeded": 509,
    "SlowDown": 503,
    "EC2ThrottledException": 502,
    "ProvisionedThroughputExceededException": 400,
    "TransactionInProgressException": 400,
    "LimitExceededException": 410,
}
NOT_YET = {
    "ServiceException": 500,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "RequestTimeout": 400,
    "RequestTimeoutException": 408,
    "PriorRequestNotComplete": 400,
    "ResourceNotReadyException": 502,
    "ENINotReadyException": 502,
    "EC2UnexpectedException": 502,
    "ResourceConflictException": 409,
    "SnapStartNotReadyException": 409,
    "CodeArtifactUserPendingException": 409,
    "SnapStartTimeoutException": 408,
    "EFSMountTimeoutException": 408,
    "EFSMountConnectivityException": 408,
    "S3FilesMountTimeoutException": 408,
    "S3FilesMountConnectivityException": 408,
}
PERMANENT = {
    "ResourceNotFoundException": (404, "not_found"),
    "AccessDeniedException": (403, "access_denied"),
    "ExpiredTokenException": (403, "access_denied"),
    "ExpiredToken": (400, "access_denied"),
    "UnrecognizedClientException": (403, "access_denied"),
    "InvalidSignatureException": (403, "access_denied"),
    "MissingAuthenticationToken": (403, "access_denied"),
    "MissingAuthenticationTokenException": (400, "access_denied"),
    "IncompleteSignature": (400, "access_denied"),
    "InvalidClientTokenId": (403, "access_denied"),
    "OptInRequired": (403, "access_denied"),
    "InvalidParameterValueException": (400, "invalid_parameter"),
    "InvalidRequestContentException": (400, "invalid_parameter"),
    "UnsupportedMediaTypeException": (415, "invalid_parameter"),
    "ValidationException": (400, "invalid_parameter"),
    "RequestTooLargeException": (413, "payload_too_large"),
    "SerializedRequestEntityTooLargeException": (413, "payload_too_large"),
    "KMSAccessDeniedException": (502, "configuration_error"),
    "KMSDisabledException": (502, "configuration_error"),
    "KMSInvalidStateException": (502, "configuration_error"),
    "KMSNotFoundException": (502, "configuration_error"),
    "InvalidRuntimeException": (502, "configuration_error"),
    "InvalidZipFileException": (502, "configuration_error"),
    "InvalidSubnetIDException": (502, "configuration_error"),
    "InvalidSecurityGroupIDException": (502, "configuration_error"),
    "EC2AccessDeniedException": (502, "configuration_error"),
    "ENILimitReachedException": (502, "configuration_error"),
    "SubnetIPAddressLimitReachedException": (502, "configuration_error"),
    "EFSIOException": (410, "configuration_error"),
    "EFSMountFailureException": (403, "configuration_error"),
    "S3FilesMountFailureException": (403, "configuration_error"),
    "RecursiveInvocationException": (400, "configuration_error"),
    "SnapStartException": (400, "configuration_error"),
    "SnapStartRegenerationFailureException": (409, "configuration_error"),
    "ServiceQuotaExceededException": (402, "configuration_error"),
    "NoPublishedVersionException": (400, "configuration_error"),
    "ModeNotSupportedException": (400, "configuration_error"),
    "RuntimeAliasDeletedException": (409, "configuration_error"),
    "CodeArtifactUserFailedException": (409, "configuration_error"),
}
TYPED = [
    *(pytest.param(code, status, "throttled", True, id=code) for code, status in THROTTLING.items()),
    *(pytest.param(code, status, "service_error", True, id=code) for code, status in NOT_YET.items()),
    *(pytest.param(code, status, means, False, id=code) for code, (status, means) in PERMANENT.items()),
]


def client_error(code, status, headers=None, request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef", **fields):
    return clients.client_error(code, status, headers, f"the token {SECRET} is not good", request_id, **fields)


@pytest.mark.parametrize(("code", "status", "error_code", "transient"), TYPED)
def test_a_code_of_awss_says_what_happened_and_that_the_function_did_not_run(code, status, error_code, transient):
    failure = from_exception(client_error(code, status))
    assert (failure.error_code, failure.executed, failure.transient) == (error_code, "no", transient)
    assert failure.head.status_code == status
    assert failure.head.request_id == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    assert f"({code})" in failure.cause


@pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    ("code", "error_code", "transient"),
    [
        ("TooManyRequestsException", "throttled", True),
        ("SnapStartNotReadyException", "service_error", True),
        ("ResourceConflictException", "service_error", True),
        ("InvalidParameterValueException", "invalid_parameter", False),
        ("RecursiveInvocationException", "configuration_error", False),
    ],
)
def test_the_code_decides_and_not_the_status(code, error_code, transient, status):
    failure = from_exception(client_error(code, status))
    assert (failure.error_code, failure.transient) == (error_code, transient)


def test_every_code_that_botocore_itself_takes_for_throttling_is_retried():
    assert set(ThrottledRetryableChecker._THROTTLED_ERROR_CODES) <= THROTTLED | NOT_READY


def test_every_error_of_the_installed_invoke_model_is_understood():
    client = boto3.client("lambda", "us-east-1", aws_access_key_id="id", aws_secret_access_key="secret")
    shapes = client.meta.service_model.operation_model("Invoke").error_shapes
    client.close()
    listed = {**THROTTLING, **NOT_YET, **PERMANENT}
    for shape in shapes:
        failure = from_exception(client_error(shape.name, shape.metadata["error"]["httpStatusCode"]))
        # The one that says that an execution exists.
        assert failure.executed == ("yes" if shape.name == ALREADY_STARTED else "no"), shape.name
        assert failure.transient == (shape.name in THROTTLED | NOT_READY), shape.name
        assert failure.error_code != "internal_error", shape.name
        # What AWS adds as transient later would be taken for permanent; its usual names give it away.
        looks_transient = any(word in shape.name for word in ("Throttl", "NotReady", "Pending", "Timeout"))
        assert shape.name in listed or not looks_transient, f"{shape.name} is new, and needs a verdict"


@pytest.mark.parametrize("code", ["SomethingNewException", "NotImplemented", "KMSNewException", "Kaputt.Now"])
@pytest.mark.parametrize(
    ("status", "error_code", "executed", "transient"),
    [
        (500, "service_error", "maybe", True),
        (502, "service_error", "maybe", True),
        (503, "service_error", "maybe", True),
        (504, "service_error", "maybe", True),
        (501, "service_error", "maybe", False),
        (505, "service_error", "maybe", False),
        (429, "throttled", "no", True),
        (400, "invalid_parameter", "no", False),
        (403, "access_denied", "no", False),
        (409, "configuration_error", "no", False),
        (None, "configuration_error", "no", False),
    ],
)
def test_of_a_code_that_is_new_the_status_decides(code, status, error_code, executed, transient):
    failure = from_exception(client_error(code, status))
    assert (failure.error_code, failure.executed, failure.transient) == (error_code, executed, transient)
    assert f"({code})" in failure.cause


def test_an_execution_that_exists_did_run_or_is_running():
    failure = from_exception(client_error(ALREADY_STARTED, 409))
    assert (failure.error_code, failure.executed, failure.transient) == ("already_started", "yes", False)


@pytest.mark.parametrize(
    "code",
    [
        "NotImplemented",
        "NotAuthorized",
        "InvalidAction",
        "internalFailure",
        "InvalidInstanceID.NotFound",
        "EC2UnexpectedException",
        "EC2SomethingNewException",
        "Ec2Error",
        "AccessDenied",
        "SignatureDoesNotMatch",
    ],
)
def test_a_code_that_looks_like_one_is_shown(code):
    assert shown_code(code) == code


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x",
        "hunter2",
        "password",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNNSEXAMPLE",
        "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12",
        "IQoJb3JpZ2luX2VjEH8aCXVzLWVhc3QtMSJGMEQ",
        "Two Words",
        "Code\n",
        "Code<b>",
        "https://host/Code",
        "A" * 40 + "a" * 60,
        "Ünknown",
    ],
)
def test_what_could_be_a_secret_or_an_echo_is_not_shown(code):
    assert shown_code(code) == "an unknown code"


@pytest.mark.parametrize(
    ("status", "error_code", "executed", "transient"),
    [
        (429, "throttled", "no", True),
        (500, "service_error", "maybe", True),
        (502, "service_error", "maybe", True),
        (503, "service_error", "maybe", True),
        (504, "service_error", "maybe", True),
        (501, "service_error", "maybe", False),
        (505, "service_error", "maybe", False),
        (302, "configuration_error", "no", False),
        (307, "configuration_error", "no", False),
        (400, "invalid_parameter", "no", False),
        (401, "access_denied", "no", False),
        (403, "access_denied", "no", False),
        (404, "not_found", "no", False),
        (413, "payload_too_large", "no", False),
        (418, "configuration_error", "no", False),
    ],
)
@pytest.mark.parametrize("has_code", [True, False], ids=["the status as code", "no code"])
def test_without_a_code_of_awss_the_status_decides(status, error_code, executed, transient, has_code):
    failure = from_exception(client_error(str(status) if has_code else "", status))
    assert (failure.error_code, failure.executed, failure.transient) == (error_code, executed, transient)
    assert failure.head.status_code == status
    assert f"(HTTP {status})" in failure.cause


@pytest.mark.parametrize(
    ("code", "status", "error_code"),
    [
        ("ResourceNotFoundException", None, "not_found"),
        ("AccessDeniedException", None, "access_denied"),
        ("RequestTooLargeException", None, "payload_too_large"),
        # The status that botocore's Stubber gives when it is told none.
        ("ResourceNotFoundException", 400, "not_found"),
        ("RequestTooLargeException", 400, "payload_too_large"),
    ],
)
def test_a_stubbed_error_without_its_usual_status_is_known_by_its_code(code, status, error_code):
    assert from_exception(client_error(code, status)).error_code == error_code


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"Error": None, "ResponseMetadata": None},
        {"Error": "text", "ResponseMetadata": []},
        {"Error": {}, "ResponseMetadata": {"HTTPStatusCode": "503", "HTTPHeaders": None}},
        {"Error": {"Code": None}},
        {"Error": {"Code": ["list"]}},
    ],
    ids=repr,
)
def test_an_error_response_of_any_shape_is_read(response):
    assert from_error_response(response).error_code in ("service_error", "configuration_error")


def test_a_code_of_superscript_digits_is_read():
    assert from_error_response({"Error": {"Code": "\u00b2\u00b2\u00b2"}}).executed in ("no", "maybe")


def test_a_number_in_the_body_of_a_gateways_error_is_not_taken_for_its_status():
    """A proxy's 502 with {"code": 123}: the function may have run."""
    failure = from_exception(client_error(123, 502))
    assert (failure.error_code, failure.executed) == ("service_error", "maybe")


@pytest.mark.parametrize(
    ("headers", "field", "expected"),
    [
        pytest.param({"retry-after": "7"}, None, 7.0, id="header"),
        pytest.param({}, "5", 5.0, id="botocore's field"),
        pytest.param({"retry-after": "7"}, "5", 7.0, id="both"),
        pytest.param({"retry-after": "-1"}, None, None, id="negative"),
        pytest.param({"retry-after": "banana"}, None, None, id="no number"),
        pytest.param({"retry-after": "Wed, 21 Oct 2065 07:28:00 GMT"}, None, None, id="date"),
        pytest.param({}, None, None, id="none"),
    ],
)
def test_retry_after_is_read_from_the_header_or_from_botocores_field(headers, field, expected):
    more = {} if field is None else {"retryAfterSeconds": field}
    assert from_exception(client_error("TooManyRequestsException", 429, headers, **more)).retry_after_s == expected


def test_the_reason_of_a_throttle_is_told():
    error = client_error("TooManyRequestsException", 429, Reason="ReservedFunctionConcurrentInvocationLimitExceeded")
    assert (
        "(TooManyRequestsException, ReservedFunctionConcurrentInvocationLimitExceeded)" in from_exception(error).cause
    )


HTTP_ERROR = exceptions.HTTPClientError(error=ValueError("no idea"))
BAD_HEADER = exceptions.HTTPClientError(error=ValueError("Invalid header value b'hunter2\\n'"))
BAD_CERTIFICATE = exceptions.SSLError(endpoint_url=SECRET, error="[SSL: CERTIFICATE_VERIFY_FAILED] hunter2")

EXCEPTIONS = [
    # Before anything was sent.
    (exceptions.EndpointConnectionError(endpoint_url=SECRET), "connection_error", "no", True),
    (exceptions.ConnectTimeoutError(endpoint_url=SECRET), "connection_error", "no", True),
    (exceptions.ProxyConnectionError(proxy_url=SECRET), "connection_error", "no", True),
    (BAD_CERTIFICATE, "connection_error", "no", True),
    (exceptions.NoCredentialsError(), "configuration_error", "no", False),
    (exceptions.PartialCredentialsError(provider="env", cred_var=SECRET), "configuration_error", "no", False),
    (exceptions.CredentialRetrievalError(provider="sso", error_msg=SECRET), "configuration_error", "no", False),
    (exceptions.TokenRetrievalError(provider="sso", error_msg=SECRET), "configuration_error", "no", False),
    (exceptions.UnauthorizedSSOTokenError(), "configuration_error", "no", False),
    (exceptions.NoRegionError(), "configuration_error", "no", False),
    (exceptions.ProfileNotFound(profile=SECRET), "configuration_error", "no", False),
    (exceptions.ParamValidationError(report=SECRET), "configuration_error", "no", False),
    (exceptions.InvalidProxiesConfigError(), "configuration_error", "no", False),
    (BAD_HEADER, "configuration_error", "no", False),
    # After sending, or nobody knows.
    (exceptions.SSLError(endpoint_url=SECRET, error="EOF occurred"), "connection_lost", "maybe", True),
    (exceptions.ConnectionClosedError(endpoint_url=SECRET), "connection_lost", "maybe", True),
    (exceptions.ResponseStreamingError(error=SECRET), "connection_lost", "maybe", True),
    (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), "connection_lost", "maybe", True),
    (urllib3.exceptions.ProtocolError(SECRET), "connection_lost", "maybe", True),
    (ConnectionResetError(SECRET), "connection_lost", "maybe", True),
    (BrokenPipeError(SECRET), "connection_lost", "maybe", True),
    (exceptions.ReadTimeoutError(endpoint_url=SECRET), "timeout", "maybe", True),
    (urllib3.exceptions.ReadTimeoutError(None, SECRET, SECRET), "timeout", "maybe", True),
    (socket.timeout(SECRET), "timeout", "maybe", True),
    (TimeoutError(SECRET), "timeout", "maybe", True),
    (HTTP_ERROR, "internal_error", "maybe", False),
    (ValueError(SECRET), "internal_error", "maybe", False),
    (AttributeError(SECRET), "internal_error", "maybe", False),
    (UnicodeDecodeError("utf-8", b"hunter2", 0, 1, SECRET), "internal_error", "maybe", False),
    (RecursionError(SECRET), "internal_error", "maybe", False),
    (MemoryError(SECRET), "internal_error", "maybe", False),
    (StopIteration(SECRET), "internal_error", "maybe", False),
    # Its name alone makes no ClientError of it.
    (type("ClientError", (Exception,), {"response": SECRET})(SECRET), "internal_error", "maybe", False),
]


@pytest.mark.parametrize(
    ("exc", "error_code", "executed", "transient"),
    [pytest.param(*row, id=f"{number}-{type(row[0]).__name__}") for number, row in enumerate(EXCEPTIONS)],
)
def test_an_exception_is_known_by_its_class(exc, error_code, executed, transient):
    failure = from_exception(exc)
    assert (failure.error_code, failure.executed, failure.transient) == (error_code, executed, transient)
    assert type(exc).__name__ in failure.cause


ALL_FAILURES = [
    *(from_exception(row[0]) for row in EXCEPTIONS),
    *(from_lost_answer(row[0]) for row in EXCEPTIONS),
    *(from_exception(client_error(*param.values[:2])) for param in TYPED),
    *(from_exception(client_error(code, 400)) for code in (SECRET, f"Code{SECRET}", "two words hunter2", "x" * 500)),
    from_exception(client_error("TooManyRequestsException", 429, Reason=SECRET)),
    from_exception(client_error("TooManyRequestsException", 429, {"retry-after": SECRET}, request_id=SECRET)),
]


def test_no_failure_repeats_what_aws_or_an_exception_said():
    for failure in ALL_FAILURES:
        for secret in ("hunter2", "://", "host.example", "token"):
            assert secret not in repr(failure).replace("Token", ""), failure


def test_a_cause_is_one_short_line():
    for failure in ALL_FAILURES:
        assert failure.cause.isprintable()
        assert 10 < len(failure.cause) < 200


@pytest.mark.parametrize(
    ("exc", "error_code"),
    [
        (exceptions.ReadTimeoutError(endpoint_url="None"), "timeout"),
        (exceptions.ResponseStreamingError(error="reset"), "connection_lost"),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), "connection_lost"),
        (ValueError("invalid literal for int(): 'banana'"), "connection_lost"),
        # It cannot come from sending, as the request was sent.
        (exceptions.ConnectTimeoutError(endpoint_url="None"), "connection_lost"),
        (exceptions.NoCredentialsError(), "connection_lost"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_exception_while_reading_leaves_open_whether_the_function_ran(exc, error_code):
    failure = from_lost_answer(exc)
    assert (failure.error_code, failure.executed, failure.transient) == (error_code, "maybe", True)


@pytest.mark.parametrize("request_id", [None, "", 5, "two words", "line\n", "x" * 81, SECRET], ids=repr)
def test_what_cannot_be_a_request_id_is_none(request_id):
    assert from_exception(client_error("ServiceException", 500, request_id=request_id)).head.request_id is None
