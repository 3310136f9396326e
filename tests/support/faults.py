"""The table of faults: what goes wrong, the code that the caller sees, whether the function may have run."""

from typing import Any, List, NamedTuple

import pytest

from support.fault_server import (
    Reaction,
    answer,
    array_5xx,
    aws_error,
    bad_chunk,
    bad_status_line,
    banana_length,
    binary_5xx,
    close_before,
    deep_5xx,
    function_error,
    garbage,
    hang,
    huge_header,
    many_headers,
    raw,
    redirect,
    reset_5xx,
    reset_before,
    reset_mid_body,
    respond,
    short_body,
    short_body_without_length,
    stall_body,
    stalled_5xx,
    truncated_chunk,
    untyped,
)


class Fault(NamedTuple):
    name: str
    reaction: Reaction
    error_code: str
    executed: str
    transient: bool
    status_code: Any = None

    @property
    def read_timeout(self) -> float:
        """Short only where the fault is a silence: a busy machine must not make a timeout of an answer."""
        return 0.2 if self.error_code == "timeout" else 10.0


RESET_5XX = Fault("5xx whose body is reset", reset_5xx(), "connection_lost", "maybe", True)

NETWORK = [
    Fault("closed before the response", close_before(), "connection_lost", "maybe", True),
    Fault("reset before the response", reset_before(), "connection_lost", "maybe", True),
    Fault("garbage", garbage(), "connection_lost", "maybe", True),
    Fault("bad status line", bad_status_line(), "connection_lost", "maybe", True),
    Fault("over 100 headers", many_headers(), "connection_lost", "maybe", True),
    Fault("over 64 KB of header", huge_header(), "connection_lost", "maybe", True),
    Fault("no headers in time", hang(), "timeout", "maybe", True),
    Fault("body stalls", stall_body(), "timeout", "maybe", True),
    Fault("reset within the body", reset_mid_body(), "connection_lost", "maybe", True),
    Fault("short body", short_body(), "connection_lost", "maybe", True),
    Fault("bad chunk", bad_chunk(), "connection_lost", "maybe", True),
    Fault("truncated chunk", truncated_chunk(), "connection_lost", "maybe", True),
    Fault("Content-Length: banana", banana_length(), "connection_lost", "maybe", True),
    Fault("5xx whose body stalls", stalled_5xx(), "timeout", "maybe", True),
    RESET_5XX,
    Fault("binary 502", binary_5xx(), "service_error", "maybe", True, 502),
    Fault("500 with a JSON array", array_5xx(), "service_error", "maybe", True, 500),
    Fault("500 nested 100,000 deep", deep_5xx(), "service_error", "maybe", True, 500),
    Fault("429 nested 100,000 deep", deep_5xx(429), "throttled", "no", True, 429),
    Fault("403 with a JSON array", array_5xx(403), "access_denied", "no", False, 403),
    Fault("302", redirect(302), "configuration_error", "no", False, 302),
    Fault("307", redirect(307), "configuration_error", "no", False, 307),
    Fault("function error", function_error(), "function_error", "yes", False, 200),
    Fault("handled function error", function_error(kind="Handled"), "function_error", "yes", False, 200),
    Fault("function error of an unknown kind", function_error(kind="Odd"), "function_error", "yes", False, 200),
    Fault("short body without a length", short_body_without_length(), "invalid_response", "yes", False, 200),
    Fault("answer over 6 MB", respond(200, b" " * 6_400_000 + b"{}"), "invalid_response", "yes", False),
    Fault("empty answer", respond(200, b""), "invalid_response", "yes", False, 200),
    Fault("success=false", answer({"success": False}), "function_failed", "yes", False, 200),
    Fault("success is a string", answer({"success": "true"}), "invalid_response", "yes", False, 200),
    Fault(
        "204 in place of an answer", raw(b"HTTP/1.1 204 No Content\r\n\r\n", "keep"), "invalid_response", "yes", False
    ),
]

