"""mock_lambda: functions that answer and fail as a bot's test tells them, on moto's mocked AWS.

Needs the extra ``lambda-adapter[testing]``. With it pytest has the fixture ``mock_lambda``, the same as a ``with`` of
``lambda_adapter.testing.mock_lambda()``.
"""

import contextlib
import io
import logging
import math
import re
import threading
import uuid
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError

from .._aws import moto_seam, sending
from .._call import workers
from .._process import clock
from .._process.clock import monotonic_s
from .._rules.identifiers import parse_identifier
from ..local import emulator
from ..local.durable import ARN_HEADER, DurableExecution, DurableExecutions
from ..local.event_loops import EventLoops
from ..local.event_stream import CONTENT_TYPE, invoke_complete, payload_chunk
from ..local.function_log import end_lines, start_line
from ..local.invoke_api import (
    HttpAnswer,
    LocalCall,
    RefusedError,
    check_size,
    encode_log_tail,
    is_streaming,
    parse_path,
)
from ..local.runtime import HandlerResult, LambdaContext, client_context_object, make_context, result_chunks
from .functions import NOT_GIVEN, BreaksOff, Fault, MockFunction, Run, check_text
from .moved_clock import MovedClock
from .runs import MockRuns

try:
    import moto.core.botocore_stubber  # noqa: F401, moto_seam needs it, and this is where to say what to install
    from moto import mock_aws
except ImportError as error:
    raise ImportError("lambda_adapter.testing needs moto from 5.0.4: pip install 'lambda-adapter[testing]'") from error

#: Not below the adapter's, whose lines never have what a function said: a test's author wants just that.
logger = logging.getLogger("mock_lambda")

#: What a handler's context says; AWS's defaults. Nothing is enforced.
_TIMEOUT_S = 3.0
_MEMORY_MB = 128
#: No test takes so long: a run ends when its handler does, and when it was looked for often enough.
_EXECUTION_TIMEOUT_S = 86_400.0

#: Of the path of each request that has one: what names the function, an execution's ARN included.
_FUNCTION = re.compile(r"/(?:functions|durable-executions)/([^/]+)")
_SIGNED_REGION = re.compile(r"Credential=[^,]*/([a-z0-9-]+)/lambda/aws4_request")


