"""mock_lambda: functions that answer and fail as a bot's test tells them, on moto's mocked AWS.

Needs the extra ``lambda-adapter[testing]``. With it pytest has the fixture ``mock_lambda``, the same as a ``with`` of
``lambda_adapter.testing.mock_lambda()``.
"""

import contextlib
import functools
import io
import json
import logging
import re
import threading
import time
import uuid
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Union
from unittest.mock import patch
from urllib.parse import urlsplit

import attrs
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError

from .._aws import moto_seam
from .._call import workers
from .._rules.identifiers import parse_identifier
from ..local.emulator import check_whole
from ..local.invoke_api import HttpAnswer, LocalCall, RefusedError, parse_path, throttled
from ..local.runtime import (
    Handler,
    HandlerResult,
    LambdaContext,
    call_handler,
    client_context_object,
    failed_result,
    make_context,
    marshal,
)

try:
    import moto.core.botocore_stubber  # noqa: F401, moto_seam needs it, and this is where to say what to install
    from moto import mock_aws
except ImportError as error:
    raise ImportError("lambda_adapter.testing needs moto from 5.0.4: pip install 'lambda-adapter[testing]'") from error

logger = logging.getLogger("lambda_adapter.testing")

#: What a handler's context says; AWS's defaults. Nothing is enforced.
_TIMEOUT_S = 3.0
_MEMORY_MB = 128

_SIGNED_REGION = re.compile(r"Credential=[^,]*/([a-z0-9-]+)/lambda/aws4_request")
_NOT_GIVEN = object()


@attrs.frozen
class _Fault:
    """Keeps the function from running."""

    #: None: there is no answer in time.
    answer: Optional[HttpAnswer]

    def happen(self, url: str) -> HttpAnswer:
        if self.answer is None:
            raise ReadTimeoutError(endpoint_url=url)
        return self.answer


#: What a function does in one attempt.
_Step = Union[_Fault, Callable[[Any, LambdaContext], HandlerResult]]


class MockFunction:
    """A function of ``mock_lambda``, and the steps that it goes through: one an attempt, in the order given.

    After the steps comes the function's ``answer``, for every further attempt. Without an ``answer`` the last step
    stays; if it said how many ``times``, ``{"success": True}`` comes after it.

    Every method adds to the steps and returns the function, so that they can be chained::

        mock_lambda.function("weather", {"success": True}).throttles(times=2).times_out()  # 429, 429, timeout, success
        mock_lambda.function("news").times_out()  # whenever it is called
        mock_lambda.function("roll").answers({"success": True, "message": "1"}, {"success": True, "message": "6"})
    """

    def __init__(self, name: str, answer: object) -> None:
        self.name = name
        self._last_stays = answer is _NOT_GIVEN
        self._lock = threading.Lock()  # guards the two below
        self._steps: Deque[_Step] = deque()
        self._afterwards = self._success if answer is _NOT_GIVEN else self._answer(answer)

    def answers(self, *answers: object) -> "MockFunction":
        """Each of ``answers`` once: handlers or responses, as for ``MockLambda.function``."""
        for answer in answers:
            self._add(self._answer(answer), None)
        return self

    def fails(
        self,
        error_type: str = "RuntimeError",
        message: str = "mock_lambda made it fail",
        *,
        times: Optional[int] = None,
    ) -> "MockFunction":
        """The function runs and raises: ``function_error``, which is not retried.

        Args:
            error_type: The exception's class, "ValueError" for example.
            message: The exception's text.
            times: Attempts in a row, from 1.
        """

        def step(_: object, context: LambdaContext) -> HandlerResult:
            return failed_result(error_type, message, context.aws_request_id)

        return self._add(step, times)

    def throttles(self, *, times: Optional[int] = None, retry_after: Optional[int] = None) -> "MockFunction":
        """AWS refuses the invocation with 429: ``throttled``, which is retried.

        Args:
            times: Attempts in a row, from 1.
            retry_after: Whole seconds that the answer asks to wait; here nobody does.
        """
        if retry_after is not None:
            check_whole("retry_after", retry_after, 0, None)
        answer = throttled("ReservedFunctionConcurrentInvocationLimitExceeded", retry_after).answer
        return self._add(_Fault(answer), times)

    def times_out(self, *, times: Optional[int] = None) -> "MockFunction":
        """No answer comes within ``read_timeout``, of which none passes: ``timeout``, retried if ``idempotent``.

        Args:
            times: Attempts in a row, from 1.
        """
        return self._add(_Fault(None), times)

    def rejects(self, code: str, status: int, *, times: Optional[int] = None) -> "MockFunction":
        """AWS refuses the invocation with an error of its own, which decides what becomes of the call.

        Args:
            code: AWS's name of the error, "AccessDeniedException" for example.
            status: The HTTP status that goes with it, 400 to 599.
            times: Attempts in a row, from 1.
        """
        check_whole("status", status, 400, 599)
        return self._add(_Fault(RefusedError(status, code, "mock_lambda rejected it").answer), times)

    def _add(self, step: _Step, times: Optional[int]) -> "MockFunction":
        if times is not None:
            check_whole("times", times, 1, None)
        with self._lock:
            self._steps.extend([step] * (times or 1))
            if self._last_stays:
                self._afterwards = step if times is None else self._success
        return self

    def _next(self, invocation_type: str) -> _Step:
        with self._lock:
            if not self._steps:
                return self._afterwards
            if invocation_type == "DryRun" and not isinstance(self._steps[0], _Fault):
                return self._steps[0]  # the function does not run, so its answer is still to come
            return self._steps.popleft()

    def _answer(self, answer: object) -> _Step:
        if callable(answer):
            return functools.partial(_run, self.name, answer)
        # Now, so that what the test changes later changes nothing.
        result = HandlerResult(answer) if isinstance(answer, bytes) else marshal(answer, "")
        if result.failed:
            why = json.loads(result.body)["errorMessage"]
            raise ValueError(f"an answer of {self.name!r} must be a handler, JSON-able, or bytes as they are: {why}")
        return lambda event, context: result

    @staticmethod
    def _success(_: object, __: LambdaContext) -> HandlerResult:
        return HandlerResult(b'{"success": true}')


