"""LocalLambda: Python handlers behind the real Invoke API on loopback. No account, no Docker, no network."""

import base64
import contextlib
import json
import math
import re
import socket
import socketserver
import threading
import time
import traceback
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType, SimpleNamespace, TracebackType
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Set, Tuple, Type
from urllib.parse import parse_qs, unquote

from attrs import define, field, frozen

from .validation import MAX_EVENT_BYTES, MAX_REQUEST_RESPONSE_BYTES

#: handler(event, context): the decoded payload and a `LambdaContext` -> anything that JSON can hold.
Handler = Callable[[Any, Any], Any]

#: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax (ClientContext)
MAX_CLIENT_CONTEXT_BYTES = 3_583
#: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_ResponseSyntax (LogResult)
LOG_TAIL_BYTES = 4_096
#: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (function timeout, memory)
MAX_TIMEOUT_S = 900.0
MIN_MEMORY_MB, MAX_MEMORY_MB = 128, 10_240

ACCOUNT_ID = "123456789012"

_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_IDENTIFIER = re.compile(
    r"(?:(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]+):)?[0-9]{12}:function:|function:)?"
    r"(?P<name>[A-Za-z0-9._-]+)(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)
_QUALIFIER = re.compile(r"\$LATEST|[A-Za-z0-9$_-]{1,128}")
_CLIENT_FIELDS = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

#: How the API's model spells an error's message, where not `message`.
_MESSAGE_KEYS = {"ResourceNotFoundException": "Message", "ServiceException": "Message"}

#: REPORT carries these two because AWS's does; nothing here measures them.
_INIT_DURATION_MS = 0.5
_MEMORY_USED_MB = 40

_POLL_S = 0.02  # how long close() may wait for the accepting thread to look up; costs 0.5 % of a core
_LINGER_S = 1.0  # how long a silent client may keep a connection that has had its last answer


@frozen
class LocalCall:
    """One invocation that was accepted, as it arrived."""

    function_name: str
    qualifier: Optional[str]
    #: "RequestResponse", "Event" or "DryRun".
    invocation_type: str
    request_id: str
    tenant_id: Optional[str]
    #: The payload's bytes as sent; b"" stands for an empty event.
    raw: bytes = field(repr=False)
    #: Names in lower case. Not shown: `authorization` is among them.
    headers: Mapping[str, str] = field(repr=False, eq=False)

    @property
    def payload(self) -> Any:
        """The decoded payload, a new copy each time."""
        return _decode_payload(self.raw)

    @property
    def client_context(self) -> Optional[Dict[str, Any]]:
        """The decoded client context, a new copy each time, or None."""
        return _decode_client_context(self.headers.get("x-amz-client-context"))


@frozen
class LambdaContext:
    """What a handler gets beside its event, shaped as AWS's Python runtime shapes it.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    function_name: str
    function_version: str
    invoked_function_arn: str
    #: A string, as in AWS's runtime.
    memory_limit_in_mb: str
    aws_request_id: str
    log_group_name: str
    log_stream_name: str
    #: None, or an object with `custom`, `env` and `client`, each None unless it was sent. None for an Event.
    client_context: Optional[SimpleNamespace]
    tenant_id: Optional[str]
    _deadline_s: float = field(repr=False)
    _log: List[str] = field(factory=list, repr=False)
    #: Amazon Cognito's identity, of which nothing is known here.
    identity: SimpleNamespace = field(
        factory=lambda: SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
    )

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the timeout; 0 once it has passed."""
        return max(0, int((self._deadline_s - time.monotonic()) * 1_000))

    def log(self, msg: object) -> None:
        """Adds `msg`, as it is, to the log that LogType "Tail" returns."""
        self._log.append(str(msg))


@frozen
class _Answer:
    """An HTTP answer, whatever is the same for all of them left out."""

    status: int
    body: bytes = b""
    headers: Dict[str, str] = field(factory=dict)


class _RefusedError(Exception):
    """Ends a request with an error in AWS's shape."""

    def __init__(self, status: int, code: str, text: str, **more: str) -> None:
        super().__init__(text)
        body = {
            "Type": "User" if status < 500 else "Server",
            _MESSAGE_KEYS.get(code, "message"): text,
            **more,
        }
        self.answer = _Answer(status, json.dumps(body).encode(), {"x-amzn-ErrorType": code})


@frozen
class _Outcome:
    """What became of a handler: its result, or the error object that stands for it."""

    body: bytes
    failed: bool = False


@define(eq=False)
class _Invocation:
    """A handler that runs, or ran, for one call."""

    call: LocalCall
    context: LambdaContext
    log: List[str]
    #: Whether the function had not run before.
    cold: bool
    started_s: float
    deadline_s: float
    finished: threading.Event = field(factory=threading.Event)
    outcome: Optional[_Outcome] = None


class LocalLambda:
    """Serves Python handlers through AWS's Invoke API on 127.0.0.1, over HTTP/1.1 with keep-alive.

    Differences from AWS: every qualifier exists, and an alias means $LATEST; any account id in an ARN will
    do; an Event over the concurrency limit is refused where AWS would queue it; a failed Event is not run
    again; a handler past its timeout is answered for and gives up its place, but its thread, a daemon,
    cannot be killed; what handlers print goes where the process prints, not into the log.

    Example::

        with LocalLambda({"weather": lambda event, context: {"success": True}}) as local:
            client = boto3.client("lambda", endpoint_url=local.endpoint_url)

    Args:
        functions: Function name (1 to 64 of `A-Za-z0-9_-`) -> `handler(event, context)`.
        port: TCP port; 0 takes a free one.
        region: The region of the functions' ARNs. A full ARN of another region is not found.
        timeout: Seconds that a handler may run, up to 900.
        memory_mb: What the context and the log say about memory; 128 to 10,240. Not enforced.
        concurrency_limit: Invocations that may run at once, over all functions; one more is throttled (429),
            and 0 throttles all. None means no limit.
        retry_after: Whole seconds in the Retry-After of a 429.

    Raises:
        ValueError: An argument is not as described; the message names it.
    """

    def __init__(
        self,
        functions: Mapping[str, Handler],
        *,
        port: int = 0,
        region: str = "us-east-1",
        timeout: float = 3.0,
        memory_mb: int = 128,
        concurrency_limit: Optional[int] = None,
        retry_after: int = 1,
    ) -> None:
        _check_functions(functions)
        _check_whole("port", port, 0, 65_535)
        _check_region(region)
        _check_seconds("timeout", timeout, MAX_TIMEOUT_S)
        _check_whole("memory_mb", memory_mb, MIN_MEMORY_MB, MAX_MEMORY_MB)
        if concurrency_limit is not None:
            _check_whole("concurrency_limit", concurrency_limit, 0, None)
        _check_whole("retry_after", retry_after, 0, None)
        self._functions = dict(functions)
        self._port = port
        self._region = region
        self._timeout_s = timeout
        self._memory_mb = memory_mb
        self._concurrency_limit = concurrency_limit
        self._retry_after_s = retry_after
        self._environment_id = uuid.uuid4().hex
        self._server: Optional[_Server] = None
        self._acceptor: Optional[threading.Thread] = None
        self._lock = threading.Lock()  # guards the four below
        self._calls: List[LocalCall] = []
        self._warm: Set[str] = set()
        self._running: Set[_Invocation] = set()
        self._closed = False

    @property
    def endpoint_url(self) -> str:
        """The URL to give to a client as its `endpoint_url`.

        Raises:
            RuntimeError: It was not started, or is closed.
        """
        if self._server is None or self._closed:
            raise RuntimeError("LocalLambda has no endpoint_url unless it is started and not yet closed")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def calls(self) -> List[LocalCall]:
        """Every invocation accepted so far, in order: those answered with 200, 202 or 204 (DryRun).

        A handler that failed or timed out was called, and counts. A refused request (unknown, malformed, too
        large, throttled: 4xx and 5xx) reached no function, and does not.
        """
        with self._lock:
            return list(self._calls)

    def start(self) -> "LocalLambda":
        """Binds the port and begins to serve; returns itself.

        Raises:
            RuntimeError: It was started before. An instance is used once.
            OSError: The port cannot be bound.
        """
        if self._server is not None or self._closed:
            raise RuntimeError("LocalLambda can be started only once")
        self._server = _Server(self._port, self._respond)
        self._acceptor = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="local-lambda", daemon=True
        )
        self._acceptor.start()
        return self

    def close(self) -> None:
        """Drops every connection and frees the port, at once; may be called again.

        Handlers still running are left to their daemon threads, and their callers lose the connection.
        """
        with self._lock:
            self._closed = True
            abandoned = list(self._running)
        if self._server is None or self._acceptor is None:
            return
        self._server.shutdown()
        self._acceptor.join()
        # Connections first: those whose wait is cut short must not have the time to answer.
        self._server.disconnect()
        for invocation in abandoned:
            invocation.finished.set()
        self._server.server_close()

    def __enter__(self) -> "LocalLambda":
        return self.start()

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        tb: Optional[TracebackType],
    ) -> None:
        self.close()

    def _respond(self, target: str, headers: Mapping[str, str], body: bytes, request_id: str) -> _Answer:
        """A whole request -> its answer."""
        invocation_type = _one_of(headers, "x-amz-invocation-type", ("RequestResponse", "Event", "DryRun"))
        log_type = _one_of(headers, "x-amz-log-type", ("None", "Tail"))
        name, qualifier = self._locate(target)
        tenant_id = headers.get("x-amz-tenant-id")
        call = LocalCall(name, qualifier, invocation_type, request_id, tenant_id, body, headers)
        # Both may refuse, so before anything is recorded.
        event, client_context = call.payload, _client_context_object(call.client_context)
        if invocation_type == "DryRun":
            with self._lock:
                self._calls.append(call)
            return _Answer(204)
        invocation = self._admit(call, event, client_context)
        if invocation_type == "Event":
            return _Answer(202)
        return self._result(invocation, log_tail=log_type == "Tail")

    def _locate(self, target: str) -> Tuple[str, Optional[str]]:
        """A request target -> the name and qualifier of a function that exists."""
        path, _, query = target.partition("?")
        in_path = _PATH.fullmatch(path)
        if in_path is None:
            raise _RefusedError(404, "UnknownOperationException", "Invoke is the only operation here")
        identifier = _IDENTIFIER.fullmatch(unquote(in_path.group(1)))
        if identifier is None:
            text = "Value at 'functionName' must be a function name, partial ARN or ARN"
            raise _RefusedError(400, "ValidationException", text)
        region, name, suffix = identifier.group("region", "name", "qualifier")
        qualifier: Optional[str] = parse_qs(query).get("Qualifier", [suffix])[0]
        if qualifier is not None and not _QUALIFIER.fullmatch(qualifier):
            text = "Value at 'qualifier' must be a version, an alias or $LATEST"
            raise _RefusedError(400, "ValidationException", text)
        if suffix not in (None, qualifier):
            text = "The derived qualifier from the function name does not match the specified qualifier."
            raise _RefusedError(400, "InvalidParameterValueException", text)
        if region not in (None, self._region):
            text = f"Functions from '{region}' are not reachable in this region ('{self._region}')"
            raise _RefusedError(404, "ResourceNotFoundException", text)
        if name not in self._functions:
            text = f"Function not found: {self._arn(name, qualifier)}"
            raise _RefusedError(404, "ResourceNotFoundException", text)
        return name, qualifier

    def _arn(self, name: str, qualifier: Optional[str]) -> str:
        arn = f"arn:aws:lambda:{self._region}:{ACCOUNT_ID}:function:{name}"
        return arn if qualifier is None else f"{arn}:{qualifier}"

    def _admit(self, call: LocalCall, event: Any, client_context: Optional[SimpleNamespace]) -> _Invocation:
        """Takes a place, starts the handler and records the call, in one step, or refuses."""
        with self._lock:
            now_s = time.monotonic()
            if self._closed:
                raise _RefusedError(503, "ServiceException", "LocalLambda is closed")
            # AWS kills what is past its timeout; a thread can only be counted out.
            in_flight = sum(running.deadline_s > now_s for running in self._running)
            if self._concurrency_limit is not None and in_flight >= self._concurrency_limit:
                reason = "ConcurrentInvocationLimitExceeded"
                refused = _RefusedError(429, "TooManyRequestsException", "Rate Exceeded.", Reason=reason)
                refused.answer.headers["Retry-After"] = str(self._retry_after_s)
                raise refused
            invocation = self._prepare(call, client_context, now_s)
            name = f"local-lambda-{call.function_name}"
            try:
                threading.Thread(target=self._run, args=(invocation, event), name=name, daemon=True).start()
            except RuntimeError as error:  # the process has no thread left
                raise _RefusedError(500, "ServiceException", "No thread could be started") from error
            self._warm.add(call.function_name)
            self._calls.append(call)
            self._running.add(invocation)  # before _run can discard it: that needs the lock
            return invocation

    def _prepare(self, call: LocalCall, client_context: Optional[SimpleNamespace], now_s: float) -> _Invocation:
        deadline_s = now_s + self._timeout_s
        version = call.qualifier if call.qualifier and call.qualifier.isdigit() else "$LATEST"
        log = [f"START RequestId: {call.request_id} Version: {version}\n"]
        context = LambdaContext(
            function_name=call.function_name,
            function_version=version,
            invoked_function_arn=self._arn(call.function_name, call.qualifier),
            memory_limit_in_mb=str(self._memory_mb),
            aws_request_id=call.request_id,
            log_group_name=f"/aws/lambda/{call.function_name}",
            log_stream_name=f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{self._environment_id}",
            # AWS passes it on in synchronous invocations only.
            client_context=None if call.invocation_type == "Event" else client_context,
            tenant_id=call.tenant_id,
            deadline_s=deadline_s,
            log=log,
        )
        cold = call.function_name not in self._warm
        return _Invocation(call, context, log, cold, started_s=now_s, deadline_s=deadline_s)

    def _run(self, invocation: _Invocation, event: Any) -> None:
        """The life of a handler's thread."""
        try:
            handler = self._functions[invocation.call.function_name]
            invocation.outcome = _call_handler(handler, event, invocation.context)
        finally:
            # The place first: whoever has the answer may use it at once.
            with self._lock:
                self._running.discard(invocation)
            invocation.finished.set()

    def _result(self, invocation: _Invocation, log_tail: bool) -> _Answer:
        """Waits for the handler, up to its timeout."""
        request_id = invocation.call.request_id
        if not invocation.finished.wait(invocation.deadline_s - time.monotonic()):
            text = f"RequestId: {request_id} Error: Task timed out after {self._timeout_s:.2f} seconds"
            outcome = _failure("Sandbox.Timedout", text, request_id)
        elif invocation.outcome is None:
            raise _RefusedError(503, "ServiceException", "LocalLambda was closed during the invocation")
        else:
            outcome = invocation.outcome
        duration_ms = (time.monotonic() - invocation.started_s) * 1_000
        headers = {"X-Amz-Executed-Version": invocation.context.function_version}
        if outcome.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        if log_tail:
            log = "".join(invocation.log) + self._report(invocation, duration_ms)
            tail = log.encode(errors="replace")[-LOG_TAIL_BYTES:]
            headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
        return _Answer(200, outcome.body, headers)

    def _report(self, invocation: _Invocation, duration_ms: float) -> str:
        request_id = invocation.call.request_id
        used_mb = min(_MEMORY_USED_MB, self._memory_mb)
        init = f"Init Duration: {_INIT_DURATION_MS:.2f} ms\t" if invocation.cold else ""
        return (
            f"END RequestId: {request_id}\n"
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {math.ceil(duration_ms)} ms\tMemory Size: {self._memory_mb} MB\t"
            f"Max Memory Used: {used_mb} MB\t{init}\n"
        )