UNTYPED = [
    *(Fault(f"untyped {n}", untyped(n, b"<html>Bad</html>"), "service_error", "maybe", True, n) for n in (500, 502)),
    *(Fault(f"empty {n}", untyped(n), "service_error", "maybe", True, n) for n in (503, 504)),
    Fault("untyped 500 in JSON", respond(500, b'{"error": "x"}'), "service_error", "maybe", True, 500),
    Fault("untyped 501", untyped(501), "service_error", "maybe", False, 501),
    Fault("untyped 429", untyped(429), "throttled", "no", True, 429),
    Fault("untyped 400", untyped(400), "invalid_parameter", "no", False, 400),
    Fault("untyped 403", untyped(403, b"<html>Forbidden</html>"), "access_denied", "no", False, 403),
    Fault("untyped 404", untyped(404), "not_found", "no", False, 404),
    Fault("untyped 413", untyped(413), "payload_too_large", "no", False, 413),
]


def typed(error_code: str, transient: bool, status: int, *codes: str) -> List[Fault]:
    """Rows for AWS's own codes: each says that the function did not run."""
    return [Fault(code, aws_error(code, status), error_code, "no", transient, status) for code in codes]


TYPED = [
    *typed("throttled", True, 429, "TooManyRequestsException", "ThrottlingException", "Throttling"),
    *typed("throttled", True, 400, "ThrottledException", "RequestThrottled", "RequestThrottledException"),
    *typed("throttled", True, 503, "RequestLimitExceeded", "BandwidthLimitExceeded", "SlowDown"),
    *typed("throttled", True, 502, "EC2ThrottledException"),
    *typed("throttled", True, 400, "ProvisionedThroughputExceededException", "TransactionInProgressException"),
    *typed("throttled", True, 400, "LimitExceededException"),
    *typed("service_error", True, 500, "ServiceException", "InternalFailure", "InternalServerError"),
    *typed("service_error", True, 503, "ServiceUnavailable", "ServiceUnavailableException"),
    *typed("service_error", True, 400, "RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete"),
    *typed("service_error", True, 502, "ResourceNotReadyException", "ENINotReadyException", "EC2UnexpectedException"),
    *typed("service_error", True, 409, "ResourceConflictException", "SnapStartNotReadyException"),
    *typed("service_error", True, 409, "CodeArtifactUserPendingException"),
    *typed("service_error", True, 408, "SnapStartTimeoutException", "EFSMountTimeoutException"),
    *typed("service_error", True, 408, "EFSMountConnectivityException", "S3FilesMountTimeoutException"),
    *typed("service_error", True, 408, "S3FilesMountConnectivityException"),
    *typed("not_found", False, 404, "ResourceNotFoundException"),
    *typed("access_denied", False, 403, "AccessDeniedException", "ExpiredTokenException", "SignatureDoesNotMatch"),
    *typed("access_denied", False, 403, "UnrecognizedClientException", "InvalidSignatureException"),
    *typed("access_denied", False, 400, "ExpiredTokenException", "IncompleteSignatureException"),
    *typed("invalid_parameter", False, 400, "InvalidParameterValueException", "InvalidRequestContentException"),
    *typed("invalid_parameter", False, 415, "UnsupportedMediaTypeException"),
    *typed("payload_too_large", False, 413, "RequestTooLargeException", "SerializedRequestEntityTooLargeException"),
    *typed("configuration_error", False, 502, "KMSDisabledException", "KMSAccessDeniedException"),
    *typed("configuration_error", False, 502, "KMSInvalidStateException", "KMSNotFoundException"),
    *typed("configuration_error", False, 502, "InvalidRuntimeException", "InvalidZipFileException"),
    *typed("configuration_error", False, 502, "InvalidSubnetIDException", "InvalidSecurityGroupIDException"),
    *typed("configuration_error", False, 502, "EC2AccessDeniedException", "ENILimitReachedException"),
    *typed("configuration_error", False, 502, "SubnetIPAddressLimitReachedException"),
    *typed("configuration_error", False, 410, "EFSIOException"),
    *typed("configuration_error", False, 403, "EFSMountFailureException", "S3FilesMountFailureException"),
    *typed("configuration_error", False, 400, "RecursiveInvocationException", "SnapStartException"),
    *typed("configuration_error", False, 402, "ServiceQuotaExceededException"),
    *typed("configuration_error", False, 409, "RuntimeVersionDeletedException"),
    Fault("NobodyKnowsThisException", aws_error("NobodyKnowsThisException", 500), "service_error", "maybe", True, 500),
    Fault("NobodyKnowsThis 501", aws_error("NobodyKnowsThis", 501), "service_error", "maybe", False, 501),
]

FAULTS = [
    pytest.param(fault, id=f"{fault.name} {fault.status_code or ''}".strip()) for fault in NETWORK + UNTYPED + TYPED
]
