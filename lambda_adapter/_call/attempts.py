"""One blocking invocation: the attempt loop and the only boto3 call."""

import logging
from typing import Any, Callable, Generator, List, Mapping, Optional, Tuple, Union

import attrs

from .._aws import failures
from .._aws.failures import Failure
from .._aws.sending import Hold, Sending
from .._process.clock import monotonic_s
from .._rules.limits import MAX_ANSWER_BYTES
from .._text.log_lines import log_line
from .._text.redaction import json_kind
from .._wire.answer import (
    PERMITTED,
    QUEUED,
    InvalidAnswerError,
    decode_function_error,
    to_text,
)
from .._wire.arguments import InvokeArguments
from .._wire.head import Head, announced_length, read_head
from .._wire.payload import EncodedRequest
from ..codes import WhyEnded
from .backoff import Backoff
from .deadline import Deadline
from .interruptions import check_not_interrupted
from .outcomes import Outcome, Progress, Result, cause_for_log, failed, judge_answer, judge_any_json, of_function
from .reporter import AttemptReporter
from .streams import StreamReader, Texts

_CHUNK_BYTES = 65_536

#: What AWS's refusal of an execution's name is about, most likely.
_NEEDS_DURABLE = (
    "durable=True needs a function that was created with a DurableConfig (in tests with LocalLambda's durable= or "
    "mock_lambda's .durable()), and a version, an alias or $LATEST of it"
)


#: Given the call, the attempt's outcome and the deadline: how it ended after all, and whether its driver goes on.
Attach = Callable[[EncodedRequest, Outcome, Optional[Deadline]], Generator[float, bool, Tuple[Outcome, bool]]]


@attrs.frozen
class _Sent:
    """A request that was answered, as far as the answer's head says."""

    #: Kept until the answer has been read.
    client: object
    response: Mapping[str, Any]
    head: Head


