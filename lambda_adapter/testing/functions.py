"""A function of mock_lambda: what it does in each attempt."""

import asyncio
import functools
import inspect
import json
import threading
from collections import deque
from typing import Any, Callable, Deque, Iterator, List, Optional, Tuple, Union

import attrs
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from .._rules.validation import check_integer
from ..local.event_stream import payload_chunk
from ..local.invoke_api import HttpAnswer, RefusedError, throttled
from ..local.runtime import (
    Handler,
    HandlerResult,
    LambdaContext,
    call_handler,
    check_handler,
    failed_result,
    marshal,
    to_chunk,
)

#: Stands for an answer that was not given: None is one.
NOT_GIVEN = object()


@attrs.frozen
class Fault:
    """Keeps the function from running."""

    #: None: there is no answer in time.
    answer: Optional[HttpAnswer]

    def happen(self, url: str) -> HttpAnswer:
        if self.answer is None:
            raise ReadTimeoutError(endpoint_url=url)
        return self.answer


@attrs.frozen
class BreaksOff:
    """Loses the connection while the function answers."""

    #: What came before.
    chunks: Tuple[bytes, ...]

    def happen(self, url: str, streams: bool) -> HttpAnswer:
        if not streams:
            raise ConnectionClosedError(endpoint_url=url)
        return HttpAnswer(200, b"".join(map(payload_chunk, self.chunks)))


@attrs.frozen
class Run:
    """Lets the function run."""

    #: What it comes to; it may write to the context's log.
    come_to: Callable[[object, LambdaContext], HandlerResult]
    #: The handler that the test gave, where it gave one: what it runs as.
    handler: Optional[Handler] = None


_SUCCESS = Run(lambda event, context: HandlerResult(b'{"success": true}'))

#: What a function does in one attempt.
_Step = Union[Fault, BreaksOff, Run]


