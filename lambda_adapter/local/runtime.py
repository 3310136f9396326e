"""Run a Python handler as Lambda's Python runtime does: the context that it gets, and what becomes of it."""

import inspect
import json
import time
import traceback
from datetime import datetime, timezone
from types import FrameType, TracebackType
from typing import Any, Callable, Dict, List, Optional, Tuple

import attrs

from .._process.clock import monotonic_s
from .._rules.limits import MAX_RESULT_BYTES, MAX_STREAMED_BYTES
from .._rules.validation import is_async
from .invoke_api import HttpAnswer, LocalCall, function_arn
from .marshaller import to_json

#: handler(event, context): the decoded payload and a ``LambdaContext`` -> anything that JSON can hold. A generator
#: yields what is sent as it comes: text, bytes, or anything that JSON can hold.
Handler = Callable[[Any, Any], Any]

_MARSHAL_ERROR = "Runtime.MarshalError"

#: How the names of this package's modules begin.
_OURS = f"{__name__.partition('.')[0]}."
#: What stands between an ``import`` and the module: Python's own, and what ``serve`` puts there.
_OF_IMPORTS = ("importlib", "_frozen_importlib", f"{_OURS}cli.handler_files")

#: The keys of a client context's ``w3c`` that reach a handler.
_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


@attrs.define(eq=False)
class CognitoIdentity:
    """Amazon Cognito's identity, of which nothing is known here."""

    cognito_identity_id: Optional[str] = None
    cognito_identity_pool_id: Optional[str] = None


@attrs.define(eq=False)
class Client:
    """The app that a client context describes."""

    installation_id: Any = None
    app_title: Any = None
    app_version_name: Any = None
    app_version_code: Any = None
    app_package_name: Any = None


@attrs.define(eq=False)
class ClientContext:
    """What a handler sees of a call's client context: None for what was not sent."""

    custom: Any = None
    env: Any = None
    client: Any = None


@attrs.define(eq=False, slots=False)
class LambdaContext:
    """What a handler gets beside its event, shaped as AWS's Python runtime shapes it; it takes attributes of yours too.

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
    #: None for an Event, or where none was sent.
    client_context: Optional[ClientContext]
    tenant_id: Optional[str]
    _deadline_s: float = attrs.field(repr=False)
    _log: List[str] = attrs.field(factory=list, repr=False)
    identity: CognitoIdentity = attrs.field(factory=CognitoIdentity)
    _w3c_fields: Dict[str, str] = attrs.field(factory=dict, repr=False)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the timeout; 0 once it has passed."""
        return max(0, int((self._deadline_s - monotonic_s()) * 1_000))

    def log(self, msg: object) -> None:
        """Add ``msg``, as it is, to the log that LogType "Tail" returns."""
        self._log.append(str(msg))

    def w3c(self) -> Dict[str, str]:
        """The W3C trace context that the client context carried: ``traceparent``, ``tracestate``, ``baggage``."""
        return dict(self._w3c_fields)


def make_context(
    call: LocalCall,
    client_context: Optional[ClientContext],
    *,
    region: str,
    memory_mb: int,
    environment_id: str,
    deadline_s: float,
    log: List[str],
) -> LambdaContext:
    """The context of one call. An alias means $LATEST; ``deadline_s`` is a time of ``monotonic_s``."""
    # AWS passes it on in synchronous invocations only.
    is_passed_on = call.invocation_type != "Event"
    version = call.qualifier if call.qualifier and call.qualifier.isdigit() else "$LATEST"
    return LambdaContext(
        function_name=call.function_name,
        function_version=version,
        invoked_function_arn=function_arn(region, call.function_name, call.qualifier),
        memory_limit_in_mb=str(memory_mb),
        aws_request_id=call.request_id,
        log_group_name=f"/aws/lambda/{call.function_name}",
        log_stream_name=f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{environment_id}",
        client_context=client_context if is_passed_on else None,
        tenant_id=call.tenant_id,
        deadline_s=deadline_s,
        log=log,
        w3c_fields=_w3c_of(call.client_context) if is_passed_on else {},
    )


