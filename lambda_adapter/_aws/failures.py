"""A failure of any shape, and what it means: the code, whether to retry, and whether the function ran.

Exceptions are known by their class's name: botocore need not be imported here, and urllib3's exceptions, which
botocore lets through in some places, carry the same names as botocore's own.
"""

import re
from typing import Any, Dict, Mapping, Optional, Tuple
from urllib.parse import urlsplit

import attrs

from .._text.redaction import shown_name
from .._wire.head import NO_HEAD, Head, known_request_id
from ..codes import CODES, ErrorCode, Executed
from .aws_codes import (
    ALREADY_STARTED,
    NOT_READY,
    PERMANENT_BY_CODE,
    PERMANENT_BY_STATUS,
    RETRIED_STATUS,
    THROTTLED,
    shown_code,
)
from .sending import Sending, Trace, trace_of
from .unsent import (
    SetUpFault,
    fault_before_sending,
    fault_of_credentials,
    fault_of_settings,
    fault_of_tracing,
)


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
    #: The cause as the log has it, where ``cause`` holds a function's own words.
    log_cause: Optional[str] = None

    @cause.default
    def _usual_cause(self) -> str:
        return CODES[self.error_code].cause

    @executed.default
    def _usually_executed(self) -> Executed:
        return CODES[self.error_code].executed[0]

    @transient.default
    def _usually_transient(self) -> bool:
        return CODES[self.error_code].transient


#: AWS answers some credential errors with 400.
_CREDENTIAL_WORDS = (
    "AccessDenied",
    "Expired",
    "Credential",
    "Signature",
    "Authentication",
    "InvalidClientToken",
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
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)

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
    "ResponseParserError": ("invalid_response", "the answer is not the Lambda API's", "maybe", False),
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

_PROXYS_CAUSE = "the proxy asks for a password, or for another one than its URL has"

