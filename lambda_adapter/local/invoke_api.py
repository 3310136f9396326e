"""The Invoke API as AWS words it: what a call says, how an answer looks, and the errors for what is malformed."""

import base64
import json
import re
from typing import Any, Dict, Generator, Mapping, NoReturn, Optional, Tuple
from urllib.parse import parse_qs, unquote

import attrs

from .._rules.identifiers import FunctionIdentifier, is_qualifier, parse_identifier
from .._rules.limits import LOG_TAIL_BYTES, MAX_CLIENT_CONTEXT_CHARS, MAX_EVENT_BYTES, MAX_REQUEST_RESPONSE_BYTES

ACCOUNT_ID = "123456789012"

#: Of Invoke and of InvokeWithResponseStream.
_PATH = re.compile(
    r"/(?:2015-03-31/functions/(?=[^/]+/invocations)|2021-11-15/functions/(?=[^/]+/response-streaming-invocations))"
    r"([^/]+)/(?:response-streaming-)?invocations"
)

#: How the API's model spells an error's message, where not ``message``.
_MESSAGE_KEYS = {
    "ResourceNotFoundException": "Message",
    "ServiceException": "Message",
    "DurableExecutionAlreadyStartedException": "Message",
}


@attrs.frozen
class HttpAnswer:
    """An HTTP answer, without the headers that all answers have."""

    status: int
    body: bytes = b""
    headers: Dict[str, str] = attrs.field(factory=dict)
    #: In the place of ``body``: what is sent piece by piece, as it comes. Whoever sends it closes it.
    frames: Optional[Generator[bytes, None, None]] = attrs.field(default=None, eq=False, repr=False)


class RefusedError(Exception):
    """Raised to end a request with an error in AWS's shape."""

    def __init__(self, status: int, code: str, text: str, **more: str) -> None:
        super().__init__(text)
        body = {
            "Type": "User" if status < 500 else "Server",
            _MESSAGE_KEYS.get(code, "message"): text,
            **more,
        }
        self.answer = HttpAnswer(status, json.dumps(body).encode(), {"x-amzn-ErrorType": code})


def throttled(reason: str, retry_after_s: Optional[int]) -> RefusedError:
    """The refusal of one invocation too many; ``reason`` is AWS's word for the limit that it met."""
    refused = RefusedError(429, "TooManyRequestsException", "Rate Exceeded.", Reason=reason)
    if retry_after_s is not None:
        refused.answer.headers["Retry-After"] = str(retry_after_s)
    return refused


@attrs.frozen
class LocalCall:
    """One invocation that was accepted, as it arrived."""

    function_name: str
    """The function's name."""
    qualifier: Optional[str]
    """The version or alias, if the call named one."""
    invocation_type: str
    """"RequestResponse", "Event" or "DryRun"."""
    request_id: str
    """The id that the answer had."""
    tenant_id: Optional[str]
    """The tenant, if the call named one."""
    raw: bytes = attrs.field(repr=False)
    """The payload's bytes as sent; b"" stands for an empty event."""
    headers: Mapping[str, str] = attrs.field(repr=False, eq=False)
    """The request's headers, their names in lower case. Not shown: ``authorization`` is among them."""

    @property
    def payload(self) -> Any:
        """The decoded payload, a new copy each time."""
        return _decode_payload(self.raw)

    @property
    def client_context(self) -> Optional[Dict[str, Any]]:
        """The decoded client context, a new copy each time, or None."""
        return _decode_client_context(self.headers.get("x-amz-client-context"))


def check_size(call: LocalCall) -> None:
    """Refuse a payload that is too large for its type of invocation."""
    most = MAX_EVENT_BYTES if call.invocation_type == "Event" else MAX_REQUEST_RESPONSE_BYTES
    if len(call.raw) > most:
        raise too_large(most)


def too_large(most: int) -> RefusedError:
    """The answer to a payload of more bytes than ``most``."""
    text = f"Request must be smaller than {most} bytes for the InvokeFunction operation"
    return RefusedError(413, "RequestTooLargeException", text)


def no_such_operation() -> RefusedError:
    """The answer to any other API call."""
    text = (
        "LocalLambda serves Invoke and InvokeWithResponseStream, and of durable functions Get-, List- and"
        " StopDurableExecution; nothing else"
    )
    return RefusedError(404, "UnknownOperationException", text)


