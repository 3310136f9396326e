"""Run a Python handler as Lambda's Python runtime does: the context that it gets, and what becomes of it."""

import inspect
import json
import time
import traceback
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Optional, Tuple

import attrs

from .._process.clock import monotonic_s
from .._rules.limits import MAX_REQUEST_RESPONSE_BYTES, MAX_STREAMED_BYTES
from .invoke_api import HttpAnswer, LocalCall, function_arn

#: handler(event, context): the decoded payload and a ``LambdaContext`` -> anything that JSON can hold. A generator
#: yields what is sent as it comes: text, bytes, or anything that JSON can hold.
Handler = Callable[[Any, Any], Any]

_CLIENT_FIELDS = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


@attrs.frozen
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
    #: None, or an object with ``custom``, ``env`` and ``client``, each None unless it was sent. None for an Event.
    client_context: Optional[SimpleNamespace]
    tenant_id: Optional[str]
    _deadline_s: float = attrs.field(repr=False)
    _log: List[str] = attrs.field(factory=list, repr=False)
    #: Amazon Cognito's identity, of which nothing is known here.
    identity: SimpleNamespace = attrs.field(
        factory=lambda: SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
    )

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the timeout; 0 once it has passed."""
        return max(0, int((self._deadline_s - monotonic_s()) * 1_000))

    def log(self, msg: object) -> None:
        """Add ``msg``, as it is, to the log that LogType "Tail" returns."""
        self._log.append(str(msg))


def make_context(
    call: LocalCall,
    client_context: Optional[SimpleNamespace],
    *,
    region: str,
    memory_mb: int,
    environment_id: str,
    deadline_s: float,
    log: List[str],
) -> LambdaContext:
    """The context of one call. An alias means $LATEST; ``deadline_s`` is a time of ``monotonic_s``."""
    version = call.qualifier if call.qualifier and call.qualifier.isdigit() else "$LATEST"
    return LambdaContext(
        function_name=call.function_name,
        function_version=version,
        invoked_function_arn=function_arn(region, call.function_name, call.qualifier),
        memory_limit_in_mb=str(memory_mb),
        aws_request_id=call.request_id,
        log_group_name=f"/aws/lambda/{call.function_name}",
        log_stream_name=f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{environment_id}",
        # AWS passes it on in synchronous invocations only.
        client_context=None if call.invocation_type == "Event" else client_context,
        tenant_id=call.tenant_id,
        deadline_s=deadline_s,
        log=log,
    )


def client_context_object(decoded: Optional[Dict[str, Any]]) -> Optional[SimpleNamespace]:
    """Make of a call's decoded client context what the handler sees of it."""
    if decoded is None:
        return None
    client = decoded.get("client")
    if isinstance(client, dict):
        client = SimpleNamespace(**{name: client.get(name) for name in _CLIENT_FIELDS})
    return SimpleNamespace(custom=decoded.get("custom"), env=decoded.get("env"), client=client)


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
    request_id = context.aws_request_id
    chunks: List[bytes] = []
    give = chunks.append if emit is None else emit
    max_bytes = MAX_REQUEST_RESPONSE_BYTES if emit is None else MAX_STREAMED_BYTES
    try:
        returned = handler(event, context)
        if inspect.isgenerator(returned):
            for item in returned:
                give(to_chunk(item))
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        text = f"RequestId: {request_id} Error: Runtime exited with error: exit status {status}"
        result = failed_result("Runtime.ExitError", text, request_id)
    except BaseException as error:  # a handler must not end its thread without a result
        stack = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
        name, text = type(error).__name__, _message_of(error)
        context.log(f"[ERROR] {name}: {text}\nTraceback (most recent call last):\n{''.join(stack)}")
        result = failed_result(name, text, request_id, stack)
    else:
        # A generator's own result is lost, as it is in any loop.
        whole = b"".join(chunks)
        result = HandlerResult(whole) if inspect.isgenerator(returned) else marshal(returned, request_id)
    if len(result.body) > max_bytes:
        text = f"Response payload size exceeded maximum allowed payload size ({max_bytes} bytes)."
        result = failed_result("Function.ResponseSizeTooLarge", text, request_id)
    if chunks:
        result = attrs.evolve(result, chunks=tuple(chunks))
    if emit is not None and not result.failed and result.body:
        emit(result.body)
    return result


def result_chunks(result: HandlerResult) -> Tuple[bytes, ...]:
    """What a caller who wants a stream is sent of a result before its end."""
    whole = () if result.failed or not result.body else (result.body,)
    return result.chunks or whole


def to_chunk(item: object) -> bytes:
    """What a generator yielded, as it is sent: text and bytes as they are, anything else as JSON."""
    if isinstance(item, bytes):
        return item
    return (item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, allow_nan=False)).encode()


def marshal(returned: object, request_id: str) -> HandlerResult:
    """What a handler returned, as the runtime sends it; a failure if JSON cannot hold it."""
    try:
        # UTF-8, as in AWS's Python 3.12 and newer: an escape would make six bytes of a character.
        return HandlerResult(json.dumps(returned, ensure_ascii=False, allow_nan=False).encode())
    except Exception as error:  # its own methods may raise anything
        text = f"Unable to marshal response: {_message_of(error)}"
        return failed_result("Runtime.MarshalError", text, request_id)


def failed_result(error_type: str, text: str, request_id: str, stack: Optional[List[str]] = None) -> HandlerResult:
    """The error object that stands for a handler that failed, in the runtime's words."""
    body = {"errorMessage": text, "errorType": error_type, "requestId": request_id, "stackTrace": stack or []}
    return HandlerResult(json.dumps(body).encode(), failed=True)


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__} whose str() failed>"