class MockLambda:
    """What ``mock_lambda`` gives to a test: it makes functions, and keeps what they were called with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._functions: Dict[str, MockFunction] = {}
        self._calls: Dict[str, List[LocalCall]] = {}
        self._runs = MockRuns()
        self._loops = EventLoops()

    def function(self, name: str, answer: object = NOT_GIVEN) -> MockFunction:
        """Make a function, or make one anew: its steps are forgotten, its calls are not.

        Args:
            name: The function's whole name, with the adapter's ``function_prefix``; or its ARN, of which only the name
                counts. It answers in every region and account, under every version and alias.
            answer: A ``handler(event, context)``, which runs in the caller's thread and whose exceptions are the
                function's errors; or what such a handler would return, usually ``{"success": True, …}``; or bytes,
                which are sent as they are. Without it the function succeeds, or does what MockFunction says.

        Returns:
            The function, to add steps to.

        Raises:
            ValueError: ``name`` can be no function's, or ``answer`` is not JSON-able.
        """
        identifier = parse_identifier(check_text("name", name))
        if identifier is None:
            raise ValueError(f"name must be a function's name or ARN; got {name!r}")
        made = MockFunction(identifier.name, answer)
        with self._lock:
            self._functions[made.name] = made
        return made

    def calls(self, name: str) -> List[Any]:
        """The payloads of all calls of a function so far, decoded, in order.

        Every attempt counts, throttled ones and Events as well; a DryRun does not. A name that was called and that no
        function has counts too.

        Args:
            name: As for ``function``.

        Raises:
            LookupError: No function has this name, and none was called by it.
            ValueError: ``name`` is no text.
        """
        return [call.payload for call in self.invocations(name)]

    def invocations(self, name: str) -> List[LocalCall]:
        """The same calls as LocalLambda keeps its own: with their qualifier, tenant, invocation type and headers.

        Args:
            name: As for ``function``.

        Raises:
            LookupError, ValueError: As for ``calls``.
        """
        identifier = parse_identifier(check_text("name", name))
        name = identifier.name if identifier else name
        with self._lock:
            known = name in self._functions or name in self._calls
            calls = list(self._calls.get(name, ()))
        if not known:
            raise LookupError(f"mock_lambda has no function {name!r}, and none was called by this name: {self!r}")
        return calls

    def __repr__(self) -> str:
        """All functions with the number of their calls: pytest prints it where an assertion about calls fails."""
        with self._lock:
            names = [*self._functions, *(name for name in self._calls if name not in self._functions)]
            told = [self._told(name) for name in names]
        return f"<mock_lambda: {', '.join(told) or 'no functions'}>"

    def _told(self, name: str) -> str:
        count = len(self._calls.get(name, ()))
        calls = "1 call" if count == 1 else f"{count} calls"
        return f"{name!r} {calls}" + ("" if name in self._functions else ", but not a function")

    def _has(self, name: str) -> bool:
        with self._lock:
            return name in self._functions

    def _take(self, call: LocalCall) -> Optional[MockFunction]:
        """Record a call, and find the function that it is for."""
        with self._lock:
            if call.invocation_type != "DryRun":
                self._calls.setdefault(call.function_name, []).append(call)
            return self._functions.get(call.function_name)


#: Those whose ``with`` has begun and not ended, the innermost last.
_active: List[MockLambda] = []


@contextlib.contextmanager
def mock_lambda() -> Iterator[MockLambda]:
    """Answer every Lambda invocation of this process as the test says, and mock the rest of AWS with moto.

    Adapters need no other settings, whether they are made inside or before: region, credentials, endpoint and timeouts
    may be those of production. No attempt leaves the process, and no wait between attempts takes time. A function that
    the test has not made is AWS's ResourceNotFoundException. An Event runs its handler at once and once, and its answer
    or error is lost, as AWS loses it.

    It holds for all threads of the process. Within another ``mock_lambda`` the inner one's functions come first, and
    the outer one's after them; AWS's other services are the same in both.

    An adapter with a LocalLambda's ``settings`` calls that one, beside the mock. Deadlines, circuits and attempts have
    one clock, which follows where freezegun or time-machine move the time forward; a handler that takes longer than
    ``read_timeout`` by that clock is a timeout, when it has ended.

    Only a client that the bot itself made before moto was imported escapes it, as it escapes moto.

    Example::

        with mock_lambda() as mock:
            mock.function("weather", {"success": True, "message": "Sunny"}).throttles(times=2)
            assert bot.answer("!weather Berlin") == "Sunny"
            assert mock.calls("weather")[0]["trigger"]["context_text"] == "Berlin"
    """
    mock = MockLambda()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock_aws(config={"lambda": {"use_docker": False}}))
        stack.enter_context(moto_seam.answering(_before_send))
        stack.enter_context(patch.object(workers, "wait_scale", 0.0))
        if not _active:
            stack.enter_context(patch.object(clock, "source", MovedClock(clock.source)))
        stack.callback(mock._loops.close)
        _active.append(mock)
        stack.callback(_active.remove, mock)
        yield mock


def _before_send(event_name: str, request: AWSPreparedRequest) -> Optional[AWSResponse]:
    """The answer to a request of botocore's; None leaves it to moto."""
    mocks = list(reversed(_active))
    respond = _RESPOND.get(event_name)
    if respond is None or not mocks:
        return None
    if _is_for_local_lambda(mocks, request):
        return None  # moto knows nothing of such a host, and lets it pass
    request_id = str(uuid.uuid4())
    try:
        answer = respond(mocks, request, request_id)
    except RefusedError as refused:
        answer = refused.answer
    headers = {"x-amzn-RequestId": request_id, "Content-Length": str(len(answer.body)), **answer.headers}
    raw: Any = urllib3.HTTPResponse(io.BytesIO(answer.body), headers, answer.status, preload_content=False)
    return AWSResponse(request.url, raw.status, raw.headers, raw)


