"""A failure of any shape, and what it means: the code, whether to retry, and whether the function ran.

Exceptions are known by their class's name: botocore need not be imported here, and urllib3's exceptions, which
botocore lets through in some places, carry the same names as botocore's own.
"""

import re
from typing import Any, Dict, Mapping, Optional, Tuple

import attrs

from .._text.redaction import shown_name
from .._wire.head import NO_HEAD, Head, known_request_id
from ..codes import CODES, ErrorCode, Executed


@attrs.frozen
class Failure:
    """Why a call, or one attempt of it, failed. What is not said is as the code's row in CODES says."""

    error_code: ErrorCode
    #: One sentence for the bot's operator, without anything secret.
    cause: str = attrs.field()
    executed: Executed = attrs.field()
    #: Whether the same call may succeed later.
    transient: bool = attrs.field()
    #: The least that the server asked to wait, in seconds.
    retry_after_s: Optional[float] = None
    head: Head = NO_HEAD
    #: Whether AWS refused the credentials as such, so that others may be accepted.
    stale_credentials: bool = False
    #: Whether others have been asked for since, so that the next attempt may succeed at once.
    renewed: bool = False

    @cause.default
    def _usual_cause(self) -> str:
        return CODES[self.error_code].cause

    @executed.default
    def _usually_executed(self) -> Executed:
        return CODES[self.error_code].executed[0]

    @transient.default
    def _usually_transient(self) -> bool:
        return CODES[self.error_code].transient


#: The throttling codes of Lambda and of botocore's standard retry mode.
THROTTLED = frozenset(
    {
        "TooManyRequestsException",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "SlowDown",
        "EC2ThrottledException",
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
        "LimitExceededException",
    }
)

#: Codes of a service or a function that is not ready yet.
NOT_READY = frozenset(
    {
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "PriorRequestNotComplete",
        "ResourceNotReadyException",
        "ENINotReadyException",
        "EC2UnexpectedException",
        "ResourceConflictException",
        "SnapStartNotReadyException",
        "SnapStartTimeoutException",
        "CodeArtifactUserPendingException",
        "EFSMountTimeoutException",
        "EFSMountConnectivityException",
        "S3FilesMountTimeoutException",
        "S3FilesMountConnectivityException",
    }
)

#: Permanent codes that are known whatever their HTTP status says; the others follow PERMANENT_BY_STATUS.
PERMANENT_BY_CODE: Dict[str, ErrorCode] = {
    "ResourceNotFoundException": "not_found",
    "AccessDeniedException": "access_denied",
    "RequestTooLargeException": "payload_too_large",
    "InvalidParameterValueException": "invalid_parameter",
    "InvalidRequestContentException": "invalid_parameter",
    "UnsupportedMediaTypeException": "invalid_parameter",
    "RecursiveInvocationException": "configuration_error",
    "SnapStartException": "configuration_error",
    "NoPublishedVersionException": "configuration_error",
    "ModeNotSupportedException": "configuration_error",
    "EFSMountFailureException": "configuration_error",
    "S3FilesMountFailureException": "configuration_error",
}
PERMANENT_BY_STATUS: Dict[int, ErrorCode] = {
    400: "invalid_parameter",
    401: "access_denied",
    403: "access_denied",
    404: "not_found",
    413: "payload_too_large",
    415: "invalid_parameter",
}
#: AWS answers some credential errors with 400.
_CREDENTIAL_WORDS = (
    "AccessDenied",
    "Expired",
    "Credential",
    "Signature",
    "Authentication",
    "InvalidClientToken",
)

_CREDENTIAL_CODES = frozenset(
    {
        "AccessDenied",
        "OptInRequired",
        "ExpiredToken",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
    }
)

#: What AWS says of keys that have been replaced, or whose time is up.
STALE_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "UnrecognizedClient",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignature",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    }
)

# Shapes of what AWS says of an error; anything else may be an echo of the request, and is not repeated.
_REASON = re.compile(r"[A-Z][A-Za-z]{2,60}Exceeded")
_CODE = re.compile(r"[A-Z][A-Za-z0-9]{2,60}(Exception|Error)")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)

_RETRIED_STATUS = (500, 502, 503, 504)

#: Class name -> (error_code, cause, executed, transient). Looked up along the class's bases, so that a general name
#: stands for all that is not named here. Only what fails before a request is sent is executed "no".
_EXCEPTIONS: Dict[str, Tuple[ErrorCode, str, Executed, bool]] = {
    "EndpointConnectionError": ("connection_error", CODES["connection_error"].cause, "no", True),
    "ConnectTimeoutError": ("connection_error", "no connection within connect_timeout", "no", True),
    "ProxyConnectionError": ("connection_error", "the proxy cannot be reached", "no", True),
    "ReadTimeoutError": ("timeout", "no answer within read_timeout", "maybe", True),
    "TimeoutError": ("timeout", CODES["timeout"].cause, "maybe", True),
    "timeout": ("timeout", CODES["timeout"].cause, "maybe", True),  # socket.timeout until Python 3.10
    "ConnectionClosedError": ("connection_lost", CODES["connection_lost"].cause, "maybe", True),
    "SSLError": ("connection_lost", "the secure connection broke before the answer", "maybe", True),
    "ProtocolError": ("connection_lost", CODES["connection_lost"].cause, "maybe", True),
    "ResponseStreamingError": ("connection_lost", "the connection broke within the answer", "maybe", True),
    "IncompleteReadError": ("connection_lost", "the connection broke within the answer", "maybe", True),
    "ConnectionError": ("connection_lost", CODES["connection_lost"].cause, "maybe", True),
    "NoCredentialsError": ("configuration_error", "no AWS credentials were found", "no", False),
    "PartialCredentialsError": ("configuration_error", "the AWS credentials are incomplete", "no", False),
    "CredentialRetrievalError": (
        "configuration_error",
        "the AWS credentials could not be fetched",
        "no",
        False,
    ),
    # What an HTTP client cannot explain may have been sent; every other error of botocore's own precedes sending.
    "HTTPClientError": ("internal_error", "the HTTP client failed", "maybe", False),
    "BotoCoreError": ("configuration_error", "the AWS client is not set up to invoke", "no", False),
}