#: What OpenSSL says when the handshake failed, so that no request can have been sent.
_HANDSHAKE_FAILURES = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "HANDSHAKE_FAILURE", "UNKNOWN_CA")
#: Where botocore and urllib3 prepare the way to the endpoint, before the connection is made.
_PREPARATIONS = (
    "proxy_url_for",
    "_get_connection_manager",
    "connection_from_url",
    "_setup_ssl_cert",
    "_get_request_target",
    "_get_conn",
)
_REASON_OF_TLS = re.compile(r"[A-Z][A-Z0-9_]{2,60}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,253}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_PORTS = {"http": 80, "https": 443}


def from_exception(exc: BaseException, sending: Optional[Sending] = None, client: object = None) -> Failure:
    """What an exception of the invoke call means.

    Args:
        sending: What is known of the attempt; without it, or where nobody watched, the exception's class decides.
        client: Whose endpoint and region a connection error names.
    """
    sending = sending or Sending()
    trace = sending.trace(exc)
    failure = _of_sending(exc, trace, sending, client) if sending.begun else _of_unwatched(exc, trace)
    if failure is None:
        response = _response(exc)
        failure = _of_class(exc) if response is None else from_error_response(response)
        if sending.reached and failure.error_code == "connection_error":
            # Connected it was, or a frame would say otherwise: urllib3 says of any connection through a proxy that has
            # broken that the proxy cannot be reached.
            failure = Failure("connection_lost", f"{CODES['connection_lost'].cause} {_named(exc)}")
        if failure.error_code == "internal_error" and trace.is_within("botocore.parsers"):
            # botocore takes an answer for what its model says, and stumbles where that is not so.
            code, cause, executed, _ = _EXCEPTIONS["ResponseParserError"]
            failure = Failure(code, f"{cause} {_named(exc)}", executed=executed)
    return _after_others(failure) if _ran_before(sending) else failure


def from_set_up(exc: BaseException) -> Failure:
    """What an exception means that kept a client from being made: nothing was sent."""
    trace = trace_of(exc)
    fault = fault_before_sending(trace)
    if fault is None and trace.is_within_package("botocore", "boto3"):
        fault = SetUpFault("no AWS client can be made with the settings that it finds")
    return _of_set_up(exc, fault) if fault else internal(exc, "no")


def _response(exc: BaseException) -> Optional[Mapping[str, Any]]:
    """The error answer that an exception stands for; None for any other exception."""
    response = getattr(exc, "response", None)
    is_answer = any(base.__name__ == "ClientError" for base in type(exc).__mro__)
    return response if is_answer and isinstance(response, Mapping) else None


def _ran_before(sending: Sending) -> bool:
    """Whether the function may have run for an earlier request: a given client may retry by itself."""
    return any(answer is None or from_error_response(answer).executed != "no" for answer in sending.earlier)


def _after_others(failure: Failure) -> Failure:
    """What the last of a client's own requests says, where an earlier one may have run the function."""
    if failure.executed != "no":
        return failure
    code: ErrorCode = failure.error_code if "maybe" in CODES[failure.error_code].executed else "connection_lost"
    cause = f"{failure.cause}; the client's own retries may have run the function before"
    return attrs.evolve(failure, error_code=code, cause=cause, executed="maybe")


def _of_set_up(exc: BaseException, fault: SetUpFault) -> Failure:
    return Failure("configuration_error", f"{fault.cause} {_named(exc)}", transient=fault.transient)


def _of_unwatched(exc: BaseException, trace: Trace) -> Optional[Failure]:
    """What is known where no event of the call was seen: a mocked client, or a failure before botocore began."""
    fault = fault_of_tracing(trace)
    if fault is None and (_response(exc) is None or getattr(exc, "operation_name", None) != "Invoke"):
        fault = fault_of_credentials(trace)
    return _of_set_up(exc, fault) if fault else None


def _of_sending(exc: BaseException, trace: Trace, sending: Sending, client: object) -> Optional[Failure]:
    """What is known from where a watched attempt failed; None where the request was sent."""
    if not sending.reached:
        if _response(exc) is not None and getattr(exc, "operation_name", None) == "Invoke":
            # An answer without a request: a stubbed client gives it.
            return None
        fault = fault_of_credentials(trace)
        if fault is None and trace.passes("_do_get_response", "botocore.endpoint"):
            # Another handler of before-send came first, and may have sent it, or play somebody who did.
            return None
        fault = fault or fault_before_sending(trace)
        return _of_set_up(exc, fault) if fault else internal(exc, "no")
    preparing = any(trace.passes(function) for function in _PREPARATIONS)
    if preparing or trace.is_connecting:
        fault = fault_of_settings(trace)
        if fault is not None:
            return _of_set_up(exc, fault)
    if preparing:
        return internal(exc, "no")
    if trace.is_connecting:
        return _unconnected(exc, trace, client)
    if trace.passes("putheader", "http.client") or trace.passes("putrequest", "http.client"):
        return _of_set_up(exc, SetUpFault("the AWS credentials or the endpoint hold what no header may"))
    redirected = trace.local("urllib3.connectionpool", "urlopen", "response")
    if getattr(redirected, "status", None) == 303:
        # urllib3 chokes on our headers while it makes of the redirect a GET that it will not send, and forgets this.
        redirected.close()
        return from_error_response({"ResponseMetadata": {"HTTPStatusCode": 303}})
    return None


def _unconnected(exc: BaseException, trace: Trace, client: object) -> Failure:
    """Nothing was sent: the connection was still being made."""
    if trace.has_class("LocationParseError"):
        return _of_set_up(exc, SetUpFault("the endpoint's host is none"))
    # By their own names: to urllib3 a refused connection is a kind of ConnectTimeoutError.
    timed_out = any(type(each).__name__ in ("TimeoutError", "timeout", "ConnectTimeoutError") for each in trace.chain)
    in_time = "within connect_timeout" if timed_out else ""
    if trace.passes("_tunnel"):
        cause = f"no way through the proxy {in_time}"
    elif trace.has_class("ProxyConnectionError"):
        cause = f"the proxy cannot be reached {in_time}"
    elif trace.passes("ssl_wrap_socket"):
        cause = f"no secure connection to the endpoint {in_time}"
    elif in_time:
        cause = f"no connection to the endpoint {in_time}"
    else:
        cause = CODES["connection_error"].cause
    text = f"{cause.strip()}{_place_of(client)} {_named(exc, _tls_reason(trace))}"
    return Failure("connection_error", text)


def _tls_reason(trace: Trace) -> str:
    """OpenSSL's own word for what went wrong in a handshake, "TLSV1_ALERT_INTERNAL_ERROR" for example; else ""."""
    for exc in trace.chain:
        reason = getattr(exc, "reason", None)
        if isinstance(reason, str) and _REASON_OF_TLS.fullmatch(reason) and "SSL" in type(exc).__name__:
            return reason
    return ""


def _place_of(client: object) -> str:
    """The host, port and region of a client; never its endpoint's path or userinfo."""
    meta = getattr(client, "meta", None)
    url, region = getattr(meta, "endpoint_url", None), getattr(meta, "region_name", None)
    host = host_and_port(url) if isinstance(url, str) else ""
    place = f": {host}" if host else ""
    return f"{place} in region {region}" if isinstance(region, str) and _REGION.fullmatch(region) else place


def host_and_port(url: str) -> str:
    """``127.0.0.1:9001``, ``[::1]:9001``: the scheme's port where the URL names none; "" where it has no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host or not _HOST.fullmatch(host):
        return ""
    port = _PORTS.get(parts.scheme) if port is None else port
    named = f"[{host}]" if ":" in host else host
    return named if port is None else f"{named}:{port}"


def _of_class(exc: BaseException) -> Failure:
    """What an exception's class says, where nothing else is known."""
    bases = [base.__name__ for base in type(exc).__mro__]
    if "SSLError" in bases and any(word in str(exc) for word in _HANDSHAKE_FAILURES):
        return Failure("connection_error", f"no secure connection to the endpoint {_named(exc)}", transient=True)
    if "HTTPClientError" in bases and _is_invalid_header(exc):
        return _of_set_up(exc, SetUpFault("the AWS credentials or the endpoint hold a line break"))
    for base in bases:
        if base in _EXCEPTIONS:
            code, cause, executed, transient = _EXCEPTIONS[base]
            return Failure(code, f"{cause} {_named(exc)}", executed=executed, transient=transient)
    return internal(exc)


def from_lost_answer(exc: BaseException) -> Failure:
    """What an exception while reading the answer's body means: the request was sent, its answer is lost."""
    known = from_exception(exc)
    if known.error_code == "timeout":
        return known
    return Failure("connection_lost", f"the answer broke off {_named(exc)}")


def of_dry_run(failure: Failure) -> Failure:
    """What a failure means for a check, which runs nothing: emulators answer with 501."""
    if failure.head.status_code != 501:
        return failure
    cause = f"the endpoint knows no DryRun, so that it cannot be asked without running the function: {failure.cause}"
    return attrs.evolve(failure, cause=cause, executed="no", transient=False)


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
    if not typed:
        status = int(code) if status is None and is_status and len(code) == 3 else status
    error_code, executed, transient = _typed_verdict(code, status) if typed else _untyped_verdict(status)
    what = shown_code(code) if typed else f"HTTP {status}"
    cause = _PROXYS_CAUSE if status == 407 and not typed else CODES[error_code].cause
    reason = str(response.get("Reason", "")) if typed else ""
    return Failure(
        error_code,
        f"{cause} ({what}{f', {reason}' if _REASON.fullmatch(reason) else ''})",
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


def _untyped_verdict(status: Optional[int]) -> Tuple[ErrorCode, Executed, bool]:
    """What a status alone says: a gateway's 5xx may come after the function ran."""
    if status == 429:
        return "throttled", "no", True
    if status is None or status >= 500:
        return "service_error", "maybe", status in RETRIED_STATUS
    return PERMANENT_BY_STATUS.get(status, "configuration_error"), "no", False


def _typed_verdict(code: str, status: Optional[int]) -> Tuple[ErrorCode, Executed, bool]:
    """What a code of AWS's says: known ones keep the function from running, and of a new 5xx nobody knows it."""
    if code in THROTTLED:
        return "throttled", "no", True
    if code in NOT_READY:
        return "service_error", "no", True
    if code == ALREADY_STARTED:
        return "already_started", "yes", False
    if code not in PERMANENT_BY_CODE and status is not None and (status == 429 or status >= 500):
        return _untyped_verdict(status)
    return _permanent_code(code, status), "no", False


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


def _named(exc: BaseException, reason: str = "") -> str:
    return f"({shown_name(type(exc).__name__)}{f', {reason}' if reason else ''})"


def _mapping(value: object) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}