def _is_for_local_lambda(mocks: List[MockLambda], request: AWSPreparedRequest) -> bool:
    """Whether a request is for a LocalLambda of this process, and stays so.

    Where only its endpoint says so it may be a bot's under development: then functions that the test makes come first.
    """
    url = urlsplit(request.url)
    host = "127.0.0.1" if url.hostname == "localhost" else url.hostname
    if f"{url.scheme}://{host}:{url.port}" not in emulator.serving:
        return False
    if f"Credential={emulator.ACCESS_KEY_ID}/" in _as_text(request.headers.get("Authorization", "")):
        return True
    named = _FUNCTION.search(unquote(url.path))
    identifier = parse_identifier(named[1]) if named else None
    return identifier is None or not any(mock._has(identifier.name) for mock in mocks)


def _respond(mocks: List[MockLambda], request: AWSPreparedRequest, request_id: str) -> HttpAnswer:
    """Answer an Invoke request in AWS's shape."""
    headers = {name.lower(): _as_text(value) for name, value in request.headers.items()}
    url = urlsplit(request.url)
    function = parse_path(f"{url.path}?{url.query}")
    call = LocalCall(
        function_name=function.name,
        qualifier=function.qualifier,
        invocation_type=headers.get("x-amz-invocation-type", "RequestResponse"),
        request_id=request_id,
        tenant_id=headers.get("x-amz-tenant-id"),
        raw=bytes(request.body or b""),
        headers=headers,
    )
    check_size(call)
    _, context = call.payload, _context(call)  # both refuse what is malformed, before anything is recorded
    owner = next((mock for mock in mocks if mock._has(call.function_name)), mocks[0])
    mocked = owner._take(call)
    if mocked is None:
        logger.warning("A function was invoked that the test has not made: %r. %r", call.function_name, owner)
        raise RefusedError(404, "ResourceNotFoundException", f"Function not found: {context.invoked_function_arn}")
    streams = is_streaming(url.path)
    name = DurableExecutions.name_of(call, mocked.is_durable)
    if name is not None and not streams and call.invocation_type != "DryRun":
        return _respond_durably(owner, mocked, name, call, context, request.url)
    step = mocked.next_step(call.invocation_type)
    if isinstance(step, Fault):
        return step.happen(request.url)
    if call.invocation_type == "DryRun":
        return HttpAnswer(204)
    if isinstance(step, BreaksOff):
        return step.happen(request.url, streams)
    began_s = monotonic_s()
    result, log = _run(owner, mocked, step, call, context)
    if call.invocation_type == "Event":
        return HttpAnswer(202)
    if streams:
        return _streamed(result, context.function_version, _log_tail(call, log))
    _check_in_time(began_s, request.url)
    return _with_log_tail(result.to_answer(context.function_version), call, log)


def _run(
    owner: MockLambda, mocked: MockFunction, step: Run, call: LocalCall, context: LambdaContext
) -> Tuple[HandlerResult, str]:
    """What a run comes to, and its log."""
    event, trace_id = call.payload, call.headers.get("x-amzn-trace-id")
    began_s = monotonic_s()
    with contextlib.ExitStack() as lent:
        if step.handler is not None:
            lent.enter_context(emulator.as_on_aws(step.handler, context, context._log, trace_id, owner._loops))
        result = step.come_to(event, context)
    duration_ms = (monotonic_s() - began_s) * 1_000
    log = "".join(context._log)
    if step.handler is not None and result.failed:
        # The adapter shows no stack trace, and of an Event nobody sees the error.
        logger.warning("The handler of %r failed: %s", mocked.name, log or result.body.decode())
    before = start_line(context.aws_request_id, context.function_version)
    after = end_lines(context.aws_request_id, duration_ms, _MEMORY_MB, mocked.take_cold())
    return result, "".join([before, log, after])


