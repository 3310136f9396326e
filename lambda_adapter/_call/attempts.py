"""One blocking invocation: the attempt loop and the only boto3 call."""

import logging
import time
from typing import Any, Callable, Dict, Generator, List, Optional

import attrs

from .._aws import failures
from .._aws.failures import Failure
from .._rules.validation import MAX_REQUEST_RESPONSE_BYTES
from .._text.redaction import json_kind
from .._wire.answer import PERMITTED, QUEUED, InvalidAnswerError, decode_answer, decode_function_error, to_text
from .._wire.arguments import InvokeArguments
from .._wire.log_tail import decode_log_tail
from .._wire.payload import EncodedRequest
from .backoff import Backoff
from .deadline import Deadline
from .outcomes import Outcome, Result, failed
from .reporter import AttemptReporter

logger = logging.getLogger("lambda_adapter")

#: An answer over AWS's limit comes from no Lambda function; the margin is for AWS to be generous with.
MAX_ANSWER_BYTES = MAX_REQUEST_RESPONSE_BYTES + 65_536
_CHUNK_BYTES = 65_536


class Invoker:
    """Invokes one function until it answers, fails for good, or has no attempt or no time left.

    Args:
        client: Called before each attempt; returns an object with a boto3 Lambda client's ``invoke``. It is kept until
            the answer has been read.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        arguments: InvokeArguments,
        client: Callable[[], Any],
        backoff: Backoff,
        max_retries: int,
        idempotent: bool,
        reporter: AttemptReporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._arguments = arguments
        self._client = client
        self._backoff = backoff
        self._max_retries = max_retries
        self._idempotent = idempotent
        self._reporter = reporter
        self._clock = clock

    def attempts(self, call: EncodedRequest, deadline: Optional[Deadline] = None) -> Generator[float, bool, Result]:
        """The attempt loop. Blocks while a request is in flight; never waits between attempts.

        Yields the seconds to wait before the next attempt. Whoever runs it waits in its own way, then sends True for
        the next attempt or False to end the call with what it has.
        """
        started = self._clock()
        number = 0
        while True:
            number += 1
            begun = self._clock()
            outcome = self._attempt(call, number, deadline)
            ended = self._clock()
            delay_s = self._delay_s(outcome.failure, number)
            if deadline is not None and delay_s is not None and deadline.is_up(ended + delay_s):
                outcome, delay_s = _ended_early(outcome, deadline.cause), None
            self._reporter.report(number, outcome, ended - begun, delay_s)
            if delay_s is None:
                break
            self._log_retry(call, number, outcome, delay_s)
            if not (yield delay_s):
                outcome = _ended_early(outcome, "the call was ended before its next attempt")
                break
            if deadline is not None and deadline.is_up(self._clock()):
                outcome = _ended_early(outcome, deadline.cause)
                break
        return Result(outcome, attempts=number, duration_s=self._clock() - started)

    def _delay_s(self, failure: Optional[Failure], number: int) -> Optional[float]:
        """Seconds from attempt ``number`` (from 1) to the next; None when it was the last."""
        if failure is None or number > self._max_retries or not failure.may_retry(self._idempotent):
            return None
        return self._backoff.delay_s(number - 1, failure.retry_after_s)

    def _log_retry(self, call: EncodedRequest, number: int, outcome: Outcome, delay_s: float) -> None:
        logger.warning(
            "Retry %d of %d in %.3f s: function=%s request=%s code=%s executed=%s",
            number,
            self._max_retries,
            delay_s,
            self._arguments.function_name,
            call.request_id,
            outcome.failure.error_code if outcome.failure else None,
            outcome.executed,
        )

    def _attempt(self, call: EncodedRequest, number: int, deadline: Optional[Deadline]) -> Outcome:
        """One request and its whole answer. Raises nothing that is an Exception."""
        try:
            shared = self._client()
            response = shared.invoke(**self._arguments.of_attempt(call, number, deadline))
        except Exception as exc:
            return failed(failures.from_exception(exc))
        try:
            head = _head(response)
        except Exception as exc:
            return failed(failures.internal(exc))
        try:
            return self._judge(response, to_text(_read_body(response)), call.payload, head)
        except InvalidAnswerError as exc:
            return failed(Failure("invalid_response", str(exc), executed="yes"), **head)
        except Exception as exc:
            return failed(failures.from_lost_answer(exc), **head)

    def _judge(self, response: Dict[str, Any], answer_text: str, payload: bytes, head: Dict[str, Any]) -> Outcome:
        """What a complete answer of the Invoke API says."""
        if self._arguments.invocation_type == "DryRun":
            if head["status_code"] == 204:
                return Outcome(executed="no", answer=PERMITTED, **head)
            cause = "a DryRun was answered with something else than status 204, so this is not Lambda's endpoint"
            return failed(Failure("invalid_response", cause, executed="maybe"), **head)
        if response.get("FunctionError") is not None:
            return failed(
                Failure("function_error", decode_function_error(answer_text, payload), executed="yes"), **head
            )
        if self._arguments.invocation_type == "Event":
            # Queued: AWS runs it later, and tells nobody whether it did.
            return Outcome(executed="maybe", answer=QUEUED, **head)
        answer = decode_answer(answer_text)
        failure = None
        if not answer.success:
            failure = Failure("function_failed", "the function answered success=false", executed="yes")
        return Outcome(executed="yes", answer=answer, failure=failure, **head)


def _head(response: Dict[str, Any]) -> Dict[str, Any]:
    """What an answer says before its body, and still does when that is lost."""
    return {
        "status_code": response.get("StatusCode"),
        "request_id": failures.known_request_id(response.get("ResponseMetadata") or {}),
        "executed_version": failures.known_version(response.get("ExecutedVersion")),
        "function_error": failures.known_function_error(response.get("FunctionError")),
        "log_tail": decode_log_tail(response.get("LogResult")),
    }


def _ended_early(outcome: Outcome, why: str) -> Outcome:
    """A failed outcome that another attempt might have mended."""
    failure = outcome.failure
    return attrs.evolve(outcome, failure=failure and attrs.evolve(failure, cause=f"{failure.cause}; {why}"))


def _read_body(response: Dict[str, Any]) -> bytes:
    """The answer's bytes. Read to the end, Event's empty body too: an unread one costs a connection.

    Raises:
        InvalidAnswerError: It is larger than any function's; the rest is not read.
    """
    stream = response.get("Payload")
    if stream is None:
        return b""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    # With a transfer encoding http.client ignores the length, and so must we.
    length = "" if "transfer-encoding" in headers else str(headers.get("content-length", ""))
    if length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MAX_ANSWER_BYTES:
        return bytes(stream.read())
    chunks: List[bytes] = []
    total = 0
    while total <= MAX_ANSWER_BYTES:
        chunk = stream.read(_CHUNK_BYTES)
        if not isinstance(chunk, bytes):
            raise InvalidAnswerError(f"the client gave {json_kind(chunk)} for an answer, not bytes")
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        total += len(chunk)
    stream.close()
    raise InvalidAnswerError(f"the answer is over {MAX_ANSWER_BYTES} bytes")