class MockFunction:
    """A function of ``mock_lambda``, and the steps that it goes through: one step for each attempt, in the order given.

    After the steps comes the function's ``answer``, for every further attempt. Without an ``answer`` the last step
    stays; if it said how many ``times``, ``{"success": True}`` comes after it.

    Every method adds to the steps and returns the function, so that they can be chained::

        mock_lambda.function("weather", {"success": True}).throttles(times=2).times_out()  # 429, 429, timeout, success
        mock_lambda.function("news").times_out()  # whenever it is called
        mock_lambda.function("roll").answers({"success": True, "message": "1"}, {"success": True, "message": "6"})
        mock_lambda.function("talk").streams("Hel", "lo").breaks_off(after=1)  # "Hel", and the connection is lost
    """

    def __init__(self, name: str, answer: object) -> None:
        self.name = name
        self.is_durable = False
        self._last_stays = answer is NOT_GIVEN
        #: What ``streams`` said last, for ``breaks_off`` and ``fails``; None when another step was added since.
        self._streamed: Optional[Tuple[Tuple[bytes, ...], Optional[int]]] = None
        self._lock = threading.Lock()  # guards the four below
        self._polls = 0
        self._cold = True
        self._steps: Deque[_Step] = deque()
        self._afterwards = _SUCCESS if answer is NOT_GIVEN else self._answer(answer)

    def answers(self, *answers: object) -> "MockFunction":
        """Each of ``answers`` once: handlers or responses, as for ``MockLambda.function``."""
        for answer in answers:
            self._add(self._answer(answer), None)
        return self

    def streams(self, *texts: object, times: Optional[int] = None) -> "MockFunction":
        """The function answers piece by piece: at once to ``execute_stream``, as a whole to ``execute``.

        Args:
            texts: What it yields: strings and bytes as they are, anything else as JSON.
            times: Attempts in a row, from 1.

        Raises:
            ValueError: ``times`` is out of range, or one of ``texts`` cannot be JSON.
        """
        chunks = tuple(_text_to_chunk(number, text) for number, text in enumerate(texts))
        self._add(Run(lambda event, context: HandlerResult(b"".join(chunks), chunks=chunks)), times)
        self._streamed = chunks, times
        return self

    def breaks_off(self, *, after: int = 0, times: Optional[int] = None) -> "MockFunction":
        """The connection is lost while the function answers: ``connection_lost``.

        Right after ``streams`` it says how that answer ends, and adds no step. Elsewhere no text has come.

        Args:
            after: How many of the texts come before.
            times: Attempts in a row, from 1; not right after ``streams``, which says it.
        """
        chunks, said = self._take_streamed(after, times)
        return self._add(BreaksOff(chunks), said)

    def fails(
        self,
        error_type: str = "RuntimeError",
        message: str = "mock_lambda made it fail",
        *,
        after: Optional[int] = None,
        times: Optional[int] = None,
    ) -> "MockFunction":
        """The function runs and raises: ``function_error``, which is not retried.

        Args:
            error_type: The exception's class, "ValueError" for example.
            message: The exception's text.
            after: Right after ``streams``: how many of its texts come before; this adds no step then.
            times: Attempts in a row, from 1.
        """
        check_text("error_type", error_type)
        check_text("message", message)
        chunks: Tuple[bytes, ...] = ()
        if after is not None:
            chunks, times = self._take_streamed(after, times)

        def step(_: object, context: LambdaContext) -> HandlerResult:
            return attrs.evolve(failed_result(error_type, message, context.aws_request_id), chunks=chunks)

        return self._add(Run(step), times)

    def _take_streamed(self, after: int, times: Optional[int]) -> Tuple[Tuple[bytes, ...], Optional[int]]:
        """What comes before the end that is to take the place of the end of ``streams``, and how often."""
        check_integer("after", after, least=0)
        if self._streamed is None:
            if after:
                raise ValueError(f"after={after} must come right after streams, which says what comes before")
            return (), times
        (chunks, said), self._streamed = self._streamed, None
        if times is not None:
            raise ValueError("times belongs to streams, not to what ends it")
        with self._lock:
            for _ in range(said or 1):
                self._steps.pop()
        return chunks[:after], said

    def throttles(self, *, times: Optional[int] = None, retry_after: Optional[int] = None) -> "MockFunction":
        """AWS refuses the invocation with 429: ``throttled``, which is retried.

        Args:
            times: Attempts in a row, from 1.
            retry_after: Whole seconds that the answer asks to wait; no caller waits for it.
        """
        if retry_after is not None:
            check_integer("retry_after", retry_after, least=0)
        answer = throttled("ReservedFunctionConcurrentInvocationLimitExceeded", retry_after).answer
        return self._add(Fault(answer), times)

    def times_out(self, *, times: Optional[int] = None) -> "MockFunction":
        """No answer comes within ``read_timeout``, of which none passes: ``timeout``, retried if ``idempotent``.

        Args:
            times: Attempts in a row, from 1.
        """
        return self._add(Fault(None), times)

    def rejects(self, code: str, status: int, *, times: Optional[int] = None) -> "MockFunction":
        """AWS refuses the invocation with an error of its own, which decides what becomes of the call.

        Args:
            code: AWS's name of the error, "AccessDeniedException" for example.
            status: The HTTP status that goes with it, 400 to 599.
            times: Attempts in a row, from 1.
        """
        check_text("code", code)
        check_integer("status", status, least=400, most=599)
        return self._add(Fault(RefusedError(status, code, "mock_lambda rejected it").answer), times)

    def durable(self) -> "MockFunction":
        """The function was created for durable executions: one run for each name, so for each ``session_id``.

        Each further call with the name gets the first one's outcome and takes no step, unless the next step keeps the
        function from running: ``throttles``, ``times_out`` and ``rejects`` happen to calls, the others to runs.
        ``breaks_off`` happens to a call whose run has begun: the next call gets what that comes to. What is AWS's word
        and what is ours is told in ``lambda_adapter.local.durable``.
        """
        self.is_durable = True
        return self

    def runs_for(self, *, polls: int) -> "MockFunction":
        """Each run that begins from now is still running the first times that ``result`` looks; ours, not AWS's.

        A call that waits for its answer, ``execute``'s first for example, has it at once.

        Args:
            polls: How many times, from 0.
        """
        check_integer("polls", polls, least=0)
        with self._lock:
            self._polls = polls
        return self.durable()

    def __repr__(self) -> str:
        """What is to come: a test prints it where the function did something else than was meant."""
        with self._lock:
            count = len(self._steps)
        steps = "1 step" if count == 1 else f"{count} steps"
        return f"<mock_lambda's function {self.name!r}: {steps} to come{', durable' if self.is_durable else ''}>"

    def next_fault(self) -> "Optional[Union[Fault, BreaksOff]]":
        """What keeps the next call from the answer of a function that has run; it is a step, and taken."""
        with self._lock:
            step = self._steps[0] if self._steps else self._afterwards
            if not isinstance(step, (Fault, BreaksOff)):
                return None
            if self._steps:
                self._steps.popleft()
            return step

    def next_run(self) -> Run:
        """What the function does in a run whose call gets no answer: its next step that is none of a call's."""
        with self._lock:
            for number, step in enumerate(self._steps):
                if not isinstance(step, (Fault, BreaksOff)):
                    del self._steps[number]
                    return step
            return _SUCCESS if isinstance(self._afterwards, (Fault, BreaksOff)) else self._afterwards

    def take_cold(self) -> bool:
        """Whether the function has not run yet; from now on it has."""
        with self._lock:
            cold, self._cold = self._cold, False
            return cold

    def _add(self, step: _Step, times: Optional[int]) -> "MockFunction":
        if times is not None:
            check_integer("times", times, least=1)
        self._streamed = None
        with self._lock:
            self._steps.extend([step] * (times or 1))
            if self._last_stays:
                self._afterwards = step if times is None else _SUCCESS
        return self

    def next_step(self, invocation_type: str) -> _Step:
        """What the function does in the attempt that is made now; for ``mock_lambda`` itself, as all ``next_…`` are."""
        with self._lock:
            if not self._steps:
                return self._afterwards
            if invocation_type == "DryRun" and not isinstance(self._steps[0], Fault):
                return self._steps[0]  # the function does not run, so its answer is still to come
            return self._steps.popleft()

    def _answer(self, answer: object) -> _Step:
        if callable(answer):
            check_handler(f"an answer of {self.name!r}", answer)
            return Run(functools.partial(_call, answer), answer)
        # Now, so that what the test changes later changes nothing.
        result = HandlerResult(answer) if isinstance(answer, bytes) else marshal(answer, "")
        if result.failed:
            why = json.loads(result.body)["errorMessage"]
            raise ValueError(f"an answer of {self.name!r} must be a handler, JSON-able, or bytes as they are: {why}")
        return Run(lambda event, context: result)