def check_is_invoke(path_and_query: str) -> None:
    """Refuse any other API call."""
    if _PATH.fullmatch(path_and_query.partition("?")[0]) is None:
        raise no_such_operation()


def name_of(path_and_query: str) -> str:
    """How a line about a request names its function: ``dice``, ``dice:live``; where that is no name, as it came."""
    try:
        function = parse_path(path_and_query)
    except RefusedError:
        return unquote(path_and_query.partition("/functions/")[2].partition("/")[0])
    return qualified(function.name, function.qualifier)


def parse_path(path_and_query: str) -> FunctionIdentifier:
    """The function that a request's path and query name; the query's qualifier stands for the path's."""
    path, _, query = path_and_query.partition("?")
    in_path = _PATH.fullmatch(path)
    if in_path is None:
        raise no_such_operation()
    return parse_function(unquote(in_path.group(1)), parse_qs(query).get("Qualifier", [None])[0])


def parse_function(name: str, qualifier: Optional[str]) -> FunctionIdentifier:
    """The function that a name, partial ARN or ARN and a qualifier beside it mean."""
    identifier = parse_identifier(name)
    if identifier is None:
        text = "Value at 'functionName' must be a function name, partial ARN or ARN"
        raise RefusedError(400, "ValidationException", text)
    qualifier = identifier.qualifier if qualifier is None else qualifier
    if qualifier is not None and not is_qualifier(qualifier):
        text = "Value at 'qualifier' must be a version, an alias or $LATEST"
        raise RefusedError(400, "ValidationException", text)
    if identifier.qualifier not in (None, qualifier):
        text = "The derived qualifier from the function name does not match the specified qualifier."
        raise RefusedError(400, "InvalidParameterValueException", text)
    return attrs.evolve(identifier, qualifier=qualifier)


def is_streaming(path_and_query: str) -> bool:
    """Whether a request asks for its answer as a stream."""
    return path_and_query.partition("?")[0].endswith("/response-streaming-invocations")


def header_choice(headers: Mapping[str, str], name: str, choices: Tuple[str, ...]) -> str:
    """A header's value; the first choice is the default."""
    value = headers.get(name, choices[0])
    if value not in choices:
        text = f"{name} must be one of {', '.join(choices)}"
        raise RefusedError(400, "InvalidParameterValueException", text)
    return value


def qualified(name: str, qualifier: Optional[str]) -> str:
    """``dice``, or ``dice:live``."""
    return name if qualifier is None else f"{name}:{qualifier}"


def function_arn(region: str, name: str, qualifier: Optional[str]) -> str:
    return f"arn:aws:lambda:{region}:{ACCOUNT_ID}:function:{qualified(name, qualifier)}"


def encode_log_tail(log: str) -> str:
    """The end of a log, as LogType "Tail" returns it."""
    return base64.b64encode(log.encode(errors="replace")[-LOG_TAIL_BYTES:]).decode()


class _ConstantError(ValueError):
    """JSON that holds NaN or an infinity."""


def _no_constant(name: str) -> NoReturn:
    raise _ConstantError(f"{name} is not JSON")


def _decode_payload(raw: bytes) -> Any:
    """Strict UTF-8 JSON; nothing at all is an empty event."""
    try:
        return json.loads(raw.decode() or "{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        text = f"Could not parse request body into json: {_why_no_json(error)}"
        raise RefusedError(400, "InvalidRequestContentException", text) from error


def _why_no_json(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return "it begins with a byte order mark" if error.doc.startswith("\ufeff") else str(error)
    if isinstance(error, _ConstantError):
        return str(error)
    # Python's own limits on what it reads; its words advise to raise them.
    return "it is nested too deep" if isinstance(error, RecursionError) else "a number has too many digits"


def _decode_client_context(value: Optional[str]) -> Optional[Dict[str, Any]]:
    if value is None:
        return None
    if len(value) > MAX_CLIENT_CONTEXT_CHARS:
        text = f"Client context must be at most {MAX_CLIENT_CONTEXT_CHARS} bytes, got {len(value)}"
        raise RefusedError(400, "InvalidRequestContentException", text)
    try:
        decoded = json.loads(base64.b64decode(value, validate=True).decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        text = "Client context must be a valid Base64-encoded JSON object."
        raise RefusedError(400, "InvalidRequestContentException", text)
    return decoded