def client_context_object(decoded: Optional[Dict[str, Any]]) -> Optional[ClientContext]:
    """Make of a call's decoded client context what the handler sees of it."""
    if decoded is None:
        return None
    client = decoded.get("client")
    if isinstance(client, dict):
        client = Client(**{field.name: client.get(field.name) for field in attrs.fields(Client)})
    return ClientContext(decoded.get("custom"), decoded.get("env"), client)


def _w3c_of(decoded: Optional[Dict[str, Any]]) -> Dict[str, str]:
    told = (decoded or {}).get("w3c")
    if not isinstance(told, dict):
        return {}
    return {name: told[name] for name in _W3C_FIELDS if isinstance(told.get(name), str)}


def check_handler(shown: str, handler: object) -> None:
    """Check that AWS's runtime could run a handler.

    Args:
        shown: How a message names the handler.

    Raises:
        ValueError: It cannot be called, or is a coroutine function.
    """
    if not callable(handler):
        raise ValueError(f"{shown} must be callable; got {type(handler).__name__}")
    if is_async(handler):
        raise ValueError(
            f"{shown} is an async function, which AWS's Python runtime calls but does not await; give a function that"
            " is not, and runs the async one: lambda event, context: asyncio.run(handler(event, context))"
        )


@attrs.frozen
class HandlerResult:
    """What became of a handler: its result, or the error object that stands for it."""

    body: bytes
    failed: bool = False
    #: What a generator yielded, piece by piece, until it ended or failed.
    chunks: Tuple[bytes, ...] = ()

    def to_answer(self, version: str) -> HttpAnswer:
        """What a caller who waits is told."""
        error = {"X-Amz-Function-Error": "Unhandled"} if self.failed else {}
        return HttpAnswer(200, self.body, {"X-Amz-Executed-Version": version, **error})


def call_handler(
    handler: Handler, event: object, context: LambdaContext, emit: Optional[Callable[[bytes], None]] = None
) -> HandlerResult:
    """Run a handler to whatever end it comes to.

    Args:
        emit: Is given what a handler that is a generator yields, as it comes, and an ordinary handler's result as one.
            Without it all of that is the result's body.
    """
    chunks: List[bytes] = []
    max_bytes = MAX_RESULT_BYTES if emit is None else MAX_STREAMED_BYTES
    try:
        result = _result_of(handler, event, context, chunks, emit)
    except BaseException as error:  # a handler must not end its thread without a result
        result = _exited(error, context)
    if len(result.body) > max_bytes:
        text = f"Response payload size exceeded maximum allowed payload size ({max_bytes} bytes)."
        result = platform_failure("Function.ResponseSizeTooLarge", text)
    if chunks:
        result = attrs.evolve(result, chunks=tuple(chunks))
    if emit is not None and not result.failed and result.body:
        emit(result.body)
    return result


def _result_of(
    handler: Handler,
    event: object,
    context: LambdaContext,
    chunks: List[bytes],
    emit: Optional[Callable[[bytes], None]],
) -> HandlerResult:
    """What AWS's runtime reports; what it does not survive is raised."""
    give = chunks.append if emit is None else emit
    try:
        returned = handler(event, context)
        if inspect.isgenerator(returned):
            for item in returned:
                give(to_chunk(item))
    except Exception as error:
        name, text, stack = type(error).__name__, str(error), _stack(error.__traceback__)
        result = failed_result(name, text, context.aws_request_id, stack)
        context.log(_told(name, text, stack))
        return result
    if inspect.isgenerator(returned):
        # A generator's own result is lost, as it is in any loop.
        return HandlerResult(b"".join(chunks))
    result = marshal(returned, context.aws_request_id)
    if result.failed:
        context.log(_told(_MARSHAL_ERROR, json.loads(result.body)["errorMessage"], []))
    return result