def check_text(name: str, value: object) -> str:
    """Check that a parameter is text, and return it.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text; got {type(value).__name__}")
    return value


def _text_to_chunk(number: int, text: object) -> bytes:
    try:
        return to_chunk(text)
    except Exception as error:  # its own methods may raise anything
        raise ValueError(f"texts[{number}] must be text, bytes or JSON-able: {error}") from error


#: Raised by a handler these are its own affair; anything else that is no Exception ends the test.
_ENDS_OF_FUNCTIONS = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)


def _call(handler: Handler, event: object, context: LambdaContext) -> HandlerResult:
    """A handler's result, except where it ended the test: Ctrl-C and pytest.fail are no errors of the function."""
    ended: List[BaseException] = []

    def watched(event: object, context: LambdaContext) -> Any:
        try:
            returned = handler(event, context)
        except BaseException as exc:
            watch(exc)
            raise
        return piecewise(returned) if inspect.isgenerator(returned) else returned

    def piecewise(items: Iterator[object]) -> Iterator[object]:
        try:
            yield from items
        except BaseException as exc:
            watch(exc)
            raise

    def watch(exc: BaseException) -> None:
        if not isinstance(exc, _ENDS_OF_FUNCTIONS):
            ended.append(exc)

    result = call_handler(watched, event, context)
    if ended:
        raise ended[0]
    return result
