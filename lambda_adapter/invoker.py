"""One blocking invocation: the attempt loop and the only boto3 call."""

import logging
import time
from typing import Any, Callable, Dict, Generator, List

import attrs

from . import failures
from .answer import QUEUED, InvalidAnswerError, decode_answer, decode_function_error
from .backoff import Backoff
from .failures import Failure
from .outcomes import Outcome, Result, failed
from .redaction import json_kind
from .validation import MAX_REQUEST_RESPONSE_BYTES

logger = logging.getLogger("lambda_adapter")

#: An answer over AWS's limit comes from no Lambda function; the margin is for AWS to be generous with.
MAX_ANSWER_BYTES = MAX_REQUEST_RESPONSE_BYTES + 65_536
_CHUNK_BYTES = 65_536


class Invoker:
    """Invokes one function until it answers, fails for good, or has no attempt left.

    Args:
        client: Called before each attempt; returns an object whose ``client`` is a boto3 Lambda client. It is kept
            until the answer has been read.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        function_name: str,
        invocation_type: str,
        client: Callable[[], Any],
        backoff: Backoff,
        max_retries: int,
        idempotent: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._function_name = function_name
        self._invocation_type = invocation_type
        self._arguments: Dict[str, Any] = {"FunctionName": function_name}
        if invocation_type != "RequestResponse":
            # Not said when it is the API's default: a header less to write and sign is 4 % of a call's CPU.
            self._arguments["InvocationType"] = invocation_type
        self._client = client
        self._backoff = backoff
        self._max_retries = max_retries
        self._idempotent = idempotent
        self._clock = clock

    def attempts(self, payload: bytes, request_id: str) -> Generator[float, bool, Result]:
        """The attempt loop. Blocks while a request is in flight; never waits between attempts.

        Yields the seconds to wait before the next attempt. Whoever runs it waits in its own way, then sends True for
        the next attempt or False to end the call with what it has.
        """
        started = self._clock()
        number = 1
        outcome = self._attempt(payload)
        while outcome.failure is not None and self._may_retry(outcome.failure, number):
            delay_s = self._backoff.delay_s(number - 1, outcome.failure.retry_after_s)
            logger.warning(
                "Retry %d of %d in %.3f s: function=%s request=%s code=%s executed=%s",
                number,
                self._max_retries,
                delay_s,
                self._function_name,
                request_id,
                outcome.failure.error_code,
                outcome.executed,
            )
            if not (yield delay_s):
                outcome = _ended_early(outcome, outcome.failure)
                break
            number += 1
            outcome = self._attempt(payload)
        return Result(outcome, attempts=number, duration_s=self._clock() - started)

    def _may_retry(self, failure: Failure, number: int) -> bool:
        """Whether attempt ``number`` (from 1) may be followed by another."""
        return number <= self._max_retries and failure.may_retry(self._idempotent)

    def _attempt(self, payload: bytes) -> Outcome:
        """One request and its whole answer. Raises nothing that is an Exception."""
        try:
            shared = self._client()
            response = shared.client.invoke(Payload=payload, **self._arguments)
        except Exception as exc:
            return failed(failures.from_exception(exc))
        try:
            head = _head(response)
        except Exception as exc:
            return failed(failures.internal(exc))
        try:
            return self._judge(response, _read_body(response), payload, head)
        except InvalidAnswerError as exc:
            return failed(Failure("invalid_response", str(exc), executed="yes"), **head)
        except Exception as exc:
            return failed(failures.from_lost_answer(exc), **head)

    def _judge(self, response: Dict[str, Any], body: bytes, payload: bytes, head: Dict[str, Any]) -> Outcome:
        """What a complete answer of the Invoke API says."""
        if response.get("FunctionError") is not None:
            return failed(Failure("function_error", decode_function_error(body, payload), executed="yes"), **head)
        if self._invocation_type == "Event":
            # Queued: AWS runs it later, and tells nobody whether it did.
            return Outcome(executed="maybe", answer=QUEUED, **head)
        answer = decode_answer(body)
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
    }


def _ended_early(outcome: Outcome, failure: Failure) -> Outcome:
    cause = f"{failure.cause}; the call was ended before its next attempt"
    return attrs.evolve(outcome, failure=attrs.evolve(failure, cause=cause))


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