#: What OpenSSL says when the handshake failed, so that no request can have been sent.
_HANDSHAKE_FAILURES = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "HANDSHAKE_FAILURE", "UNKNOWN_CA")


def from_exception(exc: BaseException) -> Failure:
    """What an exception of the invoke call means."""
    response = getattr(exc, "response", None)
    bases = [base.__name__ for base in type(exc).__mro__]
    if "ClientError" in bases and isinstance(response, Mapping):
        return from_error_response(response)
    named = f"({shown_name(bases[0])})"
    if "SSLError" in bases and any(word in str(exc) for word in _HANDSHAKE_FAILURES):
        return Failure("connection_error", f"no secure connection to the endpoint {named}", transient=True)
    if "HTTPClientError" in bases and _is_invalid_header(exc):
        return Failure("configuration_error", f"the AWS credentials or the endpoint hold a line break {named}")
    for base in bases:
        if base in _EXCEPTIONS:
            code, cause, executed, transient = _EXCEPTIONS[base]
            return Failure(code, f"{cause} {named}", executed=executed, transient=transient)
    return internal(exc)


def from_lost_answer(exc: BaseException) -> Failure:
    """What an exception while reading the answer's body means: the request was sent, its answer is lost."""
    known = from_exception(exc)
    if known.error_code == "timeout":
        return known
    return Failure("connection_lost", f"the answer broke off {_named(exc)}")


def internal(exc: BaseException, executed: Executed = "maybe") -> Failure:
    """A failure that nothing else explains."""
    return Failure("internal_error", f"{CODES['internal_error'].cause} {_named(exc)}", executed=executed)


def from_error_response(response: Mapping[str, Any]) -> Failure:
    """What an error answer of AWS, or of something between AWS and us, means.

    AWS's code decides, its HTTP status only where there is no code: 502 covers permanent errors and 409 transient
    ones. The message is never shown: for a bad signature AWS quotes the session token, for a bad payload the payload.
    """
    error = _mapping(response.get("Error"))
    metadata = _mapping(response.get("ResponseMetadata"))
    headers = _mapping(metadata.get("HTTPHeaders"))
    code = str(error.get("Code", ""))
    status = metadata.get("HTTPStatusCode")
    status = status if isinstance(status, int) else None
    # Without a code of AWS's, botocore gives the status in its place.
    is_status = code.isascii() and code.isdigit()
    typed = bool(code) and not is_status
    error_code: ErrorCode
    executed: Executed
    if not typed:
        status = int(code) if status is None and is_status and len(code) == 3 else status
        error_code, executed, transient = _untyped_verdict(status)
    elif code in THROTTLED:
        error_code, executed, transient = "throttled", "no", True
    elif code in NOT_READY:
        error_code, executed, transient = "service_error", "no", True
    else:
        error_code, executed, transient = _permanent_code(code, status), "no", False
    what = _shown_code(code) if typed else f"HTTP {status}"
    reason = str(response.get("Reason", "")) if typed else ""
    return Failure(
        error_code,
        f"{CODES[error_code].cause} ({what}{f', {reason}' if _REASON.fullmatch(reason) else ''})",
        executed=executed,
        transient=transient,
        retry_after_s=parse_retry_after(headers.get("retry-after", response.get("retryAfterSeconds"))),
        head=Head(status_code=status, request_id=known_request_id(metadata)),
        stale_credentials=code in STALE_CREDENTIALS,
    )


def parse_retry_after(value: object) -> Optional[float]:
    """A Retry-After header in seconds; None for an HTTP date and for anything else that is no plain number."""
    text = value.strip() if isinstance(value, str) else ""
    if not _SECONDS.fullmatch(text):
        return None
    return float(text)  # "9" * 400 becomes inf, which the cap of Backoff takes


def _shown_code(code: str) -> str:
    """AWS's code, if it looks like one: what stands between AWS and us could put anything there."""
    known = code in THROTTLED or code in NOT_READY or code in PERMANENT_BY_CODE or code in _CREDENTIAL_CODES
    return code if known or _CODE.fullmatch(code) else "an unknown code"


def _untyped_verdict(status: Optional[int]) -> Tuple[ErrorCode, Executed, bool]:
    """What a status alone says: a gateway's 5xx may come after the function ran."""
    if status == 429:
        return "throttled", "no", True
    if status is None or status >= 500:
        return "service_error", "maybe", status in _RETRIED_STATUS
    return PERMANENT_BY_STATUS.get(status, "configuration_error"), "no", False


def _permanent_code(code: str, status: Optional[int]) -> ErrorCode:
    if code in PERMANENT_BY_CODE:
        return PERMANENT_BY_CODE[code]
    if status in (400, 401, 403) and any(word in code for word in _CREDENTIAL_WORDS):
        return "access_denied"
    return PERMANENT_BY_STATUS.get(status or 0, "configuration_error")


def _is_invalid_header(exc: BaseException) -> bool:
    """Whether http.client refused a header before it sent anything."""
    cause = getattr(exc, "kwargs", {}).get("error")
    return isinstance(cause, ValueError) and str(cause).startswith("Invalid header")


def _named(exc: BaseException) -> str:
    return f"({shown_name(type(exc).__name__)})"


def _mapping(value: object) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}