def _check_functions(functions: object) -> None:
    if not isinstance(functions, Mapping):
        raise ValueError(f"functions must map names to handlers, got {type(functions).__name__}")
    for name, handler in functions.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ValueError(f"functions: a name must be 1 to 64 of A-Za-z0-9_-, got {name!r}")
        if not callable(handler):
            raise ValueError(f"functions: {name!r} must be callable, got {type(handler).__name__}")


def _check_region(region: object) -> None:
    if not isinstance(region, str) or not re.fullmatch(r"[a-z0-9-]+", region):
        raise ValueError(f"region must be an AWS region such as 'us-east-1', got {region!r}")


def _check_seconds(name: str, value: object, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= high:
        raise ValueError(f"{name} must be seconds above 0, up to {high:g}, got {value!r}")


def _check_whole(name: str, value: Any, low: int, high: Optional[int]) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not low <= value <= (value if high is None else high):
        limits = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be a whole number {limits}, got {value!r}")


def _one_of(headers: Mapping[str, str], name: str, choices: Tuple[str, ...]) -> str:
    """A header's value; the first choice is the default."""
    value = headers.get(name, choices[0])
    if value not in choices:
        text = f"{name} must be one of {', '.join(choices)}"
        raise _RefusedError(400, "InvalidParameterValueException", text)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _decode_payload(raw: bytes) -> Any:
    """Strict UTF-8 JSON; nothing at all is an empty event."""
    try:
        return json.loads(raw.decode() or "{}", parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        text = f"Could not parse request body into json: {error}"
        raise _RefusedError(400, "InvalidRequestContentException", text) from error


def _decode_client_context(value: Optional[str]) -> Optional[Dict[str, Any]]:
    if value is None:
        return None
    if len(value) > MAX_CLIENT_CONTEXT_BYTES:
        text = f"Client context must be at most {MAX_CLIENT_CONTEXT_BYTES} bytes, got {len(value)}"
        raise _RefusedError(400, "InvalidRequestContentException", text)
    try:
        decoded = json.loads(base64.b64decode(value, validate=True).decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        text = "Client context must be a valid Base64-encoded JSON object."
        raise _RefusedError(400, "InvalidRequestContentException", text)
    return decoded


def _client_context_object(decoded: Optional[Dict[str, Any]]) -> Optional[SimpleNamespace]:
    if decoded is None:
        return None
    client = decoded.get("client")
    if isinstance(client, dict):
        client = SimpleNamespace(**{name: client.get(name) for name in _CLIENT_FIELDS})
    return SimpleNamespace(custom=decoded.get("custom"), env=decoded.get("env"), client=client)


def _call_handler(handler: Handler, event: Any, context: LambdaContext) -> _Outcome:
    """Runs a handler to whatever end it comes to."""
    request_id = context.aws_request_id
    try:
        result = handler(event, context)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        text = f"RequestId: {request_id} Error: Runtime exited with error: exit status {status}"
        outcome = _failure("Runtime.ExitError", text, request_id)
    except BaseException as error:  # a handler must not end its thread without an outcome
        stack = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
        name, text = type(error).__name__, _message_of(error)
        context.log(f"[ERROR] {name}: {text}\nTraceback (most recent call last):\n{''.join(stack)}")
        outcome = _failure(name, text, request_id, stack)
    else:
        outcome = _marshal(result, request_id)
    if len(outcome.body) > MAX_REQUEST_RESPONSE_BYTES:
        size = f"{MAX_REQUEST_RESPONSE_BYTES} bytes"
        text = f"Response payload size exceeded maximum allowed payload size ({size})."
        return _failure("Function.ResponseSizeTooLarge", text, request_id)
    return outcome


def _marshal(result: Any, request_id: str) -> _Outcome:
    try:
        # UTF-8, as in AWS's Python 3.12 and newer: an escape would make six bytes of a character.
        return _Outcome(json.dumps(result, ensure_ascii=False, allow_nan=False).encode())
    except Exception as error:  # a result's own methods may raise anything
        text = f"Unable to marshal response: {_message_of(error)}"
        return _failure("Runtime.MarshalError", text, request_id)


def _failure(error_type: str, text: str, request_id: str, stack: Optional[List[str]] = None) -> _Outcome:
    body = {"errorMessage": text, "errorType": error_type, "requestId": request_id, "stackTrace": stack or []}
    return _Outcome(json.dumps(body).encode(), failed=True)


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__} whose str() failed>"


class _Server(socketserver.TCPServer):
    """A daemon thread per connection, all of which end before server_close() returns.

    `socketserver.ThreadingTCPServer` joins only threads that are not daemons, and those would keep a script that
    forgets close() from exiting.
    """

    allow_reuse_address = True
    request_queue_size = 1_024

    def __init__(self, port: int, respond: Callable[[str, Mapping[str, str], bytes, str], _Answer]) -> None:
        self.respond = respond
        self._connections: List[Tuple[threading.Thread, socket.socket]] = []
        # Without it shutdown() might hit a descriptor that was closed and given away meanwhile.
        self._closing = threading.Lock()
        super().__init__(("127.0.0.1", port), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._serve, args=(request, client_address), name="local-lambda-connection", daemon=True
        )
        thread.start()
        alive = [connection for connection in self._connections if connection[0].is_alive()]
        self._connections = [*alive, (thread, request)]

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        finally:
            with self._closing:
                self.shutdown_request(request)

    def disconnect(self) -> None:
        """Cuts every connection; serve_forever must have returned."""
        for _, connection in self._connections:
            with self._closing, contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def server_close(self) -> None:
        super().server_close()
        for thread, _ in self._connections:
            thread.join()


class _Connection(BaseHTTPRequestHandler):
    """HTTP alone: requests in, answers out."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    raw_requestline: bytes

    def handle(self) -> None:
        # OSError: the client is gone, and nobody is left to answer.
        with contextlib.suppress(OSError):
            super().handle()
            self._linger()

    def _linger(self) -> None:
        """Reads what is left: closing on unread bytes resets the connection and loses the last answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_S)
        while self.connection.recv(65_536):
            pass

    def parse_request(self) -> bool:
        """Two more things are malformed: a blank request line, and a header line that is none."""
        if not self.raw_requestline.decode("iso-8859-1").split():
            self.send_error(400, "Bad request syntax: blank line")
            return False
        if not super().parse_request():
            return False
        if self.headers.defects:
            self.send_error(400, "Bad header line")
            return False
        return True

    def do_POST(self) -> None:
        request_id = str(uuid.uuid4())
        try:
            headers = MappingProxyType({name.lower(): value for name, value in self.headers.items()})
            answer = self.server.respond(self.path, headers, self._body(), request_id)
        except _RefusedError as refused:
            answer = refused.answer
        self._send(answer, request_id)

    def _body(self) -> bytes:
        """The request's body. Until it is read, no other request can follow on this connection."""
        keep_alive, self.close_connection = not self.close_connection, True
        lengths = self.headers.get_all("Content-Length", [])
        is_plain = len(lengths) == 1 and re.fullmatch("[0-9]{1,18}", lengths[0])
        if not is_plain or "Transfer-Encoding" in self.headers:
            text = "A request needs exactly one Content-Length, a whole number, and no Transfer-Encoding"
            raise _RefusedError(400, "InvalidRequestException", text)
        length = int(lengths[0])
        is_event = self.headers.get("X-Amz-Invocation-Type") == "Event"
        limit = MAX_EVENT_BYTES if is_event else MAX_REQUEST_RESPONSE_BYTES
        if length > limit:
            text = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
            raise _RefusedError(413, "RequestTooLargeException", text)
        body = self.rfile.read(length)
        if len(body) < length:
            raise _RefusedError(400, "InvalidRequestException", f"The body ended after {len(body)} of {length} bytes")
        self.close_connection = not keep_alive
        return body

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """What the base class finds wrong, in AWS's shape; 501 is what it says of any method but POST."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refused = _RefusedError(405, "MethodNotAllowedException", "Invoke is a POST")
        else:
            refused = _RefusedError(code, "InvalidRequestException", message or HTTPStatus(code).phrase)
        self._send(refused.answer, str(uuid.uuid4()))

    def _send(self, answer: _Answer, request_id: str) -> None:
        """Writes an answer in one piece: in two, Nagle and the client's delayed ACK may cost 40 ms."""
        headers = {"Date": self.date_time_string(), "x-amzn-RequestId": request_id, **answer.headers}
        if answer.status != HTTPStatus.NO_CONTENT:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(answer.body))
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("ascii") + answer.body)