class Invoker:
    """Invokes one function until it answers, fails for good, or has no attempt or no time left.

    Args:
        client: Called before each attempt; returns an object with a boto3 Lambda client's ``invoke``. It is kept until
            the answer has been read.
        renew: Told what ``client`` returned, when AWS refuses its credentials; says whether the next one has others.
        clock: Seconds, monotonic.
        attach: What becomes of an attempt whose durable execution is there already; without it, it has failed.
    """

    def __init__(
        self,
        arguments: InvokeArguments,
        client: Callable[[], Any],
        backoff: Backoff,
        max_retries: int,
        idempotent: bool,
        reporter: AttemptReporter,
        clock: Callable[[], float] = monotonic_s,
        renew: Callable[[object], bool] = lambda client: False,
        attach: Optional[Attach] = None,
    ) -> None:
        self.arguments = arguments
        self._client = client
        self._backoff = backoff
        self._max_retries = max_retries
        self._idempotent = idempotent
        self._reporter = reporter
        self._clock = clock
        self._renew = renew
        self._attach = attach

    def attempts(
        self,
        encoded: EncodedRequest,
        deadline: Optional[Deadline] = None,
        progress: Optional[Progress] = None,
        reader: Optional[StreamReader] = None,
    ) -> Generator[Any, bool, Result]:
        """The attempt loop. Blocks while a request is in flight; never waits between attempts.

        Yields the seconds to wait before the next attempt. Whoever runs it waits in its own way, then sends True for
        the next attempt or False to end the call with what it has. With a ``reader``, which has the same ``progress``,
        the answer is a stream: its texts are yielded as well, and sent True for the next or False to leave it.
        """
        started = begun = self._clock()
        progress = progress or Progress()
        progress.started_s = started
        number, why_ended, renewed, may_have_run = 0, None, False, False
        while why_ended is None:
            number += 1
            progress.attempts = number
            if reader is None:
                outcome = self._attempt(encoded, number, deadline, may_renew=not renewed)
            else:
                outcome = yield from self._streamed(encoded, number, deadline, not renewed, reader)
            renewed = renewed or (outcome.failure is not None and outcome.failure.renewed)
            goes_on = True
            if self._attach is not None and outcome.error_code == "already_started":
                outcome, goes_on = yield from self._attach(encoded, outcome, deadline)
            ended = self._clock()
            delay_s = self._delay_s(outcome, number)
            why_ended = self._why_final(outcome, number, deadline, ended + delay_s) if goes_on else "ended"
            may_have_run = may_have_run or outcome.executed != "no"
            first_text_s = None if progress.first_text_at_s is None else progress.first_text_at_s - begun
            next_delay_s = None if why_ended else delay_s
            self._reporter.report(number, outcome, ended - begun, next_delay_s, why_ended, first_text_s)
            if why_ended is None:
                self._log_retry(encoded, number, outcome, delay_s)
                goes_on = yield delay_s
                begun = self._clock()
                why_ended = self._why_final(outcome, number, deadline, begun)
                why_ended = why_ended if goes_on or why_ended == "total_timeout" else "ended"
        outcome = _told_why(_after_earlier(outcome) if may_have_run else outcome, why_ended, deadline)
        return Result(outcome, number, self._clock() - started, why_ended, progress.first_text_s)

    def _delay_s(self, outcome: Outcome, number: int) -> float:
        """Seconds from attempt ``number`` (from 1) to the next, if there is to be one."""
        if outcome.failure is None or outcome.failure.renewed:
            return 0.0
        return self._backoff.delay_s(number - 1, outcome.failure.retry_after_s)

    def _why_final(
        self, outcome: Outcome, number: int, deadline: Optional[Deadline], resume_s: float
    ) -> Optional[WhyEnded]:
        """Why attempt ``number`` (from 1) is the last; None when another may begin at ``resume_s``."""
        failure = outcome.failure
        if failure is None:
            return "succeeded"
        if outcome.final is not None:
            return outcome.final
        # Nothing ran, and waiting mends nothing: with other credentials there is one more attempt in any case.
        if not failure.renewed:
            if not failure.transient:
                return "permanent"
            if failure.executed != "no" and not self._idempotent:
                return "may_have_run"
            if number > self._max_retries:
                return "no_attempts_left"
        if deadline is not None and deadline.is_up(resume_s):
            return "total_timeout"
        return None

    def _log_retry(self, encoded: EncodedRequest, number: int, outcome: Outcome, delay_s: float) -> None:
        log_line(
            logging.WARNING,
            f"Retry {number} of {max(number, self._max_retries)} in {delay_s:.3f} s:",
            {
                "function_name": self.arguments.function_name,
                "session_id": encoded.request_id,
                "error_code": outcome.error_code,
                "executed": outcome.executed,
                "status_code": outcome.head.status_code,
                "aws_request_id": outcome.head.request_id,
                "cause": cause_for_log(outcome.failure),
            },
            attempts=number,
            delay_s=delay_s,
        )

    def _attempt(
        self, encoded: EncodedRequest, number: int, deadline: Optional[Deadline], may_renew: bool = False
    ) -> Outcome:
        """One request and its whole answer. Raises no Exception but what a signal handler raised."""
        sent = self._send("invoke", encoded, number, deadline, may_renew)
        if isinstance(sent, Outcome):
            return sent
        response, head = sent.response, sent.head
        try:
            return self._judge(response, to_text(_read_body(response)), encoded.payload, head)
        except InvalidAnswerError as exc:
            return failed(Failure("invalid_response", str(exc)), head)
        except Exception as exc:
            check_not_interrupted(exc)
            return failed(failures.from_lost_answer(exc), head)

    def _streamed(
        self, encoded: EncodedRequest, number: int, deadline: Optional[Deadline], may_renew: bool, reader: StreamReader
    ) -> Texts:
        """The same, and the answer is given as it comes."""
        sent = self._send("invoke_with_response_stream", encoded, number, deadline, may_renew, reader.hold)
        reader.hold(None)
        if isinstance(sent, Outcome):
            return reader.left_before_head() if reader.was_left else sent
        return (yield from reader.read(sent.response, sent.head, encoded.payload, deadline))

    def _send(
        self,
        operation: str,
        encoded: EncodedRequest,
        number: int,
        deadline: Optional[Deadline],
        may_renew: bool,
        hold: Optional[Hold] = None,
    ) -> Union[Outcome, "_Sent"]:
        """One request, up to the head of its answer."""
        try:
            shared = self._client()
        except Exception as exc:
            check_not_interrupted(exc)
            return failed(failures.from_set_up(exc))
        arguments = self.arguments.of_attempt(encoded, number, deadline.epoch_ms if deadline else None)
        sending = Sending(getattr(shared, "client", shared), deadline.at_s if deadline else None, hold)
        try:
            with sending:
                response = getattr(shared, operation)(**arguments)
        except Exception as exc:
            check_not_interrupted(exc)
            failure = failures.from_exception(exc, sending, getattr(shared, "client", shared))
            if self.arguments.durable and failure.error_code == "invalid_parameter":
                failure = attrs.evolve(failure, cause=f"{failure.cause}; {_NEEDS_DURABLE}")
            if may_renew and failure.stale_credentials:
                failure = self._renewed(failure, shared)
            return failed(failures.of_dry_run(failure) if self.arguments.invocation_type == "DryRun" else failure)
        try:
            return _Sent(shared, response, read_head(response))
        except Exception as exc:
            return failed(failures.internal(exc))

    def _renewed(self, failure: Failure, shared: object) -> Failure:
        """The refusal of a client's credentials, after others have been asked for."""
        try:
            return attrs.evolve(failure, renewed=self._renew(shared))
        except Exception:
            # Their source is down or set up wrongly; what AWS said of the old ones is the answer.
            return failure

    def _judge(self, response: Mapping[str, Any], answer_text: str, payload: bytes, head: Head) -> Outcome:
        """What a complete answer of the Invoke API says."""
        if self.arguments.invocation_type == "DryRun":
            if head.status_code == 204:
                return Outcome(executed="no", answer=PERMITTED, head=head)
            cause = "a DryRun was answered with something else than status 204, so this is not Lambda's endpoint"
            return failed(Failure("invalid_response", cause, executed="maybe"), head)
        if self.arguments.durable and head.execution_arn is None:
            log_line(
                logging.WARNING,
                "The endpoint ran no durable execution, so that nothing keeps the function from running twice:",
                {
                    "function_name": self.arguments.function_name,
                    "status_code": head.status_code,
                    "cause": _NEEDS_DURABLE,
                },
            )
        if response.get("FunctionError") is not None:
            return failed(of_function(decode_function_error(answer_text, payload)), head)
        if self.arguments.invocation_type == "Event":
            # Queued: AWS runs it later, and tells nobody whether it did.
            return Outcome(executed="maybe", answer=QUEUED, head=head)
        judge = judge_any_json if self.arguments.takes_any_json else judge_answer
        return judge(answer_text, payload, head)