class MockLambda:
    """What ``mock_lambda`` gives to a test: it makes functions, and keeps what they were called with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._functions: Dict[str, MockFunction] = {}
        self._calls: Dict[str, List[LocalCall]] = {}

    def function(self, name: str, answer: object = _NOT_GIVEN) -> MockFunction:
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
        identifier = parse_identifier(name)
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
        """
        identifier = parse_identifier(name)
        name = identifier.name if identifier else name
        with self._lock:
            known = name in self._functions or name in self._calls
            calls = list(self._calls.get(name, ()))
        if not known:
            raise LookupError(f"mock_lambda has no function {name!r}, and none was called by this name: {self!r}")
        return [call.payload for call in calls]

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
        _active.append(mock)
        stack.callback(_active.remove, mock)
        yield mock


def _before_send(event_name: str, request: Any) -> Optional[AWSResponse]:
    """The answer to a request of botocore's; None leaves it to moto."""
    mocks = list(reversed(_active))
    if event_name != "before-send.lambda.Invoke" or not mocks:
        return None
    request_id = str(uuid.uuid4())
    try:
        answer = _respond(mocks, request, request_id)
    except RefusedError as refused:
        answer = refused.answer
    headers = {"x-amzn-RequestId": request_id, "Content-Length": str(len(answer.body)), **answer.headers}
    raw: Any = urllib3.HTTPResponse(io.BytesIO(answer.body), headers, answer.status, preload_content=False)
    return AWSResponse(request.url, raw.status, raw.headers, raw)


def _respond(mocks: List[MockLambda], request: Any, request_id: str) -> HttpAnswer:
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
    event, context = call.payload, _context(call)  # both refuse what is malformed, before anything is recorded
    owner = next((mock for mock in mocks if mock._has(call.function_name)), mocks[0])
    mocked = owner._take(call)
    if mocked is None:
        logger.warning("A function was invoked that the test has not made: %r. %r", call.function_name, owner)
        raise RefusedError(404, "ResourceNotFoundException", f"Function not found: {context.invoked_function_arn}")
    step = mocked._next(call.invocation_type)
    if isinstance(step, _Fault):
        return step.happen(request.url)
    if call.invocation_type == "DryRun":
        return HttpAnswer(204)
    result = step(event, context)
    if call.invocation_type == "Event":
        return HttpAnswer(202)
    return result.to_answer(context.function_version)


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
        deadline_s=time.monotonic() + _TIMEOUT_S,
        log=[],
    )


def _run(name: str, handler: Handler, event: object, context: LambdaContext) -> HandlerResult:
    """A handler's result, except where it ended the test: Ctrl-C and pytest.fail are no errors of the function."""
    ended: List[BaseException] = []

    def watched(event: object, context: LambdaContext) -> Any:
        try:
            return handler(event, context)
        except (Exception, SystemExit):
            raise
        except BaseException as exc:
            ended.append(exc)
            raise

    result = call_handler(watched, event, context)
    if ended:
        raise ended[0]
    if result.failed:
        # The adapter shows no stack trace, and of an Event nobody sees the error.
        logger.warning("The handler of %r failed: %s", name, "".join(context._log) or result.body.decode())
    return result