def _stack(trace: Optional[TracebackType]) -> List[str]:
    """The frames from the handler on, without the marks below their lines, which AWS's runtime leaves out."""
    walked = traceback.walk_tb(_from_handler_on(trace))
    frames = traceback.StackSummary.extract(step for step in walked if not _is_of(step[0], _OF_IMPORTS))
    return traceback.format_list(
        [traceback.FrameSummary(frame.filename, frame.lineno, frame.name, line=frame.line) for frame in frames]
    )


def _from_handler_on(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    while trace is not None and _is_of(trace.tb_frame, (_OURS, *_OF_IMPORTS)):
        trace = trace.tb_next
    return trace


def _is_of(frame: FrameType, beginnings: Tuple[str, ...]) -> bool:
    return str(frame.f_globals.get("__name__")).startswith(beginnings)


def _told(error_type: str, text: str, stack: List[str]) -> str:
    """A failure as AWS's runtime logs it: no line begins with a space, where log readers would split it off."""
    lines = [f"[ERROR] {error_type}: {text}" if text else f"[ERROR] {error_type}", "Traceback (most recent call last):"]
    for line in "".join(stack).splitlines():
        bare = line.lstrip(" ")
        lines.append("\u00a0" * (len(line) - len(bare)) + bare)
    return "\n".join(lines) + "\n"


def _exited(error: BaseException, context: LambdaContext) -> HandlerResult:
    """What a caller is told where AWS's runtime would have ended with ``error``."""
    if isinstance(error, SystemExit):
        code = error.code
        # As the operating system keeps it. Text is printed, and means 1.
        status = code & 0xFF if isinstance(code, int) else int(code is not None)
        context.log("" if code is None or isinstance(code, int) else f"{code}\n")
    else:
        status = 1
        frames = _from_handler_on(error.__traceback__)
        context.log("".join(traceback.format_exception(type(error), error, frames)))
    reason = f"with error: exit status {status}" if status else "without providing a reason"
    if isinstance(error, KeyboardInterrupt):
        reason = "with error: signal: interrupt"
    text = f"RequestId: {context.aws_request_id} Error: Runtime exited {reason}"
    context.log(f"{text}\nRuntime.ExitError\n")
    return platform_failure("Runtime.ExitError", text)


def result_chunks(result: HandlerResult) -> Tuple[bytes, ...]:
    """What a caller who wants a stream is sent of a result before its end."""
    whole = () if result.failed or not result.body else (result.body,)
    return result.chunks or whole


def to_chunk(item: object) -> bytes:
    """What a generator yielded, as it is sent: text and bytes as they are, anything else as JSON."""
    if isinstance(item, bytes):
        return item
    return (item if isinstance(item, str) else to_json(item)).encode()


def marshal(returned: object, request_id: str) -> HandlerResult:
    """What a handler returned, as the runtime sends it; a failure if it cannot be written.

    Raises:
        UnicodeEncodeError: It holds half a character (a lone surrogate), of which AWS's runtime dies.
    """
    if isinstance(returned, bytes):
        return HandlerResult(returned)
    try:
        text = to_json(returned)
    except Exception as error:  # its own methods may raise anything
        return failed_result(_MARSHAL_ERROR, f"Unable to marshal response: {error}", request_id)
    return HandlerResult(text.encode())


def failed_result(error_type: str, text: str, request_id: str, stack: Optional[List[str]] = None) -> HandlerResult:
    """The error object that stands for a handler that failed, in the runtime's words."""
    body = {"errorMessage": text, "errorType": error_type, "requestId": request_id, "stackTrace": stack or []}
    return HandlerResult(to_json(body).encode(), failed=True)


def platform_failure(error_type: str, text: str) -> HandlerResult:
    """The error object of a failure that the runtime does not live to tell, in the words of AWS's platform."""
    return HandlerResult(to_json({"errorType": error_type, "errorMessage": text}).encode(), failed=True)


def timed_out(request_id: str, timeout_s: float) -> HandlerResult:
    """The error object of a handler that ran for too long."""
    text = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return platform_failure("Sandbox.Timedout", text)


def late_line(request_id: str, timeout_s: float) -> str:
    """What the log says of it."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{now} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n"