def _check_in_time(began_s: float, url: str) -> None:
    """Give no answer to a caller who has stopped to wait for it. A client that is no adapter's is not known here."""
    attempt, now_s = sending.current(), monotonic_s()
    if attempt is None:
        return
    config = getattr(getattr(attempt.client, "meta", None), "config", None)
    read_timeout_s = getattr(config, "read_timeout", math.inf)
    if now_s - began_s > read_timeout_s or (attempt.deadline_s is not None and now_s >= attempt.deadline_s):
        raise ReadTimeoutError(endpoint_url=url)


def _log_tail(call: LocalCall, log: str) -> Optional[str]:
    return encode_log_tail(log) if call.headers.get("x-amz-log-type") == "Tail" else None


def _with_log_tail(answer: HttpAnswer, call: LocalCall, log: str) -> HttpAnswer:
    tail = _log_tail(call, log)
    if tail is not None:
        answer.headers["X-Amz-Log-Result"] = tail
    return answer


def _streamed(result: HandlerResult, version: str, log_tail: Optional[str]) -> HttpAnswer:
    """The answer piece by piece, all of which is there already."""
    frames = [*map(payload_chunk, result_chunks(result)), invoke_complete(result if result.failed else None, log_tail)]
    return HttpAnswer(200, b"".join(frames), {"X-Amz-Executed-Version": version, "Content-Type": CONTENT_TYPE})


def _respond_durably(
    owner: MockLambda, mocked: MockFunction, name: str, call: LocalCall, context: LambdaContext, url: str
) -> HttpAnswer:
    """Answer an Invoke of a durable function: with its one run, or with what keeps the call from it."""
    region = context.invoked_function_arn.split(":")[3]
    new = DurableExecution(name, call, region, context.function_version, _EXECUTION_TIMEOUT_S)
    runs = owner._runs
    claim = runs.claim(mocked, new)
    execution, step, began_s = claim.execution, claim.run, monotonic_s()
    if step is not None:
        runs.run(execution, lambda: _run(owner, mocked, step, call, context), mocked._polls)
    if isinstance(claim.fault, Fault):
        return claim.fault.happen(url)
    if claim.fault is not None:
        return claim.fault.happen(url, streams=False)
    if call.invocation_type == "Event":
        answer = HttpAnswer(202)
    else:
        result = runs.wait(execution)
        if result is None:
            raise RefusedError(503, "ServiceException", "The run was ended by the test")
        _check_in_time(began_s, url)
        answer = _with_log_tail(result.to_answer(execution.version), call, runs.log(execution))
    answer.headers[ARN_HEADER] = execution.arn
    return answer


def _respond_about_executions(mocks: List[MockLambda], request: Any, request_id: str) -> HttpAnswer:
    """Answer Get, List and Stop: from the mock whose execution it is, the innermost first."""
    url = urlsplit(request.url)
    refused = RefusedError(404, "ResourceNotFoundException", "No such execution")
    answers = []
    for mock in mocks:
        try:
            answer = mock._runs.answer(request.method, f"{url.path}?{url.query}", bytes(request.body or b""))
        except RefusedError as error:
            refused = error
        else:
            answers += [answer] if answer else []
    # A list is empty where a function has none.
    return max(answers, key=lambda answer: len(answer.body)) if answers else refused.answer


#: By botocore's event: what answers it.
_RESPOND: Dict[str, Callable[[List[MockLambda], Any, str], HttpAnswer]] = {
    "before-send.lambda.Invoke": _respond,
    "before-send.lambda.InvokeWithResponseStream": _respond,
    "before-send.lambda.GetDurableExecution": _respond_about_executions,
    "before-send.lambda.ListDurableExecutionsByFunction": _respond_about_executions,
    "before-send.lambda.StopDurableExecution": _respond_about_executions,
}


def _as_text(value: Union[str, bytes]) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _context(call: LocalCall) -> LambdaContext:
    signed = _SIGNED_REGION.search(call.headers.get("authorization", ""))
    return make_context(
        call,
        client_context_object(call.client_context),
        region=signed[1] if signed else "us-east-1",
        memory_mb=_MEMORY_MB,
        environment_id=call.request_id,
        deadline_s=monotonic_s() + _TIMEOUT_S,
        log=[],
    )