def _after_earlier(outcome: Outcome) -> Outcome:
    """The outcome of a call of which an earlier attempt may have run the function, whatever the last one says."""
    if outcome.failure is None or outcome.executed != "no":
        return outcome
    cause = f"{outcome.failure.cause}; an earlier attempt may have run the function"
    return attrs.evolve(outcome, executed="maybe", failure=attrs.evolve(outcome.failure, cause=cause, executed="maybe"))


def _told_why(outcome: Outcome, why_ended: WhyEnded, deadline: Optional[Deadline]) -> Outcome:
    """The outcome of a call that another attempt might have mended says why there was none."""
    failure = outcome.failure
    if failure is None or outcome.final is not None or why_ended not in ("total_timeout", "ended"):
        return outcome
    why = deadline.cause if deadline and why_ended == "total_timeout" else "the call was ended before its next attempt"
    return attrs.evolve(outcome, failure=attrs.evolve(failure, cause=f"{failure.cause}; {why}"))


def _read_body(response: Mapping[str, Any]) -> bytes:
    """The answer's bytes. Read to the end, Event's empty body too: an unread one costs a connection.

    Raises:
        InvalidAnswerError: It is larger than any function's; the rest is not read.
    """
    stream = response.get("Payload")
    if stream is None:
        return b""
    length = announced_length(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
    if length is not None and length <= MAX_ANSWER_BYTES:
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
